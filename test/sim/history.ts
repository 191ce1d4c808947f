// What was true of each leaf, moment by moment, as the simulated world has it. Replies are judged against this: an
// answer is honest if the world was like that at some moment between request and reply.

import type { Volume } from '../../src/core/volume.js';
import type { Tree } from './directories.js';
import type { Kernel, Mount } from './kernel.js';
import type { Scheduler } from './scheduler.js';
import { isLiving, type Doer, type ServerState, type Superblock } from './superblocks.js';

/** A leaf at one moment. */
export interface Moment {
  /** Step of the scheduler, and milliseconds. */
  readonly step: number;
  readonly at: number;
  /** What a path walk arrives at. `former`: a directory that had the volume's name when it was bound, and has it no more. */
  readonly top: 'nothing' | 'right' | 'former' | 'other';
  /** Mounts in the stack. */
  readonly depth: number;
  /** The right volume is somewhere in the stack. */
  readonly mounted: boolean;
  /** Of the topmost mount. */
  readonly server: ServerState | 'none';
  readonly rights: 'all' | 'read-only' | 'none';
  readonly hardened: boolean;
  readonly busy: boolean;
  /** Something that is no directory, or is not empty, lies at the leaf. */
  readonly blocked: boolean;
  /** A client serves, or may serve, somebody from a superblock that was mounted here as the volume. */
  readonly living: boolean;
  /**
   * Such a superblock is there, be it dead; or a client in a unit of this leaf serves whatever it has mounted; or another
   * namespace has a copy; or the directory of a local volume is bound somewhere else.
   */
  readonly existing: boolean;
  /** Binds of ours that are somewhere else. */
  readonly strayed: number;
  /** A process in a unit of this leaf serves nobody any more, and has not ended. */
  readonly ending: boolean;
  /** Who brought it about. */
  readonly by: Doer;
}

/** All moments of one leaf. */
export class History {
  readonly volume: Volume;
  readonly mountPoint: string;
  readonly moments: Moment[] = [];
  /** Superblocks that were mounted here as the volume, by whomever, and exist. */
  readonly superblocks = new Set<Superblock>();
  /** What the processes in units of this leaf do. */
  processes: () => { readonly serve: boolean; readonly end: boolean } = () => ({ serve: false, end: false });
  /** The last step at which a number of such a superblock belonged to one of somebody else. */
  reusedUntil = -1;
  /** The last step at which another client's mount was here, which may be what a helper of ours has made. */
  strangeUntil = -1;
  /** The directory in which the leaf is was out of sight once. */
  wasHidden = false;
  readonly #numbers = new Set<string>();
  #bootId = '';
  readonly #kernel: Kernel;
  readonly #tree: Tree;
  readonly #scheduler: Scheduler;

  constructor(volume: Volume, mountPoint: string, kernel: Kernel, tree: Tree, scheduler: Scheduler) {
    this.volume = volume;
    this.mountPoint = mountPoint;
    this.#kernel = kernel;
    this.#tree = tree;
    this.#scheduler = scheduler;
    this.record('stranger');
  }

  /** Writes down how the leaf is now. */
  record(by: Doer): void {
    const { mountPoint, volume } = this;
    const stack = this.#kernel.at(mountPoint);
    const top = stack.at(-1);
    const node = this.#tree.nodes.get(mountPoint);
    if (this.#bootId !== this.#kernel.bootId) this.#numbers.clear();
    this.#bootId = this.#kernel.bootId;
    for (const { superblock, serves } of stack) {
      if (serves !== volume.export || superblock.kind !== 'fuse') continue;
      this.superblocks.add(superblock);
      this.#numbers.add(superblock.dev);
    }
    const { serve, end } = this.processes();
    for (const one of this.superblocks) if (one.isGone) this.superblocks.delete(one);
    this.moments.push({
      step: this.#scheduler.steps,
      at: this.#scheduler.now,
      top: top === undefined ? 'nothing' : this.#whatIs(top),
      depth: stack.length,
      mounted: stack.some((mount) => mount.serves === volume.export),
      server: top === undefined ? 'none' : (top.server?.state ?? 'answering'),
      rights: top?.server?.rights ?? 'all',
      hardened: top?.options.has('nosymfollow') === true && top.options.has('nodev'),
      busy: top !== undefined && top.pins > 0,
      blocked: node !== undefined && (node.kind !== 'directory' || node.occupied),
      living: this.users.length > 0,
      existing: serve || this.superblocks.size > 0 || this.#isCopied() || this.#isBoundElsewhere(),
      strayed: this.strayed.length,
      ending: end,
      by,
    });
  }

  /** Binds that Fairlead has made here, and that are somewhere else. One that nobody has seen is known by its leaf's name. */
  get strayed(): readonly Mount[] {
    return this.#elsewhere.filter(
      ({ maker, wasNoted, mountPoint }) =>
        maker === 'fairlead' && (wasNoted || mountPoint.endsWith(`/${this.volume.leaf}`)),
    );
  }

  get #elsewhere(): readonly Mount[] {
    return this.#kernel.mounts.filter(
      ({ superblock, serves, mountPoint }) =>
        superblock.kind === 'host' && serves === this.volume.export && mountPoint !== this.mountPoint,
    );
  }

  #isBoundElsewhere(): boolean {
    return this.#elsewhere.length > 0;
  }

  /** Whether another namespace has something mounted here, or a copy of what was. */
  #isCopied(): boolean {
    return [...this.#kernel.users.copies].some(
      ({ mount, on }) => mount.serves === this.volume.export || on?.path === this.mountPoint,
    );
  }

  /** To be called whenever a superblock begins or ends, or a mount comes or goes, at that step. */
  noteDoubts(all: Iterable<Superblock>, step: number): void {
    let isReused = false;
    for (const one of all) isReused ||= this.#numbers.has(one.dev) && !this.superblocks.has(one);
    if (isReused) this.reusedUntil = Infinity;
    else if (this.reusedUntil === Infinity) this.reusedUntil = step;
    const isStrange = ({ superblock, serves }: Mount): boolean =>
      superblock.kind === 'fuse' && serves !== this.volume.export;
    if (this.#kernel.at(this.mountPoint).some(isStrange)) this.strangeUntil = Infinity;
    else if (this.strangeUntil === Infinity) this.strangeUntil = step;
  }

  /** Superblocks from which a client may serve somebody. A stranger's counts once a broker knows of it. */
  get users(): readonly Superblock[] {
    return [...this.superblocks].filter((one) => isLiving(one) && (one.maker === 'fairlead' || one.wasNoted));
  }

  #whatIs({ serves, directory }: Mount): Moment['top'] {
    if (serves !== this.volume.export) return 'other';
    return directory === null || this.#tree.nodes.get(serves) === directory ? 'right' : 'former';
  }

  get now(): Moment {
    return this.moments.at(-1)!;
  }

  /** The moments that were true at any time since that step, the one that it began with included. */
  since(step: number): readonly Moment[] {
    let first = this.moments.length - 1;
    while (first > 0 && this.moments[first]!.step >= step) first -= 1;
    return this.moments.slice(Math.max(0, first));
  }

  /** Whether `test` held at some moment of the last `ms` milliseconds before now. */
  within(ms: number, test: (moment: Moment) => boolean): boolean {
    const from = this.#scheduler.now - ms;
    const first = this.moments.findLastIndex(({ at }) => at <= from);
    return this.moments.slice(Math.max(0, first)).some(test);
  }

  /** Whether `test` held at some moment since that step. */
  ever(step: number, test: (moment: Moment) => boolean): boolean {
    return this.since(step).some(test);
  }
}
