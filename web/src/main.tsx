import { effect } from '@preact/signals';
import { render } from 'preact';
import { cameBack, listenToTabs, openChat, setOnline, start, stop } from './actions';
import { shortcutOf } from './lib/keys';
import { applySettings, settings } from './lib/settings';
import { takeShared } from './lib/sharing';
import { newVersion } from './lib/version';
import { warm } from './markdown/paint';
import './style/app.css';
import './style/prose.css';
import { watchModels } from './models';
import { isRunning, openId, session } from './store';
import { App } from './ui/App';
import { keepFocus } from './ui/heir';
import { followPlace, keepAddress } from './ui/places';
import { dialog, focus, go, isDrawerOpen, isPhone, showSidebar, toggleSidebar } from './ui/view';

/** The address is `#/c/<chat>`, or `#/c/<chat>/<message>`: a static host needs no rules for it. */
const inAddress = (): string[] => /^#\/c\/([\w-]{1,64})(?:\/([\w-]{1,64}))?$/.exec(location.hash)?.slice(1) ?? [];

function route(): void {
  if (followPlace()) return;
  const [id = null, messageId] = inAddress();
  if (id !== openId.peek()) void openChat(id);
  if (id !== null && messageId) void import('./lib/seek').then(({ seek }) => seek(id, messageId));
}

function pressed(event: KeyboardEvent): void {
  // The palette is on its way before its letter is: what is typed next is meant for it.
  if (event.key === 'Control' || event.key === 'Meta') void import('./ui/Palette').catch(() => {});
  const shortcut = shortcutOf(event, settings.peek().singleKeys);
  if (shortcut === null || session.peek() === 'out' || document.querySelector('dialog[open]')) return;
  if (shortcut === 'stop') {
    if (isDrawerOpen.peek()) isDrawerOpen.value = false;
    else if (isRunning.peek() && !event.defaultPrevented) stop(openId.peek()!);
    return;
  }
  event.preventDefault();
  if (shortcut === 'newChat') go.newChat();
  else if (shortcut === 'composer') focus.composer();
  else if (shortcut === 'sidebar') toggleSidebar();
  else if (shortcut === 'search') {
    showSidebar();
    requestAnimationFrame(() => focus.search());
  } else dialog.value = shortcut;
}

applySettings();
addEventListener('hashchange', route);
addEventListener('keydown', pressed);
addEventListener('online', () => setOnline(true));
addEventListener('offline', () => setOnline(false));
for (const kind of ['pointerdown', 'keydown'] as const) addEventListener(kind, warm, { once: true, passive: true });
let leftAt = 0;
document.addEventListener('visibilitychange', () => {
  if (document.hidden) leftAt = Date.now();
  else cameBack(Date.now() - leftAt);
});

/** A chat that somebody shares is a page of its own, for readers who need not sign in. */
const sharedInAddress = (): string | null => /^#\/shared\/([\w-]{1,64})$/.exec(location.hash)?.[1] ?? null;
const sharedAtFirst = sharedInAddress();
addEventListener('hashchange', () => {
  if (sharedInAddress() !== sharedAtFirst) location.reload();
});

/** An invitation or a refusal: for who is not signed in. */
const isOutside = (hash: string): boolean => /^#\/(?:join\/[\w-]+|refused(?:\?.*)?)$/.test(hash);
addEventListener('hashchange', () => {
  if (isOutside(location.hash)) location.reload();
});

takeShared();
effect(() => {
  if (isPhone.value) void import('./ui/swipe').then(({ listen }) => listen());
});
setOnline(navigator.onLine);
listenToTabs();
keepFocus();
const root = document.getElementById('app')!;
/** In place of the frame that the page came with. */
const cleared = (): HTMLElement => {
  root.replaceChildren();
  return root;
};
if (isOutside(location.hash)) void import('./ui/Outside').then(({ show }) => show(cleared(), location.hash));
else if (sharedAtFirst !== null) void import('./ui/Shared').then(({ show }) => show(cleared(), sharedAtFirst));
else {
  render(<App />, cleared());
  void start();
  watchModels(() => !document.hidden);
  route();
  keepAddress();
}

/**
 * The styles come at the end of the page, so that its frame need not wait for them. Those of a page that is opened later
 * are to win over them, so they move up to where they would have stood.
 */
function settleStyles(): void {
  const late = document.querySelector<HTMLLinkElement>('body > link[rel=stylesheet]');
  const first = document.head.querySelector('link[rel=stylesheet]');
  if (!late || !first) return;
  const copy = late.cloneNode() as HTMLLinkElement;
  copy.onload = () => late.remove();
  first.after(copy);
}
settleStyles();

/** Last of all, so that it takes nothing from the first answer. */
function installLater(): void {
  const job = () =>
    import('./lib/installed').then(({ install }) => install((reload) => (newVersion.value = reload))).catch(() => {
      // Without it the page is only a page.
    });
  if ('requestIdleCallback' in window) requestIdleCallback(job, { timeout: 10_000 });
  else setTimeout(job, 2_000);
}
if (import.meta.env.PROD) addEventListener('load', installLater);
