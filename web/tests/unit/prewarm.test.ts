import { expect, test } from 'vitest';
import { Prewarm } from '../../src/prewarm';
import { model } from './make';

const asleep = model('big');

test('a sleeping model is woken once per chat, however much is typed', () => {
  const prewarm = new Prewarm();

  expect([1, 2, 3].map(() => prewarm.isDue('a', asleep))).toEqual([true, false, false]);
  expect([prewarm.isDue('b', asleep), prewarm.isDue(null, asleep), prewarm.isDue(null, asleep)]).toEqual([true, true, false]);
});

test('another model of the same chat is another matter', () => {
  const prewarm = new Prewarm();
  prewarm.isDue('a', asleep);

  expect(prewarm.isDue('a', model('other'))).toBe(true);
});

test('a model that has been awake since may be woken again; one that slept on may not', () => {
  const prewarm = new Prewarm();
  prewarm.isDue('a', asleep);
  prewarm.see([asleep]);
  expect(prewarm.isDue('a', asleep)).toBe(false);

  prewarm.see([model('big', { state: 'warm' }), model('other')]);
  expect(prewarm.isDue('a', asleep)).toBe(true);
});

test('what is awake, waking, away or a demo is left alone, and is not remembered as asked', () => {
  const prewarm = new Prewarm();

  for (const state of ['warm', 'warming', 'unreachable'] as const) expect(prewarm.isDue('a', model('big', { state }))).toBe(false);
  expect(prewarm.isDue('a', model('tiny', { demo: true }))).toBe(false);
  expect(prewarm.isDue('a', asleep)).toBe(true);
});
