/** The sentences of `ui/Memory.tsx`, apart from the others because they are loaded with it. */

import { computed } from '@preact/signals';
import { settings } from '../lib/settings';

const en = {
  title: 'Memory',
  use: 'Remember across chats',
  useNote: 'Parley keeps what you tell it about yourself and uses it in later chats. Switching this off keeps what is here, and uses none of it.',
  add: 'Something to remember',
  addHint: 'For example: I work in metric units.',
  save: 'Save',
  cancel: 'Cancel',
  find: 'Search memories',
  loading: 'Loading memories',
  failed: 'The memories could not be loaded',
  retry: 'Try again',
  empty: 'Nothing remembered yet',
  emptyNote: 'Say “remember that …” in a chat, or write it here.',
  none: (q: string) => `Nothing found for “${q}”.`,
  count: (n: number) => (n === 1 ? '1 memory' : `${n} memories`),
  edit: (text: string) => `Edit: ${text}`,
  editLabel: 'Memory',
  forget: (text: string) => `Forget: ${text}`,
  forgotten: 'Forgotten',
  undo: 'Undo',
  forgetAll: 'Forget everything',
  forgetAllSure: (n: number) => (n === 1 ? 'Forget this memory for good?' : `Forget all ${n} memories for good?`),
  forgetAllYes: 'Forget',
  kind: { fact: 'Fact', preference: 'Preference', instruction: 'Instruction' },
};

const zh: typeof en = {
  title: '记忆',
  use: '跨对话记住',
  useNote: 'Parley 会保存你告诉它的关于你的信息，并在之后的对话中使用。关闭后，已有的记忆会保留，但不再使用。',
  add: '要记住的内容',
  addHint: '例如：我使用公制单位。',
  save: '保存',
  cancel: '取消',
  find: '搜索记忆',
  loading: '正在加载记忆',
  failed: '无法加载记忆',
  retry: '重试',
  empty: '还没有记忆',
  emptyNote: '在对话中说“记住……”，或在这里写下来。',
  none: (q) => `没有找到“${q}”。`,
  count: (n) => `${n} 条记忆`,
  edit: (text) => `编辑：${text}`,
  editLabel: '记忆',
  forget: (text) => `忘记：${text}`,
  forgotten: '已忘记',
  undo: '撤销',
  forgetAll: '全部忘记',
  forgetAllSure: (n) => `永久忘记全部 ${n} 条记忆？`,
  forgetAllYes: '忘记',
  kind: { fact: '事实', preference: '偏好', instruction: '指示' },
};

export const words = computed(() => (settings.value.lang === 'zh' ? zh : en));
