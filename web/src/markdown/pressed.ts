/** What the buttons inside an answer do. They are plain nodes; one listener on the thread serves them all. */

import { copyText } from '../lib/copy';
import { allowHost } from '../lib/pictures';

export interface PressedLabels {
  copy: string;
  copied: string;
  copyFailed: string;
}

const COPIED_MS = 1_800;

export function pressed(event: MouseEvent, labels: PressedLabels): void {
  const button = (event.target as Element).closest<HTMLButtonElement>('.prose button');
  if (!button) return;
  const { copy, wrap, fold, host, note, noteBack } = button.dataset;
  if (copy !== undefined) void copyCode(button, labels);
  else if (wrap !== undefined) wrapLines(button);
  else if (fold !== undefined) unfold(button, fold);
  else if (host !== undefined) allowHost(host);
  else if (note !== undefined) goTo(button, `[data-note-text="${note}"]`);
  else if (noteBack !== undefined) goTo(button, `[data-note="${noteBack}"]`);
}

async function copyCode(button: HTMLButtonElement, labels: PressedLabels): Promise<void> {
  const code = button.closest('figure')?.querySelector('code');
  if (!code) return;
  button.textContent = (await copyText(code.textContent ?? '')) ? labels.copied : labels.copyFailed;
  setTimeout(() => (button.textContent = labels.copy), COPIED_MS);
}

function wrapLines(button: HTMLButtonElement): void {
  const isWrapped = button.closest('figure')!.classList.toggle('wrapped');
  button.setAttribute('aria-pressed', String(isWrapped));
}

function unfold(button: HTMLButtonElement, otherLabel: string): void {
  const figure = button.closest('figure')!;
  const isFolded = figure.classList.toggle('folded');
  button.setAttribute('aria-expanded', String(!isFolded));
  button.dataset.fold = button.textContent ?? '';
  button.textContent = otherLabel;
  // What closes above the reader would carry them away.
  if (isFolded) figure.scrollIntoView({ block: 'nearest' });
}

/** Between a footnote and its mark: the focus goes along, so that a keyboard and a screen reader do too. */
function goTo(from: Element, selector: string): void {
  const target = from.closest('.prose')!.querySelector<HTMLElement>(selector);
  target?.focus({ preventScroll: true });
  target?.scrollIntoView({ block: 'nearest' });
}
