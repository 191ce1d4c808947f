// Which directories were bound to a leaf: each is written down before it is bound, so that the bind is known for ours
// whatever becomes of the directory's name. A directory is its inode: names change without a mount event, and the table
// shows the new ones. The bind keeps the inode, so that its number is not given to another one meanwhile. A bind stays
// written down until the kernel has it no more: another mount may lie on it, and its leaf may be out of sight.

import { z } from 'zod';
import { MAX_OBSERVED_MOUNTS } from '../core/limits.js';
import type { Leaf } from '../core/volume.js';
import type { DirectoryIdentity, MountIdentity, Notes } from '../sys/ports.js';
import { LeafNotes, type LeafPlace } from './leaf-notes.js';

/** A directory that was bound, or was about to be. */
export interface Bind {
  readonly directory: DirectoryIdentity;
  /** Null: it was about to be bound, and nobody has seen the mount. */
  readonly mount: MountIdentity | null;
}

const bind = z.strictObject({
  directory: z.strictObject({ dev: z.string(), inode: z.string() }),
  mount: z.strictObject({ mountId: z.int(), dev: z.string(), unique: z.string().nullable() }).nullable(),
});

/** The binds of all leaves. */
export class Bound {
  readonly #notes: LeafNotes<readonly Bind[]>;

  constructor(notes: Notes, bootId: string) {
    this.#notes = new LeafNotes<readonly Bind[]>(notes, bootId, 'bound', z.array(bind));
  }

  /** The binds of a leaf, the latest last; undefined: nobody knows whether there are any. */
  of(place: LeafPlace): readonly Bind[] | undefined {
    return this.#notes.of(place);
  }

  /** The leaves of this base of which anything is written down. */
  leaves(base: string): readonly Leaf[] {
    return this.#notes.leaves(base);
  }

  /** Adds a directory before it is bound. Throws `resource-exhausted`, and nothing has changed, where it cannot be written. */
  begin(place: LeafPlace, { dev, inode }: DirectoryIdentity): void {
    const directory = { dev, inode };
    this.#notes.write(place, [...withoutUnseen(this.of(place), directory), { directory, mount: null }]);
  }

  /** Takes down which mount the directory was seen with. No other bind is forgotten for it. */
  learn(
    place: LeafPlace,
    { dev, inode }: DirectoryIdentity,
    { mountId, dev: superblock, unique }: MountIdentity,
  ): void {
    const directory = { dev, inode };
    const mount = { mountId, dev: superblock, unique };
    const known = this.of(place) ?? [];
    if (known.some((one) => one.mount !== null && isSameMount(one.mount, mount))) return;
    const others = withoutUnseen(known, directory);
    // Those that were there before are ours for certain.
    if (others.length < MAX_OBSERVED_MOUNTS) this.#notes.keep(place, [...others, { directory, mount }]);
  }

  /** Forgets what the kernel has no more. That there is nothing left stays known. */
  forget(place: LeafPlace, gone: readonly Bind[]): void {
    const known = this.of(place);
    if (known !== undefined && gone.length > 0) {
      this.#notes.keep(
        place,
        known.filter((one) => !gone.includes(one)),
      );
    }
  }

  /** Forgets everything about a leaf. */
  drop(place: LeafPlace): void {
    this.#notes.drop(place);
  }
}

function withoutUnseen(known: readonly Bind[] | undefined, directory: DirectoryIdentity): readonly Bind[] {
  return (known ?? []).filter((one) => one.mount !== null || !isSameDirectory(one.directory, directory));
}

/** Whether both are one directory. */
export function isSameDirectory(one: DirectoryIdentity, other: DirectoryIdentity): boolean {
  return one.dev === other.dev && one.inode === other.inode;
}

/** Whether both are one mount, as far as their superblocks and the numbers that are given again tell. */
export function isSameMount(one: Pick<MountIdentity, 'mountId' | 'dev'>, other: typeof one): boolean {
  return one.mountId === other.mountId && one.dev === other.dev;
}
