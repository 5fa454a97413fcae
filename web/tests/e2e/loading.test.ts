import type { Route } from '@playwright/test';
import { expect, test } from './fixtures';

/** Holds what a page asks for until it is let go. */
function gate() {
  let isOpen = false;
  const held: Route[] = [];
  return {
    hold: (route: Route) => (isOpen ? route.continue() : void held.push(route)),
    open: async () => {
      isOpen = true;
      await Promise.all(held.map((route) => route.continue()));
    },
  };
}

for (const [name, size] of [['a desk', { width: 1280, height: 800 }], ['a phone', { width: 390, height: 844 }]] as const) {
  test(`The frame of the page on ${name} is there before any script, in the chosen colours, and where the program will be`, async ({ page, parley }) => {
    await page.setViewportSize(size);
    await page.addInitScript(() => localStorage.setItem('parley.settings', '{"theme":"dark"}'));
    const scripts = gate();
    await page.route('**/assets/*.js', scripts.hold);
    await page.goto(parley.url, { waitUntil: 'commit' });
    const frame = page.locator('.frame');
    await expect(frame.locator('.composer')).toBeVisible();
    expect(await page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor)).toBe('rgb(20, 24, 23)');
    expect(await frame.locator('.sidebar').isVisible()).toBe(size.width > 767);
    const places = () => Promise.all(['.composer', '.welcome-in .mark'].map((part) => page.locator(part).boundingBox()));
    const before = await places();
    await scripts.open();
    await page.locator('.model').waitFor();
    await expect(frame).toHaveCount(0);
    for (const [n, place] of (await places()).entries()) {
      for (const side of ['x', 'y', 'width', 'height'] as const) expect(Math.abs(place![side] - before[n]![side])).toBeLessThanOrEqual(3);
    }
  });

  test(`Nothing moves on ${name} when the server has said which models there are`, async ({ page, parley }) => {
    await page.setViewportSize(size);
    const status = gate();
    await page.route('**/status', status.hold);
    await page.goto(parley.url);
    await page.locator('.composer textarea').waitFor();
    const parts = ['.welcome h1', '.composer', '.head > button >> nth=-1', '.chip >> nth=0'];
    const places = () => Promise.all(parts.map((part) => page.locator(part).boundingBox()));
    const before = await places();
    await status.open();
    await page.locator('.welcome .note').waitFor();
    expect(await places()).toEqual(before);
  });
}

test('With a chat in the address the box is at the bottom before any script; with a shared one there is no frame', async ({ page, parley }) => {
  await page.route('**/assets/*.js', gate().hold);
  await page.goto(`${parley.url}/#/c/some-chat`, { waitUntil: 'commit' });
  await expect(page.locator('.frame .composer')).toBeVisible();
  await expect(page.locator('.frame .welcome-in')).toBeHidden();
  expect((await page.locator('.frame .composer').boundingBox())!.y).toBeGreaterThan(650);
  await page.goto('about:blank');
  await page.goto(`${parley.url}/#/shared/some-link`, { waitUntil: 'commit' });
  await page.locator('.frame').waitFor({ state: 'attached' });
  await expect(page.locator('.frame .composer')).toBeHidden();
});

test('The program is not drawn before its styles are there', async ({ page, parley }) => {
  const styles = gate();
  await page.route('**/assets/index-*.css', styles.hold);
  const program = page.waitForResponse(/\/assets\/index-.*\.js$/);
  await page.goto(parley.url, { waitUntil: 'commit' });
  await (await program).finished();
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
  await expect(page.locator('.frame .composer')).toBeVisible();
  await styles.open();
  await page.locator('.model').waitFor();
});
