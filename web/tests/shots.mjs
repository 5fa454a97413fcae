/** Pictures of every state, for human eyes: `node tests/shots.mjs <folder> [name…]`. Needs a build. */

import { mkdirSync } from 'node:fs';
import { chromium } from '@playwright/test';
import { startMock } from './mock-server.mjs';

const [folder = 'shots', ...wanted] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });

const mock = await startMock({ seed: 14, wakeMs: 9_000 });
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] });

const say = async (page, text) => {
  await page.locator('#composer').fill(text);
  await page.keyboard.press('Enter');
};
const done = (page) => page.locator('.actions.shown').waitFor({ timeout: 20_000 });

async function openUsage(page) {
  if (page.viewportSize().width < 768) await page.getByRole('button', { name: 'Show sidebar' }).click();
  await page.getByRole('button', { name: 'Usage' }).click();
  await page.locator('.usage .tiles, .usage-none-title').first().waitFor();
  await page.waitForTimeout(500);
}

const STATES = {
  empty: async () => {},
  streaming: async (page) => {
    await say(page, 'A long answer about binary search, please');
    await page.waitForTimeout(900);
  },
  waking: async (page) => {
    await say(page, 'Please wake up and say hello');
    await page.waitForTimeout(5_000);
  },
  late: async (page) => {
    await say(page, 'held back');
    await page.locator('.turn.live[data-id]').waitFor();
    mock.control.tell({ phase: 'loading', elapsed_ms: 2_000, eta_p50_ms: 36_000, eta_p90_ms: 68_000 });
    mock.control.tell({ phase: 'loading', elapsed_ms: 45_000, eta_p50_ms: 0, eta_p90_ms: 25_000 });
    await page.locator('.waking').waitFor();
    await page.waitForTimeout(500);
  },
  queued: async (page) => {
    await say(page, 'held back');
    await page.locator('.turn.live[data-id]').waitFor();
    mock.control.tell({ phase: 'queued', elapsed_ms: 6_500, position: 3 });
    await page.locator('.waking').waitFor();
    await page.waitForTimeout(500);
  },
  cost: async (page) => {
    await say(page, 'A story of a rented lighthouse');
    await done(page);
    await page.locator('.facts summary').click();
    await page.waitForTimeout(300);
  },
  fallback: async (page) => {
    await page.locator('.model').click();
    await page.getByRole('menuitemradio', { name: /Qwen3/ }).click();
    await say(page, 'A story by the fallback');
    await done(page);
  },
  usage: async (page) => {
    mock.control.spend(26);
    await openUsage(page);
    mock.control.usage = [];
  },
  'usage-empty': async (page) => openUsage(page),
  long: async (page) => {
    await say(page, 'A long answer about binary search, please');
    await done(page);
    await page.waitForTimeout(500);
    await page.locator('.thread').evaluate((node) => node.scrollTo(0, 0));
  },
  'long-end': async (page) => {
    await say(page, 'A long answer about binary search, please');
    await done(page);
    await page.waitForTimeout(500);
  },
  error: async (page) => {
    await say(page, 'Please fail halfway');
    await page.locator('.note.error').waitFor();
    await page.waitForTimeout(300);
  },
  unsent: async (page) => {
    mock.control.refuse = { n: 9, match: /completion/, status: 429, code: 'rate_limited', message: 'Too many messages in a minute.', headers: { 'retry-after': '20' } };
    await say(page, 'Hello there, is anybody home?');
    await page.locator('.note.error').waitFor();
    mock.control.refuse = null;
  },
  guard: async (page) => {
    await say(page, 'Mask the office address');
    await done(page);
    await say(page, 'Please block AKIAIOSFODNN7EXAMPLE');
    await page.waitForTimeout(700);
  },
  feedback: async (page) => {
    await say(page, 'Tell me a story');
    await done(page);
    await page.getByRole('button', { name: 'Bad answer' }).click();
    await page.getByRole('radio', { name: 'Not what I asked' }).check();
    await page.locator('.feedback textarea').fill('I asked for a poem.');
    await page.locator('.feedback').scrollIntoViewIfNeeded();
    await page.waitForTimeout(300);
  },
  appeal: async (page) => {
    await say(page, 'Mask the office address');
    await done(page);
    await page.locator('.verdict summary').click();
    await page.getByRole('button', { name: 'This was wrong' }).click();
    await page.locator('.appealed').filter({ hasText: 'wrong' }).waitFor();
    await page.waitForTimeout(300);
  },
  withdrawn: async (page) => {
    await say(page, 'Please withdraw this');
    await done(page);
    await page.waitForTimeout(300);
  },
  'chinese-feedback': async (page) => {
    await page.evaluate(() => localStorage.setItem('parley.settings', '{"lang":"zh"}'));
    await page.reload();
    await say(page, '请 withdraw');
    await done(page);
    await say(page, '你好，你是谁？');
    await page.locator('.thumb.down').waitFor();
    await page.locator('.thumb.down').click();
    await page.waitForTimeout(500);
  },
  chinese: async (page) => {
    await page.evaluate(() => localStorage.setItem('parley.settings', '{"lang":"zh"}'));
    await page.reload();
    await say(page, '你好，你是谁？');
    await done(page);
  },
  'chinese-empty': async (page) => {
    await page.evaluate(() => localStorage.setItem('parley.settings', '{"lang":"zh"}'));
    await page.reload();
    await page.waitForTimeout(300);
  },
  branch: async (page) => {
    await say(page, 'Tell me a story');
    await done(page);
    await page.locator('.turn.assistant').hover();
    await page.locator('.turn.assistant .actions .icon-button').last().click();
    await page.waitForTimeout(200);
    await done(page);
    await page.locator('.facts summary').click();
    await page.locator('.turn.user').hover();
  },
  edit: async (page) => {
    await say(page, 'Tell me a story');
    await done(page);
    await page.locator('.turn.user').hover();
    await page.locator('.turn.user .actions .icon-button').last().click();
  },
  collapsed: async (page) => {
    await say(page, 'Tell me a story');
    await done(page);
    if (page.viewportSize().width < 768) return;
    await page.keyboard.press('Control+Shift+S');
    await page.waitForTimeout(500);
    await page.locator('.head .icon-button').first().hover();
    await page.waitForTimeout(700);
  },
  toast: async (page) => {
    if (page.viewportSize().width < 768) return;
    await page.locator('.row').nth(2).hover();
    await page.locator('.row-menu').nth(2).click();
    await page.getByRole('menuitem', { name: 'Delete' }).click();
    await page.locator('.toast').waitFor();
    await page.waitForTimeout(400);
  },
  models: async (page) => {
    const qwen = mock.control.models[1];
    mock.control.models.push(
      { ...qwen, id: 'big', name: 'Qwen3 32B', state: 'warming', eta_p50_ms: 12_400, gpu: 'H100', usd_per_hour: 3.95, nodes: 2 },
      { ...qwen, id: 'awake', name: 'Llama 8B', state: 'warm', since_ms: 750_000 },
      { ...qwen, id: 'away', name: 'Mistral on the desk', state: 'unreachable', gpu: '', usd_per_hour: 0 },
    );
    await page.reload();
    await page.locator('.model').click();
    await page.waitForTimeout(300);
    mock.control.models.length = 2;
  },
  settings: async (page) => {
    await page.keyboard.press('Control+,');
  },
  help: async (page) => {
    await page.keyboard.press('Control+/');
  },
  offline: async (page) => {
    await say(page, 'A slow story');
    await page.waitForTimeout(1500);
    await page.context().setOffline(true);
    mock.control.cutAll();
    await page.waitForTimeout(400);
  },
  drawer: async (page) => {
    if (page.viewportSize().width < 768) await page.locator('.head .icon-button').first().click();
    else await page.locator('.row').nth(2).hover();
    if (page.viewportSize().width >= 768) await page.locator('.row-menu').nth(2).click();
    await page.waitForTimeout(400);
  },
  'sign-in': async (page) => {
    mock.control.token = 'secret';
    await page.reload();
    await page.waitForTimeout(300);
    mock.control.token = null;
  },
};

const KINDS = [
  ['desktop-light', { viewport: { width: 1280, height: 800 }, colorScheme: 'light' }],
  ['desktop-dark', { viewport: { width: 1280, height: 800 }, colorScheme: 'dark' }],
  ['phone-light', { viewport: { width: 390, height: 844 }, colorScheme: 'light', hasTouch: true, isMobile: true, deviceScaleFactor: 2 }],
  ['small-light', { viewport: { width: 320, height: 568 }, colorScheme: 'light', hasTouch: true, isMobile: true, deviceScaleFactor: 2 }],
  ['tablet-light', { viewport: { width: 820, height: 1180 }, colorScheme: 'light' }],
  ['phone-dark', { viewport: { width: 390, height: 844 }, colorScheme: 'dark', hasTouch: true, isMobile: true, deviceScaleFactor: 2 }],
];

for (const [name, state] of Object.entries(STATES)) {
  for (const [kind, options] of KINDS) {
    if (wanted.length > 0 && !wanted.some((word) => `${name}-${kind}`.startsWith(word) || `${kind}`.startsWith(word))) continue;
    const context = await browser.newContext({ locale: 'en-GB', ...options });
    const page = await context.newPage();
    const problems = [];
    page.on('pageerror', (error) => problems.push(error.message));
    page.on('console', (message) => message.type() === 'error' && problems.push(message.text()));
    // Enter makes a new line on touch; the pictures need the message sent.
    if (options.hasTouch) await page.addInitScript(() => addEventListener('keydown', (event) => {
      if (event.key !== 'Enter') return;
      event.preventDefault();
      document.querySelector('.composer').requestSubmit();
    }, true));
    await page.goto(mock.url);
    await page.locator('.model').waitFor();
    try {
      await state(page);
    } catch (error) {
      problems.push(String(error).slice(0, 300));
    }
    await page.screenshot({ path: `${folder}/${name}-${kind}.png` });
    if (problems.length > 0) console.log(`${name}-${kind}:`, problems.slice(0, 4));
    await context.close();
    for (const run of mock.control.runs.values()) run.stop = true;
    mock.control.refuse = null;
  }
}
await browser.close();
await mock.close();
