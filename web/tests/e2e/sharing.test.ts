import { violations } from './axe';
import { expect, test } from './fixtures';

const file = (text: string, name = 'conversations.json') => ({ name, mimeType: 'application/json', buffer: Buffer.from(text) });

test('a chat is shared, read by a visitor who is not signed in, brought up to date and withdrawn', async ({ page, parley, browser }) => {
  await parley.open();
  await parley.say('A story about marks, please [1]');
  await parley.finished();
  await page.locator('.head').locator('[aria-haspopup="menu"]').last().click();
  await page.getByRole('menuitem', { name: 'Share…' }).click();
  const dialog = page.getByRole('dialog', { name: 'Share this chat' });
  await dialog.getByRole('button', { name: 'Create link' }).click();
  const url = await dialog.getByLabel('Link', { exact: true }).inputValue();
  expect(url).toMatch(/#\/shared\/link-/);

  parley.mock.token = 'secret of the house';
  const visitor = await (await browser.newContext({ viewport: { width: 390, height: 844 } })).newPage();
  await visitor.goto(url);
  await expect(visitor.locator('.turn.user .bubble')).toHaveText('A story about marks, please [1]');
  await expect(visitor.locator('.turn.assistant .prose')).toContainText('The tide follows the moon');
  await expect(visitor.locator('meta[name=robots]')).toHaveAttribute('content', 'noindex, nofollow');
  await expect(visitor.locator('#composer, .sidebar, .actions')).toHaveCount(0);
  const asked = parley.mock.requests.filter((line) => !line.includes(`/chat/`));
  expect(asked.at(-1)).toMatch(/^GET \/shared\//);
  parley.mock.token = null;

  await page.keyboard.press('Escape');
  await parley.say('And then?');
  await parley.finished();
  await page.locator('.head [aria-haspopup="menu"]').last().click();
  await page.getByRole('menuitem', { name: 'Share…' }).click();
  await visitor.reload();
  await expect(visitor.locator('.turn')).toHaveCount(2);
  await dialog.getByRole('button', { name: 'Show the newest state' }).click();
  await expect(dialog.getByRole('button', { name: 'Show the newest state' })).toHaveCount(0);
  await visitor.reload();
  await expect(visitor.locator('.turn')).toHaveCount(4);

  await dialog.getByRole('button', { name: 'Withdraw link' }).click();
  await dialog.getByRole('button', { name: 'Withdraw', exact: true }).click();
  await expect(dialog.getByRole('button', { name: 'Create link' })).toBeVisible();
  await visitor.reload();
  await expect(visitor.getByText('Nothing is shared here')).toBeVisible();
  await visitor.context().close();
});

test('chats are imported from a file, and what failed is listed', async ({ page, parley }) => {
  await parley.open();
  const open = async () => {
    await page.getByRole('button', { name: 'Settings', exact: true }).click();
    await page.getByRole('button', { name: 'Import chats' }).click();
  };
  await open();
  const dialog = page.getByRole('dialog', { name: 'Import chats' });
  await dialog.locator('input[type=file]').setInputFiles(file('Bees\nWasps\nTrip to Kyoto in spring\nbad: Round and round'));
  await expect(dialog.getByText('2 chats imported')).toBeVisible();
  await expect(dialog.getByText('4 messages · 1 chat was here already')).toBeVisible();
  await expect(dialog.getByText('1 chat could not be imported')).toBeVisible();
  await expect(dialog.getByRole('listitem')).toHaveText(['Round and roundits messages go round in a circle']);
  await dialog.getByRole('button', { name: 'Done' }).click();
  await expect(page.locator('.row', { hasText: 'Wasps' })).toBeVisible();

  await open();
  await dialog.locator('input[type=file]').setInputFiles(file('Hornets\nwait\nnever'));
  await expect(dialog.getByRole('status')).toHaveText('1 chat');
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  await expect(dialog.getByRole('alert')).toHaveText('Cancelled. The chats that were read by then are here.');
  await dialog.locator('input[type=file]').setInputFiles(file('broken'));
  await expect(dialog.getByText('The file is damaged.')).toBeVisible();
});

test('no accessibility violations: import, share, the list of links, the page of visitors', async ({ page, parley }) => {
  await parley.open();
  await parley.say('A story of a lighthouse');
  await parley.finished();
  for (const scheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.locator('.head [aria-haspopup="menu"]').last().click();
    await page.getByRole('menuitem', { name: 'Share…' }).click();
    const make = page.getByRole('button', { name: 'Create link' });
    await make.or(page.getByRole('button', { name: 'Copy link' })).waitFor();
    if (await make.isVisible()) await make.click();
    await page.getByRole('button', { name: 'Copy link' }).waitFor();
    expect(await violations(page)).toEqual([]);
    await page.keyboard.press('Escape');
    for (const name of ['Shared links', 'Import chats']) {
      await page.getByRole('button', { name: 'Settings', exact: true }).click();
      await page.getByRole('button', { name }).click();
      await page.getByRole('dialog', { name }).waitFor();
      expect(await violations(page)).toEqual([]);
      await page.keyboard.press('Escape');
    }
  }
  const share = [...parley.mock.shares.values()][0]!;
  await page.goto(`${parley.url}/#/shared/${share.id}`);
  await page.locator('.shared .turn.assistant').waitFor();
  expect(await violations(page)).toEqual([]);
});
