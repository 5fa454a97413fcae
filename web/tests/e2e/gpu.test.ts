import type { Page } from '@playwright/test';
import { expect, test, type Parley } from './fixtures';

const prewarms = (requests: string[]) => requests.filter((line) => line === 'POST /prewarm').length;

async function choose(page: Page, name: RegExp): Promise<void> {
  await page.locator('.model').click();
  await page.getByRole('menuitemradio', { name }).click();
  await expect(page.locator('.model-name')).toHaveText(name);
}

/** Every sentence the status region says from now on. */
async function listen(page: Page): Promise<() => Promise<string[]>> {
  await page.locator('.sr-only[role=status][aria-atomic]').evaluate((node) => {
    const said: string[] = [];
    Object.assign(window, { said });
    new MutationObserver(() => said.push(node.textContent ?? '')).observe(node, { childList: true, characterData: true, subtree: true });
  });
  return () => page.evaluate(() => (window as unknown as { said: string[] }).said);
}

/** An answer whose way to the first word the test tells, in place of a clock. */
async function hold(page: Page, parley: Parley): Promise<void> {
  await parley.say('held back');
  await expect(page.locator('.turn.assistant.live[data-id]')).toBeVisible();
}

test.describe('a cold start', () => {
  test('is told in phases, with what it usually takes', async ({ page, parley }) => {
    await parley.open();
    await hold(page, parley);
    const card = page.locator('.waking');

    parley.mock.tell({ phase: 'waking', elapsed_ms: 4_000, eta_p50_ms: 34_000, eta_p90_ms: 66_000 });
    await expect(card.locator('.waking-title')).toHaveText('Waking the model');
    await expect(card.locator('.waking-time')).toHaveText(/\d s so far · usually 38 s, at most about 1 min 10 s/);
    await expect(card.locator('.steps .now')).toHaveText('Waking');

    parley.mock.tell({ phase: 'loading', elapsed_ms: 20_000, eta_p50_ms: 18_000, eta_p90_ms: 50_000 });
    await expect(card.locator('.waking-title')).toHaveText('Loading the model');
    await expect(page.getByRole('progressbar', { name: 'Loading the model' })).toHaveAttribute('aria-valuenow', '30');

    parley.mock.release();
    await expect(parley.answer.locator('.prose')).toContainText('Once upon');
    await expect(card).toHaveCount(0);
    await parley.finished();
  });

  test('that takes longer says so, and does not move its promise', async ({ page, parley }) => {
    await parley.open();
    await hold(page, parley);
    const time = page.locator('.waking-time');
    parley.mock.tell({ phase: 'waking', elapsed_ms: 1_000, eta_p50_ms: 37_000, eta_p90_ms: 69_000 });
    await expect(time).toContainText('usually 38 s, at most about 1 min 10 s');

    parley.mock.tell({ phase: 'waking', elapsed_ms: 45_000, eta_p50_ms: 0, eta_p90_ms: 25_000 });
    await expect(time).toContainText('usually ready by now, at most about 1 min 10 s');

    parley.mock.tell({ phase: 'waking', elapsed_ms: 75_000, eta_p50_ms: 0, eta_p90_ms: 0 });
    await expect(time).toContainText(/1 min 1\d s so far · longer than usual/);
  });

  test('with one start in its history has one time to tell', async ({ page, parley }) => {
    await parley.open();
    await hold(page, parley);
    parley.mock.tell({ phase: 'waking', elapsed_ms: 4_000, eta_p50_ms: 34_000, eta_p90_ms: 34_000 });

    await expect(page.locator('.waking-time')).toHaveText(/^\d s so far · usually 38 s$/);
  });

  test('with no history promises nothing', async ({ page, parley }) => {
    await parley.open();
    await hold(page, parley);
    parley.mock.tell({ phase: 'waking', elapsed_ms: 4_000 });

    await expect(page.locator('.waking-time')).toHaveText(/^\d s so far$/);
    await expect(page.getByRole('progressbar')).not.toHaveAttribute('aria-valuenow');
  });

  test('is heard once per phase, not at every word of the server', async ({ page, parley }) => {
    await parley.open();
    await hold(page, parley);
    const said = await listen(page);
    for (const left of [30_000, 28_000, 26_000]) parley.mock.tell({ phase: 'waking', elapsed_ms: 40_000 - left, eta_p50_ms: left, eta_p90_ms: left * 2 });
    await expect(page.locator('.waking-title')).toHaveText('Waking the model');
    for (const left of [20_000, 18_000]) parley.mock.tell({ phase: 'loading', elapsed_ms: 40_000 - left, eta_p50_ms: left, eta_p90_ms: left * 2 });
    await expect(page.locator('.waking-title')).toHaveText('Loading the model');
    parley.mock.release();
    await parley.finished();

    expect(await said()).toEqual([
      'The model is waking up.',
      'The model is being loaded.',
      'Parley is writing an answer.',
      'Answer finished.',
    ]);
  });

  test('can be stopped', async ({ page, parley }) => {
    await parley.open();
    await hold(page, parley);
    parley.mock.tell({ phase: 'waking', elapsed_ms: 4_000, eta_p50_ms: 34_000, eta_p90_ms: 66_000 });
    await page.locator('.waking').waitFor();
    await page.getByRole('button', { name: 'Stop' }).click();

    await expect(page.locator('.ended')).toHaveText('Stopped');
    await expect(page.locator('.waking')).toHaveCount(0);
    expect([...parley.mock.runs.values()].map(({ stop }) => stop)).toEqual([true]);
  });

  test('survives a reload with its promise', async ({ page, parley }) => {
    await parley.open();
    await hold(page, parley);
    parley.mock.tell({ phase: 'waking', elapsed_ms: 1_000, eta_p50_ms: 37_000, eta_p90_ms: 69_000 });
    parley.mock.tell({ phase: 'waking', elapsed_ms: 45_000, eta_p50_ms: 0, eta_p90_ms: 25_000 });
    await page.locator('.waking').waitFor();
    await page.reload();

    await expect(page.locator('.waking-time')).toContainText('usually ready by now, at most about 1 min 10 s');
  });
});

test('the place in the queue is shown and heard, and moves up', async ({ page, parley }) => {
  await parley.open();
  await hold(page, parley);
  const said = await listen(page);
  const card = page.locator('.waking');

  parley.mock.tell({ phase: 'queued', elapsed_ms: 1_500, position: 3 });
  await expect(card.locator('.waking-title')).toHaveText('Waiting for a free place');
  await expect(card.locator('.waking-time')).toHaveText(/^\d s so far · 3rd in the queue$/);
  await expect(page.getByRole('progressbar')).toHaveCount(0);
  parley.mock.tell({ phase: 'queued', elapsed_ms: 4_000, position: 2 });
  await expect(card).toContainText('2nd in the queue');
  parley.mock.tell({ phase: 'queued', elapsed_ms: 6_000, position: 1 });
  await expect(card).toContainText('next in the queue');
  parley.mock.release();
  await parley.finished();

  expect((await said()).filter((one) => one.includes('in the queue'))).toEqual(['Waiting, 3rd in the queue.', 'Waiting, 2nd in the queue.', 'Waiting, 1st in the queue.']);
});

test('another model answered: it is said, also after a reload', async ({ page, parley }) => {
  await parley.open();
  await choose(page, /Qwen3 8B/);
  await parley.say('fallback');
  await parley.finished();
  const note = 'Qwen3 8B was not available, so Parley Tiny answered.';

  await expect(page.getByText(note)).toBeVisible();
  await expect(parley.answer.locator('.facts summary')).toContainText('Parley Tiny');
  await page.reload();
  await expect(page.getByText(note)).toBeVisible();
});

test('an answer by the model that was chosen then is no fallback', async ({ page, parley }) => {
  await parley.open();
  await parley.say('Tell me a story');
  await parley.finished();
  await choose(page, /Qwen3 8B/);
  await page.reload();

  await expect(parley.answer.locator('.facts summary')).toContainText('Parley Tiny');
  await expect(page.getByText('was not available')).toHaveCount(0);
});

test.describe('typing', () => {
  test('wakes a model that sleeps, once, and shows that it wakes', async ({ page, parley }) => {
    await parley.open();
    await choose(page, /Qwen3 8B/);
    expect(prewarms(parley.mock.requests)).toBe(0);
    await parley.box.pressSequentially('Hello, are you there?');
    await expect(page.locator('.model .dot')).toHaveClass('dot warming');
    await parley.box.pressSequentially(' And now?');

    expect(prewarms(parley.mock.requests)).toBe(1);
    expect(parley.mock.bodies).toEqual([{ model: 'qwen3-8b' }]);
  });

  test('asks once even when there is no money for it, and says nothing', async ({ page, parley }) => {
    await parley.open();
    parley.mock.mayPrewarm = false;
    await choose(page, /Qwen3 8B/);
    const answered = page.waitForResponse((response) => response.url().endsWith('/prewarm'));
    await parley.box.pressSequentially('Hello');
    await answered;
    await parley.box.pressSequentially(', is anybody there?');

    expect(prewarms(parley.mock.requests)).toBe(1);
    await expect(page.locator('.model .dot')).toHaveClass('dot cold');
    await expect(page.locator('.toast, .note.error, .strip')).toHaveCount(0);
  });

  test('a refusal is silent, and not repeated at every key', async ({ page, parley }) => {
    await parley.open();
    parley.mock.refuse = { n: 99, match: /prewarm/, status: 429, code: 'rate_limited', headers: { 'retry-after': '60' } };
    await choose(page, /Qwen3 8B/);
    const answered = page.waitForResponse((response) => response.url().endsWith('/prewarm'));
    await parley.box.pressSequentially('Hello');
    expect((await answered).status()).toBe(429);
    await parley.box.pressSequentially(', is anybody there?');

    expect(prewarms(parley.mock.requests)).toBe(1);
    await expect(page.locator('.toast, .note.error, .strip')).toHaveCount(0);
  });

  test('leaves models alone that are awake, and the demo', async ({ page, parley }) => {
    Object.assign(parley.mock.models[1]!, { state: 'warm' });
    parley.mock.models[0]!.state = 'cold';
    await parley.open();
    await parley.box.pressSequentially('To the demo');
    await choose(page, /Qwen3 8B/);
    await parley.box.pressSequentially(' and to a model that is awake');
    await parley.box.press('Enter');
    await parley.finished();

    expect(prewarms(parley.mock.requests)).toBe(0);
  });
});

test('the picker says who has to wake, who answers at once, and what it costs', async ({ page, parley }) => {
  const [tiny, qwen] = [parley.mock.models[0]!, parley.mock.models[1]!];
  parley.mock.models.push(
    { ...qwen, id: 'big', name: 'Big', state: 'warming', eta_p50_ms: 12_400, gpu: 'H100', usd_per_hour: 3.95, nodes: 2 },
    { ...qwen, id: 'awake', name: 'Awake', state: 'warm', since_ms: 750_000 },
    { ...qwen, id: 'full', name: 'Full', state: 'warm', since_ms: 750_000, queued: 4 },
    { ...qwen, id: 'away', name: 'Away', state: 'unreachable' },
  );
  await parley.open();
  await page.locator('.model').click();
  const notes = await page.locator('.menu-note').allInnerTexts();
  const plain = (text: string) => text.replace(/\s+/g, ' ').trim();

  expect(tiny.demo).toBe(true);
  expect(notes.map(plain)).toEqual([
    'Ready, answers at once Demo reads 2,048 tokens',
    'Asleep, wakes in about 38 s L4 · $0.80 an hour awake · reads 32,768 tokens',
    'Waking up, about 13 s left 2 × H100 · $3.95 an hour each awake · reads 32,768 tokens',
    'Ready, answers at once, awake for 12 min L4 · $0.80 an hour awake · reads 32,768 tokens',
    'Ready, 4 waiting, awake for 12 min L4 · $0.80 an hour awake · reads 32,768 tokens',
    'Unreachable L4 · $0.80 an hour awake · reads 32,768 tokens',
  ]);
});

test('an answer says what it cost, and what for', async ({ parley }) => {
  await parley.open();
  await parley.say('rented');
  await parley.finished();
  const facts = parley.answer.locator('.facts');
  await expect(facts.locator('summary')).toContainText('about $0.012');
  await facts.locator('summary').click();

  await expect(facts).toContainText('estimated until the GPU sleeps again');
  await expect(facts.locator('.legend li')).toHaveText(['working 3.1 s', 'starting 38 s', 'kept awake 12 s']);
  await expect(facts).toContainText('412 read · 256 from cache');
});

test('an answer of our own hardware says nothing of money', async ({ parley }) => {
  await parley.open();
  await parley.say('Tell me a story');
  await parley.finished();
  await parley.answer.locator('.facts summary').click();

  await expect(parley.answer.locator('.facts')).toContainText('first word');
  await expect(parley.answer.locator('.facts')).not.toContainText('$');
});

test.describe('usage', () => {
  test('adds up the last thirty days, by day and by model', async ({ page, parley }) => {
    parley.mock.spend(33);
    const first = new Date(Date.now() - 29 * 86_400_000).toISOString().slice(0, 10);
    const rows = parley.mock.usage.filter(({ day }) => day >= first);
    const total = rows.reduce((sum, row) => sum + row.cost_usd, 0);
    const runs = rows.reduce((sum, row) => sum + row.runs, 0);
    await parley.open();
    await page.getByRole('button', { name: 'Usage' }).click();
    const dialog = page.getByRole('dialog', { name: 'Usage' });

    await expect(dialog.locator('.tiles')).toContainText(`about $${total.toFixed(2)}`);
    await expect(dialog.locator('.tiles')).toContainText(String(runs));
    await expect(dialog.getByRole('table', { name: 'By model' }).getByRole('rowheader')).toHaveText(['Qwen3 8B', 'Parley Tiny']);
    await expect(dialog.locator('.plot g')).toHaveCount(30);
    await dialog.getByText('As a table').click();
    await expect(dialog.getByRole('table', { name: 'By day' }).getByRole('rowheader')).toHaveCount(new Set(rows.map(({ day }) => day)).size);
    await expect(dialog).toContainText('Prices of Nov 20, 2026');
    await page.keyboard.press('Escape');
    await expect(dialog).toHaveCount(0);
  });

  test('of nothing says so', async ({ page, parley }) => {
    await parley.open();
    await page.getByRole('button', { name: 'Usage' }).click();

    await expect(page.getByRole('dialog')).toContainText('Nothing used yet');
  });

  test('without rented GPUs is told in tokens', async ({ page, parley }) => {
    parley.mock.spend(12);
    parley.mock.usage = parley.mock.usage.filter((row) => row.model === 'parley-tiny');
    await parley.open();
    await page.getByRole('button', { name: 'Usage' }).click();

    await expect(page.getByRole('dialog')).toContainText('Your own hardware answered');
    await expect(page.locator('.plot rect.active_seconds')).toHaveCount(3);
    await expect(page.locator('.plot-foot')).toContainText('390 tokens');
  });

  test('that cannot be loaded can be asked for again', async ({ page, parley }) => {
    parley.mock.spend(3);
    parley.mock.refuse = { n: 1, match: /usage/, status: 503, code: 'store_unavailable', message: 'The database does not answer.' };
    await parley.open();
    await page.getByRole('button', { name: 'Usage' }).click();
    await expect(page.getByRole('dialog')).toContainText('The database does not answer.');
    await page.getByRole('dialog').getByRole('button', { name: 'Try again' }).click();

    await expect(page.locator('.tiles')).toBeVisible();
  });
});
