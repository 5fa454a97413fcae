import { expect, test } from './fixtures';

test('chats are grouped by day, searched, renamed, pinned, deleted and brought back', async ({ page, parley }) => {
  await parley.open();
  const rows = page.locator('.row');
  await expect(rows).toHaveCount(4);
  await expect(page.getByRole('heading', { name: 'Today' })).toBeVisible();
  await expect(page.getByRole('heading', { name: 'Pinned' })).toBeVisible();

  await page.getByLabel('Search chats').fill('kyoto');
  await expect(rows).toHaveCount(1);
  await page.getByRole('button', { name: 'Clear search' }).click();
  await expect(rows).toHaveCount(4);

  const kyoto = page.locator('.row', { hasText: 'Kyoto' });
  await kyoto.hover();
  await kyoto.getByRole('button').click();
  await page.getByRole('menuitem', { name: 'Rename' }).click();
  await page.getByLabel('Name of this chat').fill('Kyoto in autumn');
  await page.keyboard.press('Enter');
  await expect(rows.filter({ hasText: 'Kyoto in autumn' })).toHaveCount(1);

  const autumn = rows.filter({ hasText: 'autumn' });
  await autumn.hover();
  await autumn.getByRole('button').click();
  await page.getByRole('menuitem', { name: 'Delete' }).click();
  await expect(rows).toHaveCount(3);
  await page.getByRole('button', { name: 'Undo' }).click();
  await expect(rows).toHaveCount(4);
  expect(parley.mock.requests.some((line) => line.startsWith('DELETE'))).toBe(false);

  await autumn.hover();
  await autumn.getByRole('button').click();
  await page.keyboard.press('End');
  await page.keyboard.press('Enter');
  await expect(rows).toHaveCount(3);
  await page.reload();
  await expect(rows).toHaveCount(3);
  expect(parley.mock.chats.size).toBe(3);
});

test('sign-in: the token goes to the server and the page opens; signing out closes it', async ({ page, parley }) => {
  parley.mock.token = 'open sesame';
  await page.goto(parley.url);
  await page.getByLabel('Access token').fill('wrong');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await expect(page.getByRole('alert')).toHaveText('This token was not accepted.');
  await page.getByLabel('Access token').fill('open sesame');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await expect(page.locator('.row')).toHaveCount(4);

  expect(await page.evaluate(() => document.cookie)).toBe('');
  expect(await page.evaluate(() => JSON.stringify({ ...localStorage }))).not.toContain('sesame');

  await page.getByRole('button', { name: 'Settings', exact: true }).click();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await expect(page.getByLabel('Access token')).toBeVisible();
  await page.reload();
  await expect(page.getByLabel('Access token')).toBeVisible();
});

test('settings: theme, language and instructions', async ({ page, parley }) => {
  await parley.open();
  await page.keyboard.press('Control+,');
  await page.getByRole('radio', { name: 'Dark' }).check();
  expect(await page.evaluate(() => getComputedStyle(document.documentElement).colorScheme)).toBe('dark');
  await page.getByLabel('Custom instructions').fill('Answer briefly.');
  await expect(page.getByText('Saved')).toBeVisible();
  expect(parley.mock.instructions).toBe('Answer briefly.');
  await page.getByRole('radio', { name: '中文' }).check();
  await expect(page.getByRole('dialog')).toContainText('自定义指令');
  await page.keyboard.press('Escape');
  await expect(page.getByRole('dialog')).toHaveCount(0);
  await page.reload();

  await expect(page.locator('html')).toHaveAttribute('lang', 'zh-Hans');
  await expect(page.locator('html')).toHaveAttribute('data-theme', 'dark');
  await expect(page.getByRole('button', { name: '新对话' }).first()).toBeVisible();
});

test('the keyboard reaches everything', async ({ page, parley }) => {
  await parley.open();
  await page.keyboard.press('Control+/');
  await expect(page.getByRole('dialog', { name: 'Keyboard shortcuts' })).toBeVisible();
  await page.keyboard.press('Escape');
  await page.keyboard.press('Control+Shift+F');
  await expect(page.getByLabel('Search chats')).toBeFocused();
  await page.keyboard.press('Shift+Escape');
  await expect(parley.box).toBeFocused();
  await page.keyboard.press('Control+Shift+S');
  await expect(page.getByRole('button', { name: 'Show sidebar' })).toBeVisible();
  await expect(page.locator('.sidebar')).not.toBeInViewport();
  await page.keyboard.press('Control+Shift+O');
  await expect(page).toHaveURL(/\/(#)?$/);
});

test('a whole conversation is led by the keyboard, and every control on its way has a name', async ({ page, parley }) => {
  await parley.open();
  const focused = page.locator(':focus');
  /** Forwards or backwards until this has the focus; whatever has it on the way can be seen and has a name. */
  const tabTo = async (name: string | RegExp, key = 'Tab') => {
    for (let step = 0; step < 60; step++) {
      await page.keyboard.press(key);
      const seen = await focused.evaluate((node) => {
        const box = node.getBoundingClientRect();
        const { outlineStyle, boxShadow, borderColor } = getComputedStyle(node);
        return { isDrawn: box.width > 0 && box.height > 0, isMarked: outlineStyle !== 'none' || boxShadow !== 'none' || borderColor !== 'rgba(0, 0, 0, 0)' };
      });
      const tree = await focused.ariaSnapshot();
      expect(tree, 'a control without a name').toMatch(/"|: /);
      expect(seen, tree).toEqual({ isDrawn: true, isMarked: true });
      if (typeof name === 'string' ? tree.includes(`"${name}"`) : name.test(tree)) return;
    }
    throw new Error(`${name} is not reached`);
  };

  await page.keyboard.type('A slow story');
  await page.keyboard.press('Enter');
  await expect(parley.answer.locator('.prose')).toContainText('Once');
  await page.keyboard.press('Escape');
  await expect(parley.answer).toContainText('Stopped');
  await tabTo('Answer again', 'Shift+Tab');
  await page.keyboard.press('Enter');
  await expect(parley.answer).toHaveAttribute('aria-busy', 'true');
  await page.keyboard.press('Escape');
  await expect(page.locator('.branches')).toContainText('2 / 2');
  await parley.box.focus();
  await tabTo('Previous version', 'Shift+Tab');
  await page.keyboard.press('Enter');
  await expect(page.locator('.branches')).toContainText('1 / 2');
  await parley.box.focus();
  await tabTo('Edit', 'Shift+Tab');
  await page.keyboard.press('Enter');
  await expect(page.getByLabel('Edit your message')).toBeFocused();
  await page.keyboard.type(', please');
  await page.keyboard.press('Enter');
  await expect(page.locator('.turn.user .bubble')).toHaveText('A slow story, please');
  await page.keyboard.press('Escape');
  await expect(page.locator('.turn.user .branches')).toContainText('2 / 2');
});

test('one step back from a first chat is the empty page', async ({ page, parley }) => {
  await parley.open();
  await parley.say('Hello');
  await parley.finished();
  await page.goBack();
  await expect(page.locator('.suggestions')).toBeVisible();
  await page.goForward();
  await expect(page.locator('.turn.user .bubble')).toHaveText('Hello');
});

test('the demo model says that it is one', async ({ page, parley }) => {
  await parley.open();

  await expect(page.locator('.note.info')).toContainText('This is the offline demo model');
  await expect(page.locator('.note.info')).toContainText('without a GPU');
  await page.locator('.model').click();
  await page.getByRole('menuitemradio', { name: /Qwen3 8B/ }).click();
  await expect(page.locator('.note.info')).toHaveCount(0);
  await expect(page.locator('.model')).toContainText('Qwen3 8B');
  await page.reload();
  await expect(page.locator('.model')).toContainText('Qwen3 8B');
});

test('a chat that is gone says so', async ({ page, parley }) => {
  await parley.open('/#/c/01890000-0000-7000-8000-000000000000');

  await expect(page.getByText('This chat does not exist any more.')).toBeVisible();
  await page.getByRole('button', { name: 'Start a new chat' }).click();
  await expect(page.locator('.welcome')).toBeVisible();
});

test.describe('on a phone', () => {
  test.use({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });

  test('the drawer opens and closes, Enter is a new line, nothing is wider than the screen', async ({ page, parley }) => {
    await parley.open();
    await expect(parley.box).not.toBeFocused();
    await page.getByRole('button', { name: 'Show sidebar' }).tap();
    await expect(page.locator('.sidebar')).toBeInViewport();
    await page.locator('.scrim').tap({ position: { x: 370, y: 400 } });
    await expect(page.locator('.sidebar')).not.toBeInViewport();

    await parley.box.fill('A long answer');
    await parley.box.press('Enter');
    await expect(parley.box).toHaveValue('A long answer\n');
    await page.getByRole('button', { name: 'Send' }).tap();
    await parley.finished();
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(390);
    for (const input of await page.locator('textarea, input').all()) {
      expect(await input.evaluate((node) => Number.parseFloat(getComputedStyle(node).fontSize))).toBeGreaterThanOrEqual(16);
    }
  });
});
