/**
 * What the client costs a machine, in figures: `npm run build && npm run measure`, with names of parts for only those.
 *
 * The built client in headless Chromium, over the scripted server, which sends an answer at a given pace in beats of
 * 33 ms as the real one does. Frames are noisy on a busy machine; the time of the main thread is less so.
 */

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { chromium } from '@playwright/test';
import { startMock } from './mock-server.mjs';

const FRAME_MS = 1000 / 60;
const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
const args = ['--no-sandbox', '--disable-gpu', '--enable-precise-memory-info'];

/** The server is a process of its own: what it takes is no part of what the page takes. */
if (process.env.MEASURE_SERVER) {
  const mock = await startMock({ seed: 50 });
  const chat = mock.control.thread(100);
  process.on('message', (word) => process.send(word === 'last' ? mock.control.lastWordAt : { url: mock.url, chat: chat.id }));
  process.on('disconnect', () => process.exit());
  process.send('up');
}

const ask = async (server, word) => {
  server.send(word);
  return (await once(server, 'message'))[0];
};

/** Counts frames and long tasks from the first script on. */
function watch() {
  const seen = { gaps: [], long: [], last: 0 };
  window.seen = seen;
  const frame = (now) => {
    if (seen.last) seen.gaps.push(now - seen.last);
    seen.last = now;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
  new PerformanceObserver((list) => seen.long.push(...list.getEntries().map(({ duration }) => duration))).observe({ type: 'longtask', buffered: true });
}

async function open(browser, { throttle = 1, network = null, path = '/', url }) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, serviceWorkers: 'block' });
  const page = await context.newPage();
  await page.addInitScript(watch);
  const cdp = await context.newCDPSession(page);
  await cdp.send('Performance.enable');
  await cdp.send('Network.enable');
  if (network) await cdp.send('Network.emulateNetworkConditions', { offline: false, ...network });
  await cdp.send('Emulation.setCPUThrottlingRate', { rate: throttle });
  await page.goto(url + path, { waitUntil: 'commit' });
  const whole = await browser.newBrowserCDPSession();
  /** What the main thread of each page has been on a processor for: what others do on the machine does not count. */
  const onCpu = async () => {
    const { processInfo } = await whole.send('SystemInfo.getProcessInfo');
    const renderers = processInfo.filter(({ type }) => type === 'renderer').map(({ id }) => id);
    return new Map(renderers.map((id) => [id, Number(readFileSync(`/proc/${id}/task/${id}/schedstat`, 'utf8').split(' ')[0]) / 1e6]));
  };
  /** Starts a clock of the page's main thread; calling it gives the milliseconds since. Only this page is at work. */
  const clock = async () => {
    const before = await onCpu();
    return async () => Math.round(Math.max(...[...(await onCpu())].map(([id, ms]) => ms - (before.get(id) ?? 0))));
  };
  const metric = async (name) => (await cdp.send('Performance.getMetrics')).metrics.find((one) => one.name === name).value;
  return { page, metric, clock, cdp, close: () => context.close() };
}

const frames = ({ gaps, long }) => ({
  frames: gaps.length,
  dropped: gaps.reduce((sum, gap) => sum + Math.max(0, Math.round(gap / FRAME_MS) - 1), 0),
  worstMs: Math.round(Math.max(0, ...gaps)),
  blockedMs: Math.round(long.reduce((sum, ms) => sum + Math.max(0, ms - 50), 0)),
});

async function streaming(browser, server, { rate, tokens, throttle }) {
  const { url } = await ask(server, 'where');
  const { page, clock, close } = await open(browser, { url, throttle });
  await page.locator('.model').waitFor();
  await page.locator('#composer').click(); // loads what formulas and colours take, as a reader's first key does
  await page.waitForTimeout(1_500);
  await page.locator('#composer').fill(`rate ${rate} for ${tokens}`);
  await page.evaluate(() => Object.assign(window.seen, { gaps: [], long: [], last: 0 }));
  const elapsed = await clock();
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.querySelector('.actions.shown') && (window.endedAt ??= Date.now()), null, { timeout: 120_000, polling: 'raf' });
  const mainThreadMs = await elapsed();
  const seen = frames(await page.evaluate(() => window.seen));
  const lag = (await page.evaluate(() => window.endedAt)) - (await ask(server, 'last'));
  await close();
  return { ...seen, mainThreadMs, endLagMs: lag };
}

async function thread(browser, server, { throttle }) {
  const { url, chat } = await ask(server, 'where');
  const { page, metric, clock, cdp, close } = await open(browser, { url, throttle });
  await page.locator('.model').waitFor();
  await page.locator('#composer').click();
  await page.waitForTimeout(1_500 * throttle);
  const elapsed = await clock();
  // From the press to the newest answer in its final form: formulas, colours and all.
  await page.evaluate((id) => {
    Object.assign(window.seen, { gaps: [], long: [], last: 0 });
    window.pressedAt = performance.now();
    location.hash = `#/c/${id}`;
  }, chat);
  const typeset = await page.waitForFunction(
    () => {
      const last = [...document.querySelectorAll('.turn.assistant')].at(-1);
      return last?.querySelector('.katex-display') && last.querySelector('.hl-keyword') && performance.now() - window.pressedAt;
    },
    null,
    { polling: 'raf', timeout: 30_000 },
  );
  const newestMs = Math.round(await typeset.jsonValue());
  await page.waitForTimeout(3_000);
  const mainThreadMs = await elapsed();
  await cdp.send('HeapProfiler.collectGarbage');
  const [heap, nodes] = [await metric('JSHeapUsedSize'), await metric('Nodes')];
  const { long } = await page.evaluate(() => window.seen);
  await close();
  return { newestMs, longestTaskMs: Math.round(Math.max(0, ...long)), mainThreadMs, heapMB: +(heap / 1e6).toFixed(1), nodes };
}

const SLOW_4G = { latency: 150, downloadThroughput: (1.6 * 1e6) / 8, uploadThroughput: (0.75 * 1e6) / 8 };

async function load(browser, server) {
  const { url } = await ask(server, 'where');
  const { page, close } = await open(browser, { url, throttle: 4, network: SLOW_4G });
  await page.locator('.row').first().waitFor({ timeout: 30_000 });
  const result = await page.evaluate(() => ({
    firstPaintMs: Math.round(performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0),
    listMs: Math.round(performance.now()),
    kB: Math.round(performance.getEntriesByType('resource').reduce((sum, one) => sum + one.transferSize, 0) / 1000),
  }));
  await close();
  return result;
}

async function lighthouse(server) {
  const { url } = await ask(server, 'where');
  const { default: run } = await import('lighthouse');
  const port = 9000 + (process.pid % 1000);
  const browser = await chromium.launch({ executablePath, args: [...args, `--remote-debugging-port=${port}`] });
  try {
    const { lhr } = await run(url, { port, output: 'json', logLevel: 'silent', onlyCategories: ['performance', 'accessibility', 'best-practices', 'seo'] });
    const scores = Object.fromEntries(Object.values(lhr.categories).map(({ id, score }) => [id, Math.round(score * 100)]));
    const missed = Object.values(lhr.audits).filter(({ score, scoreDisplayMode }) => score !== null && score < 0.9 && scoreDisplayMode !== 'informative');
    return { ...scores, blockedMs: Math.round(lhr.audits['total-blocking-time'].numericValue), missed: missed.map(({ id }) => id) };
  } finally {
    await browser.close();
  }
}

const PARTS = {
  '2,000 tokens at 100/s': (browser, server) => streaming(browser, server, { rate: 100, tokens: 2_000, throttle: 1 }),
  '2,000 tokens at 100/s, CPU ÷4': (browser, server) => streaming(browser, server, { rate: 100, tokens: 2_000, throttle: 4 }),
  '2,000 tokens at 1000/s': (browser, server) => streaming(browser, server, { rate: 1_000, tokens: 2_000, throttle: 1 }),
  '2,000 tokens at 1000/s, CPU ÷4': (browser, server) => streaming(browser, server, { rate: 1_000, tokens: 2_000, throttle: 4 }),
  '10,000 tokens at 1000/s': (browser, server) => streaming(browser, server, { rate: 1_000, tokens: 10_000, throttle: 1 }),
  '200 messages': (browser, server) => thread(browser, server, { throttle: 1 }),
  '200 messages, CPU ÷4': (browser, server) => thread(browser, server, { throttle: 4 }),
  'first load, slow 4G, CPU ÷4': (browser, server) => load(browser, server),
  lighthouse: (_, server) => lighthouse(server),
};

if (!process.env.MEASURE_SERVER) {
  const wanted = process.argv.slice(2);
  const server = fork(new URL(import.meta.url), { env: { ...process.env, MEASURE_SERVER: '1' } });
  await once(server, 'message');
  const browser = await chromium.launch({ executablePath, args });
  for (const [name, measure] of Object.entries(PARTS)) {
    if (wanted.length > 0 && !wanted.some((word) => name.includes(word))) continue;
    console.log(name.padEnd(32), JSON.stringify(await measure(browser, server)));
  }
  await browser.close();
  server.disconnect();
}
