/** What the model reads in place of the earlier messages. */

import { settings } from '../lib/settings';
import { summary } from '../store';
import { Dialog } from './Dialogs';

const en = { title: 'Summary', note: 'The model reads this in place of the earlier messages, which are kept.' };
const zh: typeof en = { title: '摘要', note: '模型阅读这段摘要来代替更早的消息；那些消息仍然保留。' };

export function Summary() {
  const one = summary.value;
  const w = settings.value.lang === 'zh' ? zh : en;
  if (!one) return null;
  return (
    <Dialog title={w.title} class="summary">
      <p class="quiet small">{w.note}</p>
      <p class="summary-text" dir="auto">{one.text}</p>
    </Dialog>
  );
}
