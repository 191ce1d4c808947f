// What other mount namespaces show: found through the processes that live in them (proc(5), /proc/PID/mountinfo), one
// process for each and for each root, since a process in a chroot does not see all mounts of its namespace. A namespace in
// which nobody lives is not found.

import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { type MountEntry, parseMountTable } from '../core/mountinfo.js';
import { errnoOf } from './libc/errors.js';
import type { Namespaces } from './ports.js';

/** What is said of a process that has gone, of a zombie, and of a thread that is ending. */
const GONE: ReadonlySet<string> = new Set(['ENOENT', 'ESRCH', 'EINVAL']);

/** The other namespaces of this machine. */
export class KernelNamespaces implements Namespaces {
  mounts(isWanted: (entry: MountEntry) => boolean): readonly MountEntry[] | null {
    try {
      return mountsElsewhere(isWanted);
    } catch (error) {
      if (errnoOf(error) === null) throw error;
      return null;
    }
  }
}

function mountsElsewhere(isWanted: (entry: MountEntry) => boolean): readonly MountEntry[] {
  const ours = readlinkSync('/proc/self/ns/mnt');
  const seen = new Set<string>();
  return readdirSync('/proc')
    .filter((name) => /^[0-9]+$/.test(name))
    .flatMap((pid) => {
      const namespace = ifThere(() => readlinkSync(`/proc/${pid}/ns/mnt`));
      if (namespace === null || namespace === ours) return [];
      const view = `${namespace} ${ifThere(() => readlinkSync(`/proc/${pid}/root`)) ?? ''}`;
      if (seen.has(view)) return [];
      const text = ifThere(() => readFileSync(`/proc/${pid}/mountinfo`, 'latin1'));
      if (text === null) return [];
      seen.add(view);
      return parseMountTable(text).filter(isWanted);
    });
}

/** Null where the process has gone meanwhile. */
function ifThere<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    if (!GONE.has(errnoOf(error) ?? '')) throw error;
    return null;
  }
}
