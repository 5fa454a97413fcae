/** What each shortcut does, in words. Loaded with the help and the palette. */

import { computed } from '@preact/signals';
import type { Place, Shortcut } from '../lib/keys';
import { settings } from '../lib/settings';

type Words = { names: Record<Shortcut['id'], string>; places: Record<Place, string>; or: string; single: string; singleNote: string };

const en: Words = {
  names: {
    palette: 'Commands and chats',
    newChat: 'New chat',
    search: 'Search chats',
    composer: 'Go to the message box',
    stop: 'Stop the answer',
    sidebar: 'Show or hide the sidebar',
    settings: 'Settings',
    help: 'This list',
    send: 'Send',
    newline: 'New line',
    templates: 'Templates, in an empty box',
    gap: 'Next gap of a template',
    move: 'Move through the chats',
    ends: 'First or last chat',
    pick: 'Pick several',
    rename: 'Rename',
    delete: 'Delete, with undo',
    options: 'Options of the chat',
  },
  places: { everywhere: 'Everywhere', composer: 'In the message box', list: 'In the list of chats' },
  or: 'or',
  single: 'One-letter shortcuts',
  singleNote: 'Switch them off if you dictate. They never work where something is typed.',
};

const zh: Words = {
  names: {
    palette: '命令与对话',
    newChat: '新对话',
    search: '搜索对话',
    composer: '转到消息框',
    stop: '停止回答',
    sidebar: '显示或隐藏侧栏',
    settings: '设置',
    help: '此列表',
    send: '发送',
    newline: '换行',
    templates: '模板（消息框为空时）',
    gap: '模板的下一个空位',
    move: '在对话间移动',
    ends: '第一个或最后一个对话',
    pick: '选择多个',
    rename: '重命名',
    delete: '删除（可撤销）',
    options: '对话的选项',
  },
  places: { everywhere: '任何位置', composer: '在消息框中', list: '在对话列表中' },
  or: '或',
  single: '单字母快捷键',
  singleNote: '如果您使用语音输入，请将其关闭。输入文字时它们不起作用。',
};

export const words = computed(() => (settings.value.lang === 'zh' ? zh : en));
