// Reading in /proc of processes that may end meanwhile.

import { errnoOf } from './libc/errors.js';

/** What an entry of /proc answers when its process or descriptor has ended. */
export const ENDED: readonly string[] = ['ENOENT', 'ESRCH'];

/** What is read; null where the process has ended meanwhile. */
export function ifThere<T>(read: () => T, ended: readonly string[] = ENDED): T | null {
  try {
    return read();
  } catch (error) {
    if (!ended.includes(errnoOf(error) ?? '')) throw error;
    return null;
  }
}
