/** Choices that belong to this browser, not to the account. */

import { effect, signal } from '@preact/signals';
import { load, save } from './stored';

export type Theme = 'system' | 'light' | 'dark';
export type Lang = 'en' | 'zh';
export type Density = 'comfortable' | 'compact';

export interface Settings {
  theme: Theme;
  lang: Lang;
  /** Scroll along while an answer is written. */
  follow: boolean;
  sidebar: boolean;
  /** Read an answer to a screen reader while it is written; unset: yes. */
  speak?: boolean;
  density: Density;
  /** Shortcuts that are one letter: they can get in the way of those who dictate. */
  singleKeys: boolean;
}

const isSettings = (value: unknown): value is Partial<Settings> => typeof value === 'object' && value !== null;

export const browserLang = (languages: readonly string[]): Lang =>
  languages.find((language) => /^(zh|en)\b/i.test(language))?.toLowerCase().startsWith('zh') ? 'zh' : 'en';

const defaults: Settings = { theme: 'system', lang: browserLang(navigator.languages ?? []), follow: true, sidebar: true, density: 'comfortable', singleKeys: true };

export const settings = signal<Settings>({ ...defaults, ...load('settings', {}, isSettings) });

export const change = (values: Partial<Settings>): void => {
  settings.value = { ...settings.value, ...values };
  save('settings', settings.value);
};

export function applySettings(): void {
  effect(() => {
    const { theme, lang, density } = settings.value;
    const root = document.documentElement;
    if (theme === 'system') delete root.dataset.theme;
    else root.dataset.theme = theme;
    if (density === 'compact') root.dataset.density = density;
    else delete root.dataset.density;
    root.lang = lang === 'zh' ? 'zh-Hans' : 'en';
  });
}
