/** The sentences of `ui/Palette.tsx`, apart from the others because they are loaded with it. */

import { computed } from '@preact/signals';
import { settings } from '../lib/settings';

const en = {
  title: 'Commands and chats',
  hint: 'Type a command or the name of a chat',
  actions: 'Commands',
  chats: 'Chats',
  recent: 'Recent chats',
  none: (q: string) => `Nothing fits “${q}”.`,
  count: (n: number) => (n === 1 ? '1 result' : `${n} results`),
  searching: 'Searching in the messages',
  temporary: 'New temporary chat',
  templates: 'Prompt templates',
  theme: (name: string) => `Theme: ${name}`,
  language: 'Language: 中文',
  compact: 'Density: compact',
  comfortable: 'Density: comfortable',
  model: (name: string) => `Model: ${name}`,
  pinThis: 'Pin this chat',
  unpinThis: 'Unpin this chat',
  archiveThis: 'Archive this chat',
  deleteThis: 'Delete this chat',
};

const zh: typeof en = {
  title: '命令与对话',
  hint: '输入命令或对话名称',
  actions: '命令',
  chats: '对话',
  recent: '最近的对话',
  none: (q) => `没有与“${q}”相符的内容。`,
  count: (n) => `${n} 个结果`,
  searching: '正在消息中搜索',
  temporary: '新的临时对话',
  templates: '提示模板',
  theme: (name) => `主题：${name}`,
  language: 'Language: English',
  compact: '密度：紧凑',
  comfortable: '密度：宽松',
  model: (name) => `模型：${name}`,
  pinThis: '置顶此对话',
  unpinThis: '取消置顶此对话',
  archiveThis: '归档此对话',
  deleteThis: '删除此对话',
};

export const words = computed(() => (settings.value.lang === 'zh' ? zh : en));
