import { violations } from './axe';
import { expect, test } from './fixtures';

test('footnotes lead to their text and back, by keyboard', async ({ page, parley }) => {
  await parley.open();
  await parley.say('All the marks');
  await parley.finished();
  const mark = page.getByRole('button', { name: 'Footnote 2', exact: true });
  await mark.press('Enter');

  const note = page.getByRole('group', { name: 'Footnotes' }).getByRole('listitem').nth(1);
  await expect(note).toBeFocused();
  await expect(note).toBeInViewport();
  await note.getByRole('button').press('Enter');
  await expect(mark).toBeFocused();
  expect(await violations(page)).toEqual([]);
});

test('a picture is asked for only when the reader allows its host, and from no other', async ({ page, parley }) => {
  const asked: string[] = [];
  await page.route('https://*.example/**', (route) => {
    asked.push(route.request().url());
    return route.fulfill({ contentType: 'image/svg+xml', body: '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"/>' });
  });
  parley.mayCall.push('pictures.example');
  await parley.open();
  await parley.say('All the marks');
  await parley.finished();
  expect(asked).toEqual([]);
  await page.getByRole('button', { name: 'Show images from pictures.example' }).click();

  const picture = page.getByRole('img', { name: 'The bay' });
  await expect.poll(() => picture.evaluate((node: HTMLImageElement) => node.naturalWidth)).toBe(40);
  expect(asked).toEqual(['https://pictures.example/bay.png']);
});

test('what no code of ours may load, the policy of the page does not let through', async ({ page, parley }) => {
  await page.route('https://*.example/**', (route) => route.fulfill({ contentType: 'image/svg+xml', body: '<svg xmlns="http://www.w3.org/2000/svg"/>' }));
  await page.addInitScript(() => localStorage.setItem('parley.pictures', '["allowed.example", "bad\'; img-src *"]'));
  parley.mayCall.push('allowed.example', 'other.example'); // also one that is refused is reported as asked for
  await parley.open();
  const loads = (host: string) =>
    page.evaluate(
      (src) =>
        new Promise<boolean>((resolve) => {
          const picture = new Image();
          picture.onload = () => resolve(true);
          picture.onerror = () => resolve(false);
          picture.src = src;
        }),
      `https://${host}/x.svg`,
    );

  expect(await loads('allowed.example')).toBe(true);
  expect(await loads('other.example')).toBe(false);
  expect(parley.faults.splice(0).join()).toContain('other.example');
});

test('ten thousand lines of code come without a freeze, open folded and copy whole', async ({ page, context, parley }) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  await parley.open();
  await parley.say('An endless listing');
  await parley.finished();
  await expect(page.locator('.folded')).toHaveCount(0);
  await page.reload();
  const unfold = page.getByRole('button', { name: 'Show all 10000 lines' });
  await unfold.waitFor();
  expect(await page.locator('pre').evaluate((node) => node.clientHeight)).toBeLessThan(500);
  await page.getByRole('button', { name: 'Copy', exact: true }).first().waitFor();
  await page.locator('[data-copy]').click();
  expect((await page.evaluate(() => navigator.clipboard.readText())).split('\n').length).toBe(10_000);
  await unfold.click();
  await expect.poll(() => page.locator('pre').evaluate((node) => node.clientHeight)).toBeGreaterThan(100_000);

  await page.locator('[data-wrap]').click();
  await expect(page.locator('[data-wrap]')).toHaveAttribute('aria-pressed', 'true');
});

test('nothing but tables and code scrolls sideways, at 320 pixels and at twice the type', async ({ page, parley }) => {
  await page.setViewportSize({ width: 320, height: 640 });
  await parley.open();
  await parley.say('All the marks');
  await parley.finished();
  const wide = () => page.evaluate(() => [document.documentElement, document.querySelector('.thread')!].map((node) => node.scrollWidth - node.clientWidth));
  expect(await wide()).toEqual([0, 0]);

  await page.evaluate(() => (document.documentElement.style.fontSize = '200%'));
  expect(await wide()).toEqual([0, 0]);
});
