/** The sentences of the page about deleting everything, apart from the others because they are loaded with it. */

import { computed } from '@preact/signals';
import { settings } from '../lib/settings';

const en = {
  intro: 'This deletes all that is yours on this server, for good: chats, memories, documents, settings.',
  type: (word: string) => `Type “${word}” to go on`,
  yes: 'Delete everything',
  word: 'delete',
  done: 'Everything is deleted',
  gone: 'What was deleted',
  failed: 'Not everything could be deleted',
};

const zh: typeof en = {
  intro: '这会永久删除你在此服务器上的全部内容：对话、记忆、文档和设置。',
  type: (word: string) => `输入“${word}”以继续`,
  yes: '删除全部数据',
  word: '删除',
  done: '已全部删除',
  gone: '已删除的内容',
  failed: '未能全部删除',
};

export const words = computed(() => (settings.value.lang === 'zh' ? zh : en));
