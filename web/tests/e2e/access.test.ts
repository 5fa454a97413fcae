import { violations } from './axe';
import { expect, test } from './fixtures';

const inBoth = ['light', 'dark'] as const;

for (const colorScheme of inBoth) {
  test.describe(colorScheme, () => {
    test.use({ colorScheme });

    test('empty, menu, settings and help', async ({ page, parley }) => {
      await parley.open();
      expect(await violations(page)).toEqual([]);
      await page.locator('.model').click();
      expect(await violations(page)).toEqual([]);
      await page.keyboard.press('Escape');
      await page.keyboard.press('Control+,');
      expect(await violations(page)).toEqual([]);
      await page.keyboard.press('Escape');
      await page.keyboard.press('Control+/');
      expect(await violations(page)).toEqual([]);
    });

    test('waking, streaming, finished with code, table and formulas', async ({ page, parley }) => {
      await parley.open();
      await parley.say('wake up');
      await page.locator('.waking').waitFor();
      expect(await violations(page)).toEqual([]);
      await expect(parley.answer.locator('.prose')).toContainText('Once');
      expect(await violations(page)).toEqual([]);
      await parley.finished();
      await parley.say('A long answer');
      await page.locator('.katex-display').waitFor();
      await parley.finished();
      expect(await violations(page)).toEqual([]);
    });

    test('feedback, an appeal and a withdrawn answer', async ({ page, parley }) => {
      await parley.open();
      await parley.say('mask the address');
      await parley.finished();
      await page.locator('.verdict summary').click();
      await page.getByRole('button', { name: 'This was wrong' }).click();
      await page.getByRole('button', { name: 'Good answer' }).click();
      await page.getByRole('button', { name: 'Bad answer' }).click();
      await page.getByRole('radio', { name: 'Not helpful' }).check();
      expect(await violations(page)).toEqual([]);
      await page.locator('.feedback').getByRole('button', { name: 'Send' }).click();
      await page.locator('.toast').waitFor();
      expect(await violations(page)).toEqual([]);
      await parley.say('withdraw it');
      await expect(page.getByText('The answer was withdrawn', { exact: true })).toBeVisible();
      expect(await violations(page)).toEqual([]);
    });

    test('errors, guardrails, editing and a branch', async ({ page, parley }) => {
      await parley.open();
      await parley.say('please fail');
      await page.locator('.note.error').waitFor();
      await parley.say('block this');
      await page.locator('.note.shield').waitFor();
      expect(await violations(page)).toEqual([]);
      await parley.finished();
      await page.getByRole('button', { name: 'Answer again' }).last().click();
      await page.locator('.branches').waitFor();
      parley.mock.refuse = { n: 1, match: /completion/, status: 500, code: 'internal', message: 'No.' };
      await parley.finished();
      await parley.say('not sent');
      await page.locator('.turn.failed').waitFor();
      await page.getByRole('button', { name: 'Edit' }).first().click();
      expect(await violations(page)).toEqual([]);
    });

    test('a search, picked chats, the palette, templates and what goes with a message', async ({ page, parley }) => {
      parley.mock.thread(2, 'The pangolin is shy.');
      parley.mock.templates.set('1', { id: '1', name: 'Letter', text: 'Dear {{name}}', updated_at: '2026-01-01T00:00:00Z' });
      await parley.open();
      await page.getByLabel('Search chats').fill('pango');
      await page.locator('.row-snippet mark').waitFor();
      expect(await violations(page)).toEqual([]);
      await page.locator('.row a').click({ modifiers: ['ControlOrMeta'] });
      await page.getByRole('toolbar', { name: 'Picked chats' }).waitFor();
      expect(await violations(page)).toEqual([]);
      await page.keyboard.press('Control+k');
      await page.getByRole('combobox').fill('pango');
      await page.locator('.palette-snippet').waitFor();
      expect(await violations(page)).toEqual([]);
      await page.keyboard.press('Escape');
      await parley.box.pressSequentially('/');
      await page.getByRole('option', { name: /Letter/ }).waitFor();
      expect(await violations(page)).toEqual([]);
      await page.keyboard.press('ArrowDown');
      await page.keyboard.press('Enter');
      await page.getByRole('button', { name: 'Edit Letter' }).click();
      expect(await violations(page)).toEqual([]);
    });

    test('queue, costs, models and usage', async ({ page, parley }) => {
      parley.mock.spend(20);
      await parley.open();
      await parley.say('held back');
      await page.locator('.turn.live[data-id]').waitFor();
      parley.mock.tell({ phase: 'queued', elapsed_ms: 1_500, position: 3 });
      await page.locator('.waking').waitFor();
      expect(await violations(page)).toEqual([]);
      parley.mock.release();
      await parley.finished();
      await parley.say('rented');
      await expect(parley.answer.locator('.facts summary')).toContainText('about');
      await parley.answer.locator('.facts summary').click();
      await page.locator('.model').click();
      expect(await violations(page)).toEqual([]);
      await page.keyboard.press('Escape');
      await page.getByRole('button', { name: 'Usage' }).click();
      await page.getByText('As a table').click();
      expect(await violations(page)).toEqual([]);
    });

    test('sign-in', async ({ page, parley }) => {
      parley.mock.token = 'secret';
      await page.goto(parley.url);
      await page.getByLabel('Access token').waitFor();
      expect(await violations(page)).toEqual([]);
    });
  });
}

test.describe('on a phone, in Chinese', () => {
  test.use({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, locale: 'zh-CN' });

  test('empty, drawer, conversation', async ({ page, parley }) => {
    await parley.open();
    expect(await violations(page)).toEqual([]);
    await page.getByRole('button', { name: '展开侧栏' }).tap();
    await page.waitForTimeout(300);
    expect(await violations(page)).toEqual([]);
    await page.locator('.scrim').tap({ position: { x: 370, y: 400 } });
    await page.getByRole('button', { name: '你好，你是谁？' }).tap();
    await parley.finished();
    expect(await violations(page)).toEqual([]);
  });
});

test('the conversation is no live region; one status says what happens', async ({ page, parley }) => {
  await parley.open();
  await parley.say('A slow story');
  const status = page.locator('.sr-only[role=status][aria-atomic]');
  await expect(status).toHaveText('Parley is writing an answer.');
  await expect(page.locator('.turn.assistant')).toHaveAttribute('aria-busy', 'true');
  expect(await page.locator('.thread [aria-live], .thread [role=log], .thread [role=status]').count()).toBe(0);
  await page.keyboard.press('Escape');
  await expect(status).toHaveText('The answer was stopped.');
  await parley.say('Tell me a story');
  await expect(status).toHaveText('Answer finished.');
  const read = page.getByRole('log');
  await expect(read.locator('p').first()).toHaveText('Once upon a time, in a small harbour town, a lighthouse keeper grew tired of talking to the sea.');
  await expect(read.locator('p').last()).toHaveText('The keeper only smiled: it takes two to keep a light honest.');
});
