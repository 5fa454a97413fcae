import type { Page } from '@playwright/test';
import { expect, test } from './fixtures';

const button = (page: Page, name: string) => page.getByRole('button', { name, exact: true });
const press = async (page: Page, name: string) => {
  await button(page, name).last().focus();
  await page.keyboard.press('Enter');
};

test('who asks for another answer with the keyboard is led to Stop, and from there to the new answer', async ({ page, parley }) => {
  await parley.open();
  await parley.say('Tell me a slow story');
  await page.keyboard.press('Escape');
  await parley.finished();
  await press(page, 'Answer again');
  await expect(button(page, 'Stop')).toBeFocused();
  await page.keyboard.press('Enter');
  await expect(parley.answer.getByRole('button', { name: 'Answer again' })).toBeFocused();

  await press(page, 'Previous version');
  await expect(button(page, 'Next version')).toBeFocused();
  await page.keyboard.press('Enter');
  await expect(button(page, 'Previous version')).toBeFocused();

  parley.mock.refuse = { n: 1, match: /completion/, status: 500, code: 'internal', message: 'No.' };
  await press(page, 'Answer again');
  await expect(button(page, 'Try again')).toBeFocused();
});

test('a message that is edited gives the focus back to where it was, and when it is sent to where one writes', async ({ page, parley }) => {
  await parley.open();
  await parley.say('Tell me a story');
  await parley.finished();
  await press(page, 'Edit');
  await page.keyboard.press('Escape');
  await expect(button(page, 'Edit')).toBeFocused();
  await page.keyboard.press('Enter');
  await page.keyboard.type(' of two slow lamps');
  await page.keyboard.press('Enter');
  await expect(page.locator('.turn.user')).toHaveText(/of two slow lamps/);
  await expect(parley.box).toBeFocused();
});

test('a chat that is deleted leaves the focus at the next one, and comes back with it', async ({ page, parley }) => {
  await parley.open();
  const rows = page.locator('.row');
  const second = await rows.nth(1).getAttribute('data-chat');
  const third = await rows.nth(2).getAttribute('data-chat');
  await rows.nth(1).locator('a').focus();
  await page.keyboard.press('Shift+F10');
  await page.getByRole('menuitem', { name: 'Delete' }).focus();
  await page.keyboard.press('Enter');
  await expect(page.locator(`[data-chat="${third}"] [data-row]`)).toBeFocused();
  await press(page, 'Undo');
  await expect(page.locator(`[data-chat="${second}"] [data-row]`)).toBeFocused();

  await page.keyboard.press('Enter');
  await button(page, 'Chat options').focus();
  await page.keyboard.press('Enter');
  await page.getByRole('menuitem', { name: 'Delete' }).focus();
  await page.keyboard.press('Enter');
  await expect(page.locator('.welcome')).toBeVisible();
  await expect(page.locator(':focus')).toHaveCount(1);
});

test('a dialog gives the focus back to what opened it, also when it led to another one', async ({ page, parley }) => {
  await parley.open();
  await button(page, 'Chat settings').focus();
  for (const way of ['Escape', 'Close']) {
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').waitFor();
    await (way === 'Close' ? press(page, way) : page.keyboard.press(way));
    await expect(button(page, 'Chat settings')).toBeFocused();
  }
  await button(page, 'Settings').focus();
  await page.keyboard.press('Enter');
  // A dialog takes the focus as it opens: not before it has, or it would take it from what is focused next.
  await expect(page.getByRole('dialog').locator(':focus')).toHaveCount(1);
  await page.getByRole('dialog').getByRole('button', { name: 'Keyboard shortcuts' }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('dialog', { name: 'Keyboard shortcuts' }).waitFor();
  await page.keyboard.press('Escape');
  await expect(button(page, 'Settings')).toBeFocused();
});
