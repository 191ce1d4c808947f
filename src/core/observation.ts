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
  readonly fsType: string;
  /** `major:minor` of the superblock: equal in every namespace. */
  readonly dev: string;
  readonly readOnly: boolean;
  /** nosuid, nodev, noexec and nosymfollow, as far as the configuration asks for them, are seen in the table. */
  readonly hardened: boolean;
}

/** What the volume has under a disk's name. `failed`: the volume answered an error instead. */
export type DiskSight =
  | {
      readonly state: 'absent' | 'regular' | 'link' | 'other';
      /** Bytes; 0 unless regular. */
      readonly size: number;
    }
  | { readonly state: 'failed'; readonly errno: string };

/**
 * A client of this leaf whose mount is not here any more. `serving`: its superblock exists, or nobody can tell that it does
 * not, so somebody may use it. `ending`: its superblock is gone, and the client has not ended yet.
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

/** A process that keeps a mount busy. */
export interface Holder {
  readonly pid: number;
  /** `/proc/PID/comm`, control characters escaped. */
  readonly command: string;
  /** How it holds the mount. `namespace`: it lives in another mount namespace that has a copy of the mount. */
  readonly by: 'descriptor' | 'directory' | 'root' | 'mapping' | 'namespace';
}

/** One mount found under a base during an inventory, or an unmounted leaf directory (`mounts` empty). */
export interface InventoryItem extends Observation {
  readonly backend: string;
  /** The volume's URL, when source and leaf prove each other; else the mount is foreign. */
  readonly url?: string;
}
