// What threads of a process share. No policy here.

import { errnoOf } from './errors.js';
import { INT, SIZE, systemCall } from './foreign.js';

/** kcmp(2): its number differs between architectures. */
const KCMP = process.arch === 'x64' ? 312 : 272;
const KINDS = { descriptors: 2, directories: 3 } as const;

const kcmp = systemCall('kcmp', KCMP, [INT, INT, INT, SIZE, SIZE]);

/**
 * Whether two threads have one table of descriptors, or one working and root directory (kcmp(2), KCMP_FILES and
 * KCMP_FS). False as well where that cannot be told: the kernel may have been built without it, and threads end.
 */
export function share(what: keyof typeof KINDS, one: number, other: number): boolean {
  try {
    return kcmp(one, other, KINDS[what], 0, 0) === 0;
  } catch (error) {
    if (errnoOf(error) === null) throw error;
    return false;
  }
}
