import { expect, test } from './fixtures';

test('a reader who scrolled up stays there; the button leads back', async ({ page, parley }) => {
  await parley.open();
  await parley.say('A flood of words');
  const thread = page.locator('.thread');
  await expect.poll(() => thread.evaluate((node) => node.scrollHeight - node.clientHeight)).toBeGreaterThan(900);
  await thread.hover();
  await page.mouse.wheel(0, -600);
  await page.waitForTimeout(100);
  const top = await thread.evaluate((node) => node.scrollTop);
  await page.waitForTimeout(500);

  expect(Math.abs((await thread.evaluate((node) => node.scrollTop)) - top)).toBeLessThan(3);
  await page.getByRole('button', { name: 'Jump to the latest' }).click();
  await expect.poll(() => thread.evaluate((node) => node.scrollHeight - node.clientHeight - node.scrollTop)).toBeLessThan(5);
  await expect(page.getByRole('button', { name: 'Jump to the latest' })).toHaveCount(0);
  await page.keyboard.press('Escape');
});

test('the end stays in view while text comes', async ({ page, parley }) => {
  await parley.open();
  await parley.say('A flood of words');
  const thread = page.locator('.thread');
  await expect.poll(() => thread.evaluate((node) => node.scrollHeight - node.clientHeight)).toBeGreaterThan(600);
  for (let i = 0; i < 5; i++) {
    await page.waitForTimeout(80);
    expect(await thread.evaluate((node) => node.scrollHeight - node.clientHeight - node.scrollTop)).toBeLessThan(60);
  }
  await page.keyboard.press('Escape');
});

test('a long conversation opens at its end, and older messages come without a jump', async ({ page, parley }) => {
  const chat = parley.mock.thread(130, 'A short **answer**.');
  await parley.open(`/#/c/${chat.id}`);
  await expect(page.getByText('Question 130')).toBeVisible();
  await expect(page.locator('.turn')).toHaveCount(200);
  await page.locator('.thread').evaluate((node) => node.scrollTo(0, 0));
  await page.getByRole('button', { name: 'Show earlier messages' }).click();

  await expect(page.locator('.turn')).toHaveCount(260);
  await expect(page.getByText('Question 31:')).toBeInViewport();
});

test('Enter during composition sends nothing', async ({ page, parley }) => {
  await parley.open();
  await parley.box.fill('ni hao');
  await parley.box.evaluate((node) => {
    const enter = (init: KeyboardEventInit) => node.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true, ...init }));
    enter({ isComposing: true });
    enter({ keyCode: 229 }); // Safari, after the composition has ended
  });

  await expect(page.locator('.turn')).toHaveCount(0);
  await parley.box.press('Enter');
  await expect(page.locator('.turn.user')).toHaveCount(1);
});

test('Shift+Enter is a new line and the box grows', async ({ parley }) => {
  await parley.open();
  const before = (await parley.box.boundingBox())!.height;
  await parley.box.pressSequentially('one');
  for (let i = 0; i < 4; i++) await parley.box.press('Shift+Enter');

  await expect(parley.box).toHaveValue('one\n\n\n\n');
  expect((await parley.box.boundingBox())!.height).toBeGreaterThan(before + 40);
});

test('what is longer than a line has the whole width of the box', async ({ page, parley }) => {
  await parley.open();
  await parley.box.fill('many words '.repeat(30));
  const whole = (await page.locator('.composer').boundingBox())!.width;
  expect((await parley.box.boundingBox())!.width).toBeGreaterThan(whole - 40);
});

test('drafts stay with their chat, over a reload', async ({ page, parley }) => {
  await parley.open();
  await parley.box.fill('for a new chat');
  await page.locator('.row a').first().click();
  await expect(parley.box).toHaveValue('');
  await parley.box.fill('for this chat');
  await page.reload();
  await expect(parley.box).toHaveValue('for this chat');
  await page.getByRole('button', { name: 'New chat' }).first().click();

  await expect(parley.box).toHaveValue('for a new chat');
});

test('a message that was on its way when the page was reloaded goes out by itself, once', async ({ page, parley }) => {
  await parley.open();
  parley.mock.refuse = { n: 99, match: /completion/, status: 503, code: 'overloaded' };
  await parley.say('Do not lose me');
  await expect(page.locator('.turn.user')).toHaveCount(1);
  await page.reload();
  await expect(page.locator('.turn.user')).toHaveText(/Do not lose me/);
  parley.mock.refuse = null;
  await parley.finished();

  expect([...parley.mock.messages.values()].filter(({ role }) => role === 'user').length).toBe(1);
  await expect(parley.box).toHaveValue('');
  await page.reload();
  await expect(parley.answer).toBeVisible();
  await expect(parley.box).toHaveValue('');
});

test('a message over 64 KiB is counted and not sent', async ({ page, parley }) => {
  await parley.open();
  await parley.box.fill('é'.repeat(31_000));
  await expect(page.locator('.bytes')).toContainText('left');
  await parley.box.fill('é'.repeat(33_000));

  await expect(page.locator('.bytes')).toContainText('too long');
  await expect(page.getByRole('button', { name: 'Send' })).toBeDisabled();
});

test('copying a code block', async ({ page, context, parley }) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  await parley.open();
  await parley.say('A long answer');
  await parley.finished();
  await page.locator('[data-copy]').click();

  await expect(page.locator('[data-copy]')).toHaveText('Copied');
  expect(await page.evaluate(() => navigator.clipboard.readText())).toContain('def search(items');
});
