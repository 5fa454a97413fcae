/** The sentences of the page about what was used and what it cost, apart from the others because they are loaded with it. */

import { computed } from '@preact/signals';
import { settings } from '../lib/settings';

const en = {
  loading: 'Adding it up',
  failed: 'The usage could not be loaded',
  intro: 'Your last 30 days',
  cost: 'Cost',
  runs: 'Answers',
  tokens: 'Tokens',
  gpu: 'GPU time',
  byDay: 'By day',
  byModel: 'By model',
  day: 'Day',
  asTable: 'As a table',
  top: (day: string, most: string) => `Most on ${day}: ${most}`,
  active: (share: string) => `Working ${share}`,
  coldStart: (share: string) => `Starting ${share}`,
  idle: (share: string) => `Kept awake ${share}`,
  empty: 'Nothing used yet',
  emptyNote: 'What your answers use and cost will be added up here.',
  free: 'Your own hardware answered: no GPU was rented.',
  estimate: 'The newest answers are estimates until their GPU sleeps again.',
  prices: (date: string) => `Prices of ${date}. Days are of UTC.`,
};

const zh: typeof en = {
  loading: '正在汇总',
  failed: '无法加载用量',
  intro: '你最近 30 天的用量',
  cost: '费用',
  runs: '回答',
  tokens: 'Token 数',
  gpu: 'GPU 时间',
  byDay: '按天',
  byModel: '按模型',
  day: '日期',
  asTable: '以表格显示',
  top: (day, most) => `最多的一天：${day}，${most}`,
  active: (share) => `工作 ${share}`,
  coldStart: (share) => `启动 ${share}`,
  idle: (share) => `保持唤醒 ${share}`,
  empty: '还没有用量',
  emptyNote: '你的回答所用的资源和费用会汇总在这里。',
  free: '由你自己的硬件作答，没有租用 GPU。',
  estimate: '最新的回答在 GPU 再次休眠之前为估计值。',
  prices: (date) => `价格截至 ${date}。日期按 UTC 计。`,
};

export const words = computed(() => (settings.value.lang === 'zh' ? zh : en));
