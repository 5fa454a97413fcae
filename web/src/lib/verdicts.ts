/** Counts of what the rails did, by day and by rail. Pure. */

import type { VerdictDay } from '../accounts';
import { DAYS } from './spending';

export const PLOTTED = ['blocked', 'redacted', 'flagged'] as const;
type Plotted = (typeof PLOTTED)[number];
const DAY_MS = 86_400_000;

/** The last 30 days of UTC, oldest first, with the quiet ones; what is no plotted action counts into none. */
export function byDayOf(rows: readonly VerdictDay[], today: Date): { day: string; by: Record<Plotted, number>; all: number }[] {
  return Array.from({ length: DAYS }, (_, at) => {
    const day = new Date(today.getTime() - (DAYS - 1 - at) * DAY_MS).toISOString().slice(0, 10);
    const by: Record<Plotted, number> = { blocked: 0, redacted: 0, flagged: 0 };
    for (const row of rows) if (row.day === day && row.action in by) by[row.action as Plotted] += row.count;
    return { day, by, all: by.blocked + by.redacted + by.flagged };
  });
}

/** One row for each rail, stage and action, the most frequent first. */
export function byRail(rows: readonly VerdictDay[]): Omit<VerdictDay, 'day'>[] {
  const sums = new Map<string, Omit<VerdictDay, 'day'>>();
  for (const { stage, rail, action, count } of rows) {
    const key = `${stage} ${rail} ${action}`;
    sums.set(key, { stage, rail, action, count: (sums.get(key)?.count ?? 0) + count });
  }
  return [...sums.values()].sort((a, b) => b.count - a.count);
}
