/**
 * Opening a long conversation: plain text at once, then the full form in slices, newest first.
 *
 * The first slice is short, so that what is on the screen is drawn within a frame; later ones are longer, because each
 * one lays the page out again.
 */

const FIRST_MS = 12;
const LATER_MS = 40;

let jobs: (() => void)[] = [];
let isArmed = false;

/** Jobs asked for together run in reverse order: the last message is the one being read. */
export function soon(job: () => void): () => void {
  jobs.push(job);
  if (!isArmed) {
    isArmed = true;
    queueMicrotask(() => drain(FIRST_MS));
  }
  return () => {
    jobs = jobs.filter((other) => other !== job);
  };
}

function drain(budget: number): void {
  const until = performance.now() + budget;
  for (let job = jobs.pop(); job; job = performance.now() < until ? jobs.pop() : undefined) job();
  if (jobs.length > 0) setTimeout(() => drain(LATER_MS));
  else isArmed = false;
}
