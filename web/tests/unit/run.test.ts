import { describe, expect, test } from 'vitest';
import { ApiError, type EventStream } from '../../src/api';
import { backOff, follow, type Follow } from '../../src/run';
import type { RunEvent } from '../../src/wire';

const EVENTS: [string, object][] = [
  ['run', { run_id: 'r', chat_id: 'c', user_message_id: 'u', assistant_message_id: 'a', model: 'm', status: 'running' }],
  ['delta', { text: 'a' }],
  ['news', { from: 'the future' }],
  ['delta', { text: 'b' }],
  ['delta', { text: 'c' }],
  ['done', { message: {}, usage: {}, timings: {}, cost: {}, finish_reason: 'stop' }],
];

/** Events after `from`, cut after `count` of them. */
async function* stream(from: number, count = Infinity): EventStream {
  for (const [i, [event, data]] of EVENTS.entries()) {
    if (i < from) continue;
    if (i - from >= count) throw new ApiError(0, 'network', '');
    yield [{ id: String(i + 1), event, data: JSON.stringify({ type: event, ...data }) }];
  }
}

interface Log {
  events: RunEvent[];
  calls: string[];
  links: string[];
  waits: number[];
}

function options(log: Log, values: Partial<Follow>): Follow {
  return {
    start: null,
    resume: async (run, after) => {
      log.calls.push(`resume ${run} ${after}`);
      return stream(after);
    },
    runId: null,
    after: 0,
    onEvents: (list) => log.events.push(...list.map(({ event }) => event)),
    onLink: (link) => log.links.push(link),
    wait: async (ms) => void log.waits.push(ms),
    signal: new AbortController().signal,
    ...values,
  };
}

const newLog = (): Log => ({ events: [], calls: [], links: [], waits: [] });
const text = (log: Log) => log.events.map((event) => (event.type === 'delta' ? event.text : '')).join('');

describe('following a run', () => {
  test('to its end, skipping names it does not know', async () => {
    const log = newLog();

    expect(await follow(options(log, { start: async () => stream(0) }))).toBe('ended');
    expect(log.events.map(({ type }) => type)).toEqual(['run', 'delta', 'delta', 'delta', 'done']);
  });

  test('cut after any event it resumes there, without gap or double', async () => {
    for (let cut = 1; cut < EVENTS.length; cut++) {
      const log = newLog();

      expect(await follow(options(log, { start: async () => stream(0, cut) }))).toBe('ended');
      expect(text(log)).toBe('abc');
      expect(log.calls).toEqual([`resume r ${cut}`]);
    }
  });

  test('a replay from the start shows nothing twice', async () => {
    const log = newLog();
    await follow(options(log, { start: async () => stream(0, 4), resume: async () => stream(0) }));

    expect(text(log)).toBe('abc');
  });

  test('a body that ends without a terminal event is a cut', async () => {
    async function* short(): EventStream {
      yield* takeFirst(stream(0), 2);
    }
    const log = newLog();

    expect(await follow(options(log, { start: async () => short() }))).toBe('ended');
    expect(log.calls).toEqual(['resume r 2']);
  });

  test('a request that got no answer is sent again, then given up', async () => {
    const log = newLog();
    let tries = 0;
    const start = async () => {
      tries++;
      throw new ApiError(0, 'network', '');
    };

    await expect(follow(options(log, { start }))).rejects.toThrow(ApiError);
    expect(tries).toBe(5);
  });

  test('a resume is never given up', async () => {
    const log = newLog();
    let tries = 0;
    const resume: Follow['resume'] = async (_, after) => {
      if (++tries < 20) throw new ApiError(503, 'http_503', '');
      return stream(after);
    };

    expect(await follow(options(log, { start: async () => stream(0, 2), resume }))).toBe('ended');
    expect(Math.max(...log.waits)).toBeLessThanOrEqual(10_000);
  });

  test('a refusal is not retried', async () => {
    const log = newLog();
    const start = async () => {
      throw new ApiError(409, 'run_active', 'Busy.');
    };

    await expect(follow(options(log, { start }))).rejects.toThrow('Busy.');
    expect(log.waits).toEqual([]);
  });

  test('nothing to follow', async () => {
    expect(await follow(options(newLog(), { start: async () => null }))).toBe('idle');
  });

  test('a reader who leaves ends it quietly', async () => {
    const leave = new AbortController();
    const log = newLog();
    const wait = async () => leave.abort();

    expect(await follow(options(log, { start: async () => stream(0, 1), wait, signal: leave.signal }))).toBe('left');
  });
});

async function* takeFirst(events: EventStream, count: number): EventStream {
  for await (const batch of events) {
    if (count-- <= 0) return;
    yield batch;
  }
}

test('waits grow and stay bounded', () => {
  expect(backOff(1, () => 0.5)).toBe(400);
  expect(backOff(2, () => 0.5)).toBe(800);
  expect(backOff(30, () => 1)).toBe(10_000);
});
