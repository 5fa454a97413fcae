import { expect, test } from 'vitest';
import { Sentences } from '../../src/lib/sentences';
import { LONG, TEXTS } from './corpus';

const CODE = 'A block of code.';

const whole = (text: string): string[] => new Sentences(CODE).next(text, true);

/** As the text comes, cut after every `step` characters. */
function cut(text: string, step: number): string[] {
  const sentences = new Sentences(CODE);
  const out: string[] = [];
  for (let at = step; at < text.length; at += step) out.push(...sentences.next(text.slice(0, at), false));
  return [...out, ...sentences.next(text, true)];
}

test.each([
  ['One. Two!  Three?', ['One.', 'Two!', 'Three?']],
  ['It costs 3.50 at example.com. Yes', ['It costs 3.50 at example.com.', 'Yes']],
  ['你好！我是 Parley。可以开始了', ['你好！', '我是 Parley。', '可以开始了']],
  ['# A **title**\n\n1. First. More\n2. [Second](https://x.y) [1][^a]', ['A title', 'First.', 'More', 'Second']],
  ['Look:\n```js\nlet a = 1. + 2;\n```\nDone.', ['Look:', CODE, 'Done.']],
  ['~~~\n```\nx. y\n~~~~\nAfter', [CODE, 'After']],
  ['| a | b |\n|---|---|\n| 1. | 2 |', ['a, b', '1., 2']],
  ['- [x] done\n- [ ] open', ['done', 'open']],
  ['***\n\n---', []],
])('%j', (text, sentences) => expect(whole(text)).toEqual(sentences));

test('what is read does not depend on where the text was cut', () => {
  for (const text of [...TEXTS, LONG.slice(0, 3_000), 'word '.repeat(300), '字'.repeat(900), '他说：“好。”然后走了。（真的！）']) {
    for (const step of [1, 2, 7, 31]) expect(cut(text, step), JSON.stringify(text)).toEqual(whole(text));
  }
});

test('a sentence is given when it is whole, and once', () => {
  const sentences = new Sentences(CODE);

  expect(sentences.next('One', false)).toEqual([]);
  expect(sentences.next('One.', false)).toEqual([]);
  expect(sentences.next('One. T', false)).toEqual(['One.']);
  expect(sentences.next('One. Two', true)).toEqual(['Two']);
  expect(sentences.next('One. Two', true)).toEqual([]);
});
