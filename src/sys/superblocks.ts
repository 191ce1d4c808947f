// The kernel's own record of FUSE superblocks: one directory a connection in fusectl, named by the minor number of its
// superblock (Documentation/filesystems/fuse/fuse.rst, "Control filesystem"). It is there from mount(2) until the last user
// of the superblock has gone, wherever that is: copies in other namespaces, open files after a lazy unmount, descriptors on
// their way through a socket. No later directory has its inode number (get_next_ino(), fs/inode.c). Nothing here asks a
// filesystem server.

import { randomUUID } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { errnoOf } from './libc/errors.js';
import { type Handle, inodeOf, openAt } from './libc/files.js';
import { kernelFilesystem } from './libc/mounts.js';
import type { Superblock, Superblocks } from './ports.js';

/** A superblock without a device of its own has major number 0 (set_anon_super(), fs/super.c). */
const ANONYMOUS = /^0:([0-9]{1,10})$/;

/** The record of this machine. */
export class KernelSuperblocks implements Superblocks {
  /** Kept open: with its last mount the record would end, and what is made then has other entries. */
  readonly #open: Handle | null;
  /** Nothing in the record itself tells it from a later one. */
  readonly #record = randomUUID();

  constructor() {
    this.#open = openRecord();
  }

  at(dev: string): Superblock | 'none' | 'unknown' {
    if (this.#open === null) return 'unknown';
    const name = ANONYMOUS.exec(dev)?.[1];
    if (name === undefined) return 'none';
    try {
      using entry = openAt(this.#open, name, 'directory', 'beneath');
      return { dev, record: this.#record, entry: String(inodeOf(entry).inode) };
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return 'none';
      throw error;
    }
  }

  all(): readonly Superblock[] | null {
    if (this.#open === null) return null;
    using names = openAt(this.#open, '.', 'names', 'beneath');
    return readdirSync(names.path).flatMap((name) => {
      const seen = this.at(`0:${name}`);
      return typeof seen === 'string' ? [] : [seen];
    });
  }
}

/** Null where the kernel has no FUSE, or does not let us (a user namespace). */
function openRecord(): Handle | null {
  try {
    return kernelFilesystem('fusectl');
  } catch (error) {
    if (errnoOf(error) === null) throw error;
    return null;
  }
}
