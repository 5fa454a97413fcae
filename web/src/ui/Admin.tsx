/** The pages of those who run the house. */

import type { ComponentType } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { words } from '../i18n/admin';
import '../style/account.css';
import '../style/usage.css';
import { AdminInvitations } from './AdminInvitations';
import { AdminLimits } from './AdminLimits';
import { AdminNodes } from './AdminNodes';
import { AdminPause } from './AdminPause';
import { AdminUsers } from './AdminUsers';
import { AdminVerdicts } from './AdminVerdicts';
import { Dialog } from './Dialogs';
import { section, showSection } from './places';

const PARTS = { users: AdminUsers, invitations: AdminInvitations, limits: AdminLimits, nodes: AdminNodes, verdicts: AdminVerdicts, pause: AdminPause } satisfies Record<string, ComponentType>;
type Part = keyof typeof PARTS;
const NAMES = Object.keys(PARTS) as Part[];

export function Admin() {
  const tabs = useRef<HTMLDivElement>(null);
  const w = words.value;
  const shown = NAMES.find((name) => name === section.value) ?? 'users';
  const Part = PARTS[shown];
  useEffect(() => tabs.current?.children[NAMES.indexOf(shown)]?.scrollIntoView({ block: 'nearest', inline: 'nearest' }), [shown]);
  const moved = (event: KeyboardEvent) => {
    const at = NAMES.indexOf(shown);
    const to = event.key === 'ArrowRight' ? at + 1 : event.key === 'ArrowLeft' ? at - 1 : event.key === 'Home' ? 0 : event.key === 'End' ? NAMES.length - 1 : null;
    if (to === null) return;
    event.preventDefault();
    const next = (to + NAMES.length) % NAMES.length;
    showSection(NAMES[next]!);
    (tabs.current?.children[next] as HTMLElement).focus();
  };
  return (
    <Dialog title={w.title} class="admin usage">
      <div class="tabs" role="tablist" aria-label={w.title} ref={tabs} onKeyDown={moved}>
        {NAMES.map((name) => (
          <button
            key={name}
            type="button"
            role="tab"
            id={`tab-${name}`}
            aria-selected={name === shown}
            aria-controls="admin-part"
            tabIndex={name === shown ? 0 : -1}
            onClick={() => showSection(name)}
          >
            {w.parts[name]}
          </button>
        ))}
      </div>
      <div id="admin-part" class="page-part" role="tabpanel" aria-labelledby={`tab-${shown}`}><Part key={shown} /></div>
    </Dialog>
  );
}
