import type { Page } from '@playwright/test';
import { expect, test } from './fixtures';

const good = (page: Page) => page.getByRole('button', { name: 'Good answer' });
const bad = (page: Page) => page.getByRole('button', { name: 'Bad answer' });
const panel = (page: Page) => page.locator('form.feedback');
const TOLD = 'Once upon a time';

test('an answer is rated, and the rating is there after a reload', async ({ page, parley }) => {
  await parley.open();
  await parley.say('Tell me a story');
  await parley.finished();
  await good(page).click();
  await expect(good(page)).toHaveAttribute('aria-pressed', 'true');
  await expect(bad(page)).toHaveAttribute('aria-pressed', 'false');
  await expect(panel(page).getByRole('radio')).toHaveCount(0);
  await page.reload();

  await expect(good(page)).toHaveAttribute('aria-pressed', 'true');
  await expect(panel(page)).toHaveCount(0);
});

test('with the keyboard alone: what was wrong, in words, and back to where one was', async ({ page, parley }) => {
  await parley.open();
  await parley.say('Tell me a story');
  await parley.finished();
  await bad(page).focus();
  await page.keyboard.press('Enter');
  const form = panel(page);
  await expect(form.getByRole('radio')).toHaveCount(6);
  await expect(form.getByRole('radio', { name: 'The check was wrong' })).toHaveCount(0);
  await form.getByRole('radio', { name: 'Not correct' }).focus();
  await page.keyboard.press('Space');
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('Tab');
  await page.keyboard.type('My key AKIAIOSFODNN7EXAMPLE was in it');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await expect(form).toHaveCount(0);

  await expect(bad(page)).toBeFocused();
  await expect(page.getByRole('status').filter({ hasText: 'Feedback saved' })).toBeVisible();
  const stored = [...parley.mock.messages.values()].at(-1)!.feedback;
  expect(stored).toMatchObject({ rating: -1, reason: 'unhelpful', comment: 'My key [redacted] was in it' });

  // What is stored is what is shown: the server has masked the key.
  await page.keyboard.press('Enter');
  await expect(form.getByRole('textbox')).toHaveValue('My key [redacted] was in it');
  await form.getByRole('textbox').focus();
  await page.keyboard.press('Escape');
  await expect(form).toHaveCount(0);
  await expect(bad(page)).toBeFocused();
});

test('feedback is taken back, and taking it back is undone', async ({ page, parley }) => {
  await parley.open();
  await parley.say('Tell me a story');
  await parley.finished();
  const stored = () => [...parley.mock.messages.values()].at(-1)!.feedback;
  await good(page).click();
  await panel(page).getByRole('button', { name: 'Take back' }).click();
  await expect(panel(page)).toHaveCount(0);
  await expect(good(page)).toHaveAttribute('aria-pressed', 'false');
  expect(stored()).toBeNull();

  await page.locator('.toast').getByRole('button', { name: 'Undo' }).click();
  await expect(good(page)).toHaveAttribute('aria-pressed', 'true');
  await expect.poll(() => stored()?.rating).toBe(1);
});

test('feedback that the server refuses is not shown as given, and its words are kept', async ({ page, parley }) => {
  await parley.open();
  await parley.say('Tell me a story');
  await parley.finished();
  parley.mock.refuse = { n: 1, match: /PUT .*feedback/, status: 503, code: 'store_unavailable', message: 'The store could not answer.' };
  await good(page).click();
  await expect(page.locator('.toast')).toContainText('The store could not answer.');
  await expect(good(page)).toHaveAttribute('aria-pressed', 'false');
  await expect(panel(page)).toHaveCount(0);

  await good(page).click();
  // The panel is there at once; the rating itself must have arrived before something else is refused.
  await expect.poll(() => [...parley.mock.messages.values()].at(-1)!.feedback?.rating).toBe(1);
  await panel(page).getByRole('textbox').fill('The second sentence.');
  parley.mock.refuse = { n: 1, match: /PUT .*feedback/, status: 400, code: 'content_filter', message: 'This contains a term that is not allowed here.' };
  await panel(page).getByRole('button', { name: 'Send' }).click();
  await expect(panel(page).getByRole('alert')).toHaveText('This contains a term that is not allowed here.');
  await expect(panel(page).getByRole('textbox')).toHaveValue('The second sentence.');
});

test('a guardrail says what it did, why and by which rules, and hears that it was wrong', async ({ page, parley }) => {
  await parley.open();
  await parley.say('mask the address');
  await parley.finished();
  const note = page.locator('.note.shield');
  await expect(note).toContainText('Part of the answer was masked');
  await expect(note).toContainText('An e-mail address was hidden.');
  await note.getByText('Details').click();
  await expect(note.getByText('Personal data')).toBeVisible();
  await expect(note.getByText('3f9c1e07b2aa')).toBeVisible();

  await good(page).click();
  await note.getByRole('button', { name: 'This was wrong' }).click();
  await expect(note.getByRole('status')).toHaveText('You said that this was wrong.');
  const stored = () => [...parley.mock.messages.values()].at(-1)!.feedback;
  await expect.poll(stored).toMatchObject({ rating: -1, reason: 'guardrail_wrong' });

  await note.getByRole('button', { name: 'Undo' }).click();
  await expect(note.getByRole('button', { name: 'This was wrong' })).toBeVisible();
  await expect.poll(stored).toMatchObject({ rating: 1, reason: null });
});

test('a message that was not sent to the model can be appealed, and the appeal survives a reload', async ({ page, parley }) => {
  await parley.open();
  await parley.say('block this');
  await page.getByRole('button', { name: 'This was wrong' }).click();
  await expect(page.getByText('You said that this was wrong.')).toBeVisible();
  await expect.poll(() => [...parley.mock.messages.values()].at(-1)!.feedback?.reason).toBe('guardrail_wrong');
  await page.reload();

  await expect(page.getByText('You said that this was wrong.')).toBeVisible();
  await expect(good(page)).toHaveCount(0);
});

test('an answer that is withdrawn leaves not a word of itself', async ({ page, parley }) => {
  await parley.open();
  await parley.say('withdraw this');
  await expect(parley.answer.locator('.prose')).toContainText(TOLD);
  await parley.finished();
  const note = parley.answer.locator('.note.shield');
  const left = () => page.evaluate(() => document.documentElement.outerHTML + JSON.stringify({ ...localStorage, ...sessionStorage }));

  await expect(note).toContainText('The answer was withdrawn');
  await expect(note).toContainText('This did not pass the safety check.');
  expect(await left()).not.toContain('upon a time');
  await expect(page.locator('.sr-only[role="status"][aria-atomic]')).toHaveText('The answer was withdrawn. This did not pass the safety check.');
  await expect(parley.answer.getByRole('button', { name: 'Copy' })).toHaveCount(0);

  await page.reload();
  await expect(note).toContainText('This did not pass the safety check.');
  expect(await left()).not.toContain('upon a time');
});

test('a reader who comes back in the middle sees it withdrawn too', async ({ page, parley }) => {
  await parley.open();
  await parley.say('withdraw this');
  await expect(parley.answer.locator('.prose')).toContainText(TOLD);
  await page.reload();
  await expect(parley.answer.locator('.prose')).toContainText(TOLD);
  parley.mock.cutAll();
  await expect(page.getByText('The answer was withdrawn', { exact: true })).toBeVisible();

  expect(await page.content()).not.toContain('upon a time');
});

test('feedback speaks Chinese', async ({ page, parley }) => {
  await page.addInitScript(() => localStorage.setItem('parley.settings', '{"lang":"zh"}'));
  await parley.open();
  await parley.say('mask');
  await parley.finished();
  await page.getByRole('button', { name: '回答得不好' }).click();

  await expect(panel(page).getByRole('radio', { name: '检查判断有误' })).toBeVisible();
  await expect(page.getByRole('button', { name: '判断有误', exact: true })).toBeVisible();
});
