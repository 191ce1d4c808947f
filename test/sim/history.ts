// What was true of each leaf, moment by moment, as the simulated world has it. Replies are judged against this: an
// answer is honest if the world was like that at some moment between request and reply.

import type { Volume } from '../../src/core/volume.js';
import type { Doer, Kernel, ServerState } from './kernel.js';
import type { Scheduler } from './scheduler.js';
import type { Tree } from './directories.js';

/** A leaf at one moment. */
export interface Moment {
  /** Step of the scheduler, and milliseconds. */
  readonly step: number;
  readonly at: number;
  /** What a path walk arrives at. */
  readonly top: 'nothing' | 'right' | 'other';
  /** The right volume is somewhere in the stack. */
  readonly mounted: boolean;
  /** Of the topmost mount. */
  readonly server: ServerState | 'none';
  readonly rights: 'all' | 'read-only' | 'none';
  readonly hardened: boolean;
  readonly busy: boolean;
  /** Something that is no directory, or is not empty, lies at the leaf. */
  readonly blocked: boolean;
  /** Who brought it about. */
  readonly by: Doer;
}

/** All moments of one leaf. */
export class History {
  readonly volume: Volume;
  readonly mountPoint: string;
  readonly moments: Moment[] = [];
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
    this.moments.push({
      step: this.#scheduler.steps,
      at: this.#scheduler.now,
      top: top === undefined ? 'nothing' : top.serves === volume.export ? 'right' : 'other',
      mounted: stack.some((mount) => mount.serves === volume.export),
      server: top === undefined ? 'none' : (top.server?.state ?? 'answering'),
      rights: top?.server?.rights ?? 'all',
      hardened: top?.options.has('nosymfollow') === true && top.options.has('nodev'),
      busy: top !== undefined && this.#kernel.isBusy(top),
      blocked: node !== undefined && (node.kind !== 'directory' || node.occupied),
      by,
    });
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
