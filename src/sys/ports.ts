// The boundary to the machine. Everything the broker does to the world goes through these interfaces and nothing else;
// the real ones stand beside this file, the simulated ones in test/sim. No policy here: these do what they are told and
// report what happened.
//
// Calls that return a value directly never wait for a filesystem server (they touch only the base's own filesystem and
// the kernel's tables); calls that may wait are promises with a budget in milliseconds.

import type { Argument } from '../core/argv.js';
import type { Clock } from '../core/clock.js';
import type { Hardening } from '../core/hardening.js';
import type { MountEntry } from '../core/mountinfo.js';
import type { DiskSight, Holding, LeafState, UnitState } from '../core/observation.js';
import type { Access, ProbeFacts } from '../core/verdict.js';

export type { Clock };

/** The mount table of the broker's own namespace. */
export interface MountTable {
  /** Mounts whose mount point is exactly `mountPoint`, bottom first. Always current: change notification is asked first. */
  at(mountPoint: string): readonly MountEntry[];
  /** All mounts strictly below `directory`. */
  below(directory: string): readonly MountEntry[];
  /** Whether the mount is anywhere in our namespace, at whatever path, hidden or not. In doubt it is. */
  has(mount: MountIdentity): boolean;
  /**
   * Makes the next answer a fresh one. Names of directories change without a change being notified: the path of a mount
   * whose parent is renamed, the root of a bind whose directory is renamed or removed.
   */
  forget(): void;
  /** Grows each time the table is read anew; asking for it is asking the kernel whether it has changed. */
  readonly revision: number;
  /** Resolves when the table has another revision than this, or the time is up. */
  change(revision: number, ms: number): Promise<void>;
}

/** A mount of our namespace, wherever it is. */
export interface MountIdentity {
  /** As mountinfo numbers it. It is given again, so it says something only together with the superblock. */
  readonly mountId: number;
  /** `major:minor` of the superblock, as mountinfo tells it. */
  readonly dev: string;
  /** A number that is not given again in one boot; null where the kernel has none (before Linux 6.8). */
  readonly unique: string | null;
}

/** What is known of a directory on the way to a leaf. */
export interface DirectoryFacts {
  readonly path: string;
  readonly kind: 'absent' | 'directory' | 'regular' | 'link' | 'other';
  readonly uid: number;
  readonly gid: number;
  /** Permission bits, including sticky. */
  readonly mode: number;
}

/** Directories, always by handle below a base that was opened without following links (openat2, RESOLVE_NO_SYMLINKS). */
export interface Directories {
  /** Facts of `path` and of each of its parents up to `/`, the root first. */
  chain(path: string): readonly DirectoryFacts[];
  /** Whether a walk to `<base>/<leaf>` comes upon a mount there; never asks a filesystem mounted there. */
  isMounted(base: string, leaf: string): boolean;
  /** State of `<base>/<leaf>`; never asks a filesystem mounted there. */
  leafState(base: string, leaf: string): LeafState;
  /** mkdir 0700 whatever the umask; `exists` if anything is there. */
  makeLeaf(base: string, leaf: string): 'made' | 'exists';
  /** rmdir. */
  removeLeaf(base: string, leaf: string): 'removed' | 'absent' | 'not-empty' | 'mounted' | 'not-a-directory';
  /** Names in the base (leaf directories and strangers). */
  list(base: string): readonly string[];
}

/** Mount calls that never wait for a server. Those that may (binding, unmounting) go through a probe child. */
export interface Mounts {
  /**
   * Sets the attributes on the topmost mount at the leaf, if its superblock is `dev` (identity is checked on the handle
   * that is changed). `other` if something else is there now.
   */
  harden(base: string, leaf: string, dev: string, hardening: Hardening): 'hardened' | 'other' | 'not-mounted';
  /**
   * Aborts the FUSE connection behind the topmost mount at the leaf, if its superblock is `dev`: everybody who waits for its server gets
   * an error (ENOTCONN, mostly), for good. `other` if something else is there now, or nothing with a connection.
   */
  abort(base: string, leaf: string, dev: string): 'aborted' | 'other' | 'not-mounted';
}

/**
 * A superblock that a client of ours may serve, as the kernel's own record tells it from an earlier one that had its
 * number: numbers are used again.
 */
export interface Superblock {
  /** `major:minor`. */
  readonly dev: string;
  /** Its entry in the kernel's record: no later superblock has the same. */
  readonly entry: string;
  /** Which record that was. Another one may have another entry for the same superblock. */
  readonly record: string;
}

/** The kernel's own record of superblocks that are served by clients: for FUSE, its connections (fusectl). */
export interface Superblocks {
  /** The superblock that has this number now. `none`: no client's has. `unknown`: the record cannot be read. */
  at(dev: string): Superblock | 'none' | 'unknown';
  /** All of them; null where the record cannot be read. */
  all(): readonly Superblock[] | null;
}

/** Other mount namespaces, as far as somebody lives in them. */
export interface Namespaces {
  /** Their mounts for which `isWanted`; null where a process may not be looked at. */
  mounts(isWanted: (entry: MountEntry) => boolean): readonly MountEntry[] | null;
}

/**
 * What the broker must still know after its own death: small texts by name, that end with the boot. Written whole or not
 * at all. {@link Notes.write} throws an error with a `code` when there is no room; nothing has changed then.
 */
export interface Notes {
  all(): ReadonlyMap<string, string>;
  write(name: string, text: string): void;
  remove(name: string): void;
}

/** A process, told from a later one that has its number. */
export interface ProcessIdentity {
  readonly pid: number;
  /** When it began, in the kernel's own words (proc_pid_stat(5), starttime). */
  readonly began: string;
}

/** How a helper is to be started. */
export interface HelperSpec {
  /** Unit name, made from the leaf; a second start under a name in use is refused by whoever keeps the units. */
  readonly unit: string;
  /** Absolute path; checked for owner and mode by {@link Units.start} on the very file that is executed. */
  readonly program: string;
  /** Options are marked as such; whatever is not must not begin with a dash, or {@link Units.start} throws before anything is started. */
  readonly args: readonly Argument[];
  /** Milliseconds after which nobody waits for it any more. It is not ended then: {@link Units.kill} is for that. */
  readonly budgetMs: number;
  /** Called with the helper's process right after it was forked, where it is our own child. */
  readonly forked?: (helper: ProcessIdentity) => void;
}

/** How a helper ended. Its daemon, if it left one, is not meant. */
export type HelperEnd =
  | { readonly end: 'exited'; readonly status: number; readonly output: string }
  | { readonly end: 'signalled'; readonly signal: string; readonly output: string }
  /** Its time was up, and it may still act. `isKnown` false: whoever keeps the units may only be about to make its unit. */
  | { readonly end: 'late'; readonly isKnown: boolean; readonly output: string }
  /** It was never started, and nothing happened. `limit`: no more processes may be started. */
  | {
      readonly end: 'not-started';
      readonly why: 'missing' | 'untrusted' | 'not-executable' | 'name-in-use' | 'not-ready' | 'limit' | 'failed';
      readonly detail: string;
    };

/** Mount helpers in units (or cgroups) of their own, so that they inherit neither our lifetime nor our sandbox. */
export interface Units {
  /** The way helpers are started on this host now. Throws FairleadError `unavailable` while systemd starts up or shuts down. */
  way(): Promise<'service' | 'scope' | 'session'>;
  start(spec: HelperSpec): Promise<HelperEnd>;
  /** `occupied`: something is in the unit, and whoever keeps it cannot tell a helper from what a helper leaves behind. */
  state(unit: string): Promise<UnitState | 'occupied'>;
  /** Kills everything in the unit and waits until it is empty, at most `budgetMs`. A client in it serves nobody any more. */
  kill(unit: string, budgetMs: number): Promise<'gone' | 'alive'>;
  /** Names of units of ours that exist now, by prefix. */
  list(prefix: string): Promise<readonly string[]>;
}

/** Work for a probe child. Anything that may hang on a filesystem server is one of these. */
export type ProbeJob =
  | {
      readonly kind: 'probe';
      readonly path: string;
      readonly access: Access;
      /** Extended attribute to look for where the root's size is not 0, which says as much; null: none. */
      readonly witness: string | null;
      /** Names to be looked for as `disk` jobs do, once the server has answered. */
      readonly disks: readonly string[];
    }
  | { readonly kind: 'unmount'; readonly base: string; readonly leaf: string; readonly mode: 'plain' | 'detach' }
  /**
   * Binds the directory `source`, reached without following a link and below one of `roots`, to the leaf, if it is the
   * directory `expected`: openat2, open_tree clone, made private, hardened, move_mount onto the leaf's handle.
   */
  | {
      readonly kind: 'bind';
      readonly source: string;
      /** Null: there was none when it was last looked at. */
      readonly expected: DirectoryIdentity | null;
      readonly roots: readonly string[];
      readonly base: string;
      readonly leaf: string;
      readonly hardening: Hardening;
    }
  /** Which directory `source` is, and which the root of what is mounted at the leaf. */
  | {
      readonly kind: 'identify';
      readonly source: string;
      readonly roots: readonly string[];
      readonly base: string;
      readonly leaf: string;
    }
  /** What the volume at `path` has under `name`; a mount that covers the name is `other`. */
  | { readonly kind: 'disk'; readonly path: string; readonly name: string };

/** How a bind ended. `source-*` tell what is wrong with the directory; nothing is mounted then. */
export type BindEnd =
  | 'bound'
  | 'source-absent'
  | 'source-link'
  | 'source-not-a-directory'
  | 'source-outside'
  | 'source-changed'
  | 'leaf-changed';

/** A directory, whatever its name: its inode, as statx(2) tells it. */
export interface DirectoryIdentity {
  /** `major:minor` of its superblock. */
  readonly dev: string;
  readonly inode: string;
}

/** The root of a mount, and which mount that is. */
export interface MountedDirectory extends DirectoryIdentity, Pick<MountIdentity, 'mountId' | 'unique'> {}

/** What a probe child answers. A job that hangs is never answered. */
export type ProbeAnswer =
  /** `disks`: one for each name in its order; none where statfs failed. */
  | { readonly kind: 'probe'; readonly facts: ProbeFacts; readonly disks: readonly DiskSight[] }
  /** `errno` null: done. EINVAL: not a mount point. EBUSY: busy. */
  | { readonly kind: 'unmount'; readonly errno: string | null }
  | { readonly kind: 'bind'; readonly end: Exclude<BindEnd, 'bound'> }
  | ({ readonly kind: 'bind'; readonly end: 'bound' } & Pick<MountIdentity, 'mountId' | 'unique'>)
  /** `source` null: it is not a directory (any more). `mounted` null: nothing is mounted at the leaf (any more). */
  | {
      readonly kind: 'identify';
      readonly source: DirectoryIdentity | null;
      readonly mounted: MountedDirectory | null;
    }
  | { readonly kind: 'disk'; readonly state: 'absent' | 'regular' | 'link' | 'other' }
  | { readonly kind: 'failed'; readonly errno: string };

/** One child process that runs jobs on threads that may hang. */
export interface ProbeChild {
  readonly pid: number;
  /** Answers come through `onAnswer`, in any order. */
  post(id: number, job: ProbeJob): void;
  onAnswer(listener: (id: number, answer: ProbeAnswer) => void): void;
  onExit(listener: () => void): void;
  /** Calls the listener once when the child itself answers, whatever its jobs do; never, if the child is stopped. */
  ping(answered: () => void): void;
  /** SIGKILL; nobody waits for it. A child with a thread in D state stays until its server dies or is aborted. */
  kill(): void;
}

/** Starts probe children. */
export interface ProbeChildren {
  /** `uid` 0: with the broker's own rights, which unmount jobs need. */
  start(uid: number, gid: number): ProbeChild;
}

/** Whose users are looked for. */
export type Sought =
  /**
   * Filesystems that are the volume and nothing else: whoever has anything on one of these superblocks uses it,
   * wherever that is mounted.
   */
  | { readonly kind: 'superblock'; readonly mountPoint: string; readonly devices: readonly string[] }
  /**
   * A directory that was bound. Others use the rest of its superblock, so only mounts count whose root is the bound
   * directory or lies below it; not the filesystem's own mount at `source`, if the directory is the root of one, and not
   * those beside `mountPoint`, which are other volumes.
   */
  | {
      readonly kind: 'bind';
      readonly mountPoint: string;
      readonly devices: readonly string[];
      /** The bound directory within its filesystem, as mountinfo tells it. */
      readonly root: string;
      readonly source: string;
    };

/** Who uses a mount, and who runs. */
export interface Processes {
  /** Whether the process still runs; a zombie does not. */
  runs(process: ProcessIdentity): boolean;
  /**
   * Processes of all mount namespaces with a descriptor, directory, root or mapping there, namespaces other than ours
   * that have a copy of it, mounts elsewhere, inside and on top, loop devices. Takes {@link HOLDERS_BUDGET_MS} at most;
   * questions of the same kind share one search. Not found: what no process shows (descriptors in flight, files of an
   * io_uring, namespaces and detached trees without a process), so an empty answer explains and never proves. Rejects
   * with `resource-exhausted` when no search could begin within `budgetMs`.
   */
  holding(sought: Sought, excludePids: readonly number[], budgetMs: number): Promise<Holding>;
}

/** Everything the broker may ask of the machine. */
export interface Machine {
  readonly table: MountTable;
  readonly directories: Directories;
  readonly mounts: Mounts;
  readonly units: Units;
  readonly probeChildren: ProbeChildren;
  readonly processes: Processes;
  readonly superblocks: Superblocks;
  readonly namespaces: Namespaces;
  readonly notes: Notes;
  readonly clock: Clock;
  /** Milliseconds of this boot: the same clock for every process, and for whoever comes after us. */
  uptime(): number;
  /** Which limit keeps us from starting another process, in words for people. */
  readonly processLimit: () => string;
  /** `/proc/sys/kernel/random/boot_id`. */
  readonly bootId: string;
}
