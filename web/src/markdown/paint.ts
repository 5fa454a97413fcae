/**
 * Draws code blocks and formulas, with the heavy parts loaded when the first one is met.
 *
 * While an answer grows, colouring gets at most an eighth of the time, and what came since then is appended as plain
 * text. In a finished answer only what is near the viewport is coloured, so a long thread opens at once.
 */

import type { Piece } from './highlight';
import type { Painters } from './dom';
import type { Code, Formula } from './spec';

type Highlight = typeof import('./highlight').highlight;
type Draw = typeof import('./tex').draw;

let highlight: Highlight | null = null;
let draw: Draw | null = null;
let highlightComing: Promise<void> | null = null;
let drawComing: Promise<void> | null = null;

const needHighlight = () => (highlightComing ??= import('./highlight').then((module) => void (highlight = module.highlight)));
const needDraw = () => (drawComing ??= import('./tex').then((module) => void (draw = module.draw)));

/** Fetches both at the reader's first move, so that the first formula does not stutter; idle time at load is for others. */
export function warm(): void {
  needHighlight().catch(forgetLoads);
  needDraw().catch(forgetLoads);
}

/** A chunk that did not come (offline) is asked for again next time. */
function forgetLoads(): void {
  if (!highlight) highlightComing = null;
  if (!draw) drawComing = null;
}

// Only the beginning of something longer is coloured: nobody reads as far as the page would stand still for.
const LONGEST_COLOURED = 30_000;
// The rest is plain text in pieces of this many lines, of which the browser lays out those that are in view.
const CHUNK_LINES = 200;
/** A finished block of more lines than this opens folded. */
const FOLD_LINES = 400;
const SHARE = 8;
const NEAR_PX = 1200;

// ---------------------------------------------------------------- near the viewport

const waiting = new WeakMap<Element, () => void>();
let near: IntersectionObserver | null = null;

/** The thread's scroller: margins of an observer reach beyond the edges of its own root only. */
export function watchNear(root: Element | null): void {
  near?.disconnect();
  near =
    root === null || typeof IntersectionObserver === 'undefined'
      ? null
      : new IntersectionObserver(
          (entries) => {
            for (const { isIntersecting, target } of entries) {
              if (!isIntersecting) continue;
              near?.unobserve(target);
              waiting.get(target)?.();
              waiting.delete(target);
            }
          },
          { root, rootMargin: `${NEAR_PX}px 0px` },
        );
}

function whenNear(node: Element, job: () => void): void {
  if (!near) return job();
  waiting.set(node, job);
  near.observe(node);
}

// ---------------------------------------------------------------- code

export interface CodeLabels {
  copy: string;
  copyCode: string;
  plainText: string;
  wrap: string;
  wrapLines: string;
  showAll: (lines: number) => string;
  showFewer: string;
}

interface CodeView {
  code: HTMLElement;
  /** The beginning, which gets colours, and the plain chunks after it. */
  head: HTMLElement;
  pieces: readonly Piece[];
  /** What of the head is on the screen, and whether its colours are final. */
  text: string;
  isFinal: boolean;
  next: number;
  tail: string;
  /** How many lines the last chunk can still take. */
  room: number;
}

const codeViews = new WeakMap<HTMLElement, CodeView>();

function button(kind: string, text: string, title: string): HTMLButtonElement {
  const node = document.createElement('button');
  node.type = 'button';
  node.className = 'code-button';
  node.dataset[kind] = '';
  node.textContent = text;
  node.title = title;
  return node;
}

function frame(node: HTMLElement, spec: Code, labels: CodeLabels): CodeView {
  // Code runs from left to right in every language.
  node.dir = 'ltr';
  const caption = document.createElement('figcaption');
  const lang = document.createElement('span');
  lang.textContent = spec.lang || labels.plainText;
  const wrap = button('wrap', labels.wrap, labels.wrapLines);
  wrap.setAttribute('aria-pressed', 'false');
  caption.append(lang, wrap, button('copy', labels.copy, labels.copyCode));
  const pre = document.createElement('pre');
  pre.tabIndex = 0;
  const code = document.createElement('code');
  const head = document.createElement('span');
  code.append(head);
  pre.append(code);
  node.append(caption, pre);
  const view: CodeView = { code, head, pieces: [], text: '', isFinal: false, next: 0, tail: '', room: 0 };
  codeViews.set(node, view);
  return view;
}

/** Where the coloured part ends: after a line, and at the same place however much follows. */
function headLength(text: string): number {
  if (text.length <= LONGEST_COLOURED) return text.length;
  return text.lastIndexOf('\n', LONGEST_COLOURED - 1) + 1 || LONGEST_COLOURED;
}

function showTail(view: CodeView, tail: string): void {
  if (!tail.startsWith(view.tail)) {
    while (view.code.lastChild !== view.head) view.code.lastChild!.remove();
    view.tail = '';
    view.room = 0;
  }
  for (let from = view.tail.length; from < tail.length; ) {
    if (view.room === 0) {
      const chunk = document.createElement('span');
      chunk.className = 'chunk';
      view.code.append(chunk);
      view.room = CHUNK_LINES;
    }
    let to = from;
    while (view.room > 0 && to < tail.length) {
      const end = tail.indexOf('\n', to);
      if (end >= 0) view.room--;
      to = end < 0 ? tail.length : end + 1;
    }
    grow(view.code.lastElementChild!, tail.slice(from, to));
    from = to;
  }
  view.tail = tail;
}

/** Uncoloured text stays one node, however many pieces it came in. */
function grow(node: Element, more: string): void {
  const last = node.lastChild;
  if (last?.nodeType === Node.TEXT_NODE) last.nodeValue += more;
  else if (more !== '') node.append(more);
}

function showPlain(view: CodeView, text: string): void {
  if (view.text !== '' && text.startsWith(view.text)) grow(view.head, text.slice(view.text.length));
  else view.head.textContent = text;
  view.text = text;
}

function showPieces(view: CodeView, text: string, pieces: readonly Piece[]): void {
  const { head } = view;
  let same = 0;
  const old = view.pieces;
  while (same < old.length && same < pieces.length && isShown(head.childNodes[same], old[same]!, pieces[same]!)) same++;
  while (head.childNodes.length > same) head.lastChild!.remove();
  for (const piece of pieces.slice(same)) {
    if (piece.scope === '') head.append(piece.text);
    else {
      const span = document.createElement('span');
      span.className = piece.scope;
      span.textContent = piece.text;
      head.append(span);
    }
  }
  view.pieces = pieces;
  view.text = text;
}

const isShown = (node: ChildNode | undefined, old: Piece, piece: Piece): boolean =>
  node !== undefined && old.scope === piece.scope && old.text === piece.text && node.textContent === piece.text;

function colour(node: HTMLElement, spec: Code, isDone: () => boolean): void {
  const view = codeViews.get(node)!;
  const cut = headLength(spec.text);
  const text = spec.text.slice(0, cut);
  const isWhole = spec.closed || cut < spec.text.length;
  showTail(view, spec.text.slice(cut));
  if (view.isFinal && view.text === text) return;
  if (spec.lang === '') {
    showPlain(view, text);
    view.isFinal = isWhole;
    return;
  }
  if (highlight === null) {
    showPlain(view, text);
    needHighlight().then(() => {
      if (!isDone()) colour(node, spec, isDone);
    }, forgetLoads);
    return;
  }
  const started = performance.now();
  if (!isWhole && started < view.next) return showPlain(view, text);
  const pieces = highlight(text, spec.lang, () => {
    view.isFinal = false;
    if (!isDone()) colour(node, spec, isDone);
  });
  if (pieces === null) showPlain(view, text);
  else showPieces(view, text, pieces);
  const ended = performance.now();
  view.next = ended + (ended - started) * SHARE;
  view.isFinal = isWhole;
}

/** A finished answer: plain at once, coloured when it comes near; a very long block folded. */
function opened(node: HTMLElement, spec: Code, isDone: () => boolean, labels: CodeLabels): void {
  const view = codeViews.get(node)!;
  const cut = headLength(spec.text);
  const text = spec.text.slice(0, cut);
  const isShownAlready = view.isFinal && view.text === text;
  showTail(view, spec.text.slice(cut));
  if (!isShownAlready) showPlain(view, text);
  fold(node, spec.text, labels);
  if (!isShownAlready) whenNear(node, () => colour(node, spec, isDone));
}

function fold(node: HTMLElement, text: string, labels: CodeLabels): void {
  if (text.length < FOLD_LINES || node.querySelector('[data-fold]')) return;
  const lines = text.split('\n').length;
  if (lines <= FOLD_LINES) return;
  node.classList.add('folded');
  const toggle = button('fold', labels.showAll(lines), '');
  toggle.dataset.fold = labels.showFewer;
  toggle.setAttribute('aria-expanded', 'false');
  node.append(toggle);
}

// ---------------------------------------------------------------- formulas

function typeset(node: HTMLElement, spec: Formula, isDone: () => boolean): void {
  if (!spec.closed) {
    node.textContent = spec.raw;
    node.classList.add('open');
    return;
  }
  if (draw === null) {
    node.textContent = spec.raw;
    needDraw().then(() => {
      if (!isDone()) typeset(node, spec, isDone);
    }, forgetLoads);
    return;
  }
  node.classList.remove('open');
  draw(node, spec.tex, spec.display);
}

/** One set of painters per answer; `isGrowing` says whether it is being written right now. */
export function painters(labels: CodeLabels, isGrowing: () => boolean): Painters {
  const latest = new WeakMap<HTMLElement, Code | Formula>();
  return {
    code(node, spec) {
      if (!codeViews.has(node)) frame(node, spec, labels);
      latest.set(node, spec);
      const isDone = () => latest.get(node) !== spec;
      if (isGrowing()) colour(node, spec, isDone);
      else opened(node, spec, isDone, labels);
    },
    formula(node, spec) {
      latest.set(node, spec);
      const isDone = () => latest.get(node) !== spec;
      if (isGrowing()) typeset(node, spec, isDone);
      else {
        node.textContent = spec.raw;
        whenNear(node, () => typeset(node, spec, isDone));
      }
    },
  };
}
