import { t } from '../lib/i18n';
import '../style/help.css';
import { Dialog } from './Dialogs';
import { KeyMap } from './KeyMap';

export const Help = () => (
  <Dialog title={t.value.shortcuts} class="help">
    <KeyMap />
  </Dialog>
);
