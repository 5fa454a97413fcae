import { signal } from '@preact/signals';

/** Set when a newer version of this page waits: calling it loads that one. */
export const newVersion = signal<(() => void) | null>(null);
