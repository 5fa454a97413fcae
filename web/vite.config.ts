import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

/** KaTeX ships each font three times; every browser we support reads woff2. */
const woff2Only: Plugin = {
  name: 'woff2-only',
  enforce: 'pre',
  transform(code, id) {
    if (!id.includes('katex') || !id.includes('.css')) return null;
    return code.replace(/,\s*url\([^)]*\.(?:woff|ttf)\)\s*format\("?'?(?:woff|truetype)'?"?\)/g, '');
  },
};

/** Scripts and styles lie packed beside themselves, as small as they get, so that no server packs them again and again. */
const packed: Plugin = {
  name: 'packed',
  enforce: 'post',
  writeBundle({ dir }, bundle) {
    for (const file of Object.keys(bundle)) {
      if (!/\.(?:js|css)$/.test(file)) continue;
      const path = join(dir!, file);
      const data = readFileSync(path);
      if (data.length < 1_000) continue;
      writeFileSync(`${path}.br`, brotliCompressSync(data));
      writeFileSync(`${path}.gz`, gzipSync(data, { level: 9 }));
    }
  },
};

/**
 * The frame of the page is drawn as soon as its own small style sheet is here. All the other styles stand at the end
 * of the page: they hold up the scripts, which draw what they are about, and nothing that is on the screen already.
 */
const firstPaint: Plugin = {
  name: 'first-paint',
  transformIndexHtml: {
    order: 'post',
    handler(html, { bundle }) {
      const frame = Object.keys(bundle ?? {}).find((name) => /\/frame-[\w-]+\.css$/.test(name));
      if (!frame) return html;
      const others: string[] = [];
      const without = html.replace(/ *<link rel="stylesheet" crossorigin[^>]*>\n/g, (link) => (others.push(link), ''));
      return without.replace('href="/src/style/frame.css"', `href="/${frame}"`).replace(/( *<\/body>)/, `${others.join('')}$1`);
    },
  },
};

/** Tells the service worker what the program consists of. Fonts and rarely coloured languages come when they are used. */
const shell: Plugin = {
  name: 'shell',
  enforce: 'post',
  generateBundle: {
    order: 'post',
    handler(_, bundle) {
      const worker = Object.values(bundle).find((file) => file.fileName === 'sw.js');
      if (worker?.type !== 'chunk') return;
      const folder = fileURLToPath(new URL('public/', import.meta.url));
      const own = readdirSync(folder, { withFileTypes: true }).filter((file) => file.isFile()).map(({ name }) => name).sort();
      const built = Object.keys(bundle).filter((name) => /\.(?:js|css)$/.test(name) && name !== 'sw.js' && !LANGUAGES.test(name)).sort();
      const hash = createHash('sha256').update(JSON.stringify(built)).update(worker.code);
      for (const name of own) hash.update(readFileSync(folder + name));
      const page = bundle['index.html'];
      if (page?.type === 'asset') hash.update(page.source);
      const files = ['/', ...own.map((name) => `/${name}`), ...built.map((name) => `/${name}`)];
      worker.code = worker.code.replace('__SHELL__', () => JSON.stringify({ version: hash.digest('hex').slice(0, 12), files }));
    },
  },
};
const LANGUAGES = /\/(?:cpp|csharp|dockerfile|go|ini|java|kotlin|makefile|php|r|ruby|swift)-/;

const MAY_SHIP = ['MIT', 'Apache-2.0', 'BSD-3-Clause', 'ISC'];

/** Whose work is in the bundle, with the words that their licences ask to be passed on; the build fails for any other. */
const licences: Plugin = {
  name: 'licences',
  generateBundle() {
    const here = fileURLToPath(new URL('.', import.meta.url));
    const { packages } = JSON.parse(readFileSync(join(here, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { version: string; license?: string; dev?: boolean }>;
    };
    const shipped = Object.entries(packages).filter(([path, { dev }]) => path && !dev && !path.endsWith('/commander')); // KaTeX's command line
    const parts = shipped.map(([path, { version, license = '' }]) => {
      if (!MAY_SHIP.includes(license)) throw new Error(`${path}: the licence ${license || '(none)'} is not among ${MAY_SHIP.join(', ')}`);
      const file = readdirSync(join(here, path)).find((name) => /^licen[cs]e/i.test(name));
      if (!file) throw new Error(`${path}: no licence text`);
      return `${path.replace('node_modules/', '')} ${version} (${license})\n\n${readFileSync(join(here, path, file), 'utf8').trim()}\n`;
    });
    this.emitFile({ type: 'asset', fileName: 'licences.txt', source: parts.join(`\n${'-'.repeat(80)}\n\n`) });
  },
};

export default defineConfig({
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  plugins: [woff2Only, firstPaint, shell, packed, licences],
  build: {
    target: 'es2022',
    // Keep light-dark() and friends as written: the fallback form would double the style sheet.
    cssTarget: ['chrome123', 'firefox121', 'safari17.5'],
    // The content policy allows fonts and images from our own origin only, so nothing may become a data: URL.
    assetsInlineLimit: 0,
    rollupOptions: {
      input: { index: 'index.html', sw: 'src/sw.ts', frame: 'src/style/frame.css' },
      // A service worker keeps its address for ever.
      output: { entryFileNames: ({ name }) => (name === 'sw' ? 'sw.js' : 'assets/[name]-[hash].js') },
    },
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: {
    proxy: Object.fromEntries(
      ['/chat', '/chats', '/runs', '/me', '/status', '/session', '/prewarm', '/usage', '/memories', '/templates', '/shares', '/shared', '/import', '/knowledge', '/collections', '/export', '/keys', '/sessions', '/sign-in', '/auth', '/join', '/admin', '/v1'].map((path) => [
        path,
        process.env.PARLEY_URL ?? 'http://127.0.0.1:8000',
      ]),
    ),
  },
  test: { include: ['tests/unit/**/*.test.ts'], environment: 'node' },
});
