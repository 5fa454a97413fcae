/** A button that opens a list of actions. Drawn in the top layer, so no scroller cuts it. */

import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';

export interface Item {
  id: string;
  label: string;
  icon?: ComponentChildren;
  note?: ComponentChildren;
  /** Set for a choice between items; unset for an action. */
  checked?: boolean;
  danger?: boolean;
  href?: string;
  run?: () => void;
}

interface Props {
  label: string;
  class: string;
  children: ComponentChildren;
  items: () => readonly Item[];
  align?: 'start' | 'end';
  header?: ComponentChildren;
  menuClass?: string;
  onOpen?: () => void;
  tip?: string;
  tabIndex?: number;
  /** Drawn because it was asked for: open from the first frame. */
  isOpenAtOnce?: boolean;
  /** The button's own text is its name; `label` then names the menu alone. */
  isNamedByText?: boolean;
}

const GAP = 6;
const EDGE = 8;

export function Menu({ label, class: className, children, items, align = 'start', header, menuClass = '', onOpen, tip, tabIndex, isOpenAtOnce = false, isNamedByText = false }: Props) {
  const [isOpen, setOpen] = useState(isOpenAtOnce);
  const button = useRef<HTMLButtonElement>(null);
  const popup = useRef<HTMLDivElement>(null);

  useLayoutEffect(() => {
    const [at, menu] = [button.current, popup.current];
    if (!isOpen || !at || !menu) return;
    menu.showPopover();
    place(menu, at, align);
    const first = menu.querySelector<HTMLElement>('[aria-checked="true"]') ?? menu.querySelector<HTMLElement>('[role^="menuitem"]');
    first?.focus();
    const closed = (event: Event) => {
      if ((event as ToggleEvent).newState !== 'closed') return;
      if (menu.contains(document.activeElement) || document.activeElement === document.body) at.focus();
      setOpen(false);
    };
    menu.addEventListener('toggle', closed);
    const away = () => menu.hidePopover();
    addEventListener('resize', away);
    return () => {
      menu.removeEventListener('toggle', closed);
      removeEventListener('resize', away);
    };
  }, [isOpen]);

  const close = () => {
    button.current?.focus();
    setOpen(false);
  };

  const moved = (event: KeyboardEvent) => {
    const all = [...(popup.current?.querySelectorAll<HTMLElement>('[role^="menuitem"]') ?? [])];
    const at = all.indexOf(document.activeElement as HTMLElement);
    const to =
      event.key === 'ArrowDown' ? (at + 1) % all.length
      : event.key === 'ArrowUp' ? (at - 1 + all.length) % all.length
      : event.key === 'Home' ? 0
      : event.key === 'End' ? all.length - 1
      : -1;
    if (event.key === 'Tab' || event.key === 'Escape') {
      event.stopPropagation();
      if (event.key === 'Escape') event.preventDefault();
      close();
    } else if (to >= 0) {
      event.preventDefault();
      all[to]?.focus();
    }
  };

  return (
    <>
      <button
        ref={button}
        type="button"
        class={className}
        tabIndex={tabIndex}
        aria-label={isNamedByText ? undefined : label}
        aria-haspopup="menu"
        aria-expanded={isOpen}
        data-tip={tip}
        onClick={() => {
          onOpen?.();
          setOpen(!isOpen);
        }}
      >
        {children}
      </button>
      {isOpen && (
        <div
          ref={popup}
          popover="auto"
          class={`menu ${menuClass}`}
          onKeyDown={moved}
          // One mark for both: the pointer moves the same focus as the arrows do.
          onPointerMove={(event) => (event.target as Element).closest<HTMLElement>('[role^="menuitem"]')?.focus()}
        >
          {header}
          <div role="menu" aria-label={label}>
            {items().map((item) => {
              const inside = (
                <>
                  {item.icon}
                  <span class="menu-text">
                    {item.label}
                    {item.note && <span class="menu-note">{item.note}</span>}
                  </span>
                </>
              );
              const role = item.checked === undefined ? 'menuitem' : 'menuitemradio';
              return item.href ? (
                <a key={item.id} role="menuitem" tabIndex={-1} href={item.href} download="" onClick={close}>
                  {inside}
                </a>
              ) : (
                <button
                  key={item.id}
                  type="button"
                  role={role}
                  tabIndex={-1}
                  aria-checked={item.checked}
                  class={item.danger ? 'danger' : undefined}
                  onClick={() => {
                    close();
                    item.run?.();
                  }}
                >
                  {inside}
                </button>
              );
            })}
          </div>
        </div>
      )}
    </>
  );
}

/** Below its button where there is room, above it otherwise, and inside the window either way. */
function place(menu: HTMLElement, at: HTMLElement, align: 'start' | 'end'): void {
  const button = at.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = menu;
  const left = align === 'start' ? button.left : button.right - width;
  const below = button.bottom + GAP;
  const top = below + height <= innerHeight - EDGE ? below : Math.max(EDGE, button.top - GAP - height);
  menu.style.left = `${Math.max(EDGE, Math.min(left, innerWidth - width - EDGE))}px`;
  menu.style.top = `${top}px`;
}
