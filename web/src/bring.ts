/** Bringing chats from elsewhere: a file goes up, and the server tells how it goes. */

import { ApiError, refusalOf } from './api';
import { readEvents } from './sse';

export interface Progress {
  done: number;
  /** Of the file, from 0 to 1. */
  part: number;
}

export interface Brought {
  chats: number;
  messages: number;
  skipped: number;
  memories: number;
  templates: number;
  failures: number;
  failed: { title: string; reason: 'empty' | 'damaged' | 'circular' | 'too_large' }[];
  trouble: 'unsupported' | 'damaged' | 'encrypted' | 'too_large' | 'too_slow' | null;
}

export const MOST_BYTES = 100 * 1024 * 1024;

/** Throws an ApiError, or what an abort throws. What has been stored by then stays. */
export async function bring(file: File, signal: AbortSignal, heard: (progress: Progress) => void): Promise<Brought> {
  const headers = { 'Content-Type': file.type || 'application/octet-stream', Accept: 'text/event-stream' };
  let response: Response;
  try {
    response = await fetch('/import', { method: 'POST', body: file, headers, signal, credentials: 'same-origin', cache: 'no-store' });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new ApiError(0, 'network', '');
  }
  if (!response.ok || response.body === null) throw refusalOf(response.status, await response.text().catch(() => ''));
  for await (const events of readEvents(response.body)) {
    for (const { event, data } of events) {
      if (event === 'progress') heard(JSON.parse(data) as Progress);
      else return JSON.parse(data) as Brought;
    }
  }
  signal.throwIfAborted();
  throw new ApiError(0, 'network', '');
}
