/**
 * Hosts whose pictures the reader wants to see in answers.
 *
 * The content policy that a page came with cannot be widened, so `early.js` sets the narrow one before anything is
 * drawn, from the same list: another host holds from the next load on.
 */

import { load, save } from './stored';

const isList = (value: unknown): value is string[] => Array.isArray(value) && value.every((host) => typeof host === 'string');

const MOST = 50;
export const allowedHosts = (): readonly string[] => load('pictures', [], isList);
const atStart: ReadonlySet<string> = new Set(allowedHosts());

export const mayShow = ({ protocol, hostname, port, origin }: URL): boolean =>
  origin === location.origin || (protocol === 'https:' && port === '' && atStart.has(hostname));

/** Shows what this host has, in this browser, from now on. What is being written goes on after the reload. */
export function allowHost(host: string): void {
  save('pictures', [host, ...allowedHosts().filter((other) => other !== host)].slice(0, MOST));
  location.reload();
}
