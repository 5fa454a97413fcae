import { describe, expect, test } from 'vitest';
import { currentPath, initial, reduce, type Change, type State } from '../../src/state';
import type { RunEvent } from '../../src/wire';
import { chat, message, model, status } from './make';

const usage = { prompt_tokens: 1, cached_tokens: 0, completion_tokens: 2 };
const timings = { queue_ms: 0, wake_ms: 0, ttft_ms: 5, total_ms: 9 };
const cost = { gpu_seconds: 0, cost_usd: 0, active_seconds: 0, cold_start_seconds: 0, idle_seconds: 0, is_estimate: false };
const answer = { ...message('a1', 'u1', 'assistant', 'Hello there'), usage, timings, cost };

const started: RunEvent = { type: 'run', run_id: 'r1', chat_id: 'c', user_message_id: 'u1', assistant_message_id: 'a1', model: 'm', status: 'running' };
const delta = (text: string): RunEvent => ({ type: 'delta', text });
const done: RunEvent = { type: 'done', message: answer, usage, timings, cost, finish_reason: 'stop' };

const apply = (state: State, ...changes: Change[]): State => changes.reduce(reduce, state);
const events = (...list: [number, RunEvent][]): Change => ({ type: 'events', id: 'c', at: 100, events: list.map(([seq, event]) => ({ seq, event })) });
const thread = (state: State) => state.threads.c!;

const sent = apply(
  initial,
  { type: 'thread-new', id: 'c' },
  { type: 'opened', id: 'c' },
  { type: 'chat-put', chat: chat('c') },
  { type: 'sent', id: 'c', message: message('u1', null, 'user'), model: 'm', at: 50 },
);

describe('a message that did not arrive', () => {
  const network = { problem: { code: 'network', message: '' }, retryAt: null };
  const waits = reduce(sent, { type: 'unsent', id: 'c', messageId: 'u1', unsent: network });

  test('waits no more when another tab has sent it', () => {
    const came = reduce(waits, { type: 'thread-came', detail: { ...chat('c'), messages: [message('u1', null, 'user')], has_more: false, first_id: null } });

    expect(thread(waits).unsent).toEqual({ u1: network });
    expect(thread(came).unsent).toEqual({});
  });

  test('gives its place to the one that is sent instead', () => {
    const next = reduce(waits, { type: 'sent', id: 'c', message: message('u2', null, 'user'), model: 'm', at: 60, instead: ['u1'] });

    expect(Object.keys(thread(next).messages)).toEqual(['u2']);
    expect(thread(next).unsent).toEqual({});
  });
});

describe('a run', () => {
  test('shows text as it comes and ends as the stored message', () => {
    const writing = reduce(sent, events([1, started], [2, delta('Hel')], [3, delta('lo')]));

    expect(thread(writing).run!.text).toBe('Hello');
    expect(currentPath(thread(writing)).map(({ id }) => id)).toEqual(['u1', 'a1']);

    const ended = reduce(writing, events([4, done]));

    expect(thread(ended).run).toBeNull();
    expect(thread(ended).messages.a1!.content).toBe('Hello there');
    expect(thread(ended).ended).toEqual({ messageId: 'a1', how: 'done' });
    expect(thread(ended).chat!.active_leaf).toBe('a1');
  });

  test('dates a chat by its newest message, on the calendar and not from the page\'s start', () => {
    const writing = reduce(sent, events([1, started], [2, delta('Hel')]));

    expect(Math.abs(Date.parse(thread(writing).messages.a1!.created_at) - Date.now())).toBeLessThan(60_000);
    expect(thread(reduce(writing, events([3, done]))).chat!.updated_at).toBe(answer.created_at);
  });

  test('drops events that were seen before, so a resume doubles nothing', () => {
    const once = reduce(sent, events([1, started], [2, delta('ab')]));
    const again = reduce(once, events([1, started], [2, delta('ab')], [3, delta('c')]));

    expect(thread(again).run!.text).toBe('abc');
  });

  test('keeps other messages the same objects while text arrives', () => {
    const one = reduce(sent, events([1, started]));
    const two = reduce(one, events([2, delta('x')]));

    expect(thread(two).messages).toBe(thread(one).messages);
    expect(two.list).toBe(one.list);
  });

  test('remembers phases with the times they were heard', () => {
    const state = reduce(sent, events([1, started], [2, { type: 'status', phase: 'loading', elapsed_ms: 4000, eta_p50_ms: 9000, eta_p90_ms: 20000 }]));

    expect(thread(state).run).toMatchObject({ phase: 'loading', elapsedMs: 4000, heardAt: 100, usualMs: 13_000, mostMs: 24_000 });
  });

  test('keeps the time it was due at when nothing is left of it', () => {
    const waking = (elapsed_ms: number, eta_p50_ms: number, eta_p90_ms: number): RunEvent => ({ type: 'status', phase: 'waking', elapsed_ms, eta_p50_ms, eta_p90_ms });
    const late = reduce(sent, events([1, started], [2, waking(1_000, 39_000, 69_000)], [3, waking(50_000, 0, 20_000)]));

    expect(thread(late).run).toMatchObject({ usualMs: 40_000, mostMs: 70_000 });

    const later = reduce(late, events([4, waking(80_000, 0, 0)]));

    expect(thread(later).run).toMatchObject({ usualMs: 40_000, mostMs: 70_000 });
  });

  test('a better estimate replaces an earlier one, and none forgets it', () => {
    const state = reduce(
      sent,
      events(
        [1, started],
        [2, { type: 'status', phase: 'waking', elapsed_ms: 0, eta_p50_ms: 40_000, eta_p90_ms: 70_000 }],
        [3, { type: 'status', phase: 'loading', elapsed_ms: 10_000, eta_p50_ms: 5_000, eta_p90_ms: 8_000 }],
      ),
    );
    expect(thread(state).run).toMatchObject({ usualMs: 15_000, mostMs: 18_000 });

    const generating = reduce(state, events([4, { type: 'status', phase: 'generating', elapsed_ms: 15_000 }]));

    expect(thread(generating).run).toMatchObject({ usualMs: null, mostMs: null });
  });

  test('knows the place in the queue until there is none', () => {
    const queued = reduce(sent, events([1, started], [2, { type: 'status', phase: 'queued', elapsed_ms: 0, position: 3 }]));
    expect(thread(queued).run!.position).toBe(3);

    const moved = reduce(queued, events([3, { type: 'status', phase: 'queued', elapsed_ms: 900, position: 1 }]));
    expect(thread(moved).run!.position).toBe(1);

    expect(thread(reduce(moved, events([4, { type: 'status', phase: 'generating', elapsed_ms: 1_500 }]))).run!.position).toBeNull();
  });

  test('that is withdrawn late keeps not a word of what was shown', () => {
    const refused = { ...answer, content: 'Not for you.', status: 'blocked' as const };
    const shown = reduce(sent, events([1, started], [2, delta('Hello ')], [3, delta('there')]));
    const ended = reduce(shown, events([4, { ...done, message: refused }]));

    expect(thread(ended).messages.a1).toMatchObject({ content: 'Not for you.', withdrawn: true });
    expect(thread(ended).ended).toEqual({ messageId: 'a1', how: 'withdrawn' });
    expect(JSON.stringify(ended)).not.toContain('Hello');

    const fresh = reduce(ended, { type: 'thread-came', detail: { ...chat('c'), messages: [message('u1', null, 'user'), refused] } });
    expect(thread(fresh).messages.a1!.withdrawn).toBe(true);
  });

  test.each([
    ['withheld before a word of it was shown', []],
    ['that goes on from what was shown', [[2, delta('Hello ')]]],
    ['that ends as it was shown', [[2, delta('Hello there')]]],
  ] as [string, [number, RunEvent][]][])('%s is not withdrawn', (_, shown) => {
    const ended = reduce(sent, events([1, started], ...shown, [9, done]));

    expect(thread(ended).messages.a1).not.toHaveProperty('withdrawn');
    expect(thread(ended).ended!.how).toBe('done');
  });

  test('takes feedback to its message and to no other', () => {
    const feedback = { rating: -1, reason: 'style', comment: null, at: '2026-01-01T00:00:00Z' } as const;
    const ended = reduce(sent, events([1, started], [2, done]));
    const rated = reduce(ended, { type: 'feedback', id: 'c', messageId: 'a1', feedback });

    expect(thread(rated).messages.a1!.feedback).toEqual(feedback);
    expect(thread(rated).messages.u1).toBe(thread(ended).messages.u1);
    expect(reduce(rated, { type: 'feedback', id: 'c', messageId: 'gone', feedback })).toBe(rated);
    expect(thread(reduce(rated, { type: 'feedback', id: 'c', messageId: 'a1', feedback: null })).messages.a1!.feedback).toBeNull();
  });

  test('keeps what was shown when it is stopped without a stored message', () => {
    const state = reduce(sent, events([1, started], [2, delta('Half')], [3, { type: 'stopped' }]));

    expect(thread(state).messages.a1).toMatchObject({ content: 'Half', status: 'stopped' });
  });

  test('keeps the error where it happened', () => {
    const error = { code: 'model_unavailable', message: 'Gone.' };
    const state = reduce(sent, events([1, started], [2, delta('Half')], [3, { type: 'failed', error }]));

    expect(thread(state).messages.a1).toMatchObject({ content: 'Half', status: 'failed', error });
    expect(thread(state).ended!.how).toBe('failed');
  });

  test('carries guardrail notes into the message when the server did not', () => {
    const verdict = { stage: 'output', rail: 'pii', action: 'redacted', message: 'Hidden.' } as const;
    const state = reduce(sent, events([1, started], [2, { type: 'guardrail', ...verdict }], [3, done]));

    expect(thread(state).messages.a1!.verdicts).toEqual([verdict]);
  });

  test('names the chat in the list and in the thread', () => {
    const listed = apply(initial, { type: 'list-came', query: '', more: false, page: { data: [chat('c')], has_more: false, last_id: null } });
    const state = apply(
      listed,
      { type: 'thread-came', detail: { ...chat('c'), messages: [] } },
      { type: 'attached', id: 'c', runId: 'r1', at: 1 },
      events([1, started], [2, { type: 'title', title: 'A name' }]),
    );

    expect(state.list.chats[0]!.title).toBe('A name');
    expect(thread(state).chat!.title).toBe('A name');
  });

  test('leaves a reader on another branch where they are', () => {
    const old = apply(
      initial,
      { type: 'thread-came', detail: { ...chat('c', { active_leaf: 'a0' }), messages: [message('u1', null, 'user'), message('a0', 'u1', 'assistant')] } },
      { type: 'regenerating', id: 'c', messageId: 'a0', model: 'm', at: 1 },
      { type: 'leaf', id: 'c', leaf: 'a0' },
      events([1, started], [2, delta('new')], [3, done]),
    );

    expect(thread(old).leaf).toBe('a0');
    expect(thread(old).messages.a1!.content).toBe('Hello there');
  });
});

describe('sending', () => {
  test('a refusal keeps the message with its problem; sending again clears it', () => {
    const problem = { code: 'rate_limited', message: 'Slow down.' };
    const refused = reduce(sent, { type: 'unsent', id: 'c', messageId: 'u1', unsent: { problem, retryAt: 9 } });

    expect(thread(refused).run).toBeNull();
    expect(thread(refused).unsent.u1!.problem).toEqual(problem);

    const again = reduce(refused, { type: 'sent', id: 'c', message: message('u1', null, 'user'), model: 'm', at: 60 });

    expect(thread(again).unsent).toEqual({});
    expect(Object.keys(thread(again).messages)).toEqual(['u1']);
  });

  test('asking again that does not get through shows the old answer with the problem', () => {
    const asked = apply(reduce(sent, events([1, started], [2, done])), { type: 'regenerating', id: 'c', messageId: 'a1', model: 'm', at: 1 });
    expect(currentPath(thread(asked)).map(({ id }) => id)).toEqual(['u1']);

    const refused = reduce(asked, { type: 'unsent', id: 'c', messageId: 'a1', unsent: { problem: { code: 'x', message: '' }, retryAt: null } });

    expect(currentPath(thread(refused)).map(({ id }) => id)).toEqual(['u1', 'a1']);
  });

  test('a refresh keeps what the server does not have yet', () => {
    const state = reduce(sent, { type: 'thread-came', detail: { ...chat('c'), messages: [] } });

    expect(Object.keys(thread(state).messages)).toEqual(['u1']);
    expect(thread(state).leaf).toBe('u1');
  });
});

test('a refresh of the newest page keeps the older ones', () => {
  const detail = { ...chat('c', { active_leaf: '4' }), messages: [message('3', '2', 'user'), message('4', '3', 'assistant')], has_more: true, first_id: '3' };
  const state = apply(
    initial,
    { type: 'thread-came', detail },
    { type: 'thread-earlier', detail: { ...detail, messages: [message('1', null, 'user'), message('2', '1', 'assistant')], has_more: false, first_id: null } },
    { type: 'thread-came', detail },
  );

  expect(currentPath(thread(state)).map(({ id }) => id)).toEqual(['1', '2', '3', '4']);
  expect(thread(state).hasEarlier).toBe(false);
});

describe('the list', () => {
  const page = (ids: string[], has_more = false) => ({ data: ids.map((id) => chat(id)), has_more, last_id: has_more ? 'next' : null });

  test('pages follow each other without doubles', () => {
    const state = apply(
      initial,
      { type: 'list-came', query: '', more: false, page: page(['1', '2'], true) },
      { type: 'list-came', query: '', more: true, page: page(['2', '3']) },
    );

    expect(state.list.chats.map(({ id }) => id)).toEqual(['1', '2', '3']);
    expect(state.list.hasMore).toBe(false);
  });

  test('an answer to an old question is dropped', () => {
    const asked = reduce(initial, { type: 'list-asked', query: 'new', more: false });

    expect(reduce(asked, { type: 'list-came', query: 'old', more: false, page: page(['1']) })).toBe(asked);
  });

  test('the chat that was written in last comes first', () => {
    const state = apply(
      initial,
      { type: 'list-came', query: '', more: false, page: page(['1', '2']) },
      { type: 'chat-put', chat: chat('2', { updated_at: '2026-02-01T00:00:00Z' }) },
    );

    expect(state.list.chats.map(({ id }) => id)).toEqual(['2', '1']);
  });
});

test('a model that was asked to wake shows it at once, and the others stay the same', () => {
  const [tiny, big] = [model('tiny', { state: 'warm' }), model('big', { state: 'cold', since_ms: 9_000, eta_p50_ms: 40_000 })];
  const state = reduce(initial, { type: 'server', server: status([tiny, big]) });
  const waking = reduce(state, { type: 'prewarmed', model: { model: 'big', state: 'warming', eta_p50_ms: 38_000, started: true } });

  expect(waking.server!.models).toEqual([tiny, { ...big, state: 'warming', since_ms: 0, eta_p50_ms: 38_000 }]);
  expect(waking.server!.models[0]).toBe(state.server!.models[0]);

  const refused = reduce(state, { type: 'prewarmed', model: { model: 'big', state: 'cold', started: false } });
  expect(refused.server!.models).toEqual([tiny, big]);
});

test('signing out leaves nothing behind', () => {
  const out = reduce(sent, { type: 'session', session: 'out' });

  expect(out.threads).toEqual({});
  expect(out.list.chats).toEqual([]);
  expect(out.profile).toBeNull();
});
