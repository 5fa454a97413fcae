/** The sentences of `ui/Selection.tsx`, apart from the others because they are loaded with it. */

import { computed } from '@preact/signals';
import { settings } from '../lib/settings';

const en = {
  label: 'Picked chats',
  count: (n: number) => (n === 1 ? '1 picked' : `${n} picked`),
  all: 'Pick all shown',
  archive: 'Archive',
  export: 'Export as JSON',
  delete: 'Delete',
  end: 'Stop picking',
  archived: (n: number) => (n === 1 ? '1 chat archived' : `${n} chats archived`),
  deleted: (n: number) => (n === 1 ? '1 chat deleted' : `${n} chats deleted`),
  exporting: (done: number, n: number) => `Exporting ${done} of ${n}`,
  failed: (n: number) => (n === 1 ? '1 chat could not be changed' : `${n} chats could not be changed`),
  unread: (n: number) => (n === 1 ? '1 chat could not be read, so there is no file' : `${n} chats could not be read, so there is no file`),
};

const zh: typeof en = {
  label: '已选择的对话',
  count: (n) => `已选 ${n}`,
  all: '选择全部已显示的',
  archive: '归档',
  export: '导出为 JSON',
  delete: '删除',
  end: '结束选择',
  archived: (n) => `已归档 ${n} 个对话`,
  deleted: (n) => `已删除 ${n} 个对话`,
  exporting: (done, n) => `正在导出 ${done} / ${n}`,
  failed: (n) => `有 ${n} 个对话未能更改`,
  unread: (n) => `有 ${n} 个对话无法读取，因此没有生成文件`,
};

export const words = computed(() => (settings.value.lang === 'zh' ? zh : en));
