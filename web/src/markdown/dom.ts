/**
 * Specs → DOM nodes, changing only what differs from last time.
 *
 * Equal leading nodes stay the same nodes: nothing flickers, and a selection made while an answer grows survives.
 * Only `createElement`, `createTextNode` and `setAttribute` with names from `spec.ts` are used.
 */

import type { Box, Code, Formula, Spec } from './spec';

/** What draws code and formulas; it may be asked again and again for the same node while the text grows. */
export interface Painters {
  code: (node: HTMLElement, spec: Code) => void;
  formula: (node: HTMLElement, spec: Formula) => void;
}

export function patch(parent: Element, before: readonly Spec[], after: readonly Spec[], painters: Painters): void {
  for (let i = 0; i < after.length; i++) {
    const spec = after[i]!;
    const old = before[i];
    if (old === spec && old !== undefined) continue;
    const node = old === undefined ? undefined : parent.childNodes[i];
    if (node === undefined || !grown(node, old!, spec, painters)) {
      const fresh = made(spec, painters);
      if (node === undefined) parent.appendChild(fresh);
      else node.replaceWith(fresh);
    }
  }
  for (let i = before.length; i > after.length; i--) parent.childNodes[i - 1]?.remove();
}

/** Changes the node in place when it is the same kind of thing; false when it has to be made anew. */
function grown(node: ChildNode, old: Spec, spec: Spec, painters: Painters): boolean {
  if (typeof old === 'string' || typeof spec === 'string') {
    if (typeof old !== typeof spec) return false;
    node.nodeValue = spec as string;
    return true;
  }
  if (old.kind !== spec.kind) return false;
  switch (spec.kind) {
    case 'box': {
      const was = old as Box;
      if (was.tag !== spec.tag) return false;
      setAttributes(node as HTMLElement, was.attrs ?? {}, spec.attrs ?? {});
      patch(node as HTMLElement, was.kids, spec.kids, painters);
      return true;
    }
    case 'code': {
      const was = old as Code;
      if (was.lang !== spec.lang) return false;
      if (was.text !== spec.text || was.closed !== spec.closed) painters.code(node as HTMLElement, spec);
      return true;
    }
    case 'formula': {
      const was = old as Formula;
      if (was.display !== spec.display) return false;
      if (was.raw !== spec.raw || was.closed !== spec.closed) painters.formula(node as HTMLElement, spec);
      return true;
    }
  }
}

function made(spec: Spec, painters: Painters): ChildNode {
  if (typeof spec === 'string') return document.createTextNode(spec);
  switch (spec.kind) {
    case 'box': {
      const node = document.createElement(spec.tag);
      setAttributes(node, {}, spec.attrs ?? {});
      patch(node, [], spec.kids, painters);
      return node;
    }
    case 'code': {
      const node = document.createElement('figure');
      node.className = 'code';
      painters.code(node, spec);
      return node;
    }
    case 'formula': {
      const node = document.createElement(spec.display ? 'div' : 'span');
      node.className = spec.display ? 'formula display' : 'formula';
      painters.formula(node, spec);
      return node;
    }
  }
}

type Attributes = Readonly<Record<string, string>>;

function setAttributes(node: HTMLElement, before: Attributes, after: Attributes): void {
  for (const name of Object.keys(before)) if (!(name in after)) node.removeAttribute(name);
  for (const [name, value] of Object.entries(after)) if (before[name] !== value) node.setAttribute(name, value);
}
