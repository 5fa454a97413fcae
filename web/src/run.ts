/**
 * Follows one run to its end over connections that may break at any moment.
 *
 *   POST completion ──cut before `run`──▶ POST again (same message id: the same run)
 *        │ `run`
 *        ▼
 *   events 1, 2, 3 ──cut──▶ wait ──▶ GET /runs/{id}/events?last_event_id=3 ──▶ 4, 5, … done
 *
 * Events are numbered; one that was seen before is dropped, so a resume shows neither a gap nor a double.
 */

import { ApiError, type EventStream } from './api';
import { isTerminal, readEvent, type RunEvent } from './wire';

export type Link = 'live' | 'waiting';

export interface Follow {
  /** Opens the first connection; null when the server says there is nothing to follow. */
  start: ((signal: AbortSignal) => Promise<EventStream | null>) | null;
  resume: (runId: string, after: number, signal: AbortSignal) => Promise<EventStream | null>;
  runId: string | null;
  after: number;
  onEvents: (events: { seq: number; event: RunEvent }[]) => void;
  onLink: (link: Link) => void;
  /** Sleeps; may wake early when the network comes back. */
  wait: (ms: number) => Promise<void>;
  signal: AbortSignal;
}

/** `ended`: a terminal event came. `idle`: nothing to follow (any more). `left`: the caller aborted. */
export type Outcome = 'ended' | 'idle' | 'left';

/** A first request that never got through is given up, so that the reader can decide; a run that exists is not. */
const START_TRIES = 5;
const FIRST_WAIT_MS = 400;
const LONGEST_WAIT_MS = 8_000;

export const backOff = (failures: number, random: () => number = Math.random): number =>
  Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (failures - 1)) * (0.75 + random() * 0.5);

export async function follow(options: Follow): Promise<Outcome> {
  const { start, resume, onEvents, onLink, wait, signal } = options;
  let { runId, after } = options;
  let failures = 0;
  let connected = false;

  for (;;) {
    try {
      const events = runId === null && start ? await start(signal) : runId ? await resume(runId, after, signal) : null;
      if (events === null) return 'idle';
      connected = true;
      onLink('live');
      for await (const batch of events) {
        const fresh: { seq: number; event: RunEvent }[] = [];
        for (const { id, event: name, data } of batch) {
          const seq = Number(id);
          if (!(seq > after)) continue;
          const event = readEvent(name, data);
          after = seq;
          failures = 0;
          if (event === null) continue;
          if (event.type === 'run') runId = event.run_id;
          fresh.push({ seq, event });
          if (isTerminal(event)) break;
        }
        if (fresh.length > 0) onEvents(fresh);
        const last = fresh.at(-1);
        if (last && isTerminal(last.event)) return 'ended';
      }
      // The body ended without a terminal event: the server went away and another worker continues the run.
    } catch (error) {
      if (signal.aborted) return 'left';
      if (error instanceof ApiError && !error.isPassing) throw error;
      if (!connected && runId === null && failures + 1 >= START_TRIES) throw error;
    }
    if (signal.aborted) return 'left';
    failures++;
    onLink('waiting');
    await wait(backOff(failures));
    if (signal.aborted) return 'left';
  }
}
