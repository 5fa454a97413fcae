import { ATTACKS } from '../unit/corpus';
import { expect, test } from './fixtures';

test('a message is answered, and the answer is typeset', async ({ page, parley }) => {
  await parley.open();
  await parley.say('A long answer, please');
  await parley.finished();

  await expect(page).toHaveURL(/#\/c\/[0-9a-f-]{36}$/);
  await expect(page).toHaveTitle(/A long answer, please · Parley/);
  await expect(parley.answer.locator('figure.code figcaption span')).toHaveText('python');
  await expect(parley.answer.locator('.hl-keyword').first()).toHaveText('def');
  await expect(parley.answer.locator('table tbody tr')).toHaveCount(3);
  await expect(parley.answer.locator('.katex').first()).toBeVisible();
  await expect(parley.answer.locator('.facts summary')).toContainText('tokens');
  await expect(page.locator('.row.open')).toHaveText(/A long answer, please/);
  await expect(parley.box).toHaveValue('');
});

test('what is streamed in the page is what a reload shows', async ({ page, parley }) => {
  await parley.open();
  await parley.say('A long answer, please');
  await parley.finished();
  const prose = page.locator('.prose');
  await expect(prose.locator('.katex-display')).toBeVisible();
  const streamed = await prose.evaluate((node) => node.cloneNode(true).textContent);

  await page.reload();
  await expect(prose.locator('.hl-keyword').first()).toBeVisible();
  await expect(prose.locator('.katex-display')).toBeVisible();

  expect(await prose.evaluate((node) => node.textContent)).toBe(streamed);
});

test('stop keeps what was written', async ({ page, parley }) => {
  await parley.open();
  await parley.say('A slow story');
  await expect(parley.answer.locator('.prose')).toContainText('Once upon');
  await page.getByRole('button', { name: 'Stop' }).click();

  await expect(page.locator('.ended')).toHaveText('Stopped');
  await expect(parley.answer.locator('.prose')).toContainText('Once upon');
  await expect(page.getByRole('status').filter({ hasText: 'stopped' })).toHaveCount(1);
});

test('Escape stops too, and a new answer can be asked for', async ({ page, parley }) => {
  await parley.open();
  await parley.say('A slow story');
  await expect(parley.answer.locator('.prose')).toContainText('Once');
  await page.keyboard.press('Escape');
  await expect(page.locator('.ended')).toBeVisible();

  await page.getByRole('button', { name: 'Answer again' }).click();
  await expect(page.getByRole('button', { name: 'Stop' })).toBeVisible();
  await page.keyboard.press('Escape');
  await expect(page.getByRole('group', { name: 'Version 2 of 2' })).toBeVisible();
});

test('a reload in the middle of an answer goes on with it', async ({ page, parley }) => {
  await parley.open();
  await parley.say('A slow story');
  await expect(parley.answer.locator('.prose')).toContainText('Once upon a time');
  await page.reload();

  await expect(page.getByRole('button', { name: 'Stop' })).toBeVisible();
  await expect(parley.answer.locator('.prose')).toContainText('harbour town, a lighthouse');
  expect(await parley.answer.locator('.prose').textContent()).toMatch(/^Once upon a time, in a small/);
  await page.keyboard.press('Escape');
});

test('a cut connection resumes without gap or double', async ({ page, parley }) => {
  await parley.open();
  await parley.say('Please cut this');
  await parley.finished();

  await expect(parley.answer.locator('.prose')).toHaveText(/^Once upon a time, in a small harbour town.*answer each other\.Every evening.*honest\.$/s);
  expect(parley.mock.requests.filter((line) => line.endsWith('/events')).length).toBeGreaterThan(0);
  expect(parley.mock.requests.filter((line) => line.endsWith('/completion')).length).toBe(1);
  await expect(page.locator('.turn.user')).toHaveCount(1);
});

test('offline is said, and the answer goes on when the network is back', async ({ page, context, parley }) => {
  await parley.open();
  await parley.say('A slow story');
  await expect(parley.answer.locator('.prose')).toContainText('Once');
  await context.setOffline(true);
  parley.mock.cutAll();
  await expect(page.locator('.strip')).toContainText('You are offline');
  await context.setOffline(false);

  await expect(page.locator('.strip')).toHaveCount(0);
  await expect(parley.answer.locator('.prose')).toContainText('harbour town');
  await page.keyboard.press('Escape');
});

test('a message that does not get through is kept and sent once', async ({ page, parley }) => {
  await parley.open();
  parley.mock.refuse = { n: 1, match: /completion/, status: 500, code: 'internal', message: 'The server could not answer.' };
  await parley.say('Tell me a story');
  await expect(page.locator('.note.error')).toContainText('The server could not answer.');
  await page.getByRole('button', { name: 'Try again' }).click();
  await parley.finished();

  await expect(page.locator('.turn.user')).toHaveCount(1);
  const ids = parley.mock.bodies.flatMap((body) => body.message?.id ?? []);
  expect(ids.length).toBe(2);
  expect(new Set(ids).size).toBe(1);
});

test('a lost answer to the request is repeated by itself, and stored once', async ({ page, parley }) => {
  await parley.open();
  parley.mock.refuse = { n: 2, match: /completion/, status: 0, code: '' };
  await parley.say('Tell me a story');
  await parley.finished();

  await expect(page.locator('.turn.user')).toHaveCount(1);
  expect([...parley.mock.messages.values()].filter(({ role }) => role === 'user').length).toBe(1);
});

test('a lost reply to asking again makes one new answer, not two', async ({ page, parley }) => {
  await parley.open();
  await parley.say('Tell me a story');
  await parley.finished();
  parley.mock.refuse = { n: 1, match: /completion/, status: 500, code: 'internal', message: 'No.' };
  await page.getByRole('button', { name: 'Answer again' }).click();
  await page.locator('.note.error').getByRole('button', { name: 'Try again' }).click();
  await expect(page.getByRole('group', { name: 'Version 2 of 2' })).toBeVisible();

  expect(parley.mock.keys.length).toBe(3);
  expect(new Set(parley.mock.keys).size).toBe(2);
});

test('too fast: the wait is counted down', async ({ page, parley }) => {
  await parley.open();
  parley.mock.refuse = { n: 1, match: /completion/, status: 429, code: 'rate_limited', message: 'Too many messages.', headers: { 'retry-after': '2' } };
  await parley.say('Tell me a story');
  const retry = page.locator('.note.error .note-button');

  await expect(retry).toHaveText(/Try again in \d s/);
  await expect(retry).toBeDisabled();
  await expect(retry).toHaveText('Try again');
  await retry.click();
  await parley.finished();
});

test('editing makes a branch, and the switcher leads back', async ({ page, parley }) => {
  await parley.open();
  await parley.say('Tell me a story');
  await parley.finished();
  await page.locator('.turn.user').hover();
  await page.getByRole('button', { name: 'Edit' }).click();
  await page.getByLabel('Edit your message').fill('你好，换一个');
  await page.keyboard.press('Enter');
  await expect(parley.answer.locator('.prose')).toContainText('想从哪里开始');
  await parley.finished();

  await page.getByRole('button', { name: 'Previous version' }).click();
  await expect(page.locator('.turn.user .bubble')).toHaveText('Tell me a story');
  await expect(parley.answer.locator('.prose')).toContainText('Once upon');
  await expect(page.getByRole('group', { name: 'Version 1 of 2' })).toBeVisible();

  await page.reload();
  await expect(page.locator('.turn.user .bubble')).toHaveText('Tell me a story');
});

test('a second tab follows the same run', async ({ page, context, parley }) => {
  await parley.open();
  await parley.say('Tell me a story');
  await parley.finished();
  const other = await context.newPage();
  await other.goto(page.url());
  await expect(other.locator('.prose')).toContainText('Once upon');

  await parley.say('A slow story');
  await expect(other.locator('.turn.user')).toHaveCount(2);
  await expect(other.locator('.turn.assistant').last().locator('.prose')).toContainText('Once upon');
  await other.getByRole('button', { name: 'Stop' }).click();
  await expect(page.locator('.ended')).toBeVisible();
});

test('a failed answer says why, where it happened', async ({ page, parley }) => {
  await parley.open();
  await parley.say('Please fail');
  const note = page.locator('.turn.assistant .note.error');

  await expect(note).toContainText('The model stopped answering.');
  await expect(note).toContainText('model_unavailable');
  await expect(parley.answer.locator('.prose')).toContainText('look at the logs');
  await expect(note.getByRole('button', { name: 'Try again' })).toBeVisible();
});

test('a budget that is used up says which and until when, and can be tried again at once', async ({ page, parley }) => {
  await parley.open();
  parley.mock.refuse = { n: 1, match: /completion/, status: 429, code: 'insufficient_quota', param: 'usd_per_day', message: 'Used up.', headers: { 'retry-after': '30000' } };
  await parley.say('Tell me a story');
  await expect(page.locator('.note.error')).toHaveText(/“Dollars per day” is used up\. It renews .*\d:\d\d/);
  await page.getByRole('button', { name: 'Try again' }).click();
  await parley.finished();
});

test.describe('in Chinese', () => {
  test.use({ locale: 'zh-CN' });

  test('a failure is told in Chinese, whatever the server said', async ({ page, parley }) => {
    await parley.open();
    await parley.say('Please fail');
    await expect(page.locator('.turn.assistant .note.error')).toContainText('现在无法连接模型，请稍后再试。');
  });
});

test('guardrails say what and why', async ({ page, parley }) => {
  await parley.open();
  await parley.say('Please block this');
  await expect(page.locator('.note.shield')).toContainText('Your message was not sent to the model');
  await expect(page.locator('.note.shield')).toContainText('secret key');
  await parley.finished();
  await parley.say('mask the address');
  await expect(page.locator('.note.shield').last()).toContainText('Part of the answer was masked');
});

test('nothing a model writes becomes markup', async ({ parley }) => {
  await parley.open();
  await parley.say('unsafe');
  await parley.finished();
  const prose = parley.answer.locator('.prose');

  await expect(prose).toContainText('<img src=x onerror=alert(1)>');
  await expect(prose.locator('img, script, iframe')).toHaveCount(0);
  await expect(prose.locator('a')).toHaveCount(1);
  await expect(prose.locator('a')).toContainText('evil.example');
  await expect(prose.locator('a')).toHaveAttribute('rel', /noopener/);
});

test('attacks and formulas, all at once, break neither the page nor its policy', async ({ page, parley }) => {
  const formulas = ['$\\sqrt{x} + \\sqrt[3]{y}$', '$\\color{red}{x}$', '$$\\begin{pmatrix} a & b \\\\ c & d \\end{pmatrix}$$', '$\\unknown{x}$', '$\\overbrace{a+b}^{n}$', '$\\colorbox{yellow}{$x$}$'];
  const chat = parley.mock.thread(1, [...ATTACKS, ...formulas].join('\n\n'));
  const dialogs: string[] = [];
  page.on('dialog', (dialog) => {
    dialogs.push(dialog.message());
    void dialog.dismiss();
  });
  await parley.open(`/#/c/${chat.id}`);
  const prose = page.locator('.prose');
  await expect(prose.locator('.katex').first()).toBeVisible();

  await expect(prose.locator('script, img, iframe, object, embed, form, style, link, meta, base, svg[onload]')).toHaveCount(0);
  for (const href of await prose.locator('a').evaluateAll((links) => links.map((link) => (link as HTMLAnchorElement).href))) {
    expect(href).toMatch(/^(https?|mailto):/);
  }
  expect(dialogs).toEqual([]);
});
