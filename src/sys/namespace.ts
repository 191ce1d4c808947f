// Where we are: the facts that a broker must know before it may say that something is mounted on this host.

import { readlinkSync } from 'node:fs';
import { openBase } from './directories.js';
import { mountIdOf } from './libc/files.js';
import type { KernelMountTable } from './mount-table.js';

/**
 * Whether our mount namespace is that of process 1 (namespaces(7)). In a process namespace of its own, that is the one of
 * the container's first process. Throws where /proc does not let us look (ptrace(2) access is needed).
 */
export function inMountNamespaceOfInit(): boolean {
  return readlinkSync('/proc/self/ns/mnt') === readlinkSync('/proc/1/ns/mnt');
}

/** Whether mounts made in the directory spread to other namespaces: it lies on a shared mount (mount_namespaces(7)). */
export function liesOnSharedMount(table: KernelMountTable, directory: string): boolean {
  using handle = openBase(directory);
  return table.withId(mountIdOf(handle))?.tags.some((tag) => tag.startsWith('shared:')) ?? false;
}
