/** Every command and every chat, by a few letters. A combobox: the focus stays in the box, the arrows move the choice. */

import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { api } from '../api';
import { words } from '../i18n/palette';
import { ranked } from '../lib/fuzzy';
import { t } from '../lib/i18n';
import { isComposing } from '../lib/keys';
import { noticed } from '../noticed';
import { list } from '../store';
import '../style/palette.css';
import type { Chat } from '../wire';
import { commands } from './commands';
import * as icons from './icons';
import { dialog, go } from './view';

interface Option {
  key: string;
  pieces: readonly string[];
  snippet?: readonly string[];
  keys?: readonly string[];
  run: () => void;
}

const PAUSE_MS = 160;
const LEAST = 2;
const RECENT = 6;
const FOUND = 20;
const COMMANDS = 8;

/** What the server has found for these words: also in messages, and beyond what the list has read. */
function useFound(query: string): { found: readonly Chat[]; isAsking: boolean } {
  const [answer, setAnswer] = useState<{ query: string; found: readonly Chat[] }>({ query: '', found: [] });
  const wanted = query.trim().length >= LEAST ? query.trim() : '';
  useEffect(() => {
    if (wanted === '') return;
    const mine = new AbortController();
    const timer = setTimeout(() => {
      api.chats({ limit: FOUND, q: wanted }, mine.signal).then(
        ({ data }) => setAnswer({ query: wanted, found: data }),
        (error) => {
          if (mine.signal.aborted) return;
          noticed(error);
          setAnswer({ query: wanted, found: [] });
        },
      );
    }, PAUSE_MS);
    return () => {
      clearTimeout(timer);
      mine.abort();
    };
  }, [wanted]);
  return { found: answer.query === wanted ? answer.found : [], isAsking: wanted !== '' && answer.query !== wanted };
}

function chatOptions(query: string, found: readonly Chat[]): Option[] {
  const untitled = t.value.untitled;
  const known = query ? ranked(query, list.value.chats, ({ title }) => title ?? untitled).slice(0, FOUND) : [];
  const named = known.map(({ one, pieces }): Option => ({ key: one.id, pieces, run: () => go.chat(one.id) }));
  const ids = new Set(known.map(({ one }) => one.id));
  const more = found
    .filter(({ id }) => !ids.has(id))
    .map(({ id, title, match }): Option => ({
      key: id,
      pieces: match?.title ?? [title ?? untitled],
      snippet: match?.snippet ?? undefined,
      run: () => go.found(id, match?.message_id ?? null),
    }));
  return [...named, ...more];
}

export function Palette() {
  const w = words.value;
  const node = useRef<HTMLDialogElement>(null);
  const results = useRef<HTMLDivElement>(null);
  const [query, setQuery] = useState('');
  const [at, setAt] = useState(0);
  const { found, isAsking } = useFound(query);
  const all = useMemo(commands, []);
  useLayoutEffect(() => node.current?.showModal(), []);

  const actions = ranked(query, all, ({ label }) => label)
    .slice(0, query ? COMMANDS : all.length)
    .map(({ one, pieces }): Option => ({ key: `do ${one.id}`, pieces, keys: one.keys, run: one.run }));
  const recent = (): Option[] => list.value.chats.slice(0, RECENT).map(({ id, title }) => ({ key: id, pieces: [title ?? t.value.untitled], run: () => go.chat(id) }));
  const groups = [
    { label: w.actions, options: actions },
    { label: query ? w.chats : w.recent, options: query ? chatOptions(query, found) : recent() },
  ].filter(({ options }) => options.length > 0);
  if (!query) groups.reverse();
  const options = groups.flatMap((group) => group.options);
  const chosen = Math.min(at, options.length - 1);

  useLayoutEffect(() => results.current?.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: 'nearest' }), [chosen, query]);

  const run = (option: Option | undefined) => {
    if (!option) return;
    // Closed first: what it opens is then on top, and the focus is where it was.
    node.current?.close();
    dialog.value = null;
    option.run();
  };
  const pressed = (event: KeyboardEvent) => {
    if (event.key === 'Escape') return event.stopPropagation();
    if (isComposing(event)) return;
    const last = options.length - 1;
    const to =
      event.key === 'ArrowDown' ? (chosen >= last ? 0 : chosen + 1)
      : event.key === 'ArrowUp' ? (chosen <= 0 ? last : chosen - 1)
      : event.key === 'PageDown' ? Math.min(last, chosen + 8)
      : event.key === 'PageUp' ? Math.max(0, chosen - 8)
      : null;
    if (event.key === 'Enter') run(options[chosen]);
    else if (to !== null) setAt(to);
    else return;
    event.preventDefault();
  };
  let n = -1;
  return (
    <dialog
      ref={node}
      class="dialog palette"
      aria-label={w.title}
      onClose={() => dialog.peek() === 'palette' && (dialog.value = null)}
      onKeyDown={pressed}
      onPointerDown={(event) => event.target === node.current && node.current?.close()}
    >
      <div class="palette-in">
        <div class="palette-box">
          <icons.Search />
          <input
            type="text"
            role="combobox"
            autofocus
            value={query}
            placeholder={w.hint}
            aria-label={w.hint}
            aria-expanded={options.length > 0}
            aria-controls="palette-list"
            aria-autocomplete="list"
            aria-activedescendant={options.length > 0 ? `palette-${chosen}` : undefined}
            autocomplete="off"
            autocapitalize="off"
            spellcheck={false}
            enterkeyhint="go"
            onInput={(event) => {
              setQuery(event.currentTarget.value);
              setAt(0);
            }}
          />
        </div>
        <div class="palette-list" id="palette-list" role="listbox" aria-label={w.title} ref={results}>
          {groups.map((group) => (
            <div key={group.label} role="group" aria-label={group.label}>
              <p class="palette-group" aria-hidden="true">{group.label}</p>
              {group.options.map((option) => {
                const mine = ++n;
                return (
                  <div
                    key={option.key}
                    id={`palette-${mine}`}
                    role="option"
                    aria-selected={mine === chosen}
                    class="palette-option"
                    onPointerMove={() => setAt(mine)}
                    onClick={() => run(option)}
                  >
                    <span class="palette-text">
                      <span dir="auto"><Marked pieces={option.pieces} /></span>
                      {option.snippet && <span class="palette-snippet" dir="auto"><Marked pieces={option.snippet} /></span>}
                    </span>
                    {option.keys && <span class="palette-keys" aria-hidden="true">{option.keys.map((key) => <kbd key={key}>{key}</kbd>)}</span>}
                  </div>
                );
              })}
            </div>
          ))}
        </div>
        {options.length === 0 && !isAsking && <p class="palette-none">{w.none(query.trim())}</p>}
        <p class={isAsking ? 'palette-none' : 'sr-only'} role="status">{isAsking ? w.searching : w.count(options.length)}</p>
      </div>
    </dialog>
  );
}

const Marked = ({ pieces }: { pieces: readonly string[] }) => <>{pieces.map((piece, n) => (n % 2 ? <mark key={n}>{piece}</mark> : piece))}</>;
