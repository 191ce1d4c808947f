// Where we are: the facts that a broker must know before it may say that something is mounted on this host.

import { readFileSync, readlinkSync } from 'node:fs';
import { type MountEntry, parseMountTable } from '../core/mountinfo.js';
import { openBase } from './directories.js';
import { errnoOf } from './libc/errors.js';
import { mountIdOf } from './libc/files.js';
import type { KernelMountTable } from './mount-table.js';

/**
 * Whether our mount namespace is that of process 1 (namespaces(7)). In a process namespace of its own, that is the one of
 * the container's first process. The link in /proc needs ptrace(2) access, which root has only with all capabilities of
 * process 1, or with CAP_SYS_PTRACE; where it cannot be read, the mount tables tell, which everybody may read.
 * `unknown`: not even they, since /proc hides process 1 (hidepid, proc(5)).
 */
export function namespaceOfInit(): 'ours' | 'another' | 'unknown' {
  const theirs = ifReadable(() => readlinkSync('/proc/1/ns/mnt'));
  if (theirs !== null) return theirs === readlinkSync('/proc/self/ns/mnt') ? 'ours' : 'another';
  const before = ownMounts();
  const table = ifReadable(() => readFileSync('/proc/1/mountinfo', 'latin1'));
  if (table === null) return 'unknown';
  const after = ownMounts();
  const isOurs = (entry: MountEntry): boolean => before.has(mountIdentity(entry)) && after.has(mountIdentity(entry));
  const entries = parseMountTable(table);
  if (entries.length === 0 || before.size === 0) return 'unknown';
  return entries.some(isOurs) ? 'ours' : 'another';
}

/**
 * Why `who` must not go on as if it were in the host's mount namespace: what is the matter, and what to do. Null: it is there.
 */
export function namespaceFault(who: string): string | null {
  switch (namespaceOfInit()) {
    case 'ours':
      return null;
    case 'another':
      return `The ${who} is not in the host's mount namespace, so the host and the ${who} would not see each other's mounts. Take settings that imply a private one (ProtectSystem, PrivateTmp …) out of its unit; for a test set isolated = true.`;
    case 'unknown':
      return `The ${who} cannot find out whether it is in the host's mount namespace, since /proc hides process 1 from it. Mount /proc without hidepid, or give it CAP_SYS_PTRACE; where nobody outside this namespace needs the mounts set isolated = true.`;
  }
}

/** Whether mounts made in the directory spread to other namespaces: it lies on a shared mount (mount_namespaces(7)). */
export function liesOnSharedMount(table: KernelMountTable, directory: string): boolean {
  using handle = openBase(directory);
  return table.withId(mountIdOf(handle))?.tags.some((tag) => tag.startsWith('shared:')) ?? false;
}

/** The mounts of our namespace, as {@link mountIdentity} tells them. */
export function ownMounts(): ReadonlySet<string> {
  return new Set(parseMountTable(readFileSync('/proc/self/mountinfo', 'latin1')).map(mountIdentity));
}

/** A mount, as it looks from whatever root: its number belongs to no other mount of any namespace while it exists. */
export function mountIdentity({ mountId, dev, root }: MountEntry): string {
  return `${mountId} ${dev} ${root}`;
}

function ifReadable(read: () => string): string | null {
  try {
    return read();
  } catch (error) {
    if (errnoOf(error) === null) throw error;
    return null;
  }
}
