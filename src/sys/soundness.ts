// Is a directory, or a file that is read as root, sound: could anybody but root or a trusted owner have put something else in its
// place? Pure decisions over facts of every directory on the way to it.

import { shellWord } from '../core/text.js';
import type { DirectoryFacts } from './ports.js';

/** Permission bits (inode(7)). */
const WRITABLE_BY_OTHERS = 0o022;
const STICKY = 0o1000;

/** What is wrong with a directory, and what mends it. */
export interface Fault {
  readonly message: string;
  readonly mend: string;
}

/**
 * What makes a base unsound; null if nothing does. Each directory down to it must be a real one, owned by root or a
 * trusted owner, and writable by nobody else. Above the base a sticky directory (`/tmp`) is sound too: in it nobody but
 * the owner can replace what root or a trusted owner has made.
 */
export function baseFault(chain: readonly DirectoryFacts[], trustedOwners: readonly number[]): Fault | null {
  const base = chain.at(-1);
  if (base === undefined) return { message: 'The base has no path.', mend: 'Set mount_base.' };
  const absent = chain.find(({ kind }) => kind === 'absent');
  if (absent !== undefined) {
    return {
      message: `${absent.path} does not exist.`,
      mend: `install -d -o root -g root -m 0711 ${shellWord(base.path)}`,
    };
  }
  return chainFault(chain, trustedOwners, 'directory');
}

/** The same for a file that a helper reads as root: root's alone, and so is everything on the way to it. */
export function fileFault(chain: readonly DirectoryFacts[]): Fault | null {
  const absent = chain.find(({ kind }) => kind === 'absent');
  if (absent !== undefined) {
    return { message: `${absent.path} does not exist.`, mend: 'Put it there, or change the setting that names it.' };
  }
  return chainFault(chain, [], 'regular');
}

function chainFault(
  chain: readonly DirectoryFacts[],
  owners: readonly number[],
  lastKind: 'directory' | 'regular',
): Fault | null {
  for (const [index, { path, kind, uid, mode }] of chain.entries()) {
    const isLast = index === chain.length - 1;
    if (kind === 'link') return { message: `${path} is a symbolic link.`, mend: 'Name the real path in the setting.' };
    if (kind !== (isLast ? lastKind : 'directory')) {
      const wanted = isLast && lastKind === 'regular' ? 'a regular file' : 'a directory';
      return { message: `${path} is not ${wanted}.`, mend: 'Change the setting that names it.' };
    }
    if (uid !== 0 && !owners.includes(uid)) {
      return { message: `${path} belongs to another user than root.`, mend: `chown root ${shellWord(path)}` };
    }
    if ((mode & WRITABLE_BY_OTHERS) !== 0 && (isLast || (mode & STICKY) === 0)) {
      return { message: `${path} can be written by others than its owner.`, mend: `chmod go-w ${shellWord(path)}` };
    }
  }
  return null;
}
