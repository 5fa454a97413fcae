import { defineConfig } from '@playwright/test';

/** Playwright's own list, which a second one replaces, and before it two pages of Chromium's address bar, which every new
 * context would load: 40 % of what a context takes of the processor. */
const OFF = [
  'WebUIOmniboxPopup', 'WebUIOmniboxAimPopup',
  'AvoidUnnecessaryBeforeUnloadCheckSync', 'DestroyProfileOnBrowserClose', 'HttpsUpgrades', 'HttpsFirstBalancedModeAutoEnable',
  'LensOverlay', 'MediaRouter', 'PaintHolding', 'ThirdPartyStoragePartitioning', 'OptimizationHints',
  'NetworkTimeServiceQuerying', 'AimEnabled', 'PreconnectToSearch',
];

/** Against the built client, served by the scripted server with the real content policy. Uses the system's Chromium. */
export default defineConfig({
  testDir: 'tests/e2e',
  outputDir: 'node_modules/.cache/playwright',
  // How long a busy machine may take before what is awaited counts as missing. Speed is measured elsewhere.
  timeout: 90_000,
  expect: { timeout: 20_000 },
  // A busy machine shows what one test in thousands stumbles over: it is told as flaky, and the rest is not thrown away.
  retries: 1,
  fullyParallel: true,
  workers: 2,
  reporter: 'line',
  use: {
    locale: 'en-GB',
    viewport: { width: 1280, height: 800 },
    contextOptions: { reducedMotion: 'reduce' },
    // Where it is not the subject, a service worker is one more thing that happens at the same time.
    serviceWorkers: 'block',
    launchOptions: {
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      args: ['--no-sandbox', '--disable-gpu', `--disable-features=${OFF.join()}`],
    },
  },
});
