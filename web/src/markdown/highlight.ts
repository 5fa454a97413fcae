/**
 * Colours for code, as a list of pieces instead of HTML. Loaded only when an answer holds code.
 *
 * highlight.js lets its output be collected by another emitter than its HTML one; ours keeps (class, text) pairs.
 */

import type { Emitter, HLJSOptions, LanguageFn } from 'highlight.js';
import hljs from 'highlight.js/lib/core';
import bash from 'highlight.js/lib/languages/bash';
import c from 'highlight.js/lib/languages/c';
import css from 'highlight.js/lib/languages/css';
import diff from 'highlight.js/lib/languages/diff';
import javascript from 'highlight.js/lib/languages/javascript';
import json from 'highlight.js/lib/languages/json';
import markdown from 'highlight.js/lib/languages/markdown';
import python from 'highlight.js/lib/languages/python';
import rust from 'highlight.js/lib/languages/rust';
import shell from 'highlight.js/lib/languages/shell';
import sql from 'highlight.js/lib/languages/sql';
import typescript from 'highlight.js/lib/languages/typescript';
import xml from 'highlight.js/lib/languages/xml';
import yaml from 'highlight.js/lib/languages/yaml';

export interface Piece {
  /** Class names of our own style sheet, or '' for plain text. */
  scope: string;
  text: string;
}

class Pieces implements Emitter {
  readonly pieces: Piece[] = [];
  private readonly scopes: string[] = [];

  addText(text: string): void {
    const scope = this.scopes.at(-1) ?? '';
    const last = this.pieces.at(-1);
    if (last && last.scope === scope) last.text += text;
    else if (text !== '') this.pieces.push({ scope, text });
  }

  startScope(name: string): void {
    this.scopes.push(name ? `hl-${name.split('.')[0]}` : (this.scopes.at(-1) ?? ''));
  }

  endScope(): void {
    this.scopes.pop();
  }

  // The core calls both pairs of names.
  openNode(name: string): void {
    this.startScope(name);
  }

  closeNode(): void {
    this.endScope();
  }

  __addSublanguage(other: Pieces): void {
    for (const piece of other.pieces) this.addScoped(piece);
  }

  private addScoped({ scope, text }: Piece): void {
    if (scope === '') return this.addText(text);
    this.scopes.push(scope);
    this.addText(text);
    this.scopes.pop();
  }

  finalize(): void {}
  toHTML(): string {
    return '';
  }
}

const languages = { bash, c, css, diff, javascript, json, markdown, python, rust, shell, sql, typescript, xml, yaml };
for (const [name, language] of Object.entries(languages)) hljs.registerLanguage(name, language);

/** Languages that are seldom asked for: each comes by itself, when an answer is written in it. */
const rare: Readonly<Record<string, { aliases: string; load: () => Promise<{ default: LanguageFn }> }>> = {
  cpp: { aliases: 'cc c++ h++ hpp hh hxx cxx', load: () => import('highlight.js/lib/languages/cpp') },
  csharp: { aliases: 'cs c#', load: () => import('highlight.js/lib/languages/csharp') },
  dockerfile: { aliases: 'docker', load: () => import('highlight.js/lib/languages/dockerfile') },
  go: { aliases: 'golang', load: () => import('highlight.js/lib/languages/go') },
  ini: { aliases: 'toml', load: () => import('highlight.js/lib/languages/ini') },
  java: { aliases: 'jsp', load: () => import('highlight.js/lib/languages/java') },
  kotlin: { aliases: 'kt kts', load: () => import('highlight.js/lib/languages/kotlin') },
  makefile: { aliases: 'mk mak make', load: () => import('highlight.js/lib/languages/makefile') },
  php: { aliases: '', load: () => import('highlight.js/lib/languages/php') },
  r: { aliases: '', load: () => import('highlight.js/lib/languages/r') },
  ruby: { aliases: 'rb gemspec podspec thor irb', load: () => import('highlight.js/lib/languages/ruby') },
  swift: { aliases: '', load: () => import('highlight.js/lib/languages/swift') },
};
const rareName = (lang: string): string | undefined =>
  Object.hasOwn(rare, lang) ? lang : Object.keys(rare).find((name) => rare[name]!.aliases.split(' ').includes(lang));

/** One that did not come is not asked for again before the page is loaded anew. */
const asked = new Map<string, Promise<boolean>>();

function need(name: string): Promise<boolean> {
  const coming =
    asked.get(name) ??
    rare[name]!.load().then(
      (module) => (hljs.registerLanguage(name, module.default), true),
      () => false,
    );
  asked.set(name, coming);
  return coming;
}

hljs.configure({ __emitter: Pieces } as unknown as Partial<HLJSOptions>); // the option takes any class with this interface

/**
 * Null when the language is not known, or not here yet: the text is then shown without colours. `came` is called when
 * it is worth asking again.
 */
export function highlight(text: string, lang: string, came?: () => void): Piece[] | null {
  if (lang === '') return null;
  if (!hljs.getLanguage(lang)) {
    const name = rareName(lang);
    if (name && came) void need(name).then((isHere) => isHere && came());
    return null;
  }
  const { _emitter } = hljs.highlight(text, { language: lang, ignoreIllegals: true });
  return (_emitter as Pieces).pieces;
}
