// The simulated kernel: the mount table of our namespace with its stacks. It is the ground truth of the simulation. It knows
// nothing of Fairlead; it does what a kernel would do and tells an observer of every effect before it happens, so that the
// invariants can be judged on the world and not on anybody's opinion. Superblocks are in superblocks.ts, and who uses them
// in users.ts.

import type { Node } from './directories.js';
import type { Scheduler } from './scheduler.js';
import { type Doer, type Server, type ServerState, type Superblock, Superblocks } from './superblocks.js';
import { Users } from './users.js';

/** One mount of our namespace, attached or detached. */
export interface Mount {
  /** Given again when the mount is gone; `unique` is not. */
  readonly id: number;
  readonly unique: number;
  readonly superblock: Superblock;
  readonly dev: string;
  /** The superblock's server. */
  readonly server: Server | null;
  /** The directory that was bound, wherever it lies by now; null: the root of the superblock. */
  readonly directory: Node | null;
  /** Shows a directory in the volume instead of its root. */
  readonly isPart: boolean;
  mountPoint: string;
  /** Where the table shows it, if another mount hides the directory that it is in; else where it is. */
  shownAt: string | null;
  /** A broker has written down that it is there. */
  wasNoted: boolean;
  readonly fsType: string;
  readonly source: string;
  readonly options: Set<string>;
  /** The export that it really is, whatever its source text says; null when it is no volume at all. */
  readonly serves: string | null;
  readonly maker: Doer;
  /** User who mounted it, as the table shows it. */
  readonly owner: number;
  readonly madeBy: Making | null;
  readonly bornAt: number;
  /** Milliseconds at which it appeared where it is now. */
  placedAt: number;
  /** Files and calls that keep it busy. */
  pins: number;
  /** Ends its own reference to the superblock. */
  readonly unrefer: () => void;
}

/** The helper that mounts. */
export interface Making {
  /** Step and milliseconds at which it began. */
  readonly step: number;
  readonly at: number;
  /** Nobody waits for it any more, or nobody can tell it from a client. */
  readonly isGivenUp: boolean;
  /** The broker that started it has died: nobody knows what it has served. */
  readonly isOrphan: boolean;
}

/** An effect on the world, told before it happens. */
export type Effect =
  | { readonly kind: 'unmount'; readonly mount: Mount; readonly mode: 'plain' | 'detach'; readonly by: Doer }
  | { readonly kind: 'mount'; readonly mountPoint: string; readonly madeBy: Making | null; readonly by: Doer }
  | { readonly kind: 'harden'; readonly mount: Mount; readonly by: Doer }
  | { readonly kind: 'make-leaf' | 'remove-leaf'; readonly path: string; readonly by: Doer }
  | { readonly kind: 'start-helper'; readonly mountPoint: string; readonly by: Doer }
  /** SIGKILL is sent to a client. `superblock` null: it has not mounted yet. */
  | {
      readonly kind: 'kill';
      readonly superblock: Superblock | null;
      readonly writesBack: boolean;
      readonly mountPoint: string;
      readonly by: Doer;
    }
  | { readonly kind: 'server'; readonly superblock: Superblock; readonly to: ServerState; readonly by: Doer };

/** What is to be mounted: something new, or a directory or mount that exists. */
export type NewMount = Pick<Mount, 'mountPoint' | 'fsType' | 'source' | 'serves' | 'maker'> & {
  readonly from: 'fuse' | 'other' | Superblock;
  readonly directory?: Node;
  readonly isPart?: boolean;
  readonly owner?: number;
  readonly madeBy?: Making;
};

/** The number of the first mount. */
const FIRST_ID = 100;

/** The table, and what lies behind it. */
export class Kernel {
  readonly superblocks: Superblocks;
  readonly mounts: Mount[] = [];
  readonly users: Users;
  bootId = 'boot-1';
  /** Grows with every change of our mount table that the kernel tells of (poll on mountinfo, proc_pid_mountinfo(5)). */
  version = 0;
  observe: (effect: Effect) => void = () => undefined;
  /** Whoever waits for such a change. */
  waiting: (() => void)[] = [];
  /** Called after something about the leaf at this mount point has changed. */
  changed: (mountPoint: string, by: Doer) => void = () => undefined;
  readonly #scheduler: Scheduler;
  #points: Map<string, Mount[]> | null = null;
  #nextUnique = 4_000_000_000;
  #boots = 1;

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
    this.superblocks = new Superblocks(scheduler);
    this.superblocks.changed = (superblock, by) => this.#changedAll(superblock, by);
    this.users = new Users(this, scheduler);
  }

  /** Bottom first. */
  at(mountPoint: string): readonly Mount[] {
    if (this.#points === null) {
      this.#points = new Map();
      for (const mount of this.mounts) {
        const stack = this.#points.get(mount.mountPoint);
        if (stack === undefined) this.#points.set(mount.mountPoint, [mount]);
        else stack.push(mount);
      }
    }
    return this.#points.get(mountPoint) ?? [];
  }

  top(mountPoint: string): Mount | undefined {
    return this.at(mountPoint).at(-1);
  }

  mount(what: NewMount, options: readonly string[] = []): Mount {
    const { mountPoint, fsType, source, serves, maker, from } = what;
    const { madeBy = null } = what;
    this.observe({ kind: 'mount', mountPoint, madeBy, by: maker });
    const superblock =
      typeof from === 'string' ? this.superblocks.make({ kind: from, serves, maker, home: mountPoint }) : from;
    const mount: Mount = {
      ...{ mountPoint, fsType, source, serves, maker, madeBy, superblock },
      id: this.#freeId(),
      unique: this.#nextUnique,
      dev: superblock.dev,
      server: superblock.server,
      directory: what.directory ?? null,
      isPart: what.isPart ?? false,
      shownAt: null,
      wasNoted: false,
      owner: what.owner ?? 0,
      options: new Set(['rw', 'relatime', ...options]),
      bornAt: this.#scheduler.now,
      placedAt: this.#scheduler.now,
      pins: 0,
      unrefer: this.superblocks.refer(superblock, `the mount at ${short(mountPoint)}`),
    };
    this.#nextUnique += 1;
    this.mounts.push(mount);
    this.#scheduler.note(`kernel: mount ${mount.id} ${mount.dev} ${source} at ${short(mountPoint)} by ${maker}`);
    this.#tell(mountPoint, maker);
    return mount;
  }

  /** Whether a directory is still kept by a mount of it, wherever that is. */
  isBound(directory: Node): boolean {
    return [...this.mounts, ...[...this.users.copies].map(({ mount }) => mount)].some(
      (mount) => mount.directory === directory,
    );
  }

  /** umount2 of the topmost mount: null, or the errno. */
  unmount(mountPoint: string, mode: 'plain' | 'detach', by: Doer): string | null {
    const mount = this.top(mountPoint);
    if (mount === undefined) return 'EINVAL';
    if (mode === 'plain' && mount.pins > 0) return 'EBUSY';
    this.observe({ kind: 'unmount', mount, mode, by });
    this.#scheduler.note(`kernel: unmount ${mount.id} at ${short(mountPoint)} ${mode} by ${by}`);
    this.#detach(mount, by);
    return null;
  }

  /** An operator takes a mount away, wherever in its stack it is and whoever uses it. */
  vanish(mount: Mount): void {
    this.#detach(mount, 'stranger');
  }

  /** The lowest number that no mount has, as the kernel gives them. */
  #freeId(): number {
    const taken = new Set(this.mounts.map(({ id }) => id));
    let id = FIRST_ID;
    while (taken.has(id)) id += 1;
    return id;
  }

  #detach(mount: Mount, by: Doer): void {
    this.mounts.splice(this.mounts.indexOf(mount), 1);
    this.#tell(mount.mountPoint, by);
    if (mount.pins > 0) return;
    mount.unrefer();
  }

  /** move_mount of a mount to another place. */
  move(mount: Mount, to: string): void {
    const from = mount.mountPoint;
    this.#scheduler.note(`kernel: move ${mount.id} from ${short(from)} to ${short(to)}`);
    this.mounts.splice(this.mounts.indexOf(mount), 1);
    this.mounts.push(mount);
    mount.mountPoint = to;
    mount.placedAt = this.#scheduler.now;
    this.#tell(from, 'stranger');
    this.#tell(to, 'stranger');
  }

  /** A directory in which mounts are has another path now; `shownAt`: another mount hides it, and the table shows the old one. */
  renamed(from: string, to: string, shownAt: string | null): void {
    this.#points = null;
    for (const mount of this.mounts) {
      if (!mount.mountPoint.startsWith(`${from}/`)) continue;
      const within = mount.mountPoint.slice(from.length);
      mount.mountPoint = to + within;
      mount.shownAt = shownAt === null ? null : shownAt + within;
    }
  }

  /** A mount of something else comes or goes, of which the kernel tells. */
  another(mountPoint: string): void {
    this.#tell(mountPoint, 'stranger');
  }

  /** A broker writes this down: the mounts of which it tells are known from now on. */
  noted(text: string): void {
    for (const mount of this.mounts) if (text.includes(`"unique":"${mount.unique}"`)) mount.wasNoted = true;
  }

  harden(mount: Mount, options: readonly string[]): void {
    this.observe({ kind: 'harden', mount, by: 'fairlead' });
    for (const option of options) mount.options.add(option);
    this.#tell(mount.mountPoint, 'fairlead');
  }

  /** Lets a server change what it does, and lets go whoever waits for it. */
  setServer(superblock: Superblock, state: ServerState, by: Doer): void {
    const { server } = superblock;
    if (server === null || server.state === state || server.state === 'dead') return;
    this.observe({ kind: 'server', superblock, to: state, by });
    server.state = state;
    this.#scheduler.note(`kernel: server of ${superblock.dev} of ${short(superblock.home)} is ${state} by ${by}`);
    const { waiting } = server;
    server.waiting = [];
    for (const wake of waiting) wake();
    if (state === 'dead') superblock.onEnd();
    this.#changedAll(superblock, by);
  }

  /** Everything that does not survive a reboot goes. */
  reboot(): void {
    const points = new Set(this.mounts.map((mount) => mount.mountPoint));
    this.mounts.length = 0;
    this.users.reboot();
    this.superblocks.reboot();
    this.#boots += 1;
    this.bootId = `boot-${this.#boots}`;
    for (const point of points) this.#tell(point, 'stranger');
  }

  #tell(mountPoint: string, by: Doer): void {
    this.version += 1;
    this.#points = null;
    const { waiting } = this;
    this.waiting = [];
    for (const wake of waiting) wake();
    this.changed(mountPoint, by);
  }

  #changedAll(superblock: Superblock, by: Doer): void {
    const points = this.mounts.filter((mount) => mount.superblock === superblock).map(({ mountPoint }) => mountPoint);
    for (const point of new Set([superblock.home, ...points])) this.changed(point, by);
  }
}

/** The source that the mount table shows for an export, as Quobyte's client has it: registries joined by a bar. */
export function sourceOf(exported: string): string {
  const slash = exported.lastIndexOf('/');
  return `quobyte@${exported.slice(0, slash).split(',').join('|')}${exported.slice(slash)}`;
}

/** A mount point for people: base and the first digits of the leaf. */
export function short(mountPoint: string): string {
  const parts = mountPoint.split('/');
  return `${parts.at(-2) ?? ''}/${(parts.at(-1) ?? '').slice(0, 6)}`;
}
