/** The sentences of what `ui/writer.ts` draws, apart from the others because they are loaded with it. */

import { computed } from '@preact/signals';
import { settings } from '../lib/settings';

const en = {
  showImages: (host: string) => `Show images from ${host}`,
  footnotes: 'Footnotes',
  footnote: (number: number) => `Footnote ${number}`,
  footnoteBack: (number: number) => `Back to footnote mark ${number}`,
  wrap: 'Wrap',
  wrapLines: 'Wrap long lines',
  showAll: (lines: number) => `Show all ${lines} lines`,
  showFewer: 'Show fewer',
};

const zh: typeof en = {
  showImages: (host) => `显示来自 ${host} 的图片`,
  footnotes: '脚注',
  footnote: (number) => `脚注 ${number}`,
  footnoteBack: (number) => `返回脚注标记 ${number}`,
  wrap: '换行',
  wrapLines: '长行自动换行',
  showAll: (lines) => `显示全部 ${lines} 行`,
  showFewer: '收起',
};

export const words = computed(() => (settings.value.lang === 'zh' ? zh : en));
