/** What of a template is not filled in yet. */

import { words } from '../i18n/templates';
import type { Gap } from '../lib/gaps';
import '../style/attached.css';

export const Gaps = ({ gaps }: { gaps: readonly Gap[] }) => <p class="gap-hint" role="status">{words.value.gaps([...new Set(gaps.map(({ name }) => name))].join(', '))}</p>;
