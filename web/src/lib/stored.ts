/** Small values kept in this browser. Storage may be full, closed or forged: then the fallback is used. */

export function load<T>(key: string, fallback: T, isValid: (value: unknown) => value is T): T {
  try {
    const text = localStorage.getItem(`parley.${key}`);
    if (text === null) return fallback;
    const value: unknown = JSON.parse(text);
    return isValid(value) ? value : fallback;
  } catch {
    return fallback;
  }
}

export function save(key: string, value: unknown): void {
  try {
    if (value === null) localStorage.removeItem(`parley.${key}`);
    else localStorage.setItem(`parley.${key}`, JSON.stringify(value));
  } catch {
    // Nothing that is kept here is worth an error on the screen.
  }
}

/** Where `offline.ts` keeps what can be read without a network. */
export const OFFLINE_DB = 'parley-offline';

export function forgetAll(): void {
  try {
    indexedDB.deleteDatabase(OFFLINE_DB);
    for (const key of Object.keys(localStorage)) if (key.startsWith('parley.')) localStorage.removeItem(key);
  } catch {
    // See above.
  }
}
