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

/** The rest of each key that begins like this. */
export function stored(key: string): string[] {
  try {
    const start = `parley.${key}`;
    return Object.keys(localStorage).filter((name) => name.startsWith(start)).map((name) => name.slice(start.length));
  } catch {
    return [];
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
