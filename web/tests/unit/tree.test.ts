import { expect, test } from 'vitest';
import { childrenOf, newestLeaf, newestMessage, pathTo, siblingsOf, type Messages } from '../../src/tree';
import { message } from './make';

const tree: Messages = Object.fromEntries(
  [
    message('01', null, 'user'),
    message('02', '01', 'assistant'),
    message('03', '02', 'user'),
    message('04', '03', 'assistant'),
    message('05', '01', 'assistant'), // regenerated 02
    message('06', '02', 'user'), // edited 03
    message('07', '06', 'assistant'),
    message('08', null, 'user'), // edited 01
  ].map((one) => [one.id, one]),
);
const children = childrenOf(tree);

test('a path leads from the root to the leaf', () => {
  expect(pathTo(tree, '07').map(({ id }) => id)).toEqual(['01', '02', '06', '07']);
  expect(pathTo(tree, null)).toEqual([]);
  expect(pathTo(tree, 'gone')).toEqual([]);
});

test('siblings are versions of the same turn, oldest first', () => {
  expect(siblingsOf(tree, children, tree['05']!)).toEqual({ ids: ['02', '05'], index: 1 });
  expect(siblingsOf(tree, children, tree['01']!)).toEqual({ ids: ['01', '08'], index: 0 });
  expect(siblingsOf(tree, children, tree['04']!)).toEqual({ ids: ['04'], index: 0 });
});

test('a branch is entered at its newest leaf', () => {
  expect(newestLeaf(children, '01')).toBe('05');
  expect(newestLeaf(children, '02')).toBe('07');
  expect(newestLeaf(children, '08')).toBe('08');
});

test('the newest message has the greatest id', () => {
  expect(newestMessage(tree)).toBe('08');
  expect(newestMessage({})).toBeNull();
});

test('a message whose parent is on an earlier page is a root', () => {
  const page = { '03': tree['03']!, '04': tree['04']! };

  expect(childrenOf(page).get(null)!.map(({ id }) => id)).toEqual(['03']);
  expect(pathTo(page, '04').map(({ id }) => id)).toEqual(['03', '04']);
});

test('a cycle in broken data ends', () => {
  const broken = { a: message('a', 'b', 'user'), b: message('b', 'a', 'user') };

  expect(pathTo(broken, 'a').length).toBe(2);
});
