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

export default defineConfig({
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  plugins: [woff2Only],
  build: {
    target: 'es2022',
    // Keep light-dark() and friends as written: the fallback form would double the style sheet.
    cssTarget: ['chrome123', 'firefox121', 'safari17.5'],
    // The content policy allows fonts and images from our own origin only, so nothing may become a data: URL.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: {
    proxy: Object.fromEntries(
      ['/chat', '/chats', '/runs', '/me', '/status', '/session', '/prewarm', '/usage', '/memories', '/templates', '/shares', '/shared', '/import', '/knowledge', '/collections', '/export'].map((path) => [
        path,
        process.env.PARLEY_URL ?? 'http://127.0.0.1:8000',
      ]),
    ),
  },
  test: { include: ['tests/unit/**/*.test.ts'], environment: 'node' },
});
