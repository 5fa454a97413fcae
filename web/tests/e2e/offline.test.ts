import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Page } from '@playwright/test';
import { startMock } from '../mock-server.mjs';
import { violations } from './axe';
import { expect, test } from './fixtures';

test.use({ serviceWorkers: 'allow' });

/** The worker is in charge and has all it keeps. */
const installed = (page: Page) =>
  page.waitForFunction(async () => {
    const { active } = await navigator.serviceWorker.ready;
    return active?.state === 'activated' && navigator.serviceWorker.controller !== null;
  });

/** All that this browser has in its databases, as text. */
const kept = (page: Page): Promise<string> =>
  page.evaluate(async () => {
    const names = (await indexedDB.databases()).map(({ name }) => name!);
    const rows = await Promise.all(
      names.map(
        (name) =>
          new Promise<unknown>((resolve) => {
            const request = indexedDB.open(name);
            request.onsuccess = () => {
              const db = request.result;
              db.onversionchange = () => db.close();
              if (db.objectStoreNames.length === 0) return resolve([]);
              const all = db.transaction('chats').objectStore('chats').getAll();
              all.onsuccess = () => (db.close(), resolve(all.result));
            };
          }),
      ),
    );
    return JSON.stringify(rows);
  });

test('the page can be installed', async ({ page, context, parley }) => {
  await parley.open();
  await installed(page);
  const cdp = await context.newCDPSession(page);

  expect((await cdp.send('Page.getAppManifest')).errors).toEqual([]);
  expect((await cdp.send('Page.getInstallabilityErrors')).installabilityErrors.filter(({ errorId }) => errorId !== 'in-incognito')).toEqual([]);
});

test('without a network the page opens, and the chats that were opened can be read', async ({ page, context, parley }) => {
  const chat = parley.mock.thread(2, 'The lamp is **lit**.');
  await parley.open(`/#/c/${chat.id}`);
  await expect(page.getByText('The lamp is lit.').last()).toBeVisible();
  await installed(page);
  await expect.poll(() => kept(page)).toContain('The lamp is');
  await context.setOffline(true);
  await page.reload();

  await expect(page.getByText('The lamp is lit.').last()).toBeVisible();
  await expect(page.locator('.row a')).toHaveCount(1);
  await expect(page.locator('.strip')).toContainText('You are offline');
  await expect(page.locator('.head')).not.toContainText('No model is connected');
  expect(await violations(page)).toEqual([]);
  await context.setOffline(false);
  await expect(page.locator('.row a')).toHaveCount(5);
  await expect(page.locator('.strip')).toHaveCount(0);
});

test('a first message without a network waits in its chat, over a reload and in another tab, and goes out once', async ({ page, context, parley }) => {
  await parley.open();
  await installed(page);
  await expect.poll(() => page.evaluate(() => localStorage.getItem('parley.reader'))).toBe('"local"');
  await context.setOffline(true);
  await parley.say('Tell me a story');
  await page.locator('.turn.user').waitFor();
  await page.reload();
  const note = page.locator('.turn.user .note');
  await expect(note).toContainText('Not sent yet');
  await expect(page.locator('.turn.user .bubble')).toHaveText('Tell me a story');
  await expect(parley.box).toHaveValue('');
  expect(await violations(page)).toEqual([]);

  const whole = 'Tell me a story\n\nAbout two lamps\n\nIn winter';
  const other = await context.newPage();
  await other.goto(parley.url);
  await other.getByRole('link', { name: 'Tell me a story' }).click();
  await expect(other.locator('.turn.user .note')).toContainText('Not sent yet');
  await parley.say('About two lamps');
  await expect(page.locator('.turn.user .bubble')).toHaveText(['Tell me a story\n\nAbout two lamps']);
  await page.reload();
  await other.locator('#composer').fill('In winter'); // where the second one is not on the screen
  await other.locator('#composer').press('Enter');
  await expect(other.locator('.turn.user .bubble')).toHaveText([whole]);
  await context.setOffline(false);

  await parley.finished();
  await expect(note).toHaveCount(0);
  await other.close();
  expect(new Set(parley.mock.bodies.flatMap((body) => body.message?.content ?? []))).toEqual(new Set([whole]));
  expect([...parley.mock.messages.values()].filter(({ role }) => role === 'user').length).toBe(1);
  expect(await page.evaluate(() => Object.keys(localStorage).filter((key) => key.includes('waiting')))).toEqual([]);
});

test('a message that waits is not shown to another reader, and not sent in their name', async ({ page, context, parley }) => {
  parley.mock.reader = 'ada';
  await parley.open();
  await installed(page);
  await expect.poll(() => page.evaluate(() => localStorage.getItem('parley.reader'))).toBe('"ada"');
  await context.setOffline(true);
  await parley.say('A secret of Ada');
  await page.locator('.turn.user').waitFor();
  parley.mock.reader = 'ben';
  const left = page.url();
  await page.goto('about:blank');
  await context.setOffline(false);
  await page.goto(left);

  await expect(page.getByText('This chat does not exist any more.')).toBeVisible();
  expect(await page.evaluate(() => JSON.stringify(localStorage))).not.toContain('secret');
  expect(JSON.stringify(parley.mock.bodies)).not.toContain('secret');
});

test('an answer that was written here can be read offline; one of a temporary chat is kept nowhere', async ({ page, parley }) => {
  await parley.open();
  await parley.say('Tell me a story');
  await parley.finished();
  await expect.poll(() => kept(page)).toContain('keep a light honest');
  await page.getByRole('button', { name: 'New chat' }).first().click();
  await page.getByRole('button', { name: 'Temporary chat' }).click();
  await parley.say('A secret story');
  await parley.finished();
  await page.reload();
  await page.locator('.turn.assistant').waitFor();

  expect(await kept(page)).not.toContain('A secret story');
});

test('signing out leaves nothing of a chat in the browser, and neither does another reader find any', async ({ page, parley }) => {
  parley.mock.token = 'secret';
  parley.mock.reader = 'ada';
  const chat = parley.mock.thread(1, 'For Ada alone.');
  const signIn = async () => {
    await page.getByLabel('Access token').fill('secret');
    await page.keyboard.press('Enter');
    await page.locator('.model').waitFor();
  };
  await page.goto(`${parley.url}/#/c/${chat.id}`);
  await signIn();
  await expect.poll(() => kept(page)).toContain('For Ada alone.');
  await parley.box.fill('A draft of Ada');

  // Her session ends, and somebody else sits down.
  parley.mock.reader = 'ben';
  await page.reload();
  await page.locator('.model').waitFor();
  await expect.poll(() => page.evaluate(() => localStorage.getItem('parley.reader'))).toBe('"ben"');
  await expect.poll(() => kept(page)).not.toContain('"owner":"ada"');
  expect(await page.evaluate(() => JSON.stringify(localStorage))).not.toContain('Ada');

  await expect.poll(() => kept(page)).toContain('"owner":"ben"');
  await page.evaluate(() => fetch('/session', { method: 'DELETE' }));
  await page.reload();
  await signIn();
  await page.keyboard.press('Control+,');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('Access token').waitFor();
  await expect.poll(() => kept(page)).toBe('[]');
});

test('the cache holds the program and nothing that was read', async ({ page, parley }) => {
  const chat = parley.mock.thread(1);
  await parley.open(`/#/c/${chat.id}`);
  await parley.answer.locator('.katex').first().waitFor();
  await installed(page);
  await page.reload();
  await parley.answer.locator('.katex').first().waitFor();
  const paths = await page.evaluate(async () => {
    const names = await caches.keys();
    const all = await Promise.all(names.map(async (name) => (await (await caches.open(name)).keys()).map(({ url }) => new URL(url).pathname)));
    return all.flat();
  });

  expect(paths).toContain('/');
  expect(paths.filter((path) => !/^\/(?:$|assets\/|early\.js$|icon\.svg$|app\.webmanifest$)/.test(path))).toEqual([]);
});

test('a newer version is offered, and comes when the reader says so', async ({ page }) => {
  const dist = await mkdtemp(join(tmpdir(), 'parley-dist-'));
  await cp(fileURLToPath(new URL('../../dist', import.meta.url)), dist, { recursive: true });
  const mock = await startMock({ dist });
  await page.goto(mock.url);
  await installed(page);
  await expect(page.locator('.strip')).toHaveCount(0);
  const script = await readFile(join(dist, 'sw.js'), 'utf8');
  await writeFile(join(dist, 'sw.js'), script.replace(/"version":"\w+"/, '"version":"newer"'));
  await rm(join(dist, 'sw.js.br')); // what it was, packed
  await page.evaluate(async () => void (await (await navigator.serviceWorker.ready).update()));
  await page.locator('#composer').fill('A draft');
  await page.getByRole('button', { name: 'Reload' }).click();

  await expect.poll(() => page.evaluate(() => caches.keys()).catch(() => [])).toEqual(['parley-shell-newer']);
  await expect(page.locator('.strip')).toHaveCount(0);
  await expect(page.locator('#composer')).toHaveValue('A draft');
  await mock.close();
  await rm(dist, { recursive: true });
});

test('what another app shares stands in the box of a new chat and is not sent', async ({ page, parley }) => {
  await parley.open('/?title=A+page&text=Worth+reading&url=https%3A%2F%2Fexample.com%2Fx');

  await expect(parley.box).toHaveValue('A page\nWorth reading\nhttps://example.com/x');
  expect(page.url()).toBe(`${parley.url}/`);
  await expect(page.locator('.turn')).toHaveCount(0);
});
