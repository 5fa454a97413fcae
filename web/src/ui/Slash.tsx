/** The templates that fit what is typed after `/`. The focus stays in the message box. */

import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { words } from '../i18n/templates';
import { ranked } from '../lib/fuzzy';
import { isComposing } from '../lib/keys';
import '../style/attached.css';
import { loadTemplates, templates, type Template } from '../templates';
import { dialog } from './view';

interface Props {
  query: string;
  /** Takes the keys of the message box while this is open: true when one was meant for it. */
  listen: (pressed: ((event: KeyboardEvent) => boolean) | null) => void;
  choose: (text: string) => void;
  /** Which option a screen reader is to say. */
  point: (id: string | null) => void;
  close: () => void;
}

export const LIST_ID = 'slash-list';

export function Slash({ query, listen, choose, point, close }: Props) {
  const w = words.value;
  const list = useRef<HTMLDivElement>(null);
  const [at, setAt] = useState(0);
  useEffect(() => void (templates.peek() === null && loadTemplates()), []);
  const found = ranked(query, templates.value ?? [], ({ name }) => name);
  const options: ({ id: string; pieces: readonly string[]; text: string; run: () => void })[] = [
    ...found.map(({ one, pieces }: { one: Template; pieces: readonly string[] }) => ({ id: one.id, pieces, text: one.text, run: () => choose(one.text) })),
    ...(query === '' || found.length > 0 ? [{ id: 'manage', pieces: [w.manage], text: '', run: () => { close(); dialog.value = 'templates'; } }] : []),
  ];
  const chosen = Math.min(at, options.length - 1);
  useEffect(() => setAt(0), [query]);
  useLayoutEffect(() => {
    point(chosen >= 0 ? `slash-${chosen}` : null);
    list.current?.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: 'nearest' });
    listen((event) => {
      if (isComposing(event) || event.ctrlKey || event.metaKey || event.altKey) return false;
      if (event.key === 'Escape') close();
      // Nothing fits: what was typed is a message like any other.
      else if (options.length === 0) return false;
      else if (event.key === 'ArrowDown') setAt((chosen + 1) % options.length);
      else if (event.key === 'ArrowUp') setAt((chosen - 1 + options.length) % options.length);
      else if (event.key === 'Enter' || (event.key === 'Tab' && !event.shiftKey)) options[chosen]!.run();
      else return false;
      event.preventDefault();
      event.stopPropagation();
      return true;
    });
  });
  useEffect(() => () => (listen(null), point(null)), []);
  if (templates.value === null) return null;
  return (
    <div class="slash">
      {found.length === 0 && query !== '' && <p class="slash-none">{w.nothing}</p>}
      <div role="listbox" id={LIST_ID} aria-label={w.list} ref={list}>
        {options.map(({ id, pieces, text, run }, n) => (
          <div
            key={id}
            id={`slash-${n}`}
            role="option"
            aria-selected={n === chosen}
            class="slash-option"
            // The box keeps the focus.
            onPointerDown={(event) => event.preventDefault()}
            onPointerMove={() => setAt(n)}
            onClick={run}
          >
            <span dir="auto">{pieces.map((piece, m) => (m % 2 ? <mark key={m}>{piece}</mark> : piece))}</span>
            {text && <span class="slash-text" dir="auto">{text}</span>}
          </div>
        ))}
      </div>
      <p class="sr-only" role="status">{w.found(found.length)}</p>
    </div>
  );
}
