/**
 * What a refusal means, by its code and with the figures that it carries: in Chinese for all codes of
 * docs/architecture.md (`tests/unit/refusals.test.ts`). The server speaks English and knows more of the case, so in
 * English only what figures say better is said here; and where an operator has written in Chinese, that is shown.
 */

import { computed } from '@preact/signals';
import type { LimitName } from '../accounts';
import { settings } from '../lib/settings';
import type { Problem } from '../wire';
import { words } from './account';

interface Figures {
  /** Of the limit that is used up. */
  limit: string;
  /** When it renews, for a reader. */
  renews: string;
  seconds: number;
}
type Sentence = string | ((figures: Figures) => string);

const odd = '请求内容有误，请检查后重试。';

const en: Readonly<Record<string, Sentence>> = {
  insufficient_quota: ({ limit, renews }) => `“${limit}” is used up. It renews ${renews}.`,
};

export const zh: Readonly<Record<string, Sentence>> = {
  bad_input: odd,
  invalid_json: odd,
  bad_cursor: odd,
  method_not_allowed: odd,
  unsupported: '这里不支持此操作或此类文件。',
  content_filter: '安全规则不允许这段内容。',
  context_length_exceeded: '内容超出模型可读的长度。请缩短，或新建对话。',
  unauthorized: '请先登录。',
  forbidden: '你无权在此进行这项操作。',
  not_invited: '你没有受邀。请联系此 Parley 的管理者。',
  suspended: '你的账户已停用。请联系此 Parley 的管理者。',
  sharing_off: '这里已关闭分享链接。',
  too_many: '数量已达上限，请先删除一些。',
  damaged: '文件已损坏，或与其名称不符。请重新保存后上传。',
  encrypted: '文件有密码保护。请另存为无密码的文件后上传。',
  no_text: '文件中没有文字。如果是扫描件，请先进行文字识别（OCR）。',
  too_large: '内容太大了，请缩短或拆分。',
  too_slow: '读取文件用时过长。请拆分，或存为更简单的格式。',
  not_found: '它已不存在。',
  model_not_found: '此模型已不存在，请选择其他模型。',
  run_active: '这个对话里还有一条回答正在书写。',
  message_exists: '这条消息已用其他内容发送过。',
  conflict: '与现有内容冲突，请重新加载页面。',
  last_admin: '这是最后一位管理员，请先将其他人设为管理员。',
  invited_already: '对方已受邀，请先撤销之前的邀请。',
  name_taken: '已有同名用户。',
  rate_limited: ({ seconds }) => `有点太快了，请在 ${seconds} 秒后重试。`,
  too_many_runs: '同时进行的回答太多，请等其中一个结束。',
  insufficient_quota: ({ limit, renews }) => `“${limit}”已用完，${renews} 重置。`,
  paused: '新的回答已暂停。已有内容仍可阅读。',
  model_unavailable: '现在无法连接模型，请稍后再试。',
  model_error: '模型在回答时出错了，请重试。',
  model_timeout: '模型没有及时回答，请重试。',
  model_rejected: '模型不接受这个请求，请检查对话参数。',
  gave_up: '回答多次中断，请重试。',
  run_timeout: '回答用时过长，已停止。',
  overloaded: '所有模型都在忙，请稍后再试。',
  restarting: 'Parley 正在重启，请稍后再试。',
  store_unavailable: '数据库暂时无法响应，请稍后再试。',
  issuer_unavailable: '登录服务暂时无法连接，请稍后再试。',
  internal: '服务器出错了，请重试。',
};

const when = (ms: number, lang: string): string => new Intl.DateTimeFormat(lang, { dateStyle: 'medium', timeStyle: 'short' }).format(ms);

/** Null: nothing better is known than the server's own sentence. */
export const say = computed(() => {
  const isZh = settings.value.lang === 'zh';
  const { limitNames } = words.value;
  return ({ code, message, param, until }: Problem): string | null => {
    const own = (isZh ? zh : en)[code];
    if (!own || (isZh && /\p{Script=Han}/u.test(message))) return null;
    if (typeof own === 'string') return own;
    if (!until || (code === 'insufficient_quota' && !param)) return null;
    return own({
      limit: limitNames[param as LimitName] ?? param ?? '',
      renews: when(until, isZh ? 'zh-Hans' : 'en'),
      seconds: Math.max(1, Math.ceil((until - Date.now()) / 1000)),
    });
  };
});
