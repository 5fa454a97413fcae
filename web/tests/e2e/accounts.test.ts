import type { Profile } from '../../src/wire';
import { violations } from './axe';
import { expect, test } from './fixtures';

const ADMIN: Partial<Profile> = { id: 'ada', name: 'Ada', email: 'ada@example.org', role: 'admin', scopes: ['read', 'chat', 'admin'] };

test('a key is shown once, with what to do with it, and ends when it is revoked', async ({ page, parley }) => {
  await parley.open('/#/settings/keys');
  const dialog = page.getByRole('dialog', { name: 'API keys' });
  await expect(dialog.getByText('Last used', { exact: false })).toBeVisible();
  await dialog.getByLabel('Name').fill('Build server');
  await dialog.getByLabel('Ends').selectOption({ label: 'after 30 days' });
  await dialog.getByLabel('Web pages').fill('https://app.example.org');
  await dialog.getByRole('button', { name: 'Create key' }).click();
  await expect(dialog.getByText('parley_sk_new1secret', { exact: true })).toBeVisible();
  expect(parley.mock.bodies.at(-1)).toEqual({ name: 'Build server', scopes: ['chat'], origins: ['https://app.example.org'], expires_days: 30 });
  await dialog.getByText('How to use it').click();
  await expect(dialog.getByRole('region', { name: 'curl' })).toContainText(`${parley.url}/v1/chat/completions`);
  await expect(dialog.getByRole('region', { name: 'Python' })).toContainText('OpenAI');
  await page.reload();
  await expect(dialog.getByText('parley_sk_new1…')).toBeVisible();
  await expect(dialog.getByText('parley_sk_new1secret')).toHaveCount(0);
  await dialog.getByRole('button', { name: 'Revoke Build server' }).click();
  expect(parley.mock.accounts.keys).toHaveLength(2);
  await dialog.getByRole('group').getByRole('button', { name: 'Revoke' }).click();
  await expect(dialog.getByText('Build server')).toHaveCount(0);
  expect(parley.mock.accounts.keys.map(({ name }) => name)).toEqual(['Notebook']);
});

test('a page that cannot be loaded says so and is asked for again', async ({ page, parley }) => {
  parley.mock.refuse = { n: 1, match: /\/sessions/, status: 503, code: 'store_unavailable', message: 'The database does not answer.' };
  await parley.open('/#/settings/sessions');
  await expect(page.getByText('The database does not answer.')).toBeVisible();
  await page.getByRole('button', { name: 'Try again' }).click();
  await expect(page.getByText('Chrome, Linux')).toBeVisible();
});

test('other devices are signed out, this one stays', async ({ page, parley }) => {
  await parley.open('/#/settings/sessions');
  await page.getByRole('button', { name: 'Sign out all others' }).click();
  await page.getByRole('group').getByRole('button', { name: 'Sign out' }).click();
  await expect(page.getByText('Safari, iOS')).toHaveCount(0);
  await expect(page.getByText('This one')).toBeVisible();
  expect(parley.mock.accounts.devices.map(({ id }) => id)).toEqual(['here']);
});

test('the back button leaves a page, and a page that is closed leaves no address behind', async ({ page, parley }) => {
  await parley.open();
  await page.getByRole('link', { name: /Kyoto/ }).click();
  const chat = page.url();
  await page.keyboard.press('Control+,');
  await expect(page).toHaveURL(/#\/settings$/);
  await page.goBack();
  await expect(page.getByRole('dialog')).toHaveCount(0);
  expect(page.url()).toBe(chat);
  await page.keyboard.press('Control+,');
  await page.getByRole('dialog').getByRole('button', { name: 'Close' }).click();
  await expect(page).toHaveURL(chat);
  await expect(page.getByRole('heading', { level: 1, name: /Kyoto/ })).toBeAttached();
});

test('what is sent when a session has ended goes out after the next sign-in', async ({ page, parley }) => {
  parley.mock.token = 'secret';
  await page.goto(parley.url);
  await page.getByLabel('Access token').fill('secret');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await parley.box.fill('Half a thought');
  parley.mock.token = 'another';
  await parley.box.press('Enter');
  await expect(page.getByText('Your session has ended.', { exact: false })).toBeVisible();
  await page.getByLabel('Access token').fill('another');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await parley.finished();
  await expect(parley.box).toHaveValue('');
  expect([...parley.mock.messages.values()].filter(({ role }) => role === 'user').map(({ content }) => content)).toEqual(['Half a thought']);
});

test('an issuer signs in on its own page and is told the way back', async ({ page, parley }) => {
  parley.mock.token = 'secret';
  parley.mock.issuer = '/auth/login';
  await page.goto(`${parley.url}/#/c/0190`);
  const asked = page.waitForRequest(/\/auth\/login/);
  await page.getByRole('button', { name: 'Sign in with your account' }).click();
  expect(new URL((await asked).url()).searchParams.get('to')).toBe('/#/c/0190');
});

test('an invitation is taken up once, and its secret leaves the address', async ({ page, parley }) => {
  await page.goto(`${parley.url}/#/join/welcome`);
  await expect(page.getByRole('heading', { name: 'You are invited' })).toBeVisible();
  expect(page.url()).not.toContain('welcome');
  await page.getByRole('button', { name: 'Accept' }).click();
  await expect(page.getByText('parley_sk_joined')).toBeVisible();
  await page.getByRole('button', { name: 'Begin' }).click();
  await page.locator('.model').waitFor();
  await page.goto(`${parley.url}/#/join/used`);
  await page.getByRole('button', { name: 'Accept' }).click();
  await expect(page.getByRole('alert')).toContainText('has been used');
});

test('a refusal says why', async ({ page, parley }) => {
  await page.goto(`${parley.url}/#/refused?why=not_invited`);
  await expect(page.getByText('This account has no invitation here.', { exact: false })).toBeVisible();
  await page.getByRole('button', { name: 'Back to sign-in' }).click();
  await page.locator('.model').waitFor();
});

test('who may only read sees a sentence where others write', async ({ page, parley }) => {
  parley.mock.me = { ...ADMIN, role: 'viewer' };
  await parley.open();
  await expect(page.getByText('You can read here, but not write.', { exact: false })).toBeVisible();
  await expect(page.getByRole('textbox', { name: 'Message' })).toHaveCount(0);
});

test('limits are shown with what is left of them', async ({ page, parley }) => {
  parley.mock.me = { limits: { tokens_per_day: { limit: 50_000, used: 48_000, reserved: 0, remaining: 2_000, resets_at: '2026-11-22T00:00:00Z', from: 'group' } } };
  await parley.open('/#/settings/usage');
  await expect(page.getByRole('meter', { name: 'Tokens per day' })).toHaveAttribute('aria-valuetext', '48,000 of 50,000');
  await expect(page.getByText('set for your group', { exact: false })).toBeVisible();
});

test('the user menu leads to what is the reader’s, and out', async ({ page, parley }) => {
  parley.mock.token = 'secret';
  parley.mock.me = ADMIN;
  await page.goto(parley.url);
  await page.getByLabel('Access token').fill('secret');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('button', { name: 'Ada: account' }).click();
  await page.getByRole('menuitem', { name: 'Administration' }).click();
  await expect(page.getByRole('dialog', { name: 'Administration' })).toBeVisible();
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Ada: account' }).click();
  await page.getByRole('menuitem', { name: 'Sign out' }).click();
  await expect(page.getByLabel('Access token')).toBeVisible();
});

test.describe('who runs the house', () => {
  test.beforeEach(({ parley }) => {
    parley.mock.me = ADMIN;
    parley.mock.addUsers(1_000);
  });

  test('finds one of a thousand users, changes their role and group, suspends and deletes them', async ({ page, parley }) => {
    await parley.open('/#/admin/users');
    const rows = page.getByRole('list', { name: 'Users' }).getByRole('listitem');
    await expect(rows).toHaveCount(50);
    await page.getByRole('button', { name: 'Show more' }).click();
    await expect(rows).toHaveCount(100);
    await page.getByRole('searchbox', { name: 'Find users' }).fill('user-777');
    await expect(rows).toHaveCount(1);
    await rows.getByRole('button').click();
    const of777 = () => parley.mock.accounts.users.find(({ name }) => name === 'user-777');
    await page.getByLabel('Role').selectOption('viewer');
    await expect.poll(() => of777()?.role).toBe('viewer');
    await page.getByLabel('Group').fill('guests');
    await page.getByLabel('Group').press('Tab');
    await expect.poll(() => of777()?.group).toBe('guests');
    await page.getByRole('button', { name: 'Suspend' }).click();
    await page.getByRole('group').getByRole('button', { name: 'Suspend' }).click();
    await expect(page.getByText('Suspended', { exact: true })).toBeVisible();
    await page.getByRole('button', { name: 'Delete' }).click();
    await page.getByRole('group').getByRole('button', { name: 'Delete' }).click();
    await expect(page.getByText('user-777 is deleted')).toBeVisible();
    await expect(page.getByText('messages: 340', { exact: false })).toBeVisible();
    expect(of777()).toBeUndefined();
  });

  test('cannot take the last admin’s role, and is told so', async ({ page, parley }) => {
    await parley.open('/#/admin');
    await page.getByRole('searchbox', { name: 'Find users' }).fill('ada');
    await page.getByRole('list', { name: 'Users' }).getByRole('button').first().click();
    await page.getByLabel('Role').selectOption('member');
    await expect(page.getByRole('alert')).toHaveText('This is the last admin.');
    await expect(page.getByLabel('Role')).toHaveValue('admin');
  });

  test('invites by a link that is shown once, and takes the invitation back', async ({ page, parley }) => {
    await parley.open('/#/admin/invitations');
    await expect(page.getByText('Nobody is invited right now.')).toBeVisible();
    await page.getByLabel('Name').fill('grace');
    await page.getByRole('button', { name: 'Invite' }).click();
    await expect(page.getByText(`${parley.url}/#/join/welcome`)).toBeVisible();
    await page.getByRole('button', { name: 'Revoke grace' }).click();
    await page.getByRole('group').getByRole('button', { name: 'Revoke' }).click();
    await expect(page.getByText('Nobody is invited right now.')).toBeVisible();
    await expect(page.getByText('/#/join/welcome')).toHaveCount(0);
  });

  test('sets limits of the house and of a group, and sees what is inherited', async ({ page, parley }) => {
    await parley.open('/#/admin/limits');
    const house = page.getByRole('form', { name: 'The whole house' });
    await expect(house.getByLabel('Dollars per day')).toHaveValue('20');
    await house.getByLabel('Dollars per day').fill('25,5');
    await house.getByRole('button', { name: 'Save' }).click();
    await expect(house.getByRole('status')).toHaveText('Saved');
    await page.getByRole('textbox', { name: 'Group' }).fill('team');
    await page.getByRole('button', { name: 'Add limits' }).click();
    const team = page.locator('details', { hasText: 'team' });
    await expect(team.getByLabel('Answers per minute')).toBeFocused();
    await expect(team.getByLabel('Answers per minute')).toHaveAttribute('placeholder', 'inherits 30');
    await team.getByLabel('Answers at once').fill('many');
    await expect(team.getByRole('button', { name: 'Save' })).toBeDisabled();
    await team.getByLabel('Answers at once').fill('2');
    await team.getByRole('button', { name: 'Save' }).click();
    await expect(page.getByText('Group: team')).toBeVisible();
  });

  test('finds the user whose limits are to be set by name, and goes on with the keyboard', async ({ page, parley }) => {
    await parley.open('/#/admin/limits');
    await page.getByLabel('Limits for').selectOption('A user');
    await page.getByRole('searchbox', { name: 'Find users' }).fill('user-77');
    const people = page.getByRole('list', { name: 'Choose a user' }).getByRole('button');
    await expect(people.first()).toContainText('user-77@example.org');
    await expect(people).toHaveCount(6);
    await expect(page.getByText('There are more', { exact: false })).toBeVisible();
    await page.getByRole('searchbox', { name: 'Find users' }).fill('user-777');
    await expect(people).toHaveCount(1);
    await people.press('Enter');
    const own = page.getByRole('form', { name: 'user-777 · user-777@example.org' });
    await expect(own.getByLabel('Answers per minute')).toBeFocused();
    await page.keyboard.type('5');
    await page.keyboard.press('Enter');
    await expect(own.getByRole('status')).toHaveText('Saved');
    expect(parley.mock.requests).toContain('PUT /admin/limits/users/user-777-id');
  });

  test('sees each model server: how awake it is, and what it has cost today', async ({ page, parley }) => {
    await parley.open('/#/admin/nodes');
    const rows = page.getByRole('list', { name: 'Models' }).getByRole('listitem');
    await expect(rows).toHaveText([/here.*Ready.*Parley Tiny.*own hardware.*40 answers today/s, /modal-1.*Ready.*Qwen3 8B.*L4.*about \$0\.38 today/s, /modal-2.*Asleep.*wakes in about.*\$0\.00 today/s]);
  });

  test('makes a key, takes it back and signs a device out with the keyboard alone, and is never left with nothing', async ({ page, parley }) => {
    await parley.open('/#/settings/keys');
    await page.getByLabel('Name').focus();
    await page.keyboard.type('Robot');
    await page.keyboard.press('Enter');
    await expect(page.getByRole('button', { name: 'Copy: API keys' })).toBeFocused();
    await page.getByRole('button', { name: 'Revoke Robot' }).focus();
    await page.keyboard.press('Enter');
    await expect(page.getByRole('button', { name: 'Cancel' })).toBeFocused();
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await expect(page.getByRole('button', { name: 'Revoke Notebook' })).toBeFocused();

    await page.goto(`${parley.url}/?#/settings/sessions`);
    await page.getByRole('button', { name: 'Sign out: Safari, iOS' }).focus();
    await page.keyboard.press('Enter');
    await expect(page.getByRole('list', { name: 'Devices' }).getByRole('listitem')).toHaveCount(1);
    await expect(page.locator('dialog :focus')).toHaveCount(1);

    await page.goto(`${parley.url}/?#/admin/users`);
    await page.getByRole('button', { name: 'Show more' }).focus();
    for (let n = 0; n < 2; n++) await page.keyboard.press('Enter');
    await expect(page.getByRole('button', { name: 'Show more' })).toBeFocused();
    await page.getByRole('searchbox', { name: 'Find users' }).fill('user-77');
    await page.getByRole('button', { name: /^user-777/ }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name: 'Delete' }).focus();
    for (const key of ['Enter', 'Tab', 'Enter']) await page.keyboard.press(key);
    await expect(page.getByText('user-777 is deleted')).toBeVisible();
    await expect(page.locator('.person :focus')).toHaveCount(1);
  });

  test('pauses with a reason that everybody sees, and goes on', async ({ page, parley }) => {
    await parley.open('/#/admin/pause');
    await page.getByLabel('Reason').fill('Moving the GPUs');
    await page.getByRole('button', { name: 'Pause Parley' }).click();
    await expect(page.getByText('Paused since', { exact: false })).toBeVisible();
    await page.keyboard.press('Escape');
    await expect(page.locator('.strip')).toHaveText('New answers are paused: Moving the GPUs');
    await page.goto(`${parley.url}/#/admin/pause`);
    await page.getByRole('button', { name: 'Go on' }).click();
    await page.keyboard.press('Escape');
    await expect(page.locator('.strip')).toHaveCount(0);
  });

  test('sees the figures of the guardrails as a plot and as a table', async ({ page, parley }) => {
    await parley.open('/#/admin/users');
    await page.getByRole('tab', { name: 'Users' }).press('ArrowRight');
    await page.getByRole('tab', { name: 'Guardrails' }).click();
    await expect(page).toHaveURL(/#\/admin\/verdicts$/);
    expect(await page.locator('.plot rect[class^=verdict-]').count()).toBeGreaterThan(20);
    await page.getByText('As a table').click();
    await expect(page.getByRole('table', { name: 'By check' }).getByRole('row')).toHaveCount(4);
  });
});

const PLACES = ['settings', 'settings/keys', 'settings/sessions', 'settings/usage', 'admin/users', 'admin/invitations', 'admin/limits', 'admin/nodes', 'admin/verdicts', 'admin/pause'];
for (const [name, options] of Object.entries({
  light: { colorScheme: 'light' },
  dark: { colorScheme: 'dark' },
  'on a phone, in Chinese': { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, locale: 'zh-CN' },
} as const)) {
  test.describe(name, () => {
    test.use(options);
    test('every page of accounts can be read by everybody', async ({ page, parley }) => {
      parley.mock.me = { ...ADMIN, limits: { usd_per_day: { limit: 2, remaining: 0.1, resets_at: '2026-11-22T00:00:00Z', from: 'user' } } };
      parley.mock.addUsers(6);
      parley.mock.spend(20);
      await parley.open();
      for (const place of PLACES) {
        await page.evaluate((hash) => (location.hash = hash), `#/${place}`);
        const dialog = page.locator('dialog[open]');
        await expect(dialog).toBeVisible();
        // What a page brings of its own style counts more than what was there before it.
        if (place.startsWith('admin') && name !== 'on a phone, in Chinese') await expect.poll(() => dialog.evaluate((one) => (one as HTMLElement).offsetWidth)).toBe(46 * 16);
        await expect(dialog.locator('[role=status]', { hasText: /^(Loading|正在加载)$/ })).toHaveCount(0);
        await page.evaluate(() => Promise.all(document.getAnimations().map((one) => one.finished.catch(() => {}))));
        expect(await violations(page), place).toEqual([]);
        expect(await dialog.evaluate((one) => one.scrollWidth - one.clientWidth), place).toBe(0);
      }
      for (const place of ['join/welcome', 'refused?why=suspended']) {
        await page.goto(`${parley.url}/?${place.length}#/${place}`);
        await page.locator('.card').waitFor();
        expect(await violations(page), place).toEqual([]);
      }
    });
  });
}
