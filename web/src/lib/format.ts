/** Numbers and times as people write them. Pure. */

/** `0.4 s`, `12 s`, `1 min 10 s`, `2 h 5 min`. */
export function duration(ms: number, lang: string): string {
  const zh = lang.startsWith('zh');
  const [s, min, h] = zh ? [' 秒', ' 分', ' 小时'] : [' s', ' min', ' h'];
  if (ms < 9_950) return `${(Math.max(0, ms) / 1000).toFixed(1)}${s}`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds}${s}`;
  const minutes = Math.round(seconds / 60);
  if (minutes >= 60) return `${Math.floor(minutes / 60)}${h}${minutes % 60 ? ` ${minutes % 60}${min}` : ''}`;
  const rest = seconds % 60;
  return `${Math.floor(seconds / 60)}${min}${rest ? ` ${rest}${s}` : ''}`;
}

/** Whole seconds: for a clock that ticks. */
export const ticking = (ms: number, lang: string): string => {
  const seconds = Math.floor(Math.max(0, ms) / 1000);
  return seconds < 10 ? `${seconds}${lang.startsWith('zh') ? ' 秒' : ' s'}` : duration(seconds * 1000, lang);
};

/** A time one waits for: whole seconds, and never less than one. */
export const atMost = (ms: number, lang: string): string => ticking(Math.max(1, Math.ceil(ms / 1000)) * 1000, lang);

/** How long something has lasted, to its largest unit: `1 min`, `3 h`, `2 d`. */
export function age(ms: number, lang: string): string {
  const zh = lang.startsWith('zh');
  const minutes = Math.max(1, Math.floor(ms / 60_000));
  if (minutes < 60) return `${minutes}${zh ? ' 分钟' : ' min'}`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours}${zh ? ' 小时' : ' h'}` : `${Math.floor(hours / 24)}${zh ? ' 天' : ' d'}`;
}

export const count = (n: number, lang: string): string => new Intl.NumberFormat(lang).format(n);

export const bytes = (n: number): string =>
  n < 1024 ? `${n} B` : n < 1024 ** 2 ? `${(n / 1024).toFixed(1)} KiB` : `${(n / 1024 ** 2).toFixed(1)} MiB`;

/** `21 Nov 2026`, as the language writes it. */
export const dayOf = (time: string, lang: string): string => new Intl.DateTimeFormat(lang, { dateStyle: 'medium' }).format(new Date(time));

const LEAST_USD = 0.000_001;

/** Small sums need their digits: $0.00042, $0.0004, $0.013, $1.20. */
export function money(usd: number): string {
  if (usd <= 0) return '$0.00';
  if (usd < LEAST_USD) return `<$${LEAST_USD.toFixed(6)}`;
  if (usd >= 0.1) return `$${usd.toFixed(2)}`;
  const digits = Math.max(2, 1 - Math.floor(Math.log10(usd)));
  return `$${usd.toFixed(digits).replace(/(\.\d\d\d*?)0+$/, '$1')}`;
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
  return { kind: 'month', label: monthFormat(lang, sameYear).format(at) };
}

/** To make a format takes much longer than to use it. */
const monthFormats = new Map<string, Intl.DateTimeFormat>();

function monthFormat(lang: string, sameYear: boolean): Intl.DateTimeFormat {
  const key = `${lang} ${sameYear}`;
  const known = monthFormats.get(key);
  if (known) return known;
  const made = new Intl.DateTimeFormat(lang, sameYear ? { month: 'long' } : { month: 'long', year: 'numeric' });
  monthFormats.set(key, made);
  return made;
}

/** The groups of many times at once: each is worked out once a day. */
export class DayLabels {
  private groups = new Map<string, DayGroup>();
  private key = '';
  private now = new Date();
  private lang = '';

  begin(now: Date, lang: string): void {
    const key = `${now.toDateString()} ${lang}`;
    if (key !== this.key) this.groups = new Map();
    Object.assign(this, { key, now, lang });
  }

  of(updatedAt: string): DayGroup {
    const known = this.groups.get(updatedAt);
    if (known) return known;
    const group = dayGroup(updatedAt, this.now, this.lang);
    this.groups.set(updatedAt, group);
    return group;
  }
}

/** How far a waking bar should be: half way at the usual time, almost full at the longest, never quite there. */
export function wakingShare(elapsedMs: number, p50Ms: number, p90Ms: number): number {
  const most = Math.max(p90Ms, p50Ms * 1.2);
  if (elapsedMs <= p50Ms && p50Ms > 0) return (elapsedMs / p50Ms) * 0.72;
  if (elapsedMs <= most) return 0.72 + ((elapsedMs - p50Ms) / (most - p50Ms)) * 0.2;
  return 0.92 + 0.06 * (1 - Math.exp(-(elapsedMs - most) / most));
}
