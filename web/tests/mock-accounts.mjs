/** The part of the scripted server that knows keys, devices, users, invitations, limits and the pause. */

import { randomUUID } from 'node:crypto';

const DAY_MS = 86_400_000;
const at = (days) => new Date(Date.now() + days * DAY_MS).toISOString();
const NONE = { runs_per_minute: null, runs_at_once: null, tokens_per_day: null, gpu_seconds_per_day: null, usd_per_day: null, usd_per_month: null };

export function accountsOf(control, refused) {
  function resetAccounts() {
    control.accounts = {
      keys: [{ id: 'key-1', name: 'Notebook', scopes: ['chat'], origins: [], hint: 'parley_sk_ab12…', created_at: at(-40), last_used_at: at(-1), expires_at: at(50) }],
      devices: [
        { id: 'here', created_at: at(-3), last_seen_at: at(0), expires_at: at(27), agent: 'Chrome, Linux', current: true },
        { id: 'phone', created_at: at(-9), last_seen_at: at(-2), expires_at: at(21), agent: 'Safari, iOS', current: false },
      ],
      users: [],
      invitations: [],
    };
    limits = { defaults: { ...NONE, runs_per_minute: 30 }, house: { limits: { ...NONE, usd_per_day: 20 }, used: { usd_per_day: { used: 4.2, reserved: 0, resets_at: at(1) } } }, groups: [], users: [] };
  }
  let limits;
  control.addUsers = (n) => {
    const names = ['ada', 'grace', 'linus', 'margaret', 'a-very-long-name-that-somebody-has-chosen-to-see-what-happens'];
    for (let i = 0; i < n; i++) {
      const name = names[i] ?? `user-${i}`;
      control.accounts.users.push({ id: `${name}-id`, email: `${name}@example.org`, name, role: i === 0 ? 'admin' : 'member', status: i === 2 ? 'suspended' : 'active', group: i % 3 ? null : 'team', created_at: at(-60 - i), last_seen_at: i % 4 ? at(-i % 30) : null });
    }
  };
  resetAccounts();

  /** True when it was one of these routes. */
  function answerAccounts(method, url, body, json) {
    const path = url.pathname;
    const [, kind, what, name] = path.split('/').map(decodeURIComponent);
    const { keys, devices, users, invitations } = control.accounts;
    const drop = (list, id) => {
      const index = list.findIndex((one) => one.id === id);
      if (index < 0) throw refused(404, 'not_found', 'It is not there.');
      list.splice(index, 1);
      json(undefined, 204);
    };
    if (kind === 'keys') {
      if (method === 'DELETE') drop(keys, what);
      else if (method === 'POST') {
        const key = { id: randomUUID(), hint: 'parley_sk_new1…', created_at: at(0), last_used_at: null, name: body.name, scopes: body.scopes, origins: body.origins, expires_at: body.expires_days ? at(body.expires_days) : null };
        keys.unshift(key);
        json({ ...key, key: 'parley_sk_new1secret' }, 201);
      } else json(keys);
    } else if (kind === 'sessions') {
      if (method === 'DELETE' && what) drop(devices, what);
      else if (method === 'DELETE') {
        json({ ended: devices.splice(1).length });
      } else json(devices);
    } else if (path === '/join') {
      if (body.token !== 'welcome') throw refused(404, 'not_found', 'This invitation is not there any more.');
      json({ id: 'ada', key: 'parley_sk_joined' });
    } else if (kind !== 'admin') return false;
    else if (what === 'users') admin(method, url, name, body, json, users);
    else if (what === 'invitations') {
      if (method === 'DELETE') drop(invitations, name);
      else if (method === 'POST') {
        const one = { id: randomUUID(), email: null, name: null, group: null, ...body, created_at: at(0), expires_at: at(body.days) };
        invitations.unshift(one);
        json({ ...one, link: one.name ? '/#/join/welcome' : null }, 201);
      } else json(invitations);
    } else if (what === 'limits') {
      if (name === 'house') limits.house.limits = body;
      else if (name) {
        const id = decodeURIComponent(path.split('/')[4]);
        const list = limits[name];
        const found = list.find((one) => (one.id ?? one.name) === id);
        if (found) found.limits = body;
        else list.push({ id, name: users.find((user) => user.id === id)?.name ?? id, email: users.find((user) => user.id === id)?.email ?? null, limits: body, used: {} });
      }
      json(limits);
    } else if (what === 'verdicts') json(verdicts());
    else if (what === 'nodes') json({ data: nodes(), since: at(0) });
    else if (what === 'pause') {
      control.me = { ...control.me, paused: method === 'DELETE' ? null : { at: at(0), reason: body.reason ?? null } };
      json({ paused: control.me.paused });
    }
    return true;
  }

  function admin(method, url, id, body, json, users) {
    const user = users.find((one) => one.id === id);
    if (id && !user) throw refused(404, 'not_found', 'There is no such user.');
    if (method === 'PATCH') {
      if (body.role && body.role !== 'admin' && user.role === 'admin' && users.filter(({ role }) => role === 'admin').length === 1) throw refused(409, 'conflict', 'This is the last admin.');
      json(Object.assign(user, body, { group: body.group === '' ? null : (body.group ?? user.group) }));
    } else if (method === 'DELETE') {
      users.splice(users.indexOf(user), 1);
      json({ chats: 12, messages: 340, memories: 0 });
    } else {
      const q = (url.searchParams.get('q') ?? '').toLowerCase();
      const all = users.filter((one) => `${one.name} ${one.email} ${one.group ?? ''}`.toLowerCase().includes(q));
      const from = all.findIndex((one) => one.id === url.searchParams.get('after')) + 1;
      const data = all.slice(from, from + 50);
      const more = from + 50 < all.length;
      json({ object: 'list', data, has_more: more, last_id: more ? data.at(-1).id : null });
    }
  }

  function nodes() {
    const today = { runs: 40, gpu_seconds: 0, cost_usd: 0, is_estimate: false };
    const one = { since_ms: 5_400_000, eta_p50_ms: null, eta_p90_ms: null, serverless: false, gpu: '', usd_per_hour: 0, today };
    const gpu = { ...one, serverless: true, gpu: 'L4', usd_per_hour: 0.8, eta_p50_ms: 38_000, eta_p90_ms: 70_000 };
    return [
      { ...one, name: 'here', models: ['parley-tiny'], state: 'warm' },
      { ...gpu, name: 'modal-1', models: ['qwen3-8b'], state: 'warm', today: { runs: 12, gpu_seconds: 1_700, cost_usd: 0.378, is_estimate: true } },
      { ...gpu, name: 'modal-2', models: ['qwen3-8b'], state: 'cold' },
    ];
  }

  function verdicts() {
    const data = [];
    for (let ago = 0; ago < 30; ago += 2) {
      const day = at(-ago).slice(0, 10);
      data.push({ day, stage: 'input', rail: 'secrets', action: 'blocked', count: 1 + (ago % 5) });
      data.push({ day, stage: 'output', rail: 'pii', action: 'redacted', count: 3 + (ago % 7) });
      if (ago % 6 === 0) data.push({ day, stage: 'output', rail: 'moderation.violence', action: 'flagged', count: 2 });
    }
    return { data, total: data.reduce((sum, { count }) => sum + count, 0) };
  }

  return { answerAccounts, resetAccounts };
}
