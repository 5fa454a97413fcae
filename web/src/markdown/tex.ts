/** Formulas. Loaded only when an answer holds one. */

import katex from 'katex';
import 'katex/dist/katex.min.css';

/**
 * KaTeX draws straight into the node (never through an HTML string). A few of its parts set a `style` attribute,
 * which a strict content policy refuses; the same text through `style.cssText` is allowed. Drawing is synchronous,
 * so the detour is in place only meanwhile.
 */
export function draw(node: HTMLElement, tex: string, display: boolean): void {
  let isDetour = false;
  const original = Element.prototype.setAttribute;
  Element.prototype.setAttribute = function (this: Element, name: string, value: string) {
    if (name !== 'style' || !('style' in this) || isDetour) return original.call(this, name, value);
    // A DOM written in JavaScript (our unit tests) sets the attribute again from inside `cssText`.
    isDetour = true;
    (this as HTMLElement).style.cssText = value;
    isDetour = false;
  };
  try {
    katex.render(tex, node, { displayMode: display, throwOnError: false, trust: false, strict: false, maxExpand: 500, maxSize: 20 });
  } catch {
    // Not even an error that KaTeX can draw: the source is still worth reading.
    node.textContent = tex;
  } finally {
    Element.prototype.setAttribute = original;
  }
}
