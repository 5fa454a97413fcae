import { computed } from '@preact/signals';
import { en, type Messages } from '../i18n/en';
import { zh } from '../i18n/zh';
import { settings } from './settings';

const all: Record<'en' | 'zh', Messages> = { en, zh };

/** The sentences in the chosen language; reading it in a component makes the component follow a change. */
export const t = computed<Messages>(() => all[settings.value.lang]);

export const locale = computed(() => (settings.value.lang === 'zh' ? 'zh-Hans' : 'en'));
