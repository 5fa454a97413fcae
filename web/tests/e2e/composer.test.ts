import type { Page } from '@playwright/test';
import { expect, test } from './fixtures';

const drop = (page: Page, files: { name: string; text: string; type?: string }[]) =>
  page.locator('#composer').evaluate((node, all) => {
    const data = new DataTransfer();
    for (const { name, text, type } of all) data.items.add(new File([text], name, { type: type ?? '' }));
    node.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));
  }, files);

const paste = (page: Page, text: string) =>
  page.locator('#composer').evaluate((node, value) => {
    const data = new DataTransfer();
    data.setData('text/plain', value);
    const event = new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true });
    // What the browser would do with it itself.
    if (node.dispatchEvent(event)) document.execCommand('insertText', false, value);
  }, text);

const letter = { id: '01890000-0000-7000-8000-000000000001', name: 'Letter', text: 'Dear {{name}},\n\nabout {{what}}.', updated_at: '2026-01-01T00:00:00Z' };

test('a dropped text goes with the message, under its name', async ({ page, parley }) => {
  await parley.open();
  await drop(page, [{ name: 'hello.py', text: 'print(1)\n' }, { name: 'notes.md', text: '# Notes' }]);
  const chips = page.getByRole('list', { name: 'Goes with the message' }).getByRole('listitem');
  await expect(chips).toHaveCount(2);
  await chips.nth(1).getByRole('button', { name: 'Remove notes.md' }).click();
  await expect(chips).toHaveCount(1);
  await page.reload();
  await expect(chips).toHaveText([/hello\.py/]);
  await parley.say('Explain it');
  await parley.finished();
  await expect(chips).toHaveCount(0);
  expect(parley.mock.bodies.find(({ message }) => message)?.message?.content).toBe('Explain it\n\n**hello.py**\n\n```python\nprint(1)\n```');
});

test('a paste of 100 kB is one thing that is too long, and says what to do before anything is sent', async ({ page, parley }) => {
  await parley.open();
  await paste(page, 'x y z '.repeat(17_000));
  const chip = page.getByRole('list', { name: 'Goes with the message' }).getByRole('listitem');
  await expect(chip).toContainText('99.6 KiB');
  await expect(page.getByRole('alert')).toHaveText('Too long for a message. Add it to knowledge, or shorten it.');
  await expect(page.getByRole('button', { name: 'Send' })).toBeDisabled();
  await expect(chip.getByRole('button', { name: 'Add to knowledge instead' })).toBeVisible();
  await chip.getByRole('button', { name: 'Remove Pasted text' }).click();
  await expect(page.getByRole('alert')).toHaveCount(0);

  await paste(page, 'a short one');
  await expect(parley.box).toHaveValue('a short one');
  await paste(page, 'long '.repeat(2_000));
  await chip.getByRole('button', { name: 'Put into the text' }).click();
  await expect(parley.box).toHaveValue(/^a short one\n\nlong long/);
  await expect(chip).toHaveCount(0);
});

test('a template is written, taken by /, filled in gap by gap, and sent', async ({ page, parley }) => {
  await parley.open();
  await page.getByRole('button', { name: 'Add to the message' }).click();
  await page.getByRole('menuitem', { name: 'A template' }).click();
  await expect(page.getByRole('option', { name: 'Manage templates' })).toBeVisible();
  await expect(parley.box).toBeFocused();
  await page.keyboard.press('Enter');
  const dialog = page.getByRole('dialog', { name: 'Prompt templates' });
  await expect(dialog).toContainText('No templates yet');
  await dialog.getByRole('button', { name: 'New template' }).click();
  await dialog.getByLabel('Name').fill('Letter');
  await dialog.getByLabel('Text').fill(letter.text);
  await dialog.getByRole('button', { name: 'Save' }).click();
  await expect(dialog.getByRole('button', { name: 'Edit Letter' })).toBeVisible();
  await page.keyboard.press('Escape');
  await expect(dialog).toHaveCount(0);

  await parley.box.fill('');
  await parley.box.pressSequentially('/let');
  await expect(page.getByRole('option', { selected: true })).toContainText('Letter');
  await expect(parley.box).toHaveAttribute('aria-activedescendant', 'slash-0');
  await page.keyboard.press('Enter');
  await expect(page.getByText('To fill in: name, what.')).toBeVisible();
  await page.keyboard.type('Ada');
  await page.keyboard.press('Enter');
  expect(parley.mock.requests.some((line) => line.endsWith('/completion'))).toBe(false);
  await page.keyboard.type('the boat');
  await expect(parley.box).toHaveValue('Dear Ada,\n\nabout the boat.');
  await page.keyboard.press('Enter');
  await parley.finished();
  expect(parley.mock.bodies.find(({ message }) => message)?.message?.content).toBe('Dear Ada,\n\nabout the boat.');
});

test('Tab goes from gap to gap and out at the end; Escape ends it', async ({ page, parley }) => {
  parley.mock.templates.set(letter.id, letter);
  await parley.open();
  const selected = () => parley.box.evaluate((node: HTMLTextAreaElement) => node.value.slice(node.selectionStart, node.selectionEnd));
  await parley.box.pressSequentially('/');
  await page.getByRole('option', { name: /Letter/ }).click();
  await expect.poll(selected).toBe('{{name}}');
  await page.keyboard.press('Tab');
  expect(await selected()).toBe('{{what}}');
  await page.keyboard.press('Shift+Tab');
  expect(await selected()).toBe('{{name}}');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Tab');
  await expect(parley.box).not.toBeFocused();
  await parley.box.focus();
  await page.keyboard.press('Escape');
  await expect(page.getByText('To fill in')).toHaveCount(0);
});

test('a slash that is no template is a message', async ({ page, parley }) => {
  parley.mock.templates.set(letter.id, letter);
  await parley.open();
  await parley.box.pressSequentially('/etc/hosts');
  await expect(page.getByText('No template has this name.')).toBeVisible();
  await page.keyboard.press('Enter');
  await parley.finished();
  expect(parley.mock.bodies.find(({ message }) => message)?.message?.content).toBe('/etc/hosts');
});

test('a template that could not be saved is still there to save', async ({ page, parley }) => {
  parley.mock.templates.set(letter.id, letter);
  await parley.open();
  await page.keyboard.press('Control+k');
  await expect(page.getByRole('combobox')).toBeFocused();
  await page.keyboard.type('prompt t');
  await page.keyboard.press('Enter');
  const dialog = page.getByRole('dialog', { name: 'Prompt templates' });
  await dialog.getByRole('button', { name: 'Edit Letter' }).click();
  await dialog.getByLabel('Text').fill('x'.repeat(16_385));
  await expect(dialog.getByText('1 B too long')).toBeVisible();
  await expect(dialog.getByRole('button', { name: 'Save' })).toBeDisabled();
  await dialog.getByLabel('Text').fill('Hello {{name}}');
  parley.mock.refuse = { n: 1, match: /PUT/, status: 503, code: 'store_unavailable', message: 'The database cannot answer.' };
  await dialog.getByRole('button', { name: 'Save' }).click();
  await expect(dialog).toContainText('The database cannot answer.');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await expect(dialog.getByRole('button', { name: 'Edit Letter' })).toContainText('Hello {{name}}');
  await dialog.getByRole('button', { name: 'Delete Letter' }).click();
  await expect(dialog).toContainText('No templates yet');
});
