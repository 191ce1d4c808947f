// The simulated kernel: the mount table of our namespace with its stacks, what is mounted in other namespaces, and who
// has what open. It is the ground truth of the simulation. It knows nothing of Fairlead; it does what a kernel would do
// and tells an observer of every effect before it happens, so that the invariants can be judged on the world and not on
// anybody's opinion.

import type { Holder } from '../../src/core/observation.js';
import type { Node } from './directories.js';
import type { Scheduler } from './scheduler.js';
import { type Doer, type Server, type ServerState, type Superblock, Superblocks } from './superblocks.js';

/** One mount of our namespace, attached or detached. */
export interface Mount {
  readonly id: number;
  readonly superblock: Superblock;
  readonly dev: string;
  /** The superblock's server. */
  readonly server: Server | null;
  /** The directory that was bound, wherever it lies by now; null: the root of the superblock. */
  readonly directory: Node | null;
  mountPoint: string;
  readonly fsType: string;
  readonly source: string;
  readonly options: Set<string>;
  /** The export that it really is, whatever its source text says; null when it is no volume at all. */
  readonly serves: string | null;
  readonly maker: Doer;
  readonly madeBy: Making | null;
  readonly bornAt: number;
  /** Milliseconds at which it appeared where it is now. */
  placedAt: number;
  /** Files and calls that keep it busy. */
  pins: number;
  /** Ends its own reference to the superblock. */
  readonly unrefer: () => void;
}

/** A copy in another mount namespace, private: what happens in ours does not reach it. */
export interface Copy {
  readonly mount: Mount;
  /** The directory of ours on which it is mounted there, too; null: it is somewhere else. */
  readonly on: Node | null;
  /** A process that lives in that namespace; null: the namespace is kept by a file alone, and no scan finds it. */
  readonly holder: Holder | null;
  readonly madeAt: number;
  readonly unrefer: () => void;
}

/** An open file, a working directory, a descriptor on its way through a socket, a call. */
export interface Use {
  /** The mount that it pins; null: it came through a copy in another namespace. */
  readonly mount: Mount | null;
  readonly superblock: Superblock;
  /** Who has it; null: no scan finds it. */
  readonly holder: Holder | null;
  readonly unrefer: () => void;
}

/** The helper that mounts. */
export interface Making {
  /** Step and milliseconds at which it began. */
  readonly step: number;
  readonly at: number;
  /** Nobody waits for it any more, or nobody can tell it from a client. */
  readonly isGivenUp: boolean;
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
  readonly madeBy?: Making;
};

/** The table, and what lies behind it. */
export class Kernel {
  readonly superblocks: Superblocks;
  readonly mounts: Mount[] = [];
  readonly copies = new Set<Copy>();
  readonly uses = new Set<Use>();
  bootId = 'boot-1';
  /** Grows with every change of our mount table that the kernel tells of (poll on mountinfo, proc_pid_mountinfo(5)). */
  version = 0;
  observe: (effect: Effect) => void = () => undefined;
  /** Called after something about the leaf at this mount point has changed. */
  changed: (mountPoint: string, by: Doer) => void = () => undefined;
  readonly #scheduler: Scheduler;
  #points: Map<string, Mount[]> | null = null;
  #nextId = 100;
  #boots = 1;

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
    this.superblocks = new Superblocks(scheduler);
    this.superblocks.changed = (superblock, by) => this.#changedAll(superblock, by);
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
      id: this.#nextId,
      dev: superblock.dev,
      server: superblock.server,
      directory: what.directory ?? null,
      options: new Set(['rw', 'relatime', ...options]),
      bornAt: this.#scheduler.now,
      placedAt: this.#scheduler.now,
      pins: 0,
      unrefer: this.superblocks.refer(superblock, `the mount at ${short(mountPoint)}`),
    };
    this.#nextId += 1;
    this.mounts.push(mount);
    this.#scheduler.note(`kernel: mount ${mount.id} ${mount.dev} ${source} at ${short(mountPoint)} by ${maker}`);
    this.#tell(mountPoint, maker);
    return mount;
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

  #detach(mount: Mount, by: Doer): void {
    this.mounts.splice(this.mounts.indexOf(mount), 1);
    this.#tell(mount.mountPoint, by);
    if (mount.pins === 0) mount.unrefer();
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

  /** Somebody opens a file of a mount; `holder` null: it is on its way through a socket. */
  open(mount: Mount, holder: Holder | null): Use {
    const { superblock } = mount;
    superblock.wasUsed = true;
    const unrefer = this.#pin(mount, holder === null ? 'a descriptor in flight' : `${holder.command} ${holder.pid}`);
    const use: Use = { mount, superblock, holder, unrefer };
    this.uses.add(use);
    this.changed(mount.mountPoint, 'stranger');
    return use;
  }

  /** Somebody opens a file by a copy in another namespace, which keeps no mount of ours busy. */
  openIn({ mount: { superblock }, holder }: Copy): Use {
    superblock.wasUsed = true;
    const unrefer = this.superblocks.refer(superblock, 'a file that is open in another namespace');
    const use: Use = { mount: null, superblock, holder, unrefer };
    this.uses.add(use);
    return use;
  }

  close(use: Use): void {
    if (!this.uses.delete(use)) return;
    use.unrefer();
    if (use.mount !== null) this.changed(use.mount.mountPoint, 'stranger');
  }

  /** A new namespace takes a copy of the mount; `on`: at the same directory. */
  copy(mount: Mount, on: Node | null, holder: Holder | null): Copy {
    const unrefer = this.superblocks.refer(mount.superblock, 'a copy in another namespace');
    const copy: Copy = { mount, on, holder, madeAt: this.#scheduler.now, unrefer };
    this.copies.add(copy);
    this.changed(mount.mountPoint, 'stranger');
    return copy;
  }

  dropCopy(copy: Copy): void {
    if (this.copies.delete(copy)) copy.unrefer();
  }

  /** rmdir of a directory: other namespaces lose what they have mounted on it (mount_namespaces(7), since Linux 3.18). */
  removed(directory: Node): void {
    for (const copy of [...this.copies]) if (copy.on === directory) this.dropCopy(copy);
  }

  /** A thread of ours begins to wait in a call on the mount; the returned function ends that. */
  enter(mount: Mount): () => void {
    const unpin = this.#pin(mount, 'a call of ours');
    this.changed(mount.mountPoint, 'fairlead');
    return () => {
      unpin();
      this.changed(mount.mountPoint, 'fairlead');
    };
  }

  /** What a scan of all processes finds: who uses mounts at this place, and namespaces that have a copy of them. */
  holders(dev: string, mountPoint: string): Holder[] {
    const users = [...this.uses].filter(
      ({ mount }) => mount?.dev === dev && mount.mountPoint === mountPoint && this.mounts.includes(mount),
    );
    const isCopy = ({ mount }: Copy): boolean =>
      mount.dev === dev && (mount.superblock.kind !== 'host' || mount.mountPoint === mountPoint);
    return [...users, ...[...this.copies].filter(isCopy)].flatMap(({ holder }) => (holder === null ? [] : [holder]));
  }

  /** Whether this process, which was seen using a mount, runs. */
  runs(pid: number): boolean {
    return [...this.uses, ...this.copies].some(({ holder }) => holder?.pid === pid);
  }

  #pin(mount: Mount, by: string): () => void {
    const unrefer = this.superblocks.refer(mount.superblock, by);
    mount.pins += 1;
    return () => {
      mount.pins -= 1;
      if (mount.pins === 0 && !this.mounts.includes(mount)) mount.unrefer();
      unrefer();
    };
  }

  /** Everything that does not survive a reboot goes. */
  reboot(): void {
    const points = new Set(this.mounts.map((mount) => mount.mountPoint));
    this.mounts.length = 0;
    this.copies.clear();
    this.uses.clear();
    this.superblocks.reboot();
    this.#boots += 1;
    this.bootId = `boot-${this.#boots}`;
    for (const point of points) this.#tell(point, 'stranger');
  }

  #tell(mountPoint: string, by: Doer): void {
    this.version += 1;
    this.#points = null;
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
