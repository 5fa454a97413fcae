import { signal } from '@preact/signals';
import { ApiError } from './api';
import { dispatch, state } from './store';
import type { Problem } from './wire';

export const problemOf = (error: unknown): Problem =>
  error instanceof ApiError ? error.problem : { code: 'client', message: String(error) };

/** Whether a session ended while its reader was at work. */
export const hasEnded = signal(false);

/** Every refusal passes here: a session that ended shows the sign-in page, wherever it was noticed. */
export function noticed(error: unknown): Problem {
  if (error instanceof ApiError && error.status === 401) {
    if (state.peek().session === 'in') hasEnded.value = true;
    dispatch({ type: 'session', session: 'out' });
  }
  return problemOf(error);
}

/** Null when the job is done, or what to tell the reader. */
export async function tried(job: () => Promise<void>): Promise<Problem | null> {
  try {
    await job();
    return null;
  } catch (error) {
    return noticed(error);
  }
}
