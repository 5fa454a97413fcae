/** What goes with the message, and where else it could go. */

import { words } from '../i18n/templates';
import type { Attached as File_ } from '../lib/attached';
import { bytes } from '../lib/format';
import '../style/attached.css';
import * as icons from './icons';

interface Props {
  files: readonly File_[];
  isOver: boolean;
  drop: (id: string) => void;
  toKnowledge: (file: File_) => void;
  intoBox: (file: File_) => void;
}

const encoder = new TextEncoder();

export function Attached({ files, isOver, drop, toKnowledge, intoBox }: Props) {
  const w = words.value;
  return (
    <div class="attached">
      <ul aria-label={w.attached}>
        {files.map((file) => {
          const name = file.name ?? w.pasted;
          return (
            <li key={file.id} class={isOver ? 'attachment over' : 'attachment'}>
              <icons.Page />
              <span class="attachment-text">
                <span class="attachment-name" dir="auto">{name}</span>
                <span class="attachment-size">{bytes(encoder.encode(file.text).length)} · {w.inMessage}</span>
              </span>
              {file.name === null && !isOver && <button type="button" class="text-button" onClick={() => intoBox(file)}>{w.intoBox}</button>}
              <button type="button" class="text-button" onClick={() => toKnowledge(file)}>{w.toKnowledge}</button>
              <button type="button" class="icon-button small" aria-label={w.drop(name)} onClick={() => drop(file.id)}><icons.Cross /></button>
            </li>
          );
        })}
      </ul>
      {isOver && <p class="attached-over" role="alert">{w.over}</p>}
    </div>
  );
}
