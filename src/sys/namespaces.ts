// What other mount namespaces show: found through the processes that live in them (proc(5), /proc/PID/mountinfo), one
// process for each and for each root, since a process in a chroot does not see all mounts of its namespace. A namespace in
// which nobody lives is not found. Of a process whose namespace we may not ask for, the mounts that are not ours count.

import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { type MountEntry, parseMountTable } from '../core/mountinfo.js';
import { errnoOf } from './libc/errors.js';
import { mountIdentity, ownMounts } from './namespace.js';
import type { Namespaces } from './ports.js';
import { ENDED, ifThere } from './process-files.js';

/** What is said of a process that has gone, of a zombie, and of a thread that is ending. */
const GONE: readonly string[] = [...ENDED, 'EINVAL'];
/** What is said where ptrace(2) access is missing: the process has a capability that we have not. */
const DENIED: ReadonlySet<string> = new Set(['EACCES', 'EPERM']);

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

function mountsElsewhere(isWanted: (entry: MountEntry) => boolean): readonly MountEntry[] | null {
  const pids = readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name));
  // There is always a process 1: where it is not to be seen, others are not either (hidepid, proc(5)).
  if (!pids.includes('1')) return null;
  const ours = readlinkSync('/proc/self/ns/mnt');
  const seen = new Set<string>();
  const unnamed: string[] = [];
  const elsewhere = pids.flatMap((pid) => {
    const namespace = ifAllowed(() => ifThere(() => readlinkSync(`/proc/${pid}/ns/mnt`), GONE));
    if (namespace === 'denied') unnamed.push(pid);
    if (namespace === null || namespace === 'denied' || namespace === ours) return [];
    const view = `${namespace} ${ifThere(() => readlinkSync(`/proc/${pid}/root`), GONE) ?? ''}`;
    if (seen.has(view)) return [];
    const text = tableOf(pid);
    if (text === null) return [];
    seen.add(view);
    return parseMountTable(text).filter(isWanted);
  });
  return unnamed.length === 0 ? elsewhere : [...elsewhere, ...notOurs(unnamed, isWanted)];
}

/** Mounts that these processes see, without ours: some of them may live in our namespace. */
function notOurs(pids: readonly string[], isWanted: (entry: MountEntry) => boolean): readonly MountEntry[] {
  const before = ownMounts();
  // The numbers of the mounts are in the text, so equal texts are one view.
  const texts = new Set(pids.map(tableOf).filter((text) => text !== null));
  const wanted = [...texts].flatMap((text) => parseMountTable(text).filter(isWanted));
  const after = ownMounts();
  return wanted.filter((entry) => !before.has(mountIdentity(entry)) || !after.has(mountIdentity(entry)));
}

/** The mount table of a process, which everybody may read (proc_pid_mountinfo(5)). */
function tableOf(pid: string): string | null {
  return ifThere(() => readFileSync(`/proc/${pid}/mountinfo`, 'latin1'), GONE);
}

function ifAllowed<T>(read: () => T): T | 'denied' {
  try {
    return read();
  } catch (error) {
    if (!DENIED.has(errnoOf(error) ?? '')) throw error;
    return 'denied';
  }
}
