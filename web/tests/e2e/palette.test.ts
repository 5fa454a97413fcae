import { expect, test } from './fixtures';

test('the palette runs a command by a few letters, with the keyboard alone', async ({ page, parley }) => {
  await parley.open();
  await parley.box.fill('a draft');
  await page.keyboard.press('Control+k');
  const box = page.getByRole('combobox', { name: 'Type a command or the name of a chat' });
  await expect(box).toBeFocused();
  await expect(page.getByRole('group', { name: 'Recent chats' }).getByRole('option')).toHaveCount(4);

  await page.keyboard.type('tdark');
  const option = page.getByRole('option', { name: /Theme: Dark/ });
  await expect(option).toHaveAttribute('aria-selected', 'true');
  expect(await box.getAttribute('aria-activedescendant')).toBe(await option.getAttribute('id'));
  await page.keyboard.press('Enter');
  await expect(page.locator('html')).toHaveAttribute('data-theme', 'dark');
  await expect(page.getByRole('dialog')).toHaveCount(0);
  await expect(parley.box).toBeFocused();
  await expect(parley.box).toHaveValue('a draft');
});

test('a command that opens a dialog leaves it open', async ({ page, parley }) => {
  await parley.open();
  await page.keyboard.press('Control+k');
  await expect(page.getByRole('combobox')).toBeFocused();
  await page.keyboard.type('shortc');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('dialog', { name: 'Keyboard shortcuts' })).toBeVisible();
});

test('chats are found by name and by what was said in them', async ({ page, parley }) => {
  const chat = parley.mock.thread(2, 'The axolotl smiles.');
  await parley.open();
  const box = page.getByRole('combobox');
  await page.keyboard.press('Control+k');
  await expect(box).toBeFocused();
  await page.keyboard.type('axolotl');
  const option = page.getByRole('option', { name: /A long talk/ });
  await expect(option.locator('mark')).toHaveText('axolotl');
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(new RegExp(`#/c/${chat.id}/`));
  await expect(page.locator('.turn.sought')).toContainText('axolotl');

  await page.keyboard.press('Control+k');
  await expect(box).toBeFocused();
  await page.keyboard.type('kyo');
  await expect(page.getByRole('option')).toHaveCount(1);
  await page.keyboard.press('Enter');
  await expect(page.getByRole('heading', { name: 'Trip to Kyoto in spring' })).toBeAttached();

  await page.keyboard.press('Control+k');
  await expect(box).toBeFocused();
  await page.keyboard.type('qqq');
  await expect(page.getByText('Nothing fits “qqq”.')).toBeVisible();
  await page.keyboard.press('Escape');
  await expect(page.getByRole('dialog')).toHaveCount(0);
});

test('? opens the help where nothing is typed, and can be switched off', async ({ page, parley }) => {
  await parley.open();
  await parley.box.pressSequentially('why?');
  await expect(page.getByRole('dialog')).toHaveCount(0);
  await expect(parley.box).toHaveValue('why?');
  const elsewhere = page.getByRole('button', { name: 'Chat settings' });
  await elsewhere.focus();
  await page.keyboard.press('?');
  const help = page.getByRole('dialog', { name: 'Keyboard shortcuts' });
  await expect(help).toContainText('Move through the chats');
  await help.getByRole('switch').uncheck();
  await page.keyboard.press('Escape');
  await elsewhere.focus();
  await page.keyboard.press('?');
  await page.keyboard.press('Control+/');
  await expect(help).toHaveCount(1);
  await expect(help.getByRole('switch')).not.toBeChecked();
});
