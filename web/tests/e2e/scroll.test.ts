import type { Page } from '@playwright/test';
import { expect, test } from './fixtures';

const fromEnd = (page: Page) => page.locator('.thread').evaluate((node) => Math.round(node.scrollHeight - node.clientHeight - node.scrollTop));
/** Where the reader's eye is: the first question and its place on the screen. */
const eye = (page: Page) => page.locator('.turn.user').first().evaluate((node) => Math.round(node.getBoundingClientRect().top));

test('neither the end of an answer nor a smaller window moves a reader who scrolled up', async ({ page, parley }) => {
  await parley.open();
  await parley.say('A long answer');
  await expect.poll(() => page.locator('.thread').evaluate((node) => node.scrollHeight - node.clientHeight)).toBeGreaterThan(300);
  await page.locator('.thread').hover();
  await page.mouse.wheel(0, -5_000);
  await expect(page.getByRole('button', { name: 'Jump to the latest' })).toBeVisible();
  const before = await eye(page);
  await parley.finished();
  await page.locator('.katex-display').first().waitFor();

  expect(await eye(page)).toBe(before);
  await page.setViewportSize({ width: 1280, height: 520 });
  expect(await eye(page)).toBe(before);
});

test('the end stays in view when the keyboard of a phone opens, the page turns and formulas arrive', async ({ page, parley }) => {
  await parley.open();
  await parley.say('A long answer');
  await parley.finished();
  for (const [width, height] of [[1280, 420], [600, 800], [390, 844], [390, 440]] as const) {
    await page.setViewportSize({ width, height });
    await expect.poll(() => fromEnd(page)).toBeLessThan(5);
  }
  await page.reload();
  await page.locator('.katex-display').first().waitFor();
  await expect.poll(() => fromEnd(page)).toBeLessThan(5);
});

test('a picture that arrives late pushes nothing out of view', async ({ page, parley }) => {
  let arrive: () => void = () => {};
  const wait = new Promise<void>((resolve) => (arrive = resolve));
  await page.route('https://pictures.example/**', async (route) => {
    await wait;
    await route.fulfill({ contentType: 'image/svg+xml', body: '<svg xmlns="http://www.w3.org/2000/svg" width="300" height="400"/>' });
  });
  await page.addInitScript(() => localStorage.setItem('parley.pictures', '["pictures.example"]'));
  parley.mayCall.push('pictures.example');
  await parley.open();
  await parley.say('All the marks');
  await parley.finished();
  await page.locator('.thread').evaluate((node) => node.scrollTo(0, 0));
  await expect(page.getByRole('button', { name: 'Jump to the latest' })).toBeVisible();
  await page.locator('.thread').evaluate((node) => node.scrollTo(0, node.scrollHeight));
  await expect(page.getByRole('button', { name: 'Jump to the latest' })).toHaveCount(0);
  arrive();

  await expect.poll(() => page.getByRole('img', { name: 'The bay' }).evaluate((node) => node.clientHeight)).toBe(400);
  await expect.poll(() => fromEnd(page)).toBeLessThan(5);
});

test('the back button goes from chat to chat, and a run goes on in the one that was left', async ({ page, parley }) => {
  await parley.open();
  await parley.say('A slow story');
  await expect(parley.answer.locator('.prose')).toContainText('Once');
  const first = page.url();
  await page.locator('.row a', { hasText: 'Trip to Kyoto' }).click();
  await expect(page.locator('.turn')).toHaveCount(0);
  await page.goBack();

  expect(page.url()).toBe(first);
  await expect(parley.answer.locator('.prose')).toContainText('Once');
  await expect(parley.answer).toHaveAttribute('aria-busy', 'true');
  await page.keyboard.press('Escape');
  await parley.finished();
});

test('another device sees the answer grow, and both end with the same', async ({ page, browser, parley }) => {
  await parley.open();
  await parley.say('A slow story');
  await expect(parley.answer.locator('.prose')).toContainText('Once');
  const phone = await (await browser.newContext({ viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true })).newPage();
  await phone.goto(page.url());
  await expect(phone.locator('.turn.assistant .prose')).toContainText('Once');
  await phone.getByRole('button', { name: 'Stop' }).tap();
  await parley.finished();
  await phone.locator('.actions.shown').waitFor();

  expect(await phone.locator('.turn.assistant .prose').textContent()).toBe(await parley.answer.locator('.prose').textContent());
  await phone.context().close();
});
