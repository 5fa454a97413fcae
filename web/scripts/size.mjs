/** Prints what the page weighs and fails the build when it weighs more than we promise. */

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

// kB of gzipped JavaScript: of the first page, of all that reading and writing chats may load, of all the pages that are
// opened from a menu, of those about accounts and the house, and of the languages that are coloured only where one of them is written.
const LIMITS = { entry: 60, chat: 190, pages: 40, account: 20, languages: 20 };
const LANGUAGES = /^(?:cpp|csharp|dockerfile|go|ini|java|kotlin|makefile|php|r|ruby|swift)-/;
const PAGES = /^(?:[Ii]mport|[Ss]hared?|bring|Usage|spending|Passage|[Kk]nowledge|Memory|Summary|Farewell|Tuning|Archive|Palette|Help|keys|KeyMap|[Tt]emplates|Selection|writing|seek|fuzzy|swipe)-/;
const ACCOUNT = /^(?:Settings|SelfSaving|ApiKeys|Sessions|SignIn|Outside|outside|Plan|Loaded|Admin|account|accounts|limits)-/;

const dist = new URL('../dist/', import.meta.url).pathname;
const html = readFileSync(join(dist, 'index.html'), 'utf8');
const gz = (path) => gzipSync(readFileSync(path), { level: 9 }).length / 1000;

const files = readdirSync(join(dist, 'assets'))
  .filter((name) => /\.(js|css)$/.test(name))
  .map((name) => ({ name, kB: gz(join(dist, 'assets', name)), isEntry: html.includes(name) }))
  .sort((a, b) => b.kB - a.kB);
const scripts = files.filter(({ name }) => name.endsWith('.js'));
const sum = (list) => list.reduce((total, { kB }) => total + kB, 0);
const size = {
  entry: sum(scripts.filter(({ isEntry }) => isEntry)),
  chat: sum(scripts.filter(({ name }) => !PAGES.test(name) && !ACCOUNT.test(name) && !LANGUAGES.test(name))),
  pages: sum(scripts.filter(({ name }) => PAGES.test(name))),
  account: sum(scripts.filter(({ name }) => ACCOUNT.test(name))),
  languages: sum(scripts.filter(({ name }) => LANGUAGES.test(name))),
};

for (const { name, kB, isEntry } of files) console.log(`${kB.toFixed(1).padStart(7)} kB gz  ${isEntry ? 'at once' : 'lazily '}  ${name}`);
const bytes = readdirSync(dist, { recursive: true, withFileTypes: true })
  .filter((file) => file.isFile())
  .reduce((total, file) => total + statSync(join(file.parentPath ?? file.path, file.name)).size, 0);
const parts = Object.entries(LIMITS).map(([name, limit]) => `${name} ${size[name].toFixed(1)} of ${limit} kB`);
console.log(`${parts.join(', ')}, dist ${(bytes / 1e6).toFixed(2)} MB`);

const over = Object.entries(LIMITS).filter(([name, limit]) => size[name] > limit);
if (over.length > 0) {
  console.error(`Too heavy: ${over.map(([name]) => name).join(', ')}`);
  process.exit(1);
}
