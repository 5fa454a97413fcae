import { describe, expect, test } from 'vitest';
import { byDay, byModel, DAYS, firstDay, partsOf, sumOfParts, tokensOf } from '../../src/lib/spending';
import type { SpentRow } from '../../src/wire';

const row = (day: string, model: string, cost_usd: number, values: Partial<SpentRow> = {}): SpentRow => ({
  day,
  model,
  chat_id: 'c',
  runs: 1,
  prompt_tokens: 10,
  cached_tokens: 5,
  completion_tokens: 3,
  gpu_seconds: 10,
  cost_usd,
  active_seconds: 2,
  cold_start_seconds: 5,
  idle_seconds: 3,
  is_estimate: false,
  ...values,
});

const today = new Date('2026-11-21T23:30:00Z');

describe('by day', () => {
  test('thirty days of UTC up to today, with those on which nothing happened', () => {
    const days = byDay([], today);

    expect(days.length).toBe(DAYS);
    expect([days[0]!.day, days.at(-1)!.day]).toEqual(['2026-10-23', '2026-11-21']);
    expect(firstDay(today)).toBe('2026-10-23');
    expect(days.every(({ cost_usd, runs, is_estimate }) => cost_usd === 0 && runs === 0 && !is_estimate)).toBe(true);
  });

  test('rows of one day add up, and what is older than the first is not shown as that day', () => {
    const rows = [row('2026-11-21', 'a', 1), row('2026-11-21', 'b', 2, { is_estimate: true }), row('2026-11-19', 'a', 4), row('2026-10-22', 'a', 64)];
    const days = byDay(rows, today);

    expect(days.slice(-3).map(({ cost_usd, runs, is_estimate }) => ({ cost_usd, runs, is_estimate }))).toEqual([
      { cost_usd: 4, runs: 1, is_estimate: false },
      { cost_usd: 0, runs: 0, is_estimate: false },
      { cost_usd: 3, runs: 2, is_estimate: true },
    ]);
    expect(days[0]!.cost_usd).toBe(0);
  });
});

test('by model: the dearest first, then the most used', () => {
  const rows = [row('2026-11-21', 'free', 0), row('2026-11-20', 'dear', 1), row('2026-11-21', 'dear', 2), row('2026-11-20', 'busy', 0, { completion_tokens: 900 })];

  expect(byModel(rows).map(({ model, cost_usd, runs }) => [model, cost_usd, runs])).toEqual([
    ['dear', 3, 2],
    ['busy', 0, 1],
    ['free', 0, 1],
  ]);
  expect(tokensOf(byModel(rows)[0]!)).toBe(26);
});

test('the parts of a cost are the cost', () => {
  const parts = partsOf(row('2026-11-21', 'a', 5));

  expect(parts).toEqual({ active: 1, coldStart: 2.5, idle: 1.5 });
  expect(partsOf(row('2026-11-21', 'a', 0, { gpu_seconds: 0 }))).toEqual({ active: 0, coldStart: 0, idle: 0 });

  // A second at one price beside a second at another: money is added, not seconds.
  const sum = sumOfParts([row('2026-11-21', 'a', 5), row('2026-11-21', 'b', 50)]);
  expect(sum.active + sum.coldStart + sum.idle).toBeCloseTo(55);
  expect(sum.coldStart).toBeCloseTo(27.5);
});
