// Mount calls on leaves that never wait for a server, always through handles: what is checked is what is changed. Nothing
// here takes a mount away.

import { writeSync } from 'node:fs';
import type { Hardening } from '../core/hardening.js';
import { openBase, openLeaf } from './directories.js';
import { errnoOf } from './libc/errors.js';
import { mountIdOf, openAt } from './libc/files.js';
import { kernelFilesystem, setMountAttributes } from './libc/mounts.js';
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

  abort(base: string, leaf: string, dev: string): 'aborted' | 'other' | 'not-mounted' {
    using baseHandle = openBase(base);
    // Keeps the superblock, and so its number, while this lasts: numbers are used again.
    using handle = openLeaf(baseHandle, leaf, 'beneath');
    if (handle === null) return 'not-mounted';
    const entry = this.#table.withId(mountIdOf(handle));
    if (entry === undefined || entry.mountPoint !== `${base}/${leaf}`) return 'not-mounted';
    // A connection has the number of its superblock, which is one without a device (major 0).
    const connection = /^0:(\d+)$/.exec(dev)?.[1];
    if (entry.dev !== dev || connection === undefined) return 'other';
    using control = kernelFilesystem('fusectl');
    try {
      using file = openAt(control, `${connection}/abort`, 'control', 'beneath');
      writeSync(file.fd, '1');
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return 'other';
      throw error;
    }
    return 'aborted';
  }
}
