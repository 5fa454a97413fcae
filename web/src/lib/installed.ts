/** The service worker, from the page's side: it is installed when the page has nothing better to do, and updated. */

interface Policies {
  createPolicy: (name: string, rules: { createScriptURL: () => string }) => { createScriptURL: (url: string) => string };
}

const SCRIPT = '/sw.js';
const HOUR_MS = 3_600_000;

/** `ready` is called when a newer version waits, with what lets it in: the page is then loaded anew. */
export async function install(ready: (reload: () => void) => void): Promise<void> {
  const { serviceWorker } = navigator;
  if (!serviceWorker) return;
  const { trustedTypes } = window as { trustedTypes?: Policies };
  // The one policy that our content policy knows, and it can say one thing only.
  const url = trustedTypes?.createPolicy('sw', { createScriptURL: () => SCRIPT }).createScriptURL(SCRIPT) ?? SCRIPT;
  const registration = await serviceWorker.register(url, { updateViaCache: 'none' });

  const offer = (worker: ServiceWorker | null) => {
    // The first one ever is no news.
    if (!worker || !serviceWorker.controller) return;
    ready(() => {
      serviceWorker.addEventListener('controllerchange', () => location.reload(), { once: true });
      worker.postMessage('take over');
    });
  };
  offer(registration.waiting);
  registration.addEventListener('updatefound', () => {
    const { installing } = registration;
    installing?.addEventListener('statechange', () => installing.state === 'installed' && offer(installing));
  });

  let asked = Date.now();
  document.addEventListener('visibilitychange', () => {
    if (document.hidden || Date.now() - asked < HOUR_MS) return;
    asked = Date.now();
    registration.update().catch(() => {
      // Offline, or the server is away: it is asked again another time.
    });
  });
}
