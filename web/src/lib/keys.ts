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

/** What is typed into is never a place for one-letter shortcuts; nor is a menu, where letters may find an entry. */
const isTyping = (target: EventTarget | null): boolean =>
  target instanceof Element && target.closest('input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable], [role=menu], [role=listbox]') !== null;

export type ShortcutId = 'palette' | 'newChat' | 'search' | 'composer' | 'stop' | 'sidebar' | 'settings' | 'help';
export type Place = 'everywhere' | 'composer' | 'list';

export interface Shortcut {
  place: Place;
  id: ShortcutId | 'send' | 'newline' | 'templates' | 'gap' | 'move' | 'ends' | 'rename' | 'delete' | 'options' | 'pick';
  keys: readonly string[];
  /** One letter, where nothing is typed: the reader may switch these off. */
  single?: string;
}

const mod = isMac ? '⌘' : 'Ctrl';
const shift = isMac ? '⇧' : 'Shift';

/** The one table of all shortcuts: what the help shows, and what the settings show. */
export const shortcuts: readonly Shortcut[] = [
  { place: 'everywhere', id: 'palette', keys: [mod, 'K'] },
  { place: 'everywhere', id: 'newChat', keys: [mod, shift, 'O'] },
  { place: 'everywhere', id: 'search', keys: [mod, shift, 'F'] },
  { place: 'everywhere', id: 'composer', keys: [shift, 'Esc'] },
  { place: 'everywhere', id: 'stop', keys: ['Esc'] },
  { place: 'everywhere', id: 'sidebar', keys: [mod, shift, 'S'] },
  { place: 'everywhere', id: 'settings', keys: [mod, ','] },
  { place: 'everywhere', id: 'help', keys: [mod, '/'], single: '?' },
  { place: 'composer', id: 'send', keys: ['Enter'] },
  { place: 'composer', id: 'newline', keys: [shift, 'Enter'] },
  { place: 'composer', id: 'templates', keys: ['/'] },
  { place: 'composer', id: 'gap', keys: ['Tab'] },
  { place: 'list', id: 'move', keys: ['↑', '↓'] },
  { place: 'list', id: 'ends', keys: ['Home', 'End'] },
  { place: 'list', id: 'pick', keys: [shift, '↑', '↓'] },
  { place: 'list', id: 'rename', keys: ['F2'] },
  { place: 'list', id: 'delete', keys: ['Del'] },
  { place: 'list', id: 'options', keys: [shift, 'F10'] },
];

/** Which shortcut an event is, if any. Letters are compared by key, so they follow the keyboard's layout. */
export function shortcutOf(event: KeyboardEvent, mayBeSingle: boolean): ShortcutId | null {
  if (isComposing(event) || event.altKey) return null;
  const hasMod = isMac ? event.metaKey && !event.ctrlKey : event.ctrlKey && !event.metaKey;
  const key = event.key.toLowerCase();
  if (key === 'escape') return hasMod ? null : event.shiftKey ? 'composer' : 'stop';
  if (key === '?' && !event.ctrlKey && !event.metaKey) return mayBeSingle && !isTyping(event.target) ? 'help' : null;
  if (!hasMod) return null;
  if (event.shiftKey) return key === 'o' ? 'newChat' : key === 's' ? 'sidebar' : key === 'f' ? 'search' : null;
  return key === 'k' ? 'palette' : key === '/' ? 'help' : key === ',' ? 'settings' : null;
}
