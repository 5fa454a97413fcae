/** Numbers and times as people write them. Pure. */

/** `0.4 s`, `12 s`, `1 min 10 s`. */
export function duration(ms: number, lang: string): string {
  const zh = lang.startsWith('zh');
  const [s, min] = zh ? [' 秒', ' 分'] : [' s', ' min'];
  if (ms < 9_950) return `${(Math.max(0, ms) / 1000).toFixed(1)}${s}`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds}${s}`;
  const rest = seconds % 60;
  return `${Math.floor(seconds / 60)}${min}${rest ? ` ${rest}${s}` : ''}`;
}

/** Whole seconds: for a clock that ticks. */
export const ticking = (ms: number, lang: string): string => {
  const seconds = Math.floor(Math.max(0, ms) / 1000);
  return seconds < 10 ? `${seconds}${lang.startsWith('zh') ? ' 秒' : ' s'}` : duration(seconds * 1000, lang);
};

export const count = (n: number, lang: string): string => new Intl.NumberFormat(lang).format(n);

export const bytes = (n: number): string => (n < 1024 ? `${n} B` : `${(n / 1024).toFixed(1)} KiB`);

/** Small sums need their digits: $0.00042, $0.013, $1.20. */
export function money(usd: number): string {
  if (usd >= 0.1) return `$${usd.toFixed(2)}`;
  return `$${Number(usd.toPrecision(2)).toFixed(Math.min(8, Math.max(2, 1 - Math.floor(Math.log10(usd)))))}`;
}

export type DayGroup = { kind: 'pinned' | 'today' | 'yesterday' | 'lastWeek' | 'lastMonth' } | { kind: 'month'; label: string };

const DAY = 86_400_000;

/** Where a chat belongs in the list. Days are the reader's own, so midnight moves a chat, not the passing of 24 hours. */
export function dayGroup(updatedAt: string, now: Date, lang: string): DayGroup {
  const at = new Date(updatedAt);
  const midnight = new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime();
  const day = new Date(at.getFullYear(), at.getMonth(), at.getDate()).getTime();
  // Rounded, because a day with a change of the clock has 23 or 25 hours.
  const ago = Math.round((midnight - day) / DAY);
  if (ago <= 0) return { kind: 'today' };
  if (ago === 1) return { kind: 'yesterday' };
  if (ago <= 7) return { kind: 'lastWeek' };
  if (ago <= 30) return { kind: 'lastMonth' };
  const sameYear = at.getFullYear() === now.getFullYear();
  const format = new Intl.DateTimeFormat(lang, sameYear ? { month: 'long' } : { month: 'long', year: 'numeric' });
  return { kind: 'month', label: format.format(at) };
}

/** How far a waking bar should be: half way at the usual time, almost full at the longest, never quite there. */
export function wakingShare(elapsedMs: number, p50Ms: number, p90Ms: number): number {
  const most = Math.max(p90Ms, p50Ms * 1.2);
  if (elapsedMs <= p50Ms) return (elapsedMs / p50Ms) * 0.72;
  if (elapsedMs <= most) return 0.72 + ((elapsedMs - p50Ms) / (most - p50Ms)) * 0.2;
  return 0.92 + 0.06 * (1 - Math.exp(-(elapsedMs - most) / most));
}
