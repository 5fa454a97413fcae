/** The sentences of `ui/Feedback.tsx`, apart from the others because they are loaded with it. */

import { computed } from '@preact/signals';
import { settings } from '../lib/settings';

const en = {
  good: 'Good answer',
  bad: 'Bad answer',
  title: (isGood: boolean): string => (isGood ? 'Thank you. What was good?' : 'Thank you. What was wrong?'),
  reasons: 'What was wrong',
  reason: {
    incorrect: 'Not correct',
    unhelpful: 'Not helpful',
    ignored: 'Not what I asked',
    style: 'Style or tone',
    unsafe: 'Harmful',
    guardrail_wrong: 'The check was wrong',
    other: 'Something else',
  },
  comment: 'In your own words',
  commentNote: 'Optional. Whoever runs this server can read it.',
  send: 'Send',
  takeBack: 'Take back',
  sent: 'Feedback saved',
  takenBack: 'Feedback taken back',
  undo: 'Undo',
  wrong: 'This was wrong',
  appealed: 'You said that this was wrong.',
  details: 'Details',
  check: 'Check',
  times: 'Acted',
  timesOf: (n: number) => (n === 1 ? 'once' : `${n} times`),
  policy: 'Policy',
  rail: {
    length: 'Length',
    pii: 'Personal data',
    secrets: 'Keys and passwords',
    banned_terms: 'Banned terms',
    injection: 'Attempts to override instructions',
    leak: 'Hidden instructions',
    markup: 'Links that carry data away',
    moderation: 'Safety model',
    custom: 'A rule of this place',
  },
};

const zh: typeof en = {
  good: '回答得好',
  bad: '回答得不好',
  title: (isGood) => (isGood ? '谢谢！好在哪里？' : '谢谢！哪里不好？'),
  reasons: '哪里不好',
  reason: {
    incorrect: '内容有误',
    unhelpful: '没有帮助',
    ignored: '答非所问',
    style: '风格或语气',
    unsafe: '有害',
    guardrail_wrong: '检查判断有误',
    other: '其他',
  },
  comment: '用你自己的话说',
  commentNote: '选填。运行此服务器的人可以看到。',
  send: '提交',
  takeBack: '撤回',
  sent: '反馈已保存',
  takenBack: '反馈已撤回',
  undo: '撤销',
  wrong: '判断有误',
  appealed: '你已指出此处判断有误。',
  details: '详情',
  check: '检查项',
  times: '次数',
  timesOf: (n) => `${n} 次`,
  policy: '规则版本',
  rail: {
    length: '长度',
    pii: '个人信息',
    secrets: '密钥和密码',
    banned_terms: '禁用词',
    injection: '绕过指令的尝试',
    leak: '内部指令',
    markup: '会带走数据的链接',
    moderation: '安全模型',
    custom: '此处的自定规则',
  },
};

export const words = computed(() => (settings.value.lang === 'zh' ? zh : en));

/** A rail in words; `pii.email` is the e-mail part of `pii`. One that this client does not know keeps its name. */
export const railName = (rail: string): string =>
  (words.value.rail as Record<string, string>)[rail.split('.', 1)[0]!] ?? rail;
