import { readFile } from 'node:fs/promises';
import { expect, test } from './fixtures';


test('of many chats only those in view are drawn, and scrolling brings all of them', async ({ page, parley }) => {
  parley.mock.seed(240);
  await parley.open();
  const rows = page.locator('.row');
  await expect(rows.first()).toBeVisible();
  expect(await rows.count()).toBeLessThan(45);
  const list = page.locator('.chat-list');
  const last = [...parley.mock.chats.values()].at(-1)!.title!;
  await expect(async () => {
    await list.evaluate((node) => node.scrollTo(0, node.scrollHeight));
    await expect(page.locator('.row', { hasText: last })).toBeVisible({ timeout: 300 });
  }).toPass();
  expect(await rows.count()).toBeLessThan(45);
});

test('what was found is marked, and opening it goes to the message', async ({ page, parley }) => {
  const chat = parley.mock.thread(30, 'An answer of some length.\n\n'.repeat(4));
  const early = [...parley.mock.messages.values()].find((message) => message.role === 'assistant')!;
  early.content = `${'Before it. '.repeat(20)}The pangolin is shy. ${'After it. '.repeat(20)}`;
  await parley.open();

  await page.getByLabel('Search chats').fill('PANGO');
  const row = page.locator('.row');
  await expect(row).toHaveCount(1);
  await expect(row.locator('.row-snippet mark')).toHaveText('pango');
  await row.getByRole('link').click();

  await expect(page).toHaveURL(new RegExp(`#/c/${chat.id}/${early.id}$`));
  await expect(page.locator('.turn.sought')).toContainText('The pangolin is shy.');
  await expect(page.locator('.turn.sought')).toBeInViewport();
  await expect(page.locator('.turn.sought')).toBeFocused();
  expect(await page.evaluate(() => [...CSS.highlights.get('sought')!].map(String))).toEqual(['pango']);
});

test('a hit on another branch and on an older page is found too', async ({ page, parley }) => {
  const chat = parley.mock.thread(120, 'Short.');
  const user = [...parley.mock.messages.values()].find(({ role }) => role === 'user')!;
  const other = { ...structuredClone([...parley.mock.messages.values()].find(({ role }) => role === 'assistant')!), content: 'A quokka, on the other branch.' };
  other.id = user.id.slice(0, -1) + (user.id.endsWith('f') ? 'e' : 'f');
  Object.assign(other, { parent_id: user.id });
  parley.mock.messages.set(other.id, other);
  await parley.open();

  await page.getByLabel('Search chats').fill('quokka');
  await page.locator('.row a', { hasText: 'A quokka' }).click();

  await expect(page).toHaveURL(new RegExp(chat.id));
  await expect(page.locator('.turn.sought')).toContainText('A quokka');
  await expect(page.locator('.turn.sought')).toBeInViewport();
});

test('a search that finds nothing says so, one that fails offers to try again', async ({ page, parley }) => {
  await parley.open();
  await page.getByLabel('Search chats').fill('zzz');
  await expect(page.getByText('Nothing found for “zzz”.')).toBeVisible();
  parley.mock.refuse = { n: 1, match: /GET \/chats/, status: 500, code: 'internal', message: 'The database is away.' };
  await page.getByLabel('Search chats').fill('kyoto');
  await expect(page.locator('.side-note')).toContainText('The database is away.');
  await page.locator('.side-note').getByRole('button', { name: 'Try again' }).click();
  await expect(page.locator('.row mark')).toHaveText('Kyoto');
});

test('the arrows walk through the list; F2 renames, Delete deletes, Shift+F10 opens the menu', async ({ page, parley }) => {
  parley.mock.seed(120);
  await parley.open();
  const rows = page.locator('.row');
  await page.getByLabel('Search chats').focus();
  await page.keyboard.press('ArrowDown');
  const first = rows.first().getByRole('link');
  await expect(first).toBeFocused();
  await page.keyboard.press('ArrowUp');
  await expect(page.getByLabel('Search chats')).toBeFocused();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('End');
  await expect(page.locator('.row a:focus')).toBeInViewport();
  await page.keyboard.press('Home');
  await expect(first).toBeFocused();

  await page.keyboard.press('F2');
  await page.keyboard.type('A new name');
  await page.keyboard.press('Enter');
  const renamed = page.locator('.row', { hasText: 'A new name' });
  await expect(renamed.getByRole('link')).toBeFocused();
  await page.keyboard.press('Shift+F10');
  await expect(page.getByRole('menuitem', { name: 'Rename' })).toBeFocused();
  await page.keyboard.press('Escape');
  await expect(renamed.getByRole('button')).toBeFocused();
  await renamed.getByRole('link').focus();
  await page.keyboard.press('Delete');
  await expect(renamed).toHaveCount(0);
  await expect(page.locator('.row a:focus')).toHaveCount(1);
  await page.getByRole('button', { name: 'Undo' }).click();
  await expect(renamed).toHaveCount(1);
});

test('several chats are picked and deleted together, and brought back', async ({ page, parley }) => {
  parley.mock.seed(12);
  await parley.open();
  const rows = page.locator('.row');
  const before = await rows.count();
  await rows.nth(1).getByRole('link').click({ modifiers: ['ControlOrMeta'] });
  await expect(rows.nth(1).getByRole('checkbox')).toBeChecked();
  await rows.nth(4).locator('label').click({ modifiers: ['Shift'] });
  for (const n of [1, 2, 3, 4]) await expect(rows.nth(n).getByRole('checkbox')).toBeChecked();
  await rows.nth(2).locator('label').click();
  await expect(rows.nth(2).getByRole('checkbox')).not.toBeChecked();
  const bar = page.getByRole('toolbar', { name: 'Picked chats' });
  await expect(bar).toContainText('3 picked');

  await bar.getByRole('button', { name: 'Delete' }).click();
  await expect(rows).toHaveCount(before - 3);
  await expect(bar).toHaveCount(0);
  await page.getByRole('button', { name: 'Undo' }).click();
  await expect(rows).toHaveCount(before);
  expect(parley.mock.requests.filter((line) => line.startsWith('DELETE'))).toEqual([]);
});

test('a chat deleted as the page closed is gone for good, also where the browser drops the request', async ({ page, context, parley }) => {
  await page.addInitScript(() => {
    const send = window.fetch;
    window.fetch = (to, init) => (init?.method === 'DELETE' ? new Promise(() => {}) : send(to, init));
  });
  await parley.open();
  await page.locator('.row').first().getByRole('link').focus();
  await page.keyboard.press('Delete');
  await expect(page.locator('.row')).toHaveCount(3);
  const opened = await context.newPage();
  await page.close();
  expect(parley.mock.chats.size).toBe(4);

  await opened.goto(parley.url);
  await expect(opened.locator('.row')).toHaveCount(3);
  await expect.poll(() => parley.mock.chats.size, { timeout: 15_000 }).toBe(3);
});

test('what is undone in one tab is not deleted by another that was opened meanwhile', async ({ page, context, parley }) => {
  await page.clock.install();
  await parley.open();
  await page.locator('.row').first().getByRole('link').focus();
  await page.keyboard.press('Delete');
  await expect(page.locator('.row')).toHaveCount(3);
  const other = await context.newPage();
  await other.clock.install();
  await other.goto(parley.url);
  await expect(other.locator('.row')).toHaveCount(3);
  await other.reload();
  await expect(other.locator('.row')).toHaveCount(3);
  await page.getByRole('button', { name: 'Undo' }).click();
  await other.clock.runFor(10_000);
  expect(parley.mock.requests.filter((line) => line.startsWith('DELETE'))).toEqual([]);
  await expect(other.locator('.row')).toHaveCount(4);
});

test('several chats are picked with the keyboard, archived, and brought back', async ({ page, parley }) => {
  await parley.open();
  await page.getByLabel('Search chats').focus();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Shift+ArrowDown');
  await expect(page.getByRole('toolbar', { name: 'Picked chats' })).toContainText('2 picked');
  await expect(page.locator('.row input:focus')).toHaveCount(1);
  await page.getByRole('toolbar').getByRole('button', { name: 'Archive' }).click();
  await expect(page.locator('.row')).toHaveCount(2);
  await expect.poll(() => [...parley.mock.chats.values()].filter(({ archived }) => archived)).toHaveLength(2);
  await page.getByRole('button', { name: 'Undo' }).click();
  await expect(page.locator('.row')).toHaveCount(4);
  expect([...parley.mock.chats.values()].filter(({ archived }) => archived)).toHaveLength(0);
});

test('picked chats are exported as one file, and as none when one cannot be read', async ({ page, parley }) => {
  parley.mock.thread(2, 'Said.');
  await parley.open();
  const rows = page.locator('.row');
  await rows.nth(0).hover();
  await rows.nth(0).getByRole('button').click();
  await page.getByRole('menuitem', { name: 'Select' }).click();
  const bar = page.getByRole('toolbar', { name: 'Picked chats' });
  await bar.getByRole('button', { name: 'Pick all shown' }).click();
  await expect(bar).toContainText('5 picked');

  const download = page.waitForEvent('download');
  await bar.getByRole('button', { name: 'Export as JSON' }).click();
  const file = JSON.parse(await readFile(await (await download).path(), 'utf8'));
  expect(file.format).toBe('parley.export.v1');
  expect(file.chats.map(({ chat }: { chat: { id: string } }) => chat.id).sort()).toEqual([...parley.mock.chats.keys()].sort());
  expect(file.chats.flatMap(({ messages }: { messages: unknown[] }) => messages)).toHaveLength(4);

  parley.mock.refuse = { n: 1, match: /GET .*export/, status: 500, code: 'internal' };
  await bar.getByRole('button', { name: 'Export as JSON' }).click();
  await expect(page.getByText('1 chat could not be read')).toBeVisible();
  await page.keyboard.press('Escape');
  await expect(bar).toHaveCount(0);
});

test('the sidebar is closed and stays closed', async ({ page, parley }) => {
  await parley.open();
  await page.keyboard.press('Control+Shift+S');
  await expect(page.locator('.sidebar')).not.toBeInViewport();
  await page.reload();
  await expect(page.getByRole('button', { name: 'Show sidebar' })).toBeVisible();
  await expect(page.locator('.sidebar')).not.toBeInViewport();
});

test('compact rows are closer together', async ({ page, parley }) => {
  await parley.open();
  const height = async () => (await page.locator('.row').first().boundingBox())!.height;
  const before = await height();
  await page.keyboard.press('Control+k');
  await page.getByRole('combobox').fill('compact');
  await page.keyboard.press('Enter');
  await expect.poll(height).toBeLessThan(before - 4);
  await page.reload();
  await expect.poll(height).toBeLessThan(before - 4);
});

test.describe('on a phone', () => {
  test.use({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });

  test('a finger opens the drawer and closes it; one that scrolls code does not', async ({ page, parley }) => {
    parley.mock.thread(1, `A line.\n\n\`\`\`text\n${'wide '.repeat(80)}\n\`\`\`\n`);
    await parley.open(`/#/c/${[...parley.mock.chats.keys()].at(-1)}`);
    const client = await page.context().newCDPSession(page);
    const swipe = async (x1: number, x2: number, y: number, dy = 0) => {
      await client.send('Input.dispatchTouchEvent', { type: 'touchStart', touchPoints: [{ x: x1, y }] });
      for (let n = 1; n <= 8; n++) {
        await client.send('Input.dispatchTouchEvent', { type: 'touchMove', touchPoints: [{ x: x1 + ((x2 - x1) * n) / 8, y: y + (dy * n) / 8 }] });
      }
      await client.send('Input.dispatchTouchEvent', { type: 'touchEnd', touchPoints: [] });
    };
    const side = page.locator('.sidebar');
    const code = (await page.locator('pre').boundingBox())!;
    await swipe(330, 60, code.y + code.height / 2);
    await expect.poll(() => page.locator('pre').evaluate((node) => node.scrollLeft)).toBeGreaterThan(100);
    await swipe(60, 140, code.y + code.height / 2);
    await expect(side).not.toBeInViewport();
    await swipe(60, 330, 500, 400);
    await expect(side).not.toBeInViewport();
    await swipe(60, 330, 620);
    await expect(side).toBeInViewport();
    await swipe(300, 20, 500);
    await expect(side).not.toBeInViewport();
  });

  test('a long press picks a chat', async ({ page, parley }) => {
    await parley.open();
    await page.getByRole('button', { name: 'Show sidebar' }).tap();
    const client = await page.context().newCDPSession(page);
    const box = (await page.locator('.row').nth(1).getByRole('link').boundingBox())!;
    await client.send('Input.dispatchTouchEvent', { type: 'touchStart', touchPoints: [{ x: box.x + 60, y: box.y + 20 }] });
    await expect(page.getByRole('toolbar', { name: 'Picked chats' })).toContainText('1 picked');
    await client.send('Input.dispatchTouchEvent', { type: 'touchEnd', touchPoints: [] });
    await expect(page.locator('.row').nth(1).getByRole('checkbox')).toBeChecked();
    await page.locator('.row').nth(2).tap();
    await expect(page.getByRole('toolbar', { name: 'Picked chats' })).toContainText('2 picked');
    await expect(page).not.toHaveURL(/#\/c\//);
  });
});
