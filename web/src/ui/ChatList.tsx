/** The list of chats. However long it is, only the rows in view are drawn. */

import type { VNode } from 'preact';
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { loadChats } from '../chats';
import { DayLabels } from '../lib/format';
import { locale, t } from '../lib/i18n';
import { isComposing } from '../lib/keys';
import { between, layOut, reveal, type Group, type Layout, type Sizes } from '../lib/lines';
import { pick, picked, pickTo, stopPicking } from '../lib/selection';
import { settings } from '../lib/settings';
import { list, openId } from '../store';
import type { Chat } from '../wire';
import { remove, Row, type RowProps } from './ChatRow';
import { problemText } from './Notices';
import { focus, go } from './view';

/** Drawn beyond both edges, so that a quick scroll shows no holes. */
const SPARE_PX = 400;
/** So near to the end the next page is asked for. */
const NEAR_PX = 1_200;

const labels = new DayLabels();

function grouped(chats: readonly Chat[], query: string): Group<Chat>[] {
  const words = t.value;
  if (query) return chats.length > 0 ? [{ label: words.results, rows: chats }] : [];
  const pinned = chats.filter((chat) => chat.pinned);
  const groups: { label: string; rows: Chat[] }[] = pinned.length > 0 ? [{ label: words.pinned, rows: pinned }] : [];
  labels.begin(new Date(), locale.value);
  for (const chat of chats) {
    if (chat.pinned) continue;
    const group = labels.of(chat.updated_at);
    const label = group.kind === 'month' ? group.label : words[group.kind];
    const last = groups.at(-1);
    if (last && last.label === label) last.rows.push(chat);
    else groups.push({ label, rows: [chat] });
  }
  return groups;
}

/** The measures of the tokens, in pixels: text size and density change them. */
function sizesNow(): Sizes {
  const style = getComputedStyle(document.documentElement);
  const rem = Number.parseFloat(style.fontSize);
  const px = (token: string) => Math.round(Number.parseFloat(style.getPropertyValue(token)) * rem);
  return { head: px('--row-head'), row: px('--row'), tall: px('--row-tall') };
}

function useSizes(): Sizes {
  const [sizes, setSizes] = useState(sizesNow);
  const { density } = settings.value;
  useLayoutEffect(() => {
    const measure = () => setSizes((old) => {
      const now = sizesNow();
      return old.head === now.head && old.row === now.row && old.tall === now.tall ? old : now;
    });
    measure();
    addEventListener('resize', measure);
    return () => removeEventListener('resize', measure);
  }, [density]);
  return sizes;
}

const isFound = (chat: Chat): boolean => chat.match?.snippet != null;

export function ChatList() {
  const { chats, query, state, hasMore, problem } = list.value;
  const sizes = useSizes();
  const lang = locale.value;
  const today = new Date().toDateString();
  const layout = useMemo(() => layOut(grouped(chats, query), sizes, isFound), [chats, query, sizes, lang, today]);
  const ids = useMemo(() => layout.lines.map(({ row }) => row.id), [layout]);
  const scroller = useRef<HTMLElement>(null);
  const [view, setView] = useState({ top: 0, height: 1_200 });
  const looked = () => {
    if (!scroller.current) return;
    const { scrollTop, clientHeight } = scroller.current;
    // Fewer drawings than scroll events: what is spare lasts for a while.
    const top = Math.floor(scrollTop / (SPARE_PX / 2)) * (SPARE_PX / 2);
    setView((old) => (old.top === top && old.height === clientHeight ? old : { top, height: clientHeight }));
  };
  useLayoutEffect(looked, [layout]);
  useEffect(() => {
    const watcher = new ResizeObserver(looked);
    watcher.observe(scroller.current!);
    return () => watcher.disconnect();
  }, []);
  // Another question begins at its first answer.
  useLayoutEffect(() => void (scroller.current!.scrollTop = 0), [query]);

  const isNear = layout.height - view.top - view.height < NEAR_PX;
  useEffect(() => {
    if (hasMore && isNear && state === 'ready') void loadChats(undefined, true);
  }, [hasMore, isNear, state, chats]);

  const keys = useKeys(layout, ids, scroller);
  const rowOf = useRows(ids, keys.rename);
  const [from, to] = between(layout.lines, view.top - SPARE_PX, view.top + view.height + SPARE_PX * 1.5);
  const drawn = Array.from({ length: to - from }, (_, n) => from + n);
  // The one row that the Tab key finds is always there.
  const stopAt = keys.stop === null ? -1 : ids.indexOf(keys.stop);
  // In its order: a row that is moved in the page loses the focus.
  if (stopAt >= to) drawn.push(stopAt);
  else if (stopAt >= 0 && stopAt < from) drawn.unshift(stopAt);
  const isSearching = query !== '' && chats.length === 0 && state !== 'failed' && (hasMore || state !== 'ready');
  return (
    <nav
      ref={scroller}
      class="chat-list"
      aria-label={query ? t.value.results : t.value.chats}
      tabIndex={-1}
      onScroll={looked}
      onKeyDown={keys.pressed}
    >
      <div class="rows" style={{ height: `${layout.height}px` }}>
        {layout.sections.map((section) => {
          const own = drawn.filter((index) => index >= section.first && index < section.first + section.size);
          if (own.length === 0) return null;
          return (
            <section key={section.label}>
              <h2 style={{ top: `${section.top}px`, height: `${sizes.head}px` }}>{section.label}</h2>
              <ul>
                {own.map((index) => {
                  const { row, top, height } = layout.lines[index]!;
                  return rowOf({
                    chat: row,
                    top,
                    height,
                    place: index - section.first + 1,
                    // Of the last group nobody knows yet how long it is.
                    size: hasMore && section === layout.sections.at(-1) ? -1 : section.size,
                    isStop: index === stopAt,
                    isRenaming: row.id === keys.renaming,
                  });
                })}
              </ul>
            </section>
          );
        })}
      </div>
      {chats.length === 0 && state === 'ready' && !hasMore && <p class="side-note">{query ? t.value.noResults(query) : t.value.noChats}</p>}
      {chats.length === 0 && !query && (state === 'loading' || state === 'idle') && <Skeleton />}
      {isSearching && <p class="side-note">{t.value.searching}</p>}
      {state === 'failed' && (
        <div class="side-note">
          <p>{problem && problemText(problem)}</p>
          <button type="button" class="text-button" onClick={() => void loadChats(undefined, chats.length > 0)}>{t.value.retry}</button>
        </div>
      )}
      <p class="sr-only" role="status">{query && state === 'ready' ? t.value.foundChats(`${chats.length}${hasMore ? '+' : ''}`) : ''}</p>
    </nav>
  );
}

const Skeleton = () => (
  <div class="skeleton" aria-label={t.value.loadingChats} role="img">
    {[72, 54, 83, 61, 47].map((width) => (
      <span key={width} style={{ width: `${width}%` }} />
    ))}
  </div>
);

type Shown = Omit<RowProps, 'rename' | 'pick'>;

/** The rows as they were drawn: what has not changed is not even looked at again while one scrolls. */
function useRows(ids: readonly string[], rename: (id: string | null) => void): (shown: Shown) => VNode {
  const latest = useRef({ ids, rename });
  latest.current = { ids, rename };
  const [rows] = useState(() => ({
    drawn: new Map<string, { shown: Shown; row: VNode }>(),
    rename: (id: string | null) => latest.current.rename(id),
    pick: (id: string, isStretch: boolean) => pick(id, latest.current.ids, isStretch),
  }));
  return (shown) => {
    const old = rows.drawn.get(shown.chat.id);
    if (old && (Object.keys(shown) as (keyof Shown)[]).every((name) => old.shown[name] === shown[name])) return old.row;
    const row = <Row key={shown.chat.id} {...shown} rename={rows.rename} pick={rows.pick} />;
    if (rows.drawn.size > KEPT_ROWS) rows.drawn.clear();
    rows.drawn.set(shown.chat.id, { shown, row });
    return row;
  };
}
const KEPT_ROWS = 300;

/** One stop for the Tab key; the arrows move among the rows. */
function useKeys(layout: Layout<Chat>, ids: readonly string[], scroller: { current: HTMLElement | null }) {
  const [at, setAt] = useState<string | null>(null);
  const [, setAsked] = useState(0);
  const [renaming, setRenaming] = useState<string | null>(null);
  const wanted = useRef<string | null>(null);
  const has = (id: string | null): id is string => id !== null && ids.includes(id);
  const stop = has(at) ? at : has(openId.value) ? openId.value : (ids[0] ?? null);

  const moveTo = (index: number) => {
    const line = layout.lines[Math.max(0, Math.min(index, ids.length - 1))];
    const node = scroller.current;
    if (!line || !node) return null;
    const to = reveal(line, node.scrollTop, node.clientHeight, layout.sections[0] ? layout.lines[0]!.top : 0);
    if (to !== null) node.scrollTop = to;
    wanted.current = line.row.id;
    setAt(line.row.id);
    setAsked((n) => n + 1); // also when it is the row one was at before
    return line.row.id;
  };
  // The row may only be drawn now.
  useLayoutEffect(() => {
    if (wanted.current === null) return;
    const row = scroller.current?.querySelector<HTMLElement>(`[data-chat="${CSS.escape(wanted.current)}"] [data-row]`);
    if (!row) return;
    wanted.current = null;
    row.focus({ preventScroll: true });
  });
  useEffect(() => {
    focus.list = () => void moveTo(0);
    focus.row = (id) => {
      wanted.current = id;
      setAt(id);
      setAsked((n) => n + 1);
    };
  });
  const isPicking = picked.value !== null;
  const wasPicking = useRef(isPicking);
  useLayoutEffect(() => {
    // A row in the hand is a box to tick, not a link: the focus follows.
    if (wasPicking.current !== isPicking && (document.activeElement === document.body || scroller.current?.contains(document.activeElement))) {
      if (stop !== null) scroller.current?.querySelector<HTMLElement>(`[data-chat="${CSS.escape(stop)}"] [data-row]`)?.focus({ preventScroll: true });
    }
    wasPicking.current = isPicking;
  }, [isPicking]);

  const rename = (id: string | null) => {
    if (id === null && renaming !== null) wanted.current = renaming;
    setRenaming(id);
  };

  const pressed = (event: KeyboardEvent) => {
    const row = (event.target as Element).closest<HTMLElement>('[data-chat]');
    const index = row ? ids.indexOf(row.dataset.chat!) : -1;
    if (isComposing(event) || index < 0 || event.altKey || event.ctrlKey || event.metaKey || (event.target as Element).closest('.menu')) return;
    const line = layout.lines[index]!;
    const page = Math.max(1, Math.floor(scroller.current!.clientHeight / line.height) - 1);
    const steps: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    const step = steps[event.key];
    if (step !== undefined) {
      if (index + step < 0 && event.key === 'ArrowUp') focus.search();
      else {
        const id = moveTo(index + step);
        if (event.shiftKey && id !== null && event.key.startsWith('Arrow')) pickTo(line.row.id, id, ids);
      }
    } else if (event.key === 'F2') rename(line.row.id);
    else if (event.key === 'Delete' && picked.peek() === null) {
      remove(line.row);
      wanted.current = ids[index + 1] ?? ids[index - 1] ?? null;
      setAt(wanted.current);
    } else if (event.key === 'ContextMenu' || (event.key === 'F10' && event.shiftKey)) row!.querySelector<HTMLElement>('.row-menu')?.click();
    else if (event.key === 'Escape' && picked.peek() !== null) stopPicking();
    else if (event.key === 'Enter' && picked.peek() !== null) go.chat(line.row.id);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return { stop, pressed, renaming, rename };
}
