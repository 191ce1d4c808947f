// The simulated kernel: a mount table with stacking, superblocks with servers behind them, and who holds what. It is
// the ground truth of the simulation. It knows nothing of Fairlead; it does what a kernel would do and tells an observer
// of every effect before it happens, so that the invariants can be judged on the world and not on anybody's opinion.

import type { MountEntry } from '../../src/core/mountinfo.js';
import type { Holder } from '../../src/core/observation.js';
import type { Scheduler } from './scheduler.js';

/**
 * What the server behind a mount does. `never-read`: requests are not read (a killed caller gets free).
 * `never-answered`: read and kept (a killed caller stays). `dead`: the connection is gone.
 */
export type ServerState = 'answering' | 'never-read' | 'never-answered' | 'dead' | 'stale' | 'failing';

/** One filesystem server: the process that answers for one superblock. */
export interface Server {
  state: ServerState;
  /** What the volume permits; told to everybody who probes it. */
  rights: 'all' | 'read-only' | 'none';
  /** Called once when the state changes: calls that wait for an answer. */
  waiting: (() => void)[];
  /** Called when its mount has gone: a FUSE daemon ends then. */
  onUnmounted: () => void;
}

/** One mount in the table. */
export interface Mount {
  readonly id: number;
  readonly dev: string;
  readonly root: string;
  readonly mountPoint: string;
  readonly fsType: string;
  readonly source: string;
  readonly options: Set<string>;
  /** Null: the host's own disk, which always answers. */
  readonly server: Server | null;
  /** The export that it really serves, whatever its source text says; null when it is no volume at all. */
  readonly serves: string | null;
  readonly maker: 'fairlead' | 'stranger';
  /** Milliseconds at which it appeared. */
  readonly bornAt: number;
  /** Threads of probe children that are inside a call on it. */
  inside: number;
}

/** A process that keeps a mount busy. */
export interface Occupant {
  readonly holder: Holder;
  readonly mount: Mount;
}

/** An effect on the world, told before it happens. */
export type Effect =
  | { readonly kind: 'unmount'; readonly mount: Mount; readonly mode: 'plain' | 'detach'; readonly by: Doer }
  | { readonly kind: 'mount'; readonly mountPoint: string; readonly serves: string | null; readonly by: Doer }
  | { readonly kind: 'harden'; readonly mount: Mount; readonly by: Doer }
  | { readonly kind: 'make-leaf' | 'remove-leaf'; readonly path: string; readonly by: Doer }
  | { readonly kind: 'start-helper'; readonly mountPoint: string; readonly unit: string; readonly by: Doer }
  | { readonly kind: 'server'; readonly mount: Mount; readonly to: ServerState; readonly by: Doer };

/** Who does something: Fairlead (broker or helper), or the rest of the world. */
export type Doer = 'fairlead' | 'stranger';

/** The host's own disk. */
export const HOST_DEV = '8:1';

/** The table, the superblocks and their users. */
export class Kernel {
  readonly mounts: Mount[] = [];
  readonly occupants: Occupant[] = [];
  /** Mounts that were detached lazily and live on under their users. */
  readonly detached: Mount[] = [];
  bootId = 'boot-1';
  observe: (effect: Effect) => void = () => undefined;
  /** Grows with each change of the mount table; whoever waits for one is woken. */
  revision = 0;
  waiting: (() => void)[] = [];
  /** Called after something about the leaf at this mount point has changed. */
  changed: (mountPoint: string, by: Doer) => void = () => undefined;
  readonly #scheduler: Scheduler;
  #nextId = 100;
  #boots = 1;

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
  }

  /** The superblocks that servers have, as the kernel's own record shows them. */
  get superblocks(): readonly { readonly dev: string; readonly record: string; readonly entry: string }[] {
    return [...this.mounts, ...this.detached]
      .filter(({ server }) => server !== null)
      .map(({ dev, id }) => ({ dev, record: this.bootId, entry: String(id) }));
  }

  at(mountPoint: string): Mount[] {
    return this.mounts.filter((mount) => mount.mountPoint === mountPoint);
  }

  top(mountPoint: string): Mount | undefined {
    return this.mounts.findLast((mount) => mount.mountPoint === mountPoint);
  }

  mount(
    what: Pick<Mount, 'root' | 'mountPoint' | 'fsType' | 'source' | 'server' | 'serves' | 'maker'>,
    options: readonly string[] = [],
  ): Mount {
    this.observe({ kind: 'mount', mountPoint: what.mountPoint, serves: what.serves, by: what.maker });
    const mount: Mount = {
      ...what,
      id: this.#nextId,
      dev: what.server === null ? HOST_DEV : this.#freeDev(),
      options: new Set(['rw', 'relatime', ...options]),
      bornAt: this.#scheduler.now,
      inside: 0,
    };
    this.#nextId += 1;
    this.mounts.push(mount);
    this.#tableChanged();
    this.#scheduler.note(`kernel: mount ${mount.id} ${mount.source} at ${short(mount.mountPoint)} by ${mount.maker}`);
    this.changed(mount.mountPoint, what.maker);
    return mount;
  }

  /** umount2 of the topmost mount: null, or the errno. */
  unmount(mountPoint: string, mode: 'plain' | 'detach', by: Doer): string | null {
    const mount = this.top(mountPoint);
    if (mount === undefined) return 'EINVAL';
    if (mode === 'plain' && this.isBusy(mount)) return 'EBUSY';
    this.observe({ kind: 'unmount', mount, mode, by });
    this.mounts.splice(this.mounts.indexOf(mount), 1);
    this.#tableChanged();
    this.#scheduler.note(`kernel: unmount ${mount.id} at ${short(mountPoint)} ${mode} by ${by}`);
    if (this.#isKept(mount)) this.detached.push(mount);
    else mount.server?.onUnmounted();
    this.changed(mountPoint, by);
    return null;
  }

  /** An operator takes a mount away, wherever in its stack it is and whoever uses it. */
  vanish(mount: Mount): void {
    this.mounts.splice(this.mounts.indexOf(mount), 1);
    this.#tableChanged();
    if (this.#isKept(mount)) this.detached.push(mount);
    else mount.server?.onUnmounted();
    this.changed(mount.mountPoint, 'stranger');
  }

  #tableChanged(): void {
    this.revision += 1;
    const { waiting } = this;
    this.waiting = [];
    for (const wake of waiting) wake();
  }

  harden(mount: Mount, options: readonly string[]): void {
    this.observe({ kind: 'harden', mount, by: 'fairlead' });
    for (const option of options) mount.options.add(option);
    this.changed(mount.mountPoint, 'fairlead');
  }

  isBusy(mount: Mount): boolean {
    return mount.inside > 0 || this.occupants.some((one) => one.mount === mount && one.holder.by !== 'namespace');
  }

  /** Whether anything keeps the superblock, a copy in another namespace included. */
  #isKept(mount: Mount): boolean {
    return mount.inside > 0 || this.occupants.some((one) => one.mount === mount);
  }

  /** Lets a server change what it does, and lets go whoever waits for it. */
  setServer(mount: Mount, state: ServerState, by: Doer): void {
    const { server } = mount;
    if (server === null || server.state === state || server.state === 'dead') return;
    this.observe({ kind: 'server', mount, to: state, by });
    server.state = state;
    this.#scheduler.note(`kernel: server of ${mount.id} at ${short(mount.mountPoint)} is ${state} by ${by}`);
    const { waiting } = server;
    server.waiting = [];
    for (const wake of waiting) wake();
    this.changed(mount.mountPoint, by);
  }

  occupy(mount: Mount, holder: Holder): Occupant {
    const occupant = { holder, mount };
    this.occupants.push(occupant);
    this.changed(mount.mountPoint, 'stranger');
    return occupant;
  }

  leave(occupant: Occupant): void {
    const index = this.occupants.indexOf(occupant);
    if (index < 0) return;
    this.occupants.splice(index, 1);
    this.#fade(occupant.mount);
    this.changed(occupant.mount.mountPoint, 'stranger');
  }

  /** A thread of ours begins to wait in a call on the mount; the returned function ends that. */
  enter(mount: Mount): () => void {
    mount.inside += 1;
    this.changed(mount.mountPoint, 'fairlead');
    return () => {
      mount.inside -= 1;
      this.#fade(mount);
      this.changed(mount.mountPoint, 'fairlead');
    };
  }

  /** A detached mount goes for good when nothing keeps it any more. */
  #fade(mount: Mount): void {
    const ghost = this.detached.indexOf(mount);
    if (ghost < 0 || this.#isKept(mount)) return;
    this.detached.splice(ghost, 1);
    mount.server?.onUnmounted();
  }

  /** Everything that does not survive a reboot goes. */
  reboot(): void {
    const points = new Set(this.mounts.map((mount) => mount.mountPoint));
    for (const mount of this.mounts) if (mount.server !== null) mount.server.state = 'dead';
    this.mounts.length = 0;
    this.occupants.length = 0;
    this.detached.length = 0;
    this.#boots += 1;
    this.bootId = `boot-${this.#boots}`;
    for (const point of points) this.changed(point, 'stranger');
  }

  /** A mount as mountinfo shows it. */
  entry(mount: Mount): MountEntry {
    return {
      mountId: mount.id,
      parentId: 1,
      dev: mount.dev,
      root: mount.root,
      mountPoint: mount.mountPoint,
      options: [...mount.options],
      tags: ['shared:1'],
      fsType: mount.fsType,
      source: mount.source,
      superOptions: ['rw', 'user_id=0', 'group_id=0'],
    };
  }

  /** The lowest free minor, as the kernel gives them out: numbers are used again. */
  #freeDev(): string {
    const used = new Set([...this.mounts, ...this.detached].map((mount) => mount.dev));
    for (let minor = 40; ; minor += 1) if (!used.has(`0:${minor}`)) return `0:${minor}`;
  }
}

/** A new server that answers. */
export function newServer(): Server {
  return { state: 'answering', rights: 'all', waiting: [], onUnmounted: () => undefined };
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
