import { describe, expect, test } from 'vitest';
import { en } from '../../src/i18n/en';
import { zh } from '../../src/i18n/zh';
import { age, atMost, bytes, dayGroup, duration, money, ticking, wakingShare } from '../../src/lib/format';
import { newId } from '../../src/lib/ids';
import { Reveal } from '../../src/markdown/reveal';

describe('the languages', () => {
  test('have the same keys of the same kind', () => {
    expect(Object.keys(zh).sort()).toEqual(Object.keys(en).sort());
    for (const key of Object.keys(en) as (keyof typeof en)[]) {
      expect(typeof zh[key], key).toBe(typeof en[key]);
      if (typeof en[key] === 'function') expect((zh[key] as { length: number }).length, key).toBe((en[key] as { length: number }).length);
    }
  });

  test('are translated: no Chinese sentence is the English one, and each placeholder is used', () => {
    const same = new Set(['name']);
    for (const key of Object.keys(en) as (keyof typeof en)[]) {
      const [a, b] = [en[key], zh[key]];
      if (typeof a === 'string' && !same.has(key)) expect(b, key).not.toBe(a);
      if (typeof a === 'function') {
        const values = ['11', '22'] as never[];
        const [one, two] = [a, b].map((say) => (say as (...values: never[]) => string)(...values));
        for (const value of values.slice(0, a.length)) {
          expect(one, key).toContain(value);
          expect(two, key).toContain(value);
        }
      }
    }
  });
});

describe('ids', () => {
  test('are UUIDv7 that sort by time', () => {
    const ids = [1, 1_000, 1_700_000_000_000, 1_700_000_000_001].map((ms) => newId(ms));

    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(ids.slice().sort()).toEqual(ids);
    expect(new Set(Array.from({ length: 1000 }, () => newId())).size).toBe(1000);
  });
});

describe('numbers', () => {
  test('durations', () => {
    expect([40, 1234, 9_960, 59_600, 60_000, 70_000, 125_400].map((ms) => duration(ms, 'en'))).toEqual(['0.0 s', '1.2 s', '10 s', '1 min', '1 min', '1 min 10 s', '2 min 5 s']);
    expect(ticking(4_900, 'en')).toBe('4 s');
    expect(duration(70_000, 'zh-Hans')).toBe('1 分 10 秒');
    expect([3_599_000, 3_600_000, 7_530_000].map((ms) => duration(ms, 'en'))).toEqual(['1 h', '1 h', '2 h 6 min']);
  });

  test('a time to wait is whole and never nothing; an age has one unit', () => {
    expect([0, 200, 37_300, 70_000].map((ms) => atMost(ms, 'en'))).toEqual(['1 s', '1 s', '38 s', '1 min 10 s']);
    expect([0, 719_000, 3_600_000, 86_400_000, 300_000_000].map((ms) => age(ms, 'en'))).toEqual(['1 min', '11 min', '1 h', '24 h', '3 d']);
    expect(age(719_000, 'zh-Hans')).toBe('11 分钟');
  });

  test('places in a queue are ordinals', () => {
    expect([2, 3, 4, 11, 12, 13, 21, 22, 63].map((place) => en.queuePlace(place))).toEqual(
      ['2nd', '3rd', '4th', '11th', '12th', '13th', '21st', '22nd', '63rd'].map((name) => `${name} in the queue`),
    );
    expect(zh.queuePlace(3)).toBe('排在第 3 位');
  });

  test('money and bytes', () => {
    expect([0.00042, 0.0004, 0.013, 0.05, 0.0996, 1.2, 12].map(money)).toEqual(['$0.00042', '$0.0004', '$0.013', '$0.05', '$0.10', '$1.20', '$12.00']);
    expect([0, 0.000_000_2, 0.000_001].map(money)).toEqual(['$0.00', '<$0.000001', '$0.000001']);
    expect(bytes(65_536)).toBe('64.0 KiB');
  });

  test('a waking bar grows, and is never full', () => {
    const shares = [0, 10, 38, 50, 70, 100, 1000].map((s) => wakingShare(s * 1000, 38_000, 70_000));

    expect(shares).toEqual(shares.slice().sort((a, b) => a - b));
    expect(shares.at(-1)).toBeLessThan(1);
    expect(wakingShare(38_000, 38_000, 70_000)).toBeCloseTo(0.72);
  });
});

test('days are the reader’s own', () => {
  const now = new Date(2026, 4, 20, 0, 30);
  const kind = (...at: [number, number, number, number]) => {
    const group = dayGroup(new Date(...at).toISOString(), now, 'en');
    return group.kind === 'month' ? group.label : group.kind;
  };

  expect(kind(2026, 4, 20, 0)).toBe('today');
  expect(kind(2026, 4, 19, 23)).toBe('yesterday');
  expect(kind(2026, 4, 18, 23)).toBe('lastWeek');
  expect(kind(2026, 4, 13, 1)).toBe('lastWeek');
  expect(kind(2026, 4, 12, 1)).toBe('lastMonth');
  expect(kind(2026, 1, 3, 1)).toBe('February');
  expect(kind(2025, 11, 31, 1)).toBe('December 2025');
});

describe('revealing text', () => {
  function setup(isSmooth = true) {
    let now = 0;
    let jobs: (() => void)[] = [];
    const shown: { at: number; text: string }[] = [];
    let ends = 0;
    const reveal = new Reveal(
      (text) => shown.push({ at: now, text }),
      () => ends++,
      { now: () => now, frame: (job) => jobs.push(job) },
      () => isSmooth,
    );
    const run = (ms: number, frameMs = 16) => {
      for (const until = now + ms; now < until; ) {
        now += frameMs;
        const due = jobs;
        jobs = [];
        for (const job of due) job();
      }
    };
    return { reveal, run, shown, ends: () => ends };
  }

  test('a machine that drops frames draws every second one, and is no later for it', () => {
    const { reveal, run, shown, ends } = setup();
    let text = '';
    for (let beat = 0; beat < 30; beat++) {
      text += 'abcdefghijkl';
      reveal.push(text);
      run(40, 40);
    }

    expect(shown.length).toBeLessThan(25); // of 30
    expect(shown.at(-1)!.text.length).toBeGreaterThan(text.length - 40);
    reveal.finish();
    run(400, 40);
    expect(ends()).toBe(1);
  });

  test('what comes in quick beats is drawn once for each, whole', () => {
    const { reveal, run, shown } = setup();
    let text = '';
    for (let beat = 0; beat < 30; beat++) {
      text += 'abcdefghijkl';
      reveal.push(text);
      run(32);
      expect(shown.at(-1)!.text).toBe(text);
    }
    expect(shown.length).toBe(30);
  });

  test('beats of a quarter of a second become steady, and never lag more than 300 ms', () => {
    const { reveal, run, shown } = setup();
    let text = '';
    for (let beat = 0; beat < 12; beat++) {
      text += 'abcdefghijklmnopqrstuvwxyz0123456789';
      reveal.push(text);
      const due = text.length;
      run(256);
      if (beat > 2) expect(shown.at(-1)!.text.length).toBeGreaterThan(due - 8);
    }
    const steps = shown.slice(60).map(({ text: now }, i) => now.length - shown[59 + i]!.text.length);

    expect(Math.max(...steps)).toBeLessThanOrEqual(8);
    run(300);
    expect(shown.at(-1)!.text).toBe(text);
  });

  test('the end comes once, after the last character, within 300 ms', () => {
    const { reveal, run, shown, ends } = setup();
    reveal.push('x'.repeat(5000));
    reveal.finish();
    run(300);

    expect(ends()).toBe(1);
    expect(shown.every(({ text }) => text.length <= 5000)).toBe(true);
  });

  test('a pair of surrogates is never cut', () => {
    const { reveal, run, shown } = setup();
    for (let i = 1; i < 40; i++) {
      reveal.push('🙂'.repeat(i));
      run(32);
    }

    for (const { text } of shown) expect(text).not.toMatch(/[\ud800-\udbff]$/);
  });

  test('with less motion everything shows in the next frame', () => {
    const { reveal, run, shown } = setup(false);
    reveal.push('x'.repeat(500));
    run(16);

    expect(shown.at(-1)!.text.length).toBe(500);
  });
});
