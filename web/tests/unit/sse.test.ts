import { expect, test } from 'vitest';
import { SseParser, type SseEvent } from '../../src/sse';

const bytes = (text: string) => new TextEncoder().encode(text);

function parse(...chunks: Uint8Array[]): SseEvent[] {
  const parser = new SseParser();
  return chunks.flatMap((chunk) => parser.push(chunk));
}

const STREAM =
  '\ufeff: hello\n\nid: 1\nevent: run\ndata: {"a":"é 🙂 你好 \u2028 \u2029 \u0085"}\n\n' +
  'id: 2\ndata: two\ndata: lines\n\n' +
  ': ping\n\n' +
  'id:3\nevent:delta\ndata:no space\n\n' +
  'data:  two spaces\n\n' +
  'data\n\n' +
  'retry: 10\nunknown: x\n\n' +
  'id: 4\nevent: done\ndata: end\n\n' +
  'data: never finished';

const EXPECTED: SseEvent[] = [
  { id: '1', event: 'run', data: '{"a":"é 🙂 你好 \u2028 \u2029 \u0085"}' },
  { id: '2', event: 'message', data: 'two\nlines' },
  { id: '3', event: 'delta', data: 'no space' },
  { id: '3', event: 'message', data: ' two spaces' },
  { id: '3', event: 'message', data: '' },
  { id: '4', event: 'done', data: 'end' },
];

test.each([
  ['LF', '\n'],
  ['CR', '\r'],
  ['CRLF', '\r\n'],
])('a stream with %s is the same events wherever it is cut', (_, end) => {
  const all = bytes(STREAM.replaceAll('\n', end));

  expect(parse(all)).toEqual(EXPECTED);
  for (let at = 0; at <= all.length; at++) expect(parse(all.slice(0, at), all.slice(at)), `cut at ${at}`).toEqual(EXPECTED);
  expect(parse(...Array.from(all, (byte) => Uint8Array.of(byte)))).toEqual(EXPECTED);
});

test('empty chunks between CR and LF do not end a line twice', () => {
  expect(parse(bytes('data: a\r'), new Uint8Array(), bytes('\n\r'), new Uint8Array(), bytes('\n'))).toEqual([
    { id: '', event: 'message', data: 'a' },
  ]);
});

test('an id with a null character is ignored', () => {
  expect(parse(bytes('id: 1\ndata: a\n\nid: 2\u0000\ndata: b\n\n')).map(({ id }) => id)).toEqual(['1', '1']);
});

test('broken UTF-8 becomes a replacement character, not an error', () => {
  expect(parse(Uint8Array.of(...bytes('data: '), 0xff, ...bytes('\n\n')))[0]!.data).toBe('\ufffd');
});
