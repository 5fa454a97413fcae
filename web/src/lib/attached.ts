/** Texts that go with a message: small files and long pastes. Pure, but for reading a file. */

import { MESSAGE_BYTES } from '../wire';
import { newId } from './ids';

export interface Attached {
  id: string;
  /** Of the file; null: it was pasted. */
  name: string | null;
  text: string;
}

/** A longer one is not kept with the draft: this browser's storage is small. */
const KEPT_CHARS = 128 * 1024;

const TEXTS = /\.(?:txt|text|md|markdown|csv|tsv|json|jsonl|ya?ml|toml|ini|cfg|conf|env|log|xml|html?|css|scss|js|mjs|cjs|jsx|ts|tsx|py|pyi|rb|go|rs|java|kt|swift|c|h|cc|cpp|hpp|cs|php|sh|bash|zsh|fish|ps1|sql|r|lua|pl|ex|exs|hs|clj|scala|dart|vue|svelte|tex|rst|org|diff|patch|srt|vtt)$/i;

export const mayBeText = ({ name, type, size }: { name: string; type: string; size: number }): boolean =>
  size <= MESSAGE_BYTES && (type.startsWith('text/') || type === 'application/json' || TEXTS.test(name));

/** What is in it, or null when it is no text after all. */
export async function textOf(file: Blob): Promise<string | null> {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(await file.arrayBuffer());
    return text.includes('\0') ? null : text;
  } catch {
    return null;
  }
}

/** Texts that may go with a message, and all other files. */
export async function sorted(files: readonly File[]): Promise<{ texts: Attached[]; others: File[] }> {
  const texts: Attached[] = [];
  const others: File[] = [];
  for (const file of files) {
    const text = mayBeText(file) ? await textOf(file) : null;
    if (text === null || text.trim() === '') others.push(file);
    else texts.push({ id: newId(), name: file.name, text });
  }
  return { texts, others };
}

/** As a document: under a name that says that it is text. */
export function asFile({ name, text }: Attached): File {
  const given = name ?? `pasted-${new Date().toISOString().slice(0, 16).replace(':', '.')}.txt`;
  return new File([text], /\.(?:txt|md|markdown|html?)$/i.test(given) ? given : `${given}.txt`, { type: 'text/plain' });
}

const LANGUAGE: Record<string, string> = { py: 'python', js: 'javascript', ts: 'typescript', rb: 'ruby', rs: 'rust', sh: 'bash', md: 'markdown', yml: 'yaml' };

/** A fence that nothing in the text can close. */
function fenced(text: string, name: string | null): string {
  const longest = Math.max(2, ...[...text.matchAll(/^[ \t]{0,3}(`{3,})/gm)].map(([, ticks]) => ticks!.length));
  const fence = '`'.repeat(longest + 1);
  const ending = name?.includes('.') ? name.split('.').at(-1)!.toLowerCase() : '';
  const info = /^[a-z0-9]+$/.test(ending) && ending !== 'txt' ? (LANGUAGE[ending] ?? ending) : '';
  return `${fence}${info}\n${text.replace(/\n$/, '')}\n${fence}`;
}

/** The message as it is sent: what was written first, then each text under its name. */
export const composed = (text: string, files: readonly Attached[], pasted: string): string =>
  [text.trim(), ...files.map(({ name, text: inside }) => `**${(name ?? pasted).replaceAll('*', '')}**\n\n${fenced(inside, name)}`)]
    .filter((part) => part !== '')
    .join('\n\n');

/** Those that a draft can hold. */
export const keepable = (files: readonly Attached[]): readonly Attached[] => {
  let left = KEPT_CHARS;
  return files.filter(({ text }) => (left -= text.length) >= 0);
};
