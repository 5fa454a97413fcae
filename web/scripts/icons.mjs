/** Draws the icons of an installed app from `public/icon.svg`, with the system's Chromium: `node scripts/icons.mjs`. */

import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { chromium } from '@playwright/test';

const at = (path) => fileURLToPath(new URL(`../public/${path}`, import.meta.url));
const svg = await readFile(at('icon.svg'), 'utf8');
// A platform cuts its own shape out of a maskable icon: the ground goes to the edges, the drawing stays in the middle.
const drawing = svg.replace(/<title>.*<\/title>|<rect[^>]*>/g, '').replace('<svg ', '<svg style="width:68%;height:68%" ');

const ICONS = [
  ['icons/192.png', 192, svg],
  ['icons/512.png', 512, svg],
  ['icons/maskable-512.png', 512, drawing],
  ['icons/touch-180.png', 180, drawing],
];

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] });
for (const [path, size, image] of ICONS) {
  const page = await browser.newPage({ viewport: { width: size, height: size } });
  const ground = image === svg ? 'transparent' : '#0e6a5c';
  await page.setContent(`<style>html,body{margin:0;height:100%;background:${ground}}body{display:grid;place-items:center}svg{display:block;width:100%;height:100%}</style>${image}`);
  await page.screenshot({ path: at(path), omitBackground: true });
  await page.close();
}
await browser.close();
