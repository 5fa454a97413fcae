/** Keyboard: what is being typed is never a command. */

/**
 * True while an input method composes a character. Safari sends the Enter that ends a composition after
 * `compositionend`, with `isComposing` false; its key code is still 229.
 */
export const isComposing = (event: KeyboardEvent): boolean => event.isComposing || event.keyCode === 229;

export const isMac = /Mac|iP(?:hone|ad|od)/.test(navigator.platform);

/** Without a mouse, Enter on the screen keyboard is the only way to a new line. */
export const isTouch = (): boolean => matchMedia('(hover: none) and (pointer: coarse)').matches;

export const prefersLessMotion = (): boolean => matchMedia('(prefers-reduced-motion: reduce)').matches;

export interface Shortcut {
  id: 'newChat' | 'composer' | 'stop' | 'sidebar' | 'search' | 'settings' | 'help';
  keys: readonly string[];
}

const mod = isMac ? '⌘' : 'Ctrl';
const shift = isMac ? '⇧' : 'Shift';

export const shortcuts: readonly Shortcut[] = [
  { id: 'newChat', keys: [mod, shift, 'O'] },
  { id: 'search', keys: [mod, 'K'] },
  { id: 'composer', keys: [shift, 'Esc'] },
  { id: 'stop', keys: ['Esc'] },
  { id: 'sidebar', keys: [mod, shift, 'S'] },
  { id: 'settings', keys: [mod, ','] },
  { id: 'help', keys: [mod, '/'] },
];

/** Which shortcut an event is, if any. Letters are compared by key, so they follow the keyboard's layout. */
export function shortcutOf(event: KeyboardEvent): Shortcut['id'] | null {
  if (isComposing(event) || event.altKey) return null;
  const hasMod = isMac ? event.metaKey && !event.ctrlKey : event.ctrlKey && !event.metaKey;
  const key = event.key.toLowerCase();
  if (key === 'escape') return hasMod ? null : event.shiftKey ? 'composer' : 'stop';
  if (!hasMod) return null;
  if (event.shiftKey) return key === 'o' ? 'newChat' : key === 's' ? 'sidebar' : null;
  return key === 'k' ? 'search' : key === '/' ? 'help' : key === ',' ? 'settings' : null;
}
