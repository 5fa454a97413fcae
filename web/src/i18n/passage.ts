/** The sentences of the page about one source, apart from the others because they are loaded with it. */

import { computed } from '@preact/signals';
import { settings } from '../lib/settings';

const en = {
  title: (index: number) => `Source ${index}`,
  loading: 'Opening the passage',
  gone: 'This document has been deleted.',
  failed: 'The passage could not be opened',
  page: (page: number) => `page ${page}`,
  previous: 'Previous source',
  next: 'Next source',
};

const zh: typeof en = {
  title: (index: number) => `来源 ${index}`,
  loading: '正在打开段落',
  gone: '这份文档已被删除。',
  failed: '无法打开这个段落',
  page: (page: number) => `第 ${page} 页`,
  previous: '上一个来源',
  next: '下一个来源',
};

export const words = computed(() => (settings.value.lang === 'zh' ? zh : en));
