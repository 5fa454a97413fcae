/** The sentences of `ui/Tuning.tsx`, apart from the others because they are loaded with it. */

import { computed } from '@preact/signals';
import { settings } from '../lib/settings';

const en = {
  title: 'Chat settings',
  intro: 'They belong to this chat alone.',
  system: 'System prompt',
  systemNote: 'What the model is told before the first message. Empty: this server’s own.',
  systemHint: 'For example: You are a patient Latin teacher.',
  saved: 'Saved',
  temperature: 'Temperature',
  temperatureNote: 'Low is careful, high is inventive.',
  topP: 'Top p',
  topPNote: 'Only the likeliest words that add up to this share are considered.',
  most: 'Longest answer',
  mostNote: 'In tokens; a token is about three quarters of a word.',
  default: 'Default',
  reset: 'Back to the defaults',
};

const zh: typeof en = {
  title: '对话设置',
  intro: '仅对此对话有效。',
  system: '系统提示',
  systemNote: '在第一条消息之前告诉模型的内容。留空则使用此服务器的设置。',
  systemHint: '例如：你是一位耐心的拉丁语老师。',
  saved: '已保存',
  temperature: '温度',
  temperatureNote: '低则谨慎，高则富有想象。',
  topP: 'Top p',
  topPNote: '只考虑累计概率达到此比例的词。',
  most: '最长回答',
  mostNote: '以词元计；一个词元大约是半个到一个汉字。',
  default: '默认',
  reset: '恢复默认',
};

export const words = computed(() => (settings.value.lang === 'zh' ? zh : en));
