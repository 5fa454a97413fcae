/**
 * The service worker: it keeps the program at hand, and nothing else.
 *
 * Only files of the build are ever in its cache: the page, the scripts and styles with a hash in their name, the icons.
 * It answers no request of the API, so nothing private passes through it; chats that can be read offline are kept by
 * `lib/offline.ts`, for one reader, in the page's own database.
 */

/** Put in by the build: what there is, and a name that changes with any of it. */
declare const __SHELL__: { version: string; files: string[] };

const worker = self as unknown as ServiceWorkerGlobalScope;
const { version, files } = __SHELL__;
const PREFIX = 'parley-shell-';
const CACHE = PREFIX + version;
const PAGE = '/';
/** A page that was seen before opens from here when the network takes longer. */
const PATIENCE_MS = 3_000;

/** Static routes are not in every browser, nor in the types. */
type Routing = ExtendableEvent & { addRoutes?: (rule: object) => Promise<void> };

const fresh = (path: string): Request => new Request(path, { cache: 'no-cache', credentials: 'same-origin' });

async function fill(): Promise<void> {
  const cache = await caches.open(CACHE);
  await cache.addAll(files.map(fresh));
}

async function forgetOthers(): Promise<void> {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name.startsWith(PREFIX) && name !== CACHE).map((name) => caches.delete(name)));
}

/** The newest page there is; the kept one when no good answer comes in time. */
async function page(request: Request): Promise<Response> {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(PAGE);
  const late = new Promise<null>((resolve) => setTimeout(() => resolve(null), PATIENCE_MS));
  const coming = fetch(request).catch(() => null);
  const answer = kept ? await Promise.race([coming, late]) : await coming;
  if (answer && (answer.status < 500 || !kept)) return answer;
  return kept ?? Response.error();
}

/** A name with a hash is the same file for ever. */
async function file(request: Request): Promise<Response> {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(request, { ignoreVary: true });
  if (kept) return kept;
  const answer = await fetch(request);
  if (answer.ok && answer.type === 'basic' && new URL(request.url).pathname.startsWith('/assets/')) await cache.put(request, answer.clone());
  return answer;
}

worker.addEventListener('install', (event) => {
  // What changes something is none of the worker's business, and a request that outlives its page cannot wait for one.
  (event as Routing).addRoutes?.({ condition: { not: { requestMethod: 'GET' } }, source: 'network' }).catch(() => {});
  event.waitUntil(fill());
});
worker.addEventListener('activate', (event) => event.waitUntil(forgetOthers().then(() => worker.clients.claim())));
worker.addEventListener('message', ({ data }) => data === 'take over' && void worker.skipWaiting());
worker.addEventListener('fetch', (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== 'GET' || origin !== worker.location.origin) return;
  if (request.mode === 'navigate') {
    if (pathname === PAGE) event.respondWith(page(request));
  } else if (pathname.startsWith('/assets/') || (pathname !== PAGE && files.includes(pathname))) event.respondWith(file(request));
});
