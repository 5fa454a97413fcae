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

// Colouring something longer would block the page for longer than anybody reads it.
const LONGEST_COLOURED = 60_000;
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
}

interface CodeView {
  code: HTMLElement;
  pieces: readonly Piece[];
  /** Length of the text on the screen, and whether its colours are final. */
  text: string;
  isFinal: boolean;
  next: number;
}

const codeViews = new WeakMap<HTMLElement, CodeView>();

function frame(node: HTMLElement, spec: Code, labels: CodeLabels): CodeView {
  const head = document.createElement('figcaption');
  const lang = document.createElement('span');
  lang.textContent = spec.lang || labels.plainText;
  const copy = document.createElement('button');
  copy.type = 'button';
  copy.className = 'copy-code';
  copy.dataset.copy = '';
  copy.textContent = labels.copy;
  copy.title = labels.copyCode;
  head.append(lang, copy);
  const pre = document.createElement('pre');
  pre.tabIndex = 0;
  const code = document.createElement('code');
  pre.append(code);
  node.append(head, pre);
  const view: CodeView = { code, pieces: [], text: '', isFinal: false, next: 0 };
  codeViews.set(node, view);
  return view;
}

function showPlain(view: CodeView, text: string): void {
  if (view.text !== '' && text.startsWith(view.text)) {
    const more = text.slice(view.text.length);
    const last = view.code.lastChild;
    // Uncoloured text stays one node, however many pieces it came in.
    if (last?.nodeType === Node.TEXT_NODE) last.nodeValue += more;
    else if (more !== '') view.code.append(more);
  } else view.code.textContent = text;
  view.text = text;
}

function showPieces(view: CodeView, text: string, pieces: readonly Piece[]): void {
  const { code } = view;
  let same = 0;
  const old = view.pieces;
  while (same < old.length && same < pieces.length && isShown(code.childNodes[same], old[same]!, pieces[same]!)) same++;
  while (code.childNodes.length > same) code.lastChild!.remove();
  for (const piece of pieces.slice(same)) {
    if (piece.scope === '') code.append(piece.text);
    else {
      const span = document.createElement('span');
      span.className = piece.scope;
      span.textContent = piece.text;
      code.append(span);
    }
  }
  view.pieces = pieces;
  view.text = text;
}

const isShown = (node: ChildNode | undefined, old: Piece, piece: Piece): boolean =>
  node !== undefined && old.scope === piece.scope && old.text === piece.text && node.textContent === piece.text;

function colour(node: HTMLElement, spec: Code, isDone: () => boolean): void {
  const view = codeViews.get(node)!;
  if (spec.lang === '' || spec.text.length > LONGEST_COLOURED) {
    showPlain(view, spec.text);
    view.isFinal = spec.closed;
    return;
  }
  if (highlight === null) {
    showPlain(view, spec.text);
    needHighlight().then(() => {
      if (!isDone()) colour(node, spec, isDone);
    }, forgetLoads);
    return;
  }
  const started = performance.now();
  if (!spec.closed && started < view.next) return showPlain(view, spec.text);
  const pieces = highlight(spec.text, spec.lang);
  if (pieces === null) showPlain(view, spec.text);
  else showPieces(view, spec.text, pieces);
  const ended = performance.now();
  view.next = ended + (ended - started) * SHARE;
  view.isFinal = spec.closed;
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
      const view = codeViews.get(node) ?? frame(node, spec, labels);
      latest.set(node, spec);
      const isDone = () => latest.get(node) !== spec;
      if (isGrowing()) colour(node, spec, isDone);
      else if (view.text === spec.text && view.isFinal) return;
      else {
        showPlain(view, spec.text);
        whenNear(node, () => colour(node, spec, isDone));
      }
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
