// What is said where no process could be started: nothing hangs then, and no storage is at fault.

import type { Machine } from '../sys/ports.js';

/** The message, which names the limit. */
export function noProcess({ processLimit }: Pick<Machine, 'processLimit'>): string {
  return `No process could be started for this. ${processLimit()}. Then try again.`;
}
