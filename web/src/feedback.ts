/** What a reader says of a message: shown at once, then stored; a refusal puts back what was there. */

import { api } from './api';
import { noticed } from './noticed';
import { dispatch, state } from './store';
import type { Feedback, Message, Opinion, Problem } from './wire';

/** The latest call for each message: an older one that comes back later says nothing any more. */
const latest = new Map<string, Promise<unknown>>();

/** `null` takes it back. One after the other for each message, so that the last press is what is stored. */
export async function rate({ id, chat_id: chatId }: Message, opinion: Opinion | null): Promise<Problem | null> {
  const before = state.peek().threads[chatId]?.messages[id]?.feedback ?? null;
  const put = (feedback: Feedback | null) => dispatch({ type: 'feedback', id: chatId, messageId: id, feedback });
  put(opinion && { ...opinion, at: new Date().toISOString() });
  const earlier = latest.get(id);
  const mine = (async () => {
    await earlier?.catch(() => {}); // Its own caller has heard of it.
    return opinion ? api.putFeedback(chatId, id, opinion) : api.dropFeedback(chatId, id);
  })();
  latest.set(id, mine);
  const isLatest = () => latest.get(id) === mine;
  try {
    const stored = await mine;
    if (isLatest()) put(stored);
    return null;
  } catch (error) {
    if (isLatest()) put(before);
    return noticed(error);
  } finally {
    if (isLatest()) latest.delete(id);
  }
}
