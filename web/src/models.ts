/** How awake the models are: looked at without waking any, and told when somebody is about to need one. */

import { api } from './api';
import { noticed } from './noticed';
import { Prewarm } from './prewarm';
import { modelOf } from './state';
import { dispatch, state } from './store';

const prewarm = new Prewarm();

/** Keeps the models' states fresh while somebody looks; it never wakes a GPU. */
export async function refreshModels(): Promise<void> {
  try {
    const server = await api.status();
    prewarm.see(server.models);
    dispatch({ type: 'server', server });
  } catch (error) {
    noticed(error);
  }
}

const WATCH_MS = 60_000;
const WATCH_WARMING_MS = 4_000;

/** Looks again from time to time while the page is seen, and often while a model is waking. */
export function watchModels(isSeen: () => boolean): void {
  let lookedAt = performance.now();
  setInterval(() => {
    const { server, session, online } = state.peek();
    const isWarming = server?.models.some((model) => model.state === 'warming') ?? false;
    if (performance.now() - lookedAt < (isWarming ? WATCH_WARMING_MS : WATCH_MS) || !isSeen() || session !== 'in' || !online) return;
    lookedAt = performance.now();
    void refreshModels();
  }, WATCH_WARMING_MS / 2);
}

/** Somebody begins to write: a model that sleeps may wake meanwhile. Whether it does is the server's to decide. */
export function typing(): void {
  const { open, threads } = state.peek();
  const model = modelOf(state.peek());
  if (model === null || (open !== null && threads[open]?.run) || !prewarm.isDue(open, model)) return;
  api.prewarm(model.id).then(
    (answer) => dispatch({ type: 'prewarmed', model: answer }),
    // It was a kindness, nothing that was asked for: only the end of the session is worth a word.
    noticed,
  );
}
