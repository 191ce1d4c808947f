// What the broker sees of one leaf: facts, not decisions. Plans are made from these and from the ledger's records.

import type { Leaf } from './volume.js';
import type { Judgement } from './verdict.js';

/** What lies at the leaf itself, apart from mounts. `mounted`: a mount covers it, nothing below was looked at. */
export type LeafState = 'absent' | 'empty' | 'occupied' | 'link' | 'not-a-directory' | 'mounted';

/**
 * The helper's unit (or cgroup) of this leaf. `idle`: none. `starting`: a helper is at work. `serving`: the helper is
 * done and a client lives on, as those of FUSE filesystems do.
 */
export type UnitState = 'idle' | 'starting' | 'serving';

/** One mount at the leaf. Mount IDs are left out on purpose: they never cross a process or a namespace. */
export interface ObservedMount {
  /**
   * The backend's predicate over source, type, root and st_dev said: this is the volume that was asked for. Also where
   * that cannot be told because the directory that was bound hangs or fails; the judgement says so then, asked for or
   * not, and no step is carried out on such a mount.
   */
  readonly recognised: boolean;
  /** At most {@link MAX_TYPE_LETTERS} letters of it. */
  readonly fsType: string;
  /** `major:minor` of the superblock: equal in every namespace. */
  readonly dev: string;
  readonly readOnly: boolean;
  /** nosuid, nodev, noexec and nosymfollow, as far as the configuration asks for them, are seen in the table. */
  readonly hardened: boolean;
}

/** What the volume has under a disk's name. `failed`: the volume answered an error instead. */
export type DiskSight =
  { readonly state: 'absent' | 'regular' | 'link' | 'other' } | { readonly state: 'failed'; readonly errno: string };

/**
 * A client of this leaf whose mount is not here any more. `serving`: its superblock exists, or nobody can tell that it does
 * not, so somebody may use it. `ending`: its superblock is gone, and the client has not ended yet. A bind of ours that is
 * not here any more, which no client serves, is `serving` too, for as long as the kernel has it.
 */
export interface FormerClient {
  readonly state: 'serving' | 'ending';
}

/** Everything seen at one leaf at one moment. */
export interface Observation {
  readonly leaf: Leaf;
  readonly mountpoint: string;
  readonly directory: LeafState;
  /** Bottom first, topmost last; usually none or one. */
  readonly mounts: readonly ObservedMount[];
  /** Among the mounts that are not recognised, or below those that were looked at, may be ours. */
  readonly mayHideOurs: boolean;
  readonly unit: UnitState;
  readonly former: readonly FormerClient[];
  /**
   * Present when a probe was asked for; then it began after the request arrived. Without one: the mounts cannot be told
   * from others, and this is why.
   */
  readonly judgement?: Judgement;
  /** Present when a disk was asked for, and the server answered the probe that looked for it. */
  readonly disk?: DiskSight;
}

/** What keeps a mount busy: a process, or a mount or a loop device of the kernel's. */
export interface Holder {
  /** 0 for `mount` and `loop`, which no process stands for. */
  readonly pid: number;
  /** `/proc/PID/comm`; for `mount` where it is, for `loop` the device. Control characters are escaped. */
  readonly command: string;
  /**
   * How it holds the mount. `namespace`: another mount namespace has a copy of the mount, and no process there was
   * seen to use it. `mount`: a copy of the mount elsewhere, or a mount on it or on a directory inside it. `loop`: a
   * loop device whose file lies on it.
   */
  readonly by: (typeof HOLDS_BY)[number];
}

/** Every way to hold a mount. */
export const HOLDS_BY = ['descriptor', 'directory', 'root', 'mapping', 'namespace', 'mount', 'loop'] as const;

/** The holder in a few words, for people. */
export function describeHolder({ pid, command, by }: Holder): string {
  switch (by) {
    case 'mount':
      return `a mount at ${command}`;
    case 'loop':
      return `the loop device ${command}`;
    case 'namespace':
      return `the mount namespace of ${command} (pid ${pid})`;
    case 'descriptor':
    case 'directory':
    case 'root':
    case 'mapping':
      return `${command} (pid ${pid}, ${by})`;
  }
}

/** Who holds a mount, and whether that is all. */
export interface Holding {
  readonly holders: readonly Holder[];
  /**
   * False when the search was cut short, or something could not be looked at: then nothing may be concluded from an
   * absence.
   */
  readonly complete: boolean;
}

/** One mount found under a base during an inventory, or an unmounted leaf directory (`mounts` empty). */
export interface InventoryItem extends Observation {
  readonly backend: string;
  /** The volume's URL, when source and leaf prove each other; else the mount is foreign. */
  readonly url?: string;
}

/** Whether the volume is mounted at its leaf, as far as anybody can tell: in doubt it is. */
export function mayBeMounted({ mounts, mayHideOurs }: Pick<Observation, 'mounts' | 'mayHideOurs'>): boolean {
  return mayHideOurs || mounts.some(({ recognised }) => recognised);
}
