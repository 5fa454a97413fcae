/** What the model reads in place of the earlier messages. */

import { t } from '../lib/i18n';
import { summary } from '../store';
import { Dialog } from './Dialogs';

export function Summary() {
  const one = summary.value;
  if (!one) return null;
  return (
    <Dialog title={t.value.summaryTitle} class="summary">
      <p class="quiet small">{t.value.summaryNote}</p>
      <p class="summary-text" dir="auto">{one.text}</p>
    </Dialog>
  );
}
