import { test as base, expect, type Page } from '@playwright/test';
import { startMock } from '../mock-server.mjs';

type Mock = Awaited<ReturnType<typeof startMock>>;

export interface Parley {
  mock: Mock['control'];
  url: string;
  open: (path?: string) => Promise<void>;
  say: (text: string) => Promise<void>;
  box: ReturnType<Page['locator']>;
  answer: ReturnType<Page['locator']>;
  /** Hosts that this test lets the page call. */
  mayCall: string[];
  /** What the page has done against its policy, or thrown: a test that means to must empty it. */
  faults: string[];
  /** Resolves when the newest answer is finished. */
  finished: () => Promise<void>;
}

export const test = base.extend<{ parley: Parley }, { server: Mock }>({
  server: [
    async ({}, use) => {
      const server = await startMock({ wakeMs: 2_000 });
      await use(server);
      await server.close();
    },
    { scope: 'worker' },
  ],

  /** Every test ends with the same three checks: no policy violation, no page error, no foreign host. */
  parley: async ({ page, server }, use) => {
    server.control.reset();
    server.control.seed(4);
    const foreign: string[] = [];
    const mayCall: string[] = [];
    const faults: string[] = [];
    page.on('request', (request) => {
      if (!request.url().startsWith(server.url) && !mayCall.includes(new URL(request.url()).host)) foreign.push(request.url());
    });
    page.on('pageerror', (error) => faults.push(error.message));
    page.on('console', (message) => {
      if (/Content Security Policy|TrustedHTML|Trusted Type/i.test(message.text())) faults.push(message.text());
    });
    await page.addInitScript(() => {
      addEventListener('securitypolicyviolation', (event) => console.error(`Content Security Policy: ${event.violatedDirective} ${event.blockedURI}`));
    });
    const box = page.locator('#composer');
    await use({
      mock: server.control,
      url: server.url,
      box,
      mayCall,
      faults,
      answer: page.locator('.turn.assistant').last(),
      open: async (path = '/') => {
        await page.goto(server.url + path);
        await page.locator('.model').waitFor();
      },
      say: async (text) => {
        await box.fill(text);
        await box.press('Enter');
      },
      finished: () => page.locator('.actions.shown').waitFor(),
    });
    expect(faults).toEqual([]);
    expect(foreign).toEqual([]);
    for (const run of server.control.runs.values()) run.stop = true;
  },
});

export { expect };
