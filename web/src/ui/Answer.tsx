/** The text of an answer: drawn by our own writer into a node that Preact leaves alone. */

import { effect, signal } from '@preact/signals';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { prefersLessMotion } from '../lib/keys';
import { soon } from '../lib/slices';
import type { Prose } from '../markdown/prose';
import { Reveal } from '../markdown/reveal';
import { runText } from '../store';
import type { Citation } from '../wire';

/** The parser is a quarter of all our code and nobody needs it before the first answer: it comes right after the page. */
export const parser = signal<typeof import('./writer') | null>(null);
import('./writer').then(
  (module) => (parser.value = module),
  () => {
    // Plain text is shown instead, which is what Markdown was made for.
  },
);

const clock = {
  now: () => performance.now(),
  // A page in the background gets no frames, but its answer must be whole when the reader comes back.
  frame: (job: () => void) => {
    if (document.hidden) setTimeout(job, 100);
    else requestAnimationFrame(job);
  },
};

interface Props {
  id: string;
  content: string;
  isLive: boolean;
  citations: readonly Citation[] | undefined;
}

export function Answer({ id, content, isLive, citations }: Props) {
  const root = useRef<HTMLDivElement>(null);
  const prose = useRef<Prose>(undefined);
  const reveal = useRef<Reveal>(undefined);
  const latest = useRef(content);
  latest.current = content;
  const passages = useRef<ReadonlySet<number>>(new Set());
  passages.current = new Set(citations?.map(({ index }) => index));

  const module = parser.value;
  useLayoutEffect(() => {
    if (module === null) return;
    prose.current = module.writer(root.current!, () => passages.current);
    return () => (prose.current = undefined);
  }, [module]);

  useLayoutEffect(() => {
    if (!isLive || module === null) return;
    const smooth = new Reveal(
      (text) => prose.current?.write(text),
      () => prose.current?.finish(latest.current),
      clock,
      () => !prefersLessMotion() && !document.hidden,
    );
    reveal.current = smooth;
    const stop = effect(() => smooth.push(runText.value));
    return () => {
      stop();
      smooth.finish();
    };
  }, [isLive, module]);

  useLayoutEffect(() => {
    if (isLive) return;
    if (reveal.current) {
      // It was written here a moment ago: the last words come at their own pace, then the stored text takes over.
      reveal.current = undefined;
      return;
    }
    const node = root.current!;
    if (node.childNodes.length === 0) {
      node.textContent = content;
      node.classList.add('raw');
    }
    if (module === null) return;
    return soon(id, () => {
      if (node.classList.contains('raw')) {
        node.textContent = '';
        node.classList.remove('raw');
      }
      prose.current?.finish(content);
    });
  }, [isLive, content, module]);

  return <div class="prose" dir="auto" ref={root} />;
}
