/** All that drawing an answer takes, in one piece that comes right after the page. */

import { words } from '../i18n/writer';
import { t } from '../lib/i18n';
import { mayShow } from '../lib/pictures';
import { Prose, type ProseLabels } from '../markdown/prose';

export { clean, Sentences } from '../lib/sentences';
export { pressed } from '../markdown/pressed';

const labels = (): ProseLabels => {
  const { image, table, taskDone, taskOpen, copy, copyCode, plainText, citation } = t.peek();
  return { image, table, taskDone, taskOpen, copy, copyCode, plainText, citation, ...words.peek(), maySee: mayShow };
};

export const writer = (root: Element, passages: () => ReadonlySet<number>): Prose => new Prose(root, labels(), passages);
