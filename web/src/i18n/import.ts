/** The sentences of `ui/Import.tsx`, apart from the others because they are loaded with it. */

import { computed } from '@preact/signals';
import { settings } from '../lib/settings';

const en = {
  title: 'Import chats',
  intro: 'Bring an export of ChatGPT (the ZIP, or the conversations.json in it) or of Parley. What you have already stays as it is, so the same file can be brought again.',
  choose: 'Choose a file',
  drop: 'or drop it here',
  tooLarge: 'The file is larger than 100 MB. Bring the conversations.json from the ZIP, or parts of it.',
  sending: 'Sending the file',
  reading: (n: number) => (n === 1 ? '1 chat' : `${n.toLocaleString('en')} chats`),
  cancel: 'Cancel',
  cancelled: 'Cancelled. The chats that were read by then are here.',
  done: (n: number) => (n === 0 ? 'No new chats' : n === 1 ? '1 chat imported' : `${n.toLocaleString('en')} chats imported`),
  messages: (n: number) => (n === 1 ? '1 message' : `${n.toLocaleString('en')} messages`),
  skipped: (n: number) => (n === 1 ? '1 chat was here already' : `${n.toLocaleString('en')} chats were here already`),
  memories: (n: number) => (n === 1 ? '1 memory' : `${n} memories`),
  templates: (n: number) => (n === 1 ? '1 template' : `${n} templates`),
  failed: (n: number) => (n === 1 ? '1 chat could not be imported' : `${n.toLocaleString('en')} chats could not be imported`),
  untitled: 'Without a title',
  reason: {
    empty: 'nothing to read in it',
    damaged: 'damaged',
    circular: 'its messages go round in a circle',
    too_large: 'too large',
  },
  trouble: {
    unsupported: 'There are no chats in this file that can be read.',
    damaged: 'The file is damaged. What came before that place is here.',
    encrypted: 'The ZIP is locked with a password. Unpack it and bring the conversations.json.',
    too_large: 'The file holds more than can be taken in one piece. Split it and bring the parts.',
    too_slow: 'Reading the file took too long. Split it and bring the parts.',
  },
  another: 'Bring another file',
  close: 'Done',
  exportInstead: 'Export everything',
};

const zh: typeof en = {
  title: '导入对话',
  intro: '可导入 ChatGPT 的导出文件（ZIP 或其中的 conversations.json）或 Parley 的导出文件。已有内容保持不变，因此同一文件可以重复导入。',
  choose: '选择文件',
  drop: '或拖到这里',
  tooLarge: '文件超过 100 MB。请导入 ZIP 中的 conversations.json，或将其拆分。',
  sending: '正在上传文件',
  reading: (n) => `${n.toLocaleString('zh')} 个对话`,
  cancel: '取消',
  cancelled: '已取消。此前读取的对话已导入。',
  done: (n) => (n === 0 ? '没有新对话' : `已导入 ${n.toLocaleString('zh')} 个对话`),
  messages: (n) => `${n.toLocaleString('zh')} 条消息`,
  skipped: (n) => `${n.toLocaleString('zh')} 个对话已存在`,
  memories: (n) => `${n} 条记忆`,
  templates: (n) => `${n} 个模板`,
  failed: (n) => `${n.toLocaleString('zh')} 个对话无法导入`,
  untitled: '无标题',
  reason: { empty: '没有可读内容', damaged: '已损坏', circular: '消息首尾相接', too_large: '过大' },
  trouble: {
    unsupported: '此文件中没有可读取的对话。',
    damaged: '文件已损坏。损坏处之前的内容已导入。',
    encrypted: 'ZIP 有密码保护。请解压后导入 conversations.json。',
    too_large: '文件内容过多。请拆分后分别导入。',
    too_slow: '读取文件耗时过长。请拆分后分别导入。',
  },
  another: '导入其他文件',
  close: '完成',
  exportInstead: '导出全部',
};

export const words = computed(() => (settings.value.lang === 'zh' ? zh : en));
