/** Pages that have an address, so that they can be linked to and left with the back button. */

import { effect, signal } from '@preact/signals';
import { openId } from '../store';
import { dialog, type Dialog } from './view';

const ADDRESSES: Partial<Record<Dialog, string>> = {
  settings: '#/settings',
  keys: '#/settings/keys',
  sessions: '#/settings/sessions',
  usage: '#/settings/usage',
  admin: '#/admin',
};

/** The part of the admin pages that is shown: `users` in `#/admin/users`. */
export const section = signal('');

interface Place {
  name: Dialog;
  part: string;
}

function placeOf(hash: string): Place | null {
  const [, base = hash, part = ''] = /^(#\/admin)(?:\/([a-z]+))?$/.exec(hash) ?? [];
  const found = Object.entries(ADDRESSES).find(([, address]) => address === base);
  return found ? { name: found[0] as Dialog, part } : null;
}

const addressOf = (name: Dialog): string => `${ADDRESSES[name]}${name === 'admin' && section.peek() ? `/${section.peek()}` : ''}`;

/** Shows the page of this address. False: it is the address of a chat. */
export function followPlace(): boolean {
  const place = placeOf(location.hash);
  if (place) {
    section.value = place.part;
    dialog.value = place.name;
  } else if (dialog.peek() !== null && ADDRESSES[dialog.peek()!]) {
    isOwnEntry = false;
    dialog.value = null;
  }
  return place !== null;
}

/** Another part of the same page takes its place in the history: one step back leaves the page. */
export function showSection(part: string): void {
  section.value = part;
  history.replaceState(null, '', addressOf('admin'));
}

/** Whether the page's entry in the history was made here, with the chat right before it. */
let isOwnEntry = false;

export function keepAddress(): void {
  effect(() => {
    const name = dialog.value;
    const here = placeOf(location.hash);
    if (name !== null && ADDRESSES[name]) {
      if (here?.name === name) return;
      if (here) history.replaceState(null, '', addressOf(name));
      else {
        history.pushState(null, '', addressOf(name));
        isOwnEntry = true;
      }
    } else if (here) {
      const chat = openId.peek();
      if (isOwnEntry) history.back();
      else history.replaceState(null, '', chat === null ? location.pathname : `#/c/${chat}`);
      isOwnEntry = false;
    }
  });
}
