/** Amounts that limits are counted in, as a person reads and types them. Pure. */

import type { LimitName } from '../accounts';
import { count, duration, money } from './format';

export const isBudget = (name: LimitName): boolean => name.endsWith('_day') || name.endsWith('_month');

export function amount(name: LimitName, n: number, lang: string): string {
  if (name.startsWith('usd_')) return money(n);
  if (name === 'gpu_seconds_per_day') return n === 0 ? '0 s' : duration(n * 1000, lang);
  return count(Math.round(n), lang);
}

/** What was typed into a field: null where it is empty, undefined where it is no such amount. */
export function typed(name: LimitName, text: string): number | null | undefined {
  const plain = text.trim().replace(',', '.');
  if (plain === '') return null;
  const n = Number(plain);
  if (!Number.isFinite(n) || n < 0) return undefined;
  const isWhole = name.startsWith('runs_') || name === 'tokens_per_day';
  return isWhole && !Number.isInteger(n) ? undefined : n;
}
