/** The sentences of the pages for who is not signed in, apart from the others because they are loaded with them. */

import { computed } from '@preact/signals';
import { settings } from '../lib/settings';

const en = {
  intro: 'This Parley is private. Sign in to continue.',
  token: 'Access token',
  showToken: 'Show token',
  hideToken: 'Hide token',
  wrong: 'This token was not accepted.',
  help: 'Whoever runs this server can make a token for you.',
  introToken: 'This Parley is private. Enter your access token to continue.',
  withIssuer: 'Sign in with your account',
  ended: 'Your session has ended. What you were writing is kept: sign in again and go on.',
  join: 'You are invited',
  joinNote: 'Accept to get your own account here. The invitation works once.',
  joinGone: 'This invitation has been used, withdrawn, or has run out. Ask for a new one.',
  accept: 'Accept the invitation',
  joined: (name: string) => `Welcome, ${name}`,
  joinedNote: 'This is your key for signing in elsewhere. Copy it now: it is not shown again.',
  key: 'Your key',
  begin: 'Begin',
  refused: 'You could not be signed in',
  notInvited: 'This account has no invitation here. Ask whoever runs this Parley to invite your e-mail address.',
  suspended: 'This account is suspended. Ask whoever runs this Parley.',
  failed: 'Something went wrong on the way. Please try again.',
  again: 'Back to sign-in',
};

const zh: typeof en = {
  intro: '这是一个私有的 Parley。请登录后继续。',
  token: '访问令牌',
  showToken: '显示令牌',
  hideToken: '隐藏令牌',
  wrong: '令牌无效。',
  help: '运行此服务器的人可以为你创建令牌。',
  introToken: '这是一个私有的 Parley。请输入访问令牌。',
  withIssuer: '使用你的账户登录',
  ended: '会话已结束。你正在写的内容已保留：重新登录即可继续。',
  join: '你收到了邀请',
  joinNote: '接受后即可在此拥有自己的账户。邀请仅可使用一次。',
  joinGone: '此邀请已被使用、撤回或过期。请索取新的邀请。',
  accept: '接受邀请',
  joined: (name) => `欢迎，${name}`,
  joinedNote: '这是你在其他设备登录用的密钥。请立即复制：不会再次显示。',
  key: '你的密钥',
  begin: '开始',
  refused: '无法登录',
  notInvited: '此账户没有受邀。请联系此 Parley 的管理者邀请你的邮箱。',
  suspended: '此账户已停用。请联系此 Parley 的管理者。',
  failed: '登录过程中出现问题，请重试。',
  again: '返回登录',
};

export const words = computed(() => (settings.value.lang === 'zh' ? zh : en));
