// Mount calls on leaves that never wait for a server, always through handles: what is checked is what is changed. Nothing
// here takes a mount away.

import type { Hardening } from '../core/hardening.js';
import { openBase, openLeaf } from './directories.js';
import { mountIdOf } from './libc/files.js';
import { setMountAttributes } from './libc/mounts.js';
import type { KernelMountTable } from './mount-table.js';
import type { Mounts } from './ports.js';

/** The mounts of this machine. */
export class KernelMounts implements Mounts {
  readonly #table: KernelMountTable;

  constructor(table: KernelMountTable) {
    this.#table = table;
  }

  harden(base: string, leaf: string, dev: string, hardening: Hardening): 'hardened' | 'other' | 'not-mounted' {
    using baseHandle = openBase(base);
    using handle = openLeaf(baseHandle, leaf, 'beneath');
    if (handle === null) return 'not-mounted';
    const mountId = mountIdOf(handle);
    if (mountId === mountIdOf(baseHandle)) return 'not-mounted';
    // Not in the table: it has been detached since the handle was opened.
    const entry = this.#table.withId(mountId);
    if (entry === undefined) return 'not-mounted';
    if (entry.dev !== dev) return 'other';
    setMountAttributes(handle, hardening);
    return 'hardened';
  }
}
