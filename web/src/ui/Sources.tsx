/** What an answer leans on, under it: the passages that its text cites. */

import { t } from '../lib/i18n';
import type { Citation } from '../wire';
import { openPassage } from './view';

interface Props {
  citations: readonly Citation[];
  text: string;
}

export function Sources({ citations, text }: Props) {
  const named = new Set([...text.matchAll(/[[【]([\d\s,，、]+)[\]】]/g)].flatMap(([, inside]) => inside!.split(/[,，、]/).map(Number)));
  // A passage that was read and not cited says nothing about the answer.
  const used = citations.filter(({ index }) => named.has(index));
  if (used.length === 0) return null;
  return (
    <nav class="sources" aria-label={t.value.sources}>
      <ol>
        {used.map(({ index, title }) => (
          <li key={index}>
            <button type="button" class="source" aria-label={`${t.value.citation(index)}: ${title}`} onClick={() => openPassage(citations, index)}>
              <span class="source-index tabular" aria-hidden="true">{index}</span>
              <span class="source-title" dir="auto">{title}</span>
            </button>
          </li>
        ))}
      </ol>
    </nav>
  );
}
