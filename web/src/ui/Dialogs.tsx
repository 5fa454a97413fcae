import type { ComponentChildren, ComponentType } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { t } from '../lib/i18n';
import * as icons from './icons';
import { dialog, toast } from './view';

export function Dialog({ title, children, class: className }: { title: string; children: ComponentChildren; class: string }) {
  const node = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => {
    node.current?.showModal();
  }, []);
  return (
    <dialog
      ref={node}
      class={`dialog ${className}`}
      aria-labelledby="dialog-title"
      onClose={() => (dialog.value = null)}
      onKeyDown={(event) => event.key === 'Escape' && event.stopPropagation()}
      // A press beside the dialog lands on the element itself, one inside lands on a child.
      onPointerDown={(event) => event.target === node.current && node.current?.close()}
    >
      <div class="dialog-body">
        <header>
          {/* The title takes the focus: a screen reader says what opened, and no button looks pressed. */}
          <h2 id="dialog-title" tabIndex={-1} autofocus>{title}</h2>
          <button type="button" class="icon-button" aria-label={t.value.close} onClick={() => node.current?.close()}>
            <icons.Cross />
          </button>
        </header>
        {children}
      </div>
    </dialog>
  );
}

export function Dialogs() {
  if (dialog.value === 'settings') return <Later key="settings" load={() => import('./Settings').then(({ Settings }) => Settings)} />;
  if (dialog.value === 'keys') return <Later key="keys" load={() => import('./ApiKeys').then(({ ApiKeys }) => ApiKeys)} />;
  if (dialog.value === 'sessions') return <Later key="sessions" load={() => import('./Sessions').then(({ Sessions }) => Sessions)} />;
  if (dialog.value === 'admin') return <Later key="admin" load={() => import('./Admin').then(({ Admin }) => Admin)} />;
  if (dialog.value === 'help') return <Later key="help" load={() => import('./Help').then(({ Help }) => Help)} />;
  if (dialog.value === 'palette') return <Later key="palette" load={() => import('./Palette').then(({ Palette }) => Palette)} />;
  if (dialog.value === 'templates') return <Later key="templates" load={() => import('./Templates').then(({ Templates }) => Templates)} />;
  if (dialog.value === 'usage') return <Later key="usage" load={() => import('./Usage').then(({ Usage }) => Usage)} />;
  if (dialog.value === 'passage') return <Later key="passage" load={() => import('./Passage').then(({ Passage }) => Passage)} />;
  if (dialog.value === 'knowledge') return <Later key="knowledge" load={() => import('./Knowledge').then(({ Knowledge }) => Knowledge)} />;
  if (dialog.value === 'memory') return <Later key="memory" load={() => import('./Memory').then(({ Memory }) => Memory)} />;
  if (dialog.value === 'summary') return <Later key="summary" load={() => import('./Summary').then(({ Summary }) => Summary)} />;
  if (dialog.value === 'farewell') return <Later key="farewell" load={() => import('./Farewell').then(({ Farewell }) => Farewell)} />;
  if (dialog.value === 'tuning') return <Later key="tuning" load={() => import('./Tuning').then(({ Tuning }) => Tuning)} />;
  if (dialog.value === 'archive') return <Later key="archive" load={() => import('./Archive').then(({ Archive }) => Archive)} />;
  if (dialog.value === 'import') return <Later key="import" load={() => import('./Import').then(({ Import }) => Import)} />;
  if (dialog.value === 'share') return <Later key="share" load={() => import('./Share').then(({ Share }) => Share)} />;
  if (dialog.value === 'shares') return <Later key="shares" load={() => import('./Share').then(({ Shares }) => Shares)} />;
  return null;
}

/** A dialog that is seldom opened, so it is no part of the page that everybody loads. */
export function Later({ load }: { load: () => Promise<ComponentType> }) {
  const [Page, setPage] = useState<ComponentType | null>(null);
  useEffect(() => {
    load().then(
      (page) => setPage(() => page),
      () => {
        dialog.value = null;
        toast(t.peek().errorServer);
      },
    );
  }, []);
  return Page && <Page />;
}
