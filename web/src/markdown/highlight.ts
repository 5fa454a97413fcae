/**
 * Colours for code, as a list of pieces instead of HTML. Loaded only when an answer holds code.
 *
 * highlight.js lets its output be collected by another emitter than its HTML one; ours keeps (class, text) pairs.
 */

import type { Emitter, HLJSOptions } from 'highlight.js';
import hljs from 'highlight.js/lib/core';
import bash from 'highlight.js/lib/languages/bash';
import c from 'highlight.js/lib/languages/c';
import cpp from 'highlight.js/lib/languages/cpp';
import csharp from 'highlight.js/lib/languages/csharp';
import css from 'highlight.js/lib/languages/css';
import diff from 'highlight.js/lib/languages/diff';
import dockerfile from 'highlight.js/lib/languages/dockerfile';
import go from 'highlight.js/lib/languages/go';
import ini from 'highlight.js/lib/languages/ini';
import java from 'highlight.js/lib/languages/java';
import javascript from 'highlight.js/lib/languages/javascript';
import json from 'highlight.js/lib/languages/json';
import kotlin from 'highlight.js/lib/languages/kotlin';
import makefile from 'highlight.js/lib/languages/makefile';
import markdown from 'highlight.js/lib/languages/markdown';
import php from 'highlight.js/lib/languages/php';
import python from 'highlight.js/lib/languages/python';
import r from 'highlight.js/lib/languages/r';
import ruby from 'highlight.js/lib/languages/ruby';
import rust from 'highlight.js/lib/languages/rust';
import shell from 'highlight.js/lib/languages/shell';
import sql from 'highlight.js/lib/languages/sql';
import swift from 'highlight.js/lib/languages/swift';
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

const languages = {
  bash, c, cpp, csharp, css, diff, dockerfile, go, ini, java, javascript, json, kotlin, makefile, markdown, php,
  python, r, ruby, rust, shell, sql, swift, typescript, xml, yaml,
};
for (const [name, language] of Object.entries(languages)) hljs.registerLanguage(name, language);
hljs.configure({ __emitter: Pieces } as unknown as Partial<HLJSOptions>); // the option takes any class with this interface

/** Null when the language is not known: the text is then shown without colours. */
export function highlight(text: string, lang: string): Piece[] | null {
  if (lang === '' || !hljs.getLanguage(lang)) return null;
  const { _emitter } = hljs.highlight(text, { language: lang, ignoreIllegals: true });
  return (_emitter as Pieces).pieces;
}
