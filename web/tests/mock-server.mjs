/**
 * Parley's native API with a scripted model, for development and end-to-end tests. Node's http and nothing else.
 *
 * What a message says chooses the scene: see `SCENES`. Runs go on without readers, as they do on the real server:
 * a connection that is cut can be resumed.
 *
 *   npm run build && npm run mock      → http://127.0.0.1:8000
 */

import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { accountsOf } from './mock-accounts.mjs';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

export const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob: https:; font-src 'self'; " +
  "connect-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'self'; " +
  "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types sw";

const DIST = fileURLToPath(new URL('../dist/', import.meta.url));
const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.woff2': 'font/woff2',
  '.webmanifest': 'application/manifest+json',
};

const LONG = await readFile(new URL('./long-answer.md', import.meta.url), 'utf8');

const STORY =
  'Once upon a time, in a small harbour town, a lighthouse keeper grew tired of talking to the sea. ' +
  'So she built a second lamp, set it across the bay, and taught the two lights to answer each other.\n\n' +
  'Every evening one would blink a question, and the other would think for a while before it replied. ' +
  'Fishermen learned to read them. Some said the lamps argued; others said they sang. ' +
  'The keeper only smiled: **it takes two to keep a light honest**.';

const CHINESE =
  '你好！我是 **Parley**，一个运行在你自己服务器上的聊天助手。\n\n' +
  '我可以：\n\n1. 回答问题，并说明理由\n2. 写代码，例如 `print("你好")`\n3. 讲一个短故事\n\n' +
  '| 项目 | 说明 |\n|---|---|\n| 隐私 | 内容只留在你的服务器上 |\n| 费用 | 空闲时为零 |\n\n想从哪里开始？';

const CODE = Array.from({ length: 10_000 }, (_, n) => `value_${n} = compute(${n}, "a word")  # line ${n + 1}`).join('\n');

const MARKS =
  'The tide follows the moon[^moon], and the moon follows nobody[^2]. A picture: ![The bay](https://pictures.example/bay.png).\n\n' +
  '- [x] Read the tables\n- [ ] Build the second lamp\n\n' +
  'القمر يدور حول الأرض في سبعة وعشرين يومًا، ويسمى ذلك `orbit` في البرنامج.\n\n- البند الأول\n- البند الثاني\n\n' +
  '| Port | High water | Low water | Height in metres above the local datum | Remarks of the harbour master | Source | Checked by |\n|---|---|---|--:|---|---|---|\n' +
  '| Brest | 04:12 | 10:31 | 6.85 | Mind_the_very_long_name_of_the_northern_breakwater_light_at_night | Almanac | Ada |\n\n' +
  'See https://example.com/a/very/long/address/that/goes/on/and/on/without/any/break/0123456789abcdef0123456789abcdef and Donaudampfschifffahrtsgesellschaftskapitänskajütenschlüssel.\n\n' +
  '[^moon]: Newton, *Principia*, book III, proposition 24.\n[^2]: That is not quite true:\n    it follows the sun as well.\n';

/** [a word in the message, the answer, how it comes]. The first that fits. */
const SCENES = [
  ['slow', STORY.repeat(4), { every: 60 }],
  ['wake', STORY, { wake: true }],
  ['queue', STORY, { queue: 3 }],
  ['held', STORY, { held: true }],
  ['fallback', STORY, { by: 'parley-tiny' }],
  ['rented', STORY, { rented: true }],
  ['block', '', { block: true }],
  ['withdraw', STORY, { withdraw: true, every: 25 }],
  ['mask', 'You can reach the office at [email hidden], or come by on any weekday.', { mask: true }],
  ['fail', 'The first step is to look at the logs. The second', { fail: true }],
  ['cut', STORY, { every: 25, cutAfter: 40 }],
  ['beats', STORY, { every: 250, piece: 40 }],
  ['flood', LONG.repeat(3), { every: 4, piece: 16 }],
  ['long', LONG, { every: 8, piece: 14 }],
  ['endless', 'Here it is:\n\n```python\n' + CODE + '\n```\n\nThat is all of it.', { every: 4, piece: 1_600 }],
  ['marks', MARKS, { piece: 9 }],
  ['unsafe', '[click](javascript:alert(1)) <img src=x onerror=alert(1)> [bank.example](https://evil.example/login)', {}],
  ['你好', CHINESE, { piece: 3 }],
  ['中文', CHINESE, { piece: 3 }],
];

const CHARS_PER_TOKEN = 4;
/** An answer of this many tokens, with code, tables and formulas all through it. */
const words = (tokens) => LONG.repeat(Math.ceil((tokens * CHARS_PER_TOKEN) / LONG.length)).slice(0, tokens * CHARS_PER_TOKEN);

const MODELS = [
  {
    id: 'parley-tiny',
    name: 'Parley Tiny',
    state: 'warm',
    context_tokens: 2048,
    demo: true,
    notice: 'It ships with Parley so that you can try everything without a GPU. It is small, and it is often wrong.',
    eta_p50_ms: null,
    eta_p90_ms: null,
    since_ms: 86_400_000,
    gpu: '',
    usd_per_hour: 0,
    nodes: 1,
    queued: 0,
  },
  {
    id: 'qwen3-8b',
    name: 'Qwen3 8B',
    state: 'cold',
    context_tokens: 32768,
    demo: false,
    notice: null,
    eta_p50_ms: 38_000,
    eta_p90_ms: 70_000,
    since_ms: 5_400_000,
    gpu: 'L4',
    usd_per_hour: 0.8,
    nodes: 1,
    queued: 0,
  },
];
const USD_PER_SECOND = 0.8 / 3600;
const PRICES_AS_OF = '2026-11-20';

/** A cost as the server tells it: the whole is the sum of its parts. */
function costOf(active, coldStart = 0, idle = 0, isEstimate = false) {
  const seconds = active + coldStart + idle;
  return { gpu_seconds: seconds, cost_usd: seconds * USD_PER_SECOND, active_seconds: active, cold_start_seconds: coldStart, idle_seconds: idle, is_estimate: isEstimate };
}

/** What `days` days of use look like, today first and fewer at weekends; the same at every call. */
function usageOf(days) {
  const rows = [];
  for (let ago = 0; ago < days; ago++) {
    const at = new Date(Date.now() - ago * 86_400_000);
    if (ago % 7 === 3) continue;
    const runs = 3 + ((ago * 7) % 11);
    const tokens = { prompt_tokens: runs * 640, cached_tokens: runs * 410, completion_tokens: runs * 230 };
    const day = at.toISOString().slice(0, 10);
    rows.push({ day, model: 'qwen3-8b', chat_id: newId(), runs, ...tokens, ...costOf(runs * 4.5, 38 * (1 + (ago % 2)), runs * 31, ago === 0) });
    if (ago % 4 === 0) rows.push({ day, model: 'parley-tiny', chat_id: newId(), runs: 2, prompt_tokens: 300, cached_tokens: 0, completion_tokens: 90, ...costOf(0) });
  }
  return rows;
}

const sumOf = (rows) =>
  rows.reduce(
    (sum, row) => Object.fromEntries(Object.entries(sum).map(([key, value]) => [key, key === 'is_estimate' ? value || row[key] : value + row[key]])),
    { runs: 0, prompt_tokens: 0, cached_tokens: 0, completion_tokens: 0, ...costOf(0) },
  );

function newId(at = Date.now()) {
  const hex = at.toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7${randomUUID().slice(15)}`;
}

class Refused extends Error {
  constructor(status, code, message, headers = {}, param = null) {
    super(message);
    Object.assign(this, { status, code, headers, param });
  }
}

export async function startMock({ port = 0, token = null, seed = 0, wakeMs = 6_000, dist = process.env.DIST ?? DIST } = {}) {
  const chats = new Map();
  const messages = new Map();
  const runs = new Map();
  const readers = new Set();
  let held = null;
  const control = {
    token,
    /** Requests as `METHOD path`, for assertions. */
    requests: [],
    bodies: [],
    /** The idempotency keys of the completions. */
    keys: [],
    /** Answers the next n requests that match with an error: `{ n, match, status, code }`. */
    refuse: null,
    /** When the last word of a paced answer ("rate 100 for 2000") was sent, by this clock. */
    lastWordAt: 0,
    instructions: '',
    /** Who is reading, as `GET /me` says. */
    reader: 'local',
    templates: new Map(),
    shares: new Map(),
    models: structuredClone(MODELS),
    /** What `GET /usage` adds up. */
    usage: [],
    /** The days of use that it then has. */
    spend(days) {
      control.usage = usageOf(days);
    },
    /** Where to sign in, when an issuer does that. */
    issuer: null,
    /** What `GET /me` says besides. */
    me: {},
    /** False: there is no money left for waking while somebody types. */
    mayPrewarm: true,
    /** In the scene "held": the status that the answer has now, instead of one that a clock would bring. */
    tell(event) {
      emit(held, { type: 'status', ...event });
    },
    /** Ends that scene's wait: the answer begins. */
    release() {
      held = null;
    },
    /** Ends every open stream in the middle, as a lost network does. */
    cutAll() {
      for (const response of readers) response.destroy();
    },
    reset() {
      chats.clear();
      messages.clear();
      runs.clear();
      control.requests.length = 0;
      control.bodies.length = 0;
      control.keys.length = 0;
      control.refuse = null;
      control.token = token;
      control.instructions = '';
      control.reader = 'local';
      control.templates.clear();
      control.shares.clear();
      control.models = structuredClone(MODELS);
      control.usage = [];
      control.mayPrewarm = true;
      control.issuer = null;
      control.me = {};
      resetAccounts();
    },
    seed(n) {
      const titles = ['Trip to Kyoto in spring', 'A regular expression for dates', 'Why is the sky blue?', 'Sourdough that does not rise', 'Letter to the landlord', '微积分复习计划', 'Names for a sailing boat', 'Debugging a race in asyncio', 'Birthday speech for Ada', 'Notes on the Silk Road'];
      for (let i = 0; i < n; i++) {
        const at = Date.now() - i * i * 5_400_000 - i * 600_000;
        addChat({ id: newId(at), title: titles[i % titles.length] + (i < 10 ? '' : ` ${i}`), at, pinned: i === 3 });
      }
    },
    /** A chat of n turns, already finished. */
    thread(n, text = LONG) {
      const chat = addChat({ id: newId(), title: 'A long talk', at: Date.now() });
      let parent = null;
      for (let i = 0; i < n; i++) {
        const user = put({ id: newId(Date.now() - (n - i) * 2000), chat_id: chat.id, parent_id: parent, role: 'user', content: `Question ${i + 1}: how does binary search work?` });
        const answer = put({ ...facts(), id: newId(Date.now() - (n - i) * 2000 + 1000), chat_id: chat.id, parent_id: user.id, role: 'assistant', content: text });
        parent = answer.id;
      }
      chat.active_leaf = parent;
      return chat;
    },
    chats,
    messages,
    runs,
  };

  const { answerAccounts, resetAccounts } = accountsOf(control, (...refusal) => new Refused(...refusal));

  function addChat({ id, title = null, model = null, at = Date.now(), pinned = false }) {
    const time = new Date(at).toISOString();
    const chat = { id, title, model, system_prompt: null, created_at: time, updated_at: time, pinned, archived: false, active_leaf: null, active_run: null };
    chats.set(id, chat);
    return chat;
  }

  function put(message) {
    const full = { created_at: new Date().toISOString(), status: 'complete', model: null, run_id: null, finish_reason: null, usage: null, timings: null, cost: null, verdicts: [], error: null, feedback: null, asked_model: null, ...message };
    messages.set(full.id, full);
    return full;
  }

  const opinionOf = ({ rating, reason = null, comment = null }) => ({ rating, reason, comment: comment?.replace(/AKIA\w+/g, '[redacted]') ?? null, at: new Date().toISOString() });

  const facts = (tokens = 143, wake = 0, model = 'parley-tiny', cost = costOf(0)) => ({
    model,
    finish_reason: 'stop',
    usage: { prompt_tokens: 412, cached_tokens: 256, completion_tokens: tokens },
    timings: { queue_ms: 3, wake_ms: wake, ttft_ms: 184 + wake, total_ms: 2_940 + wake },
    cost,
  });

  // ------------------------------------------------------------ runs

  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

  function emit(run, event) {
    run.events.push(event);
    for (const wake of run.waiting.splice(0)) wake();
  }

  async function play(run, chat, user) {
    const paced = /rate (\d+) for (\d+)/.exec(user.content);
    const [, text, how] = paced ? [null, words(Number(paced[2])), { rate: Number(paced[1]) }] : SCENES.find(([word]) => user.content.toLowerCase().includes(word)) ?? [null, STORY, {}];
    if (how.held) held = run;
    emit(run, { type: 'run', run_id: run.id, chat_id: chat.id, user_message_id: user.id, assistant_message_id: run.assistant_message_id, model: run.model, status: 'running' });
    if (chat.title === null) {
      chat.title = user.content.slice(0, 48);
      emit(run, { type: 'title', title: chat.title });
    }
    const base = { id: run.assistant_message_id, chat_id: chat.id, parent_id: user.id, role: 'assistant', run_id: run.id };
    const end = (event, message) => {
      if (message) {
        put(message);
        chat.active_leaf = message.id;
      }
      chat.active_run = null;
      chat.updated_at = new Date().toISOString();
      run.status = event.type === 'done' ? 'completed' : event.type;
      emit(run, message ? { ...event, message: messages.get(message.id) } : event);
      run.isOver = true;
      for (const wake of run.waiting.splice(0)) wake();
    };
    const verdict = (stage, rail, action, message) => ({ stage, rail, action, message, policy: '3f9c1e07b2aa' });

    if (how.block) {
      const one = verdict('input', 'secrets', 'blocked', 'This looks like a secret key. Remove it and ask again.');
      emit(run, { type: 'guardrail', ...one });
      user.verdicts = [one];
      return end({ type: 'done', ...facts(0), finish_reason: 'content_filter' }, { ...base, ...facts(0), content: one.message, status: 'blocked', finish_reason: 'content_filter', verdicts: [one] });
    }
    const wake = how.wake ? wakeMs : 0;
    const began = Date.now();
    const elapsed = () => Date.now() - began;
    const pause = async (ms) => {
      for (let left = ms; left > 0 && !run.stop; left -= 50) await sleep(50);
    };
    if (how.wake) {
      // What is still to wait, as the real server says it: 0 as soon as it takes longer than that.
      const left = (ms) => Math.max(0, Math.round(ms - elapsed()));
      for (const [phase, share] of [['queued', 0.15], ['waking', 0.45], ['loading', 0.4]]) {
        if (run.stop) break;
        emit(run, { type: 'status', phase, elapsed_ms: elapsed(), eta_p50_ms: left(wakeMs * 1.1), eta_p90_ms: left(wakeMs * 1.8) });
        await pause(wakeMs * share);
      }
    } else if (how.held) {
      while (held === run && !run.stop) await sleep(20);
    } else if (how.queue) {
      for (let position = how.queue; position > 0 && !run.stop; position--) {
        emit(run, { type: 'status', phase: 'queued', elapsed_ms: elapsed(), position });
        await pause(wakeMs * 0.75);
      }
    } else {
      emit(run, { type: 'status', phase: 'queued', elapsed_ms: 1 });
      await sleep(how.every > 30 ? 300 : 40);
    }
    if (!run.stop) emit(run, { type: 'status', phase: 'generating', elapsed_ms: elapsed() });

    const verdicts = [];
    let said = '';
    const size = how.piece ?? 6;
    const start = Date.now();
    for (let at = 0; how.rate && at < text.length && !run.stop; ) {
      // As the real server does it: what has come since the last beat, thirty times a second.
      const due = Math.min(text.length, Math.ceil(((Date.now() - start) / 1000) * how.rate * CHARS_PER_TOKEN));
      const piece = text.slice(at, due);
      said += piece;
      at = due;
      if (piece) emit(run, { type: 'delta', text: piece });
      if (at < text.length) await sleep(33);
    }
    if (how.rate) control.lastWordAt = Date.now();
    for (let at = 0; !how.rate && at < text.length && !run.stop; at += size) {
      const piece = text.slice(at, at + size);
      said += piece;
      emit(run, { type: 'delta', text: piece });
      if (how.mask && verdicts.length === 0 && said.includes('[email')) {
        verdicts.push(verdict('output', 'pii', 'redacted', 'An e-mail address was hidden.'));
        emit(run, { type: 'guardrail', ...verdicts[0] });
      }
      if (how.cutAfter && run.events.length === how.cutAfter + 3) control.cutAll();
      await sleep(how.every ?? 12);
    }
    const tokens = Math.ceil(said.length / 4);
    const cost = how.rented ? costOf(3.1, 38.2, 12.4, true) : costOf(0);
    const about = { ...facts(tokens, wake, how.by ?? run.model, cost), asked_model: how.by && how.by !== run.model ? run.model : null };
    if (run.stop) return end({ type: 'stopped' }, { ...base, ...about, content: said, status: 'stopped', finish_reason: 'stopped' });
    if (how.fail) {
      const error = { code: 'model_unavailable', message: 'The model stopped answering. Try again in a moment.' };
      return end({ type: 'failed', error }, { ...base, model: 'parley-tiny', content: said, status: 'failed', error });
    }
    if (how.withdraw) {
      // The check of the whole answer, when its reader has already seen it.
      const late = verdict('output', 'moderation.violence', 'blocked', 'This did not pass the safety check.');
      emit(run, { type: 'guardrail', ...late });
      Object.assign(about, { finish_reason: 'content_filter', status: 'blocked' });
      verdicts.push(late);
      said = late.message;
    }
    const { usage, timings, finish_reason } = about;
    end({ type: 'done', usage, timings, cost, finish_reason }, { ...base, ...about, content: said, verdicts });
  }

  function begin(chat, user, model) {
    const run = { id: newId(), chat_id: chat.id, assistant_message_id: newId(Date.now() + 1), user, model, status: 'running', events: [], waiting: [], stop: false, isOver: false };
    runs.set(run.id, run);
    chat.active_run = run.id;
    void play(run, chat, user);
    return run;
  }

  async function follow(response, run, after) {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    response.write(': hello\n\n');
    readers.add(response);
    response.on('close', () => readers.delete(response));
    let seq = after;
    while (!response.destroyed) {
      while (seq < run.events.length && !response.destroyed) {
        const event = run.events[seq++];
        response.write(`id: ${seq}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
      }
      if (run.isOver && seq >= run.events.length) return response.end();
      await new Promise((resolve) => run.waiting.push(resolve));
    }
  }

  // ------------------------------------------------------------ requests

  async function bodyOf(request) {
    const parts = [];
    for await (const part of request) parts.push(part);
    return parts.length ? JSON.parse(Buffer.concat(parts).toString('utf8')) : {};
  }

  const chatOf = (id) => {
    const chat = chats.get(id);
    if (!chat) throw new Refused(404, 'not_found', 'There is no such chat.');
    return chat;
  };
  const messagesOf = (id) => [...messages.values()].filter((message) => message.chat_id === id).sort((a, b) => (a.id < b.id ? -1 : 1));

  /** A text in pieces that alternate between plain and found. */
  const pieces = (text, q) => {
    const at = text.toLowerCase().indexOf(q);
    return at < 0 ? [text] : [text.slice(0, at), text.slice(at, at + q.length), text.slice(at + q.length)];
  };
  function found(chat, q) {
    const title = pieces(chat.title ?? '', q);
    if (title.length > 1) return { ...chat, match: { title, message_id: null, snippet: null } };
    const message = messagesOf(chat.id).findLast(({ content }) => content.toLowerCase().includes(q));
    if (!message) return null;
    const from = Math.max(0, message.content.toLowerCase().indexOf(q) - 30);
    const around = `${from > 0 ? '…' : ''}${message.content.slice(from, from + 120).replace(/\s+/g, ' ')}…`;
    return { ...chat, match: { title, message_id: message.id, snippet: pieces(around, q) } };
  }

  async function answer(request, response) {
    const url = new URL(request.url, 'http://mock');
    const { method } = request;
    const path = url.pathname;
    const json = (value, status = 200, headers = {}) => {
      response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store', ...headers });
      response.end(value === undefined ? undefined : JSON.stringify(value));
    };
    const isApi = /^\/(chat|chats|runs|me|status|session|prewarm|usage|templates|shares|shared|import|keys|sessions|admin|join|sign-in)(\/|$)/.test(path);
    if (!isApi) return file(path, request, response);
    control.requests.push(`${method} ${path}`);
    if (path === '/import') return imported(request, response);
    const body = method === 'GET' || method === 'DELETE' ? {} : await bodyOf(request);
    if (method === 'POST') control.bodies.push(body);
    if (path.endsWith('/completion')) control.keys.push(request.headers['idempotency-key']);

    const { refuse } = control;
    if (refuse && refuse.n > 0 && `${method} ${path}`.match(refuse.match)) {
      refuse.n--;
      if (refuse.status === 0) return request.socket.destroy();
      throw new Refused(refuse.status, refuse.code, refuse.message ?? 'Refused by the script.', refuse.headers, refuse.param);
    }
    if (path.startsWith('/shared/')) {
      const share = [...control.shares.values()].find((one) => one.id === path.slice('/shared/'.length));
      if (!share || !chats.has(share.chat_id)) throw new Refused(404, 'not_found', 'There is nothing shared here, or not any more.');
      return json(shownTo(share), 200, { 'x-robots-tag': 'noindex, nofollow' });
    }
    if (path === '/sign-in') return json({ auth: control.issuer ? 'oidc' : control.token ? 'token' : 'local', login_url: control.issuer });
    if (path === '/session') {
      if (method === 'DELETE') return json(undefined, 204, { 'set-cookie': 'session=; Path=/; Max-Age=0' });
      if (body.token !== control.token) throw new Refused(401, 'unauthorized', 'This access token is not known here.');
      return json(undefined, 204, { 'set-cookie': `session=${body.token}; Path=/; HttpOnly; SameSite=Strict` });
    }
    if (control.token && !(request.headers.cookie ?? '').includes(`session=${control.token}`)) throw new Refused(401, 'unauthorized', 'Sign in.');

    if (answerAccounts(method, url, body, json)) return;
    if (path === '/status') return json({ version: '0.1.0', auth: control.issuer ? 'oidc' : control.token ? 'token' : 'local', models: control.models, default_model: 'parley-tiny' });
    if (path === '/me') {
      if (method === 'PATCH' && body.custom_instructions !== undefined) control.instructions = body.custom_instructions;
      return json({ id: control.reader, custom_instructions: control.instructions, memory: true, ...control.me });
    }
    if (path === '/shares') return json({ object: 'list', data: [...control.shares.values()].reverse(), has_more: false });
    if (path === '/templates') return json({ object: 'list', data: [...control.templates.values()], has_more: false });
    if (path.startsWith('/templates/')) {
      const id = path.slice('/templates/'.length);
      if (method === 'DELETE') return control.templates.delete(id) ? json(undefined, 204) : json({ error: { code: 'not_found', message: 'There is no such template.' } }, 404);
      const template = { id, ...body, updated_at: new Date().toISOString() };
      control.templates.set(id, template);
      return json(template);
    }
    if (path === '/prewarm') {
      const model = control.models.find(({ id }) => id === body.model);
      if (!model) throw new Refused(404, 'model_not_found', 'There is no such model.');
      const started = control.mayPrewarm && model.state === 'cold';
      if (started) Object.assign(model, { state: 'warming', since_ms: 0 });
      return json({ model: model.id, state: model.state, eta_p50_ms: model.eta_p50_ms, eta_p90_ms: model.eta_p90_ms, started, reason: control.mayPrewarm ? null : 'The money for waking is used up.' }, 202);
    }
    if (path === '/usage') {
      const data = control.usage.filter(({ day }) => day >= url.searchParams.get('from'));
      return json({ data, total: sumOf(data), prices_as_of: PRICES_AS_OF });
    }
    if (path === '/chats') {
      const limit = Number(url.searchParams.get('limit') ?? 50);
      const q = (url.searchParams.get('q') ?? '').toLowerCase();
      const archived = url.searchParams.get('archived') === 'true';
      const all = [...chats.values()]
        .filter((chat) => chat.archived === archived)
        .map((chat) => (q ? found(chat, q) : chat))
        .filter((chat) => chat !== null)
        .sort((a, b) => (a.updated_at < b.updated_at ? 1 : -1));
      const after = url.searchParams.get('after');
      const from = after ? all.findIndex((chat) => chat.id === after) + 1 : 0;
      const data = all.slice(from, from + limit);
      const more = from + limit < all.length;
      return json({ object: 'list', data, has_more: more, last_id: more ? data.at(-1).id : null });
    }
    if (path === '/chat' && method === 'POST') {
      if (chats.has(body.id)) throw new Refused(409, 'conflict', 'This chat exists.');
      return json(Object.assign(addChat({ id: body.id ?? newId(), title: body.title ?? null, model: body.model ?? null }), { temporary: body.temporary ?? false }), 201);
    }
    const [, kind, id, verb] = path.split('/');
    if (kind === 'runs') {
      const run = runs.get(id);
      if (!run) throw new Refused(404, 'not_found', 'There is no such run.');
      if (verb === 'events') return follow(response, run, Number(request.headers['last-event-id'] ?? url.searchParams.get('last_event_id') ?? 0));
      if (method === 'DELETE') run.stop = true;
      return json({ id: run.id, chat_id: run.chat_id, assistant_message_id: run.assistant_message_id, model: run.model, status: run.status });
    }
    const chat = chatOf(id);
    if (verb === 'completion') {
      const known = body.message && messages.get(body.message.id);
      if (known) return follow(response, [...runs.values()].find((run) => run.user.id === known.id), 0);
      if (chat.active_run) throw new Refused(409, 'run_active', 'An answer is being written.');
      let user;
      if (body.regenerate) user = messages.get(messages.get(body.regenerate)?.parent_id);
      else {
        const { id: messageId, content, parent_id } = body.message;
        user = put({ id: messageId, chat_id: chat.id, parent_id: parent_id === undefined ? chat.active_leaf : parent_id, role: 'user', content });
      }
      if (!user) throw new Refused(404, 'not_found', 'There is no such message.');
      return follow(response, begin(chat, user, body.model ?? 'parley-tiny'), 0);
    }
    if (verb === 'stream') {
      const run = chat.active_run && runs.get(chat.active_run);
      return run ? follow(response, run, 0) : json(undefined, 204);
    }
    if (verb === 'messages') {
      const message = messages.get(path.split('/')[4]);
      if (message?.chat_id !== id || !path.endsWith('/feedback')) throw new Refused(404, 'not_found', 'There is no such message in this chat.');
      message.feedback = method === 'PUT' ? opinionOf(body) : null;
      return message.feedback ? json(message.feedback) : json(undefined, 204);
    }
    if (verb === 'share') {
      if (method === 'DELETE') return control.shares.delete(id) ? json(undefined, 204) : json({ error: { code: 'not_found', message: 'This chat is not shared.' } }, 404);
      return json(shareOf(chat), 201);
    }
    if (verb === 'export') return json({ chat, messages: messagesOf(id) }, 200, { 'content-disposition': 'attachment; filename="chat.json"' });
    if (method === 'PATCH') return json(Object.assign(chat, body));
    if (method === 'DELETE') {
      chats.delete(id);
      return json(undefined, 204);
    }
    const all = messagesOf(id);
    const before = url.searchParams.get('before');
    const limit = Number(url.searchParams.get('limit') ?? 200);
    const until = before ? all.findIndex((message) => message.id === before) : all.length;
    const shown = all.slice(Math.max(0, until - limit), until);
    const hasMore = until - limit > 0;
    return json({ ...chat, messages: shown, has_more: hasMore, first_id: hasMore ? shown[0].id : null });
  }

  function shareOf(chat) {
    const time = new Date().toISOString();
    const was = control.shares.get(chat.id) ?? { id: `link-${control.shares.size}-${randomUUID()}`, created_at: time };
    const share = { ...was, chat_id: chat.id, title: chat.title, leaf: chat.active_leaf, updated_at: time, url: `/#/shared/${was.id}` };
    control.shares.set(chat.id, share);
    return share;
  }

  function shownTo({ chat_id, leaf, title, updated_at }) {
    const path = [];
    for (let at = messages.get(leaf); at; at = messages.get(at.parent_id)) path.unshift(at);
    const shown = path.map(({ role, content, created_at }) => ({ role, content, created_at, citations: role === 'assistant' ? ['The harbour book'] : [] }));
    return { title, model: path.at(-1)?.model ?? null, created_at: updated_at, messages: chats.has(chat_id) ? shown : [] };
  }

  /** Each line of the file is a chat's title, or `bad: …`; `wait` holds it there. */
  async function imported(request, response) {
    let text = '';
    for await (const piece of request) text += piece;
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const tell = (event, data) => response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
    const result = { chats: 0, messages: 0, skipped: 0, memories: 0, templates: 0, failures: 0, failed: [], trouble: null };
    const lines = text.split('\n').filter(Boolean);
    for (const [n, line] of lines.entries()) {
      if (line === 'wait') return tell('progress', { done: n, part: n / lines.length });
      if (line === 'broken') result.trouble = 'damaged';
      else if (line.startsWith('bad: ')) result.failed.push({ title: line.slice(5), reason: 'circular' });
      else if ([...chats.values()].some(({ title }) => title === line)) result.skipped++;
      else {
        addChat({ id: newId(), title: line });
        result.chats++;
        result.messages += 2;
      }
      tell('progress', { done: n + 1, part: (n + 1) / lines.length });
    }
    result.failures = result.failed.length;
    tell(result.trouble ? 'failed' : 'done', result);
    response.end();
  }

  async function file(path, request, response) {
    const name = path === '/' ? 'index.html' : normalize(path).replace(/^[/.]+/, '');
    try {
      // Packed as the real server sends it: what a first load takes depends on it.
      const isPacked = /\.(?:js|css)$/.test(name) && (request.headers['accept-encoding'] ?? '').includes('br');
      const brotli = isPacked ? await readFile(join(dist, `${name}.br`)).catch(() => null) : null;
      const data = brotli ?? (await readFile(join(dist, name)));
      response.writeHead(200, {
        'content-type': TYPES[extname(name)] ?? 'application/octet-stream',
        'cache-control': name.startsWith('assets/') ? 'public, max-age=31536000, immutable' : 'no-cache',
        'content-security-policy': POLICY,
        'x-content-type-options': 'nosniff',
        ...(brotli ? { 'content-encoding': 'br' } : {}),
      });
      response.end(data);
    } catch {
      response.writeHead(404).end();
    }
  }

  const server = createServer((request, response) => {
    answer(request, response).catch((error) => {
      if (response.headersSent || response.destroyed) return response.destroy();
      const { status = 500, code = 'internal', message, headers = {}, param = null } = error;
      if (!error.code) console.error(error);
      response.writeHead(status, { 'content-type': 'application/json', ...headers });
      response.end(JSON.stringify({ error: { message, type: code, code, param } }));
    });
  });
  await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
  if (seed) control.seed(seed);
  const close = () =>
    new Promise((resolve) => {
      server.closeAllConnections();
      server.close(resolve);
    });
  return { url: `http://127.0.0.1:${server.address().port}`, control, close };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { url } = await startMock({ port: Number(process.env.PORT ?? 8000), seed: 24, token: process.env.TOKEN ?? null });
  console.log(`Scripted Parley at ${url}; scenes: ${SCENES.map(([word]) => word).join(', ')}`);
}
