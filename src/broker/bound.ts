// Which directory was bound to a leaf: written down before it is bound, so that the bind is known for ours whatever
// becomes of the directory's name. A directory is its inode: names change without a mount event, and the table shows the
// new ones. The bind keeps the inode, so that its number is not given to another one meanwhile.

import { z } from 'zod';
import type { DirectoryIdentity, Notes } from '../sys/ports.js';
import { LeafNotes } from './leaf-notes.js';

/** A directory that was bound, or was about to be. */
export interface BoundDirectory extends DirectoryIdentity {
  /** The mount, once it was seen; IDs are used again, so it says something only together with the superblock. */
  readonly mountId: number | null;
}

const bound = z.strictObject({ dev: z.string(), inode: z.string(), mountId: z.int().nullable() });

/** The directories that are bound to leaves. */
export class Bound extends LeafNotes<BoundDirectory> {
  constructor(notes: Notes, bootId: string) {
    super(notes, bootId, 'bound', bound);
  }
}

/** Whether both are one directory. */
export function isSameDirectory(one: DirectoryIdentity, other: DirectoryIdentity): boolean {
  return one.dev === other.dev && one.inode === other.inode;
}
