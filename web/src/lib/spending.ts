/** What was spent, by day and by model. Pure; the rows are the server's, one for each day, model and chat. */

import type { Cost, Spent, SpentRow } from '../wire';

/** Dollars, by what the GPU did for them. */
export interface Parts {
  active: number;
  coldStart: number;
  idle: number;
}

export interface Day extends Spent {
  /** `2026-11-21`. */
  day: string;
  parts: Parts;
}

export interface ModelSpent extends Spent {
  model: string;
}

export const DAYS = 30;
const DAY_MS = 86_400_000;

/** Within one row every GPU second has the same price, so the money divides as the seconds do. */
export function partsOf({ cost_usd, gpu_seconds, active_seconds, cold_start_seconds, idle_seconds }: Cost): Parts {
  if (gpu_seconds <= 0) return { active: cost_usd, coldStart: 0, idle: 0 };
  const price = cost_usd / gpu_seconds;
  return { active: active_seconds * price, coldStart: cold_start_seconds * price, idle: idle_seconds * price };
}

const NOTHING: Spent = {
  runs: 0,
  prompt_tokens: 0,
  cached_tokens: 0,
  completion_tokens: 0,
  gpu_seconds: 0,
  cost_usd: 0,
  active_seconds: 0,
  cold_start_seconds: 0,
  idle_seconds: 0,
  is_estimate: false,
};

const plus = (a: Spent, b: Spent): Spent => ({
  runs: a.runs + b.runs,
  prompt_tokens: a.prompt_tokens + b.prompt_tokens,
  cached_tokens: a.cached_tokens + b.cached_tokens,
  completion_tokens: a.completion_tokens + b.completion_tokens,
  gpu_seconds: a.gpu_seconds + b.gpu_seconds,
  cost_usd: a.cost_usd + b.cost_usd,
  active_seconds: a.active_seconds + b.active_seconds,
  cold_start_seconds: a.cold_start_seconds + b.cold_start_seconds,
  idle_seconds: a.idle_seconds + b.idle_seconds,
  is_estimate: a.is_estimate || b.is_estimate,
});

const plusParts = (a: Parts, b: Parts): Parts => ({
  active: a.active + b.active,
  coldStart: a.coldStart + b.coldStart,
  idle: a.idle + b.idle,
});
const NO_PARTS: Parts = { active: 0, coldStart: 0, idle: 0 };

export const sumOfParts = (rows: readonly SpentRow[]): Parts => rows.map(partsOf).reduce(plusParts, NO_PARTS);

const dayBefore = (today: Date, ago: number): string => new Date(today.getTime() - ago * DAY_MS).toISOString().slice(0, 10);

/** The first of the last 30 days of UTC, today among them. */
export const firstDay = (today: Date): string => dayBefore(today, DAYS - 1);

/** Those days, oldest first, with the ones on which nothing happened. */
export function byDay(rows: readonly SpentRow[], today: Date): Day[] {
  return Array.from({ length: DAYS }, (_, at) => {
    const day = dayBefore(today, DAYS - 1 - at);
    const mine = rows.filter((row) => row.day === day);
    return { ...mine.reduce<Spent>(plus, NOTHING), day, parts: sumOfParts(mine) };
  });
}

/** The dearest first; among those that cost nothing, the most used. */
export function byModel(rows: readonly SpentRow[]): ModelSpent[] {
  const models = new Map<string, Spent>();
  for (const row of rows) models.set(row.model, plus(models.get(row.model) ?? NOTHING, row));
  return [...models]
    .map(([model, spent]) => ({ model, ...spent }))
    .sort((a, b) => b.cost_usd - a.cost_usd || b.completion_tokens - a.completion_tokens);
}

export const tokensOf = ({ prompt_tokens, completion_tokens }: Spent): number => prompt_tokens + completion_tokens;
