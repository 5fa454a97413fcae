import { expect, test } from 'vitest';
import { ApiError } from '../../src/api';
import { amount, typed } from '../../src/lib/limits';
import { byDayOf, byRail } from '../../src/lib/verdicts';

test('an empty limit inherits, an amount counts, and anything else is refused', () => {
  expect(typed('usd_per_day', '  ')).toBe(null);
  expect(typed('usd_per_day', '2,5')).toBe(2.5);
  expect(typed('tokens_per_day', '0')).toBe(0);
  for (const text of ['-1', 'many', '1e999', 'NaN']) expect(typed('usd_per_day', text), text).toBe(undefined);
  for (const name of ['runs_per_minute', 'runs_at_once', 'tokens_per_day'] as const) expect(typed(name, '1.5'), name).toBe(undefined);
});

test('an amount is said in its own unit', () => {
  expect(amount('usd_per_month', 12.5, 'en')).toBe('$12.50');
  expect(amount('gpu_seconds_per_day', 0, 'en')).toBe('0 s');
  expect(amount('tokens_per_day', 48_000, 'en')).toBe('48,000');
});

const row = (day: string, rail: string, action: string, count: number) => ({ day, stage: 'output', rail, action, count });

test('verdicts add up by day, with the quiet days between, and by rail, the most frequent first', () => {
  const rows = [row('2026-11-21', 'pii', 'redacted', 2), row('2026-11-19', 'pii', 'redacted', 3), row('2026-11-21', 'secrets', 'blocked', 1), row('2026-09-01', 'pii', 'redacted', 9)];
  const days = byDayOf(rows, new Date('2026-11-21T23:59:00Z'));
  expect(days).toHaveLength(30);
  expect(days.slice(-3).map(({ day, all }) => [day, all])).toEqual([['2026-11-19', 3], ['2026-11-20', 0], ['2026-11-21', 3]]);
  expect(byRail(rows).map(({ rail, count }) => [rail, count])).toEqual([['pii', 14], ['secrets', 1]]);
});

test('a pause is told at once and not waited for in silence, as a full queue is', () => {
  expect(new ApiError(503, 'paused', '').isPassing).toBe(false);
  expect(new ApiError(503, 'overloaded', '').isPassing).toBe(true);
});
