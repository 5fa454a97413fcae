/**
 * Opening a long conversation: plain text at once, then the full form in slices, newest first.
 *
 * The first slice is short, so that what is on the screen is drawn within a frame; later ones are longer, because each
 * one lays the page out again.
 */

const FIRST_MS = 12;
const LATER_MS = 40;

interface Job {
  order: string;
  run: () => void;
}

let jobs: Job[] = [];
let isArmed = false;

/** The job with the greatest order goes first: message ids grow with time, and the last message is the one being read. */
export function soon(order: string, run: () => void): () => void {
  const job = { order, run };
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
  jobs.sort((a, b) => (a.order < b.order ? -1 : a.order > b.order ? 1 : 0));
  for (let job = jobs.pop(); job; job = performance.now() < until ? jobs.pop() : undefined) job.run();
  if (jobs.length > 0) setTimeout(() => drain(LATER_MS));
  else isArmed = false;
}
