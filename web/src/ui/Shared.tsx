/** What others see of a chat that was shared: a page of its own, without signing in and without anything to do. */

import { render } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { ApiError, json, part } from '../api';
import { words } from '../i18n/share';
import { dayOf } from '../lib/format';
import { locale, t } from '../lib/i18n';
import type { Shown } from '../share';
import '../style/share.css';
import { Answer, parser } from './Answer';
import * as icons from './icons';
import { Note } from './Notices';

type Loaded = Shown | 'loading' | 'gone' | 'unreachable';

function Shared({ id }: { id: string }) {
  const [shown, setShown] = useState<Loaded>('loading');
  const load = () => {
    setShown('loading');
    json<Shown>('GET', `/shared/${part(id)}`).then(setShown, (error: unknown) => {
      const isGone = error instanceof ApiError && (error.status === 404 || error.status === 400);
      setShown(isGone ? 'gone' : 'unreachable');
    });
  };
  useEffect(load, [id]);
  const w = words.value;
  const title = typeof shown === 'string' ? w.page : (shown.title ?? t.value.untitled);
  useEffect(() => {
    document.title = `${title} · ${t.value.name}`;
  }, [title, t.value]);
  return (
    <div class="shared">
      <header class="shared-head">
        <a class="brand" href="/" aria-label={w.own}>
          <icons.Mark size={26} />
          <span class="word">{t.value.name}</span>
        </a>
        <span class="quiet small">{w.page}</span>
      </header>
      <main class="column" onClick={(event) => parser.peek()?.pressed(event, t.peek())}>
        {shown === 'loading' && <p class="quiet" role="status">{w.pageLoading}</p>}
        {shown === 'gone' && <Note tone="info" title={w.gone}><p>{w.goneNote}</p></Note>}
        {shown === 'unreachable' && <Note tone="error" title={w.unreachable} actions={<button type="button" class="note-button" onClick={load}>{w.retry}</button>} />}
        {typeof shown !== 'string' && <Chat shown={shown} title={title} />}
      </main>
      {typeof shown !== 'string' && <footer class="column quiet small">{w.note}</footer>}
    </div>
  );
}

function Chat({ shown, title }: { shown: Shown; title: string }) {
  const w = words.value;
  return (
    <>
      <h1 dir="auto">{title}</h1>
      <p class="quiet small">
        {[w.sharedOn(dayOf(shown.created_at, locale.value)), shown.model && w.by(shown.model)].filter(Boolean).join(' · ')}
      </p>
      {shown.messages.map(({ role, content, citations }, n) =>
        role === 'user' ? (
          <article key={n} class="turn user">
            <h2 class="sr-only">{w.you}</h2>
            <div class="bubble" dir="auto">{content}</div>
          </article>
        ) : (
          <article key={n} class="turn assistant">
            <h2 class="sr-only">{w.answer}</h2>
            <Answer key={locale.value} id={String(n)} content={content} isLive={false} citations={undefined} />
            <Titles titles={citations} text={content} />
          </article>
        ),
      )}
    </>
  );
}

/** The titles that the numbers in the text stand for, where it names them. */
function Titles({ titles, text }: { titles: readonly string[]; text: string }) {
  const named = titles.map((title, at) => ({ title, index: at + 1 })).filter(({ title, index }) => title !== '' && text.includes(`[${index}]`));
  if (named.length === 0) return null;
  return (
    <section class="shared-sources" aria-label={words.value.sources}>
      <ol>
        {named.map(({ title, index }) => <li key={index} value={index} dir="auto">{title}</li>)}
      </ol>
    </section>
  );
}

/** Instead of the app: nothing of a session is loaded. Search engines are asked to stay away. */
export function show(root: Element, id: string): void {
  const robots = document.createElement('meta');
  robots.name = 'robots';
  robots.content = 'noindex, nofollow';
  document.head.append(robots);
  render(<Shared id={id} />, root);
}
