// @vitest-environment happy-dom
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { refusalOf } from '../../src/api';
import { say, zh } from '../../src/i18n/refusals';
import { change } from '../../src/lib/settings';

const document = readFileSync(join(__dirname, '../../../docs/architecture.md'), 'utf8');
const [, table = ''] = /## Errors\n([^]*?)(?:\n## |$)/.exec(document) ?? [];
const codes = new Set(table.split('\n').filter((line) => line.startsWith('| `')).flatMap((line) => [...line.split('|')[1]!.matchAll(/`(\w+)`/g)].map(([, code]) => code!)));

afterEach(() => change({ lang: 'en' }));

describe('a refusal', () => {
  test('is known by every code that the documents name, and by no other', () => {
    expect(codes.size).toBeGreaterThan(30);
    expect(new Set(Object.keys(zh))).toEqual(codes);
  });

  test('is said in Chinese by its code, and in English as the server does, which knows more', () => {
    const problem = refusalOf(409, JSON.stringify({ error: { code: 'last_admin', message: 'This is the last admin; make somebody else one first.' } })).problem;

    expect(say.value(problem)).toBeNull();
    change({ lang: 'zh' });
    expect(say.value(problem)).toBe('这是最后一位管理员，请先将其他人设为管理员。');
    expect(say.value({ ...problem, message: '只剩一位管理员了。' })).toBeNull();
    expect(say.value({ ...problem, code: 'new_on_the_server' })).toBeNull();
  });

  test('of every code is a sentence in both languages: the one of the server where ours is not better', () => {
    for (const lang of ['en', 'zh'] as const) {
      change({ lang });
      const said = [...codes].map((code) => say.value({ code, message: 'In English.', param: 'usd_per_day', until: Date.now() + 60_000 }) ?? 'In English.');

      expect(said.filter((text) => text.length < 5)).toEqual([]);
      expect(said.map((text) => /\p{Script=Han}/u.test(text))).toEqual(said.map(() => lang === 'zh'));
    }
  });

  test('carries its figures: which budget, until when, how long', () => {
    const over = refusalOf(429, JSON.stringify({ error: { code: 'insufficient_quota', param: 'usd_per_day', message: 'Your daily budget is used up.' } }), 3_600_000).problem;
    const fast = refusalOf(429, JSON.stringify({ error: { code: 'rate_limited', message: 'Too many messages; try again in 12 s.' } }), 12_000).problem;

    const at = (lang: string) => new Intl.DateTimeFormat(lang, { dateStyle: 'medium', timeStyle: 'short' }).format(over.until!);
    expect(say.value(over)).toBe(`“Dollars per day” is used up. It renews ${at('en')}.`);
    change({ lang: 'zh' });
    expect(say.value(over)).toBe(`“每日费用（美元）”已用完，${at('zh-Hans')} 重置。`);
    expect(say.value(fast)).toMatch(/^有点太快了，请在 1[12] 秒后重试。$/);
  });
});
