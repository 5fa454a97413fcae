/** What the message box loads when it is first needed. */

export { words } from '../i18n/templates';
export { asFile, composed, keepable, sorted } from '../lib/attached';
export { gapsOf, nextGap } from '../lib/gaps';
export { Attached } from './Attached';
export { Gaps } from './Gaps';
export { Slash } from './Slash';
