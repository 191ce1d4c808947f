// The mount table as one broker reads it: whole, after the kernel has told of a change of the table, or when it is told to
// forget what it has read. What changes without such an event (the path of a directory that was bound) is shown as it was
// when it was read.

import type { MountEntry } from '../../src/core/mountinfo.js';
import type { MountIdentity, MountTable } from '../../src/sys/ports.js';
import type { Tree } from './directories.js';
import type { Kernel, Mount } from './kernel.js';
import type { Chance } from './prng.js';
import type { Life, Scheduler } from './scheduler.js';
import { HOST_DEV } from './superblocks.js';

/** Mount ID of the host's root, on which everything else lies. */
const ROOT_ID = 1;
/** Milliseconds after which a change of the table is noticed, at most. */
const NOTICED_MS = 200;
const NONE: readonly MountEntry[] = [];
const ROOT: MountEntry = {
  mountId: ROOT_ID,
  parentId: ROOT_ID,
  dev: HOST_DEV,
  root: '/',
  mountPoint: '/',
  options: ['rw', 'relatime'],
  tags: ['shared:1'],
  fsType: 'ext4',
  source: '/dev/sda1',
  superOptions: ['rw'],
};

/** See the file's head. */
export class TableView implements MountTable {
  readonly #kernel: Kernel;
  readonly #tree: Tree;
  readonly #scheduler: Scheduler;
  readonly #chance: Chance;
  readonly #life: Life;
  /** Whoever waits for a change in this view. */
  readonly #waiting: (() => void)[] = [];
  #read = -1;
  #revision = 0;
  #all: MountEntry[] = [];
  #points = new Map<string, MountEntry[]>();

  constructor(kernel: Kernel, tree: Tree, scheduler: Scheduler, life: Life, chance: Chance) {
    this.#kernel = kernel;
    this.#tree = tree;
    this.#scheduler = scheduler;
    this.#life = life;
    this.#chance = chance;
  }

  at(mountPoint: string): readonly MountEntry[] {
    this.#refresh();
    if (mountPoint === '/') return [ROOT];
    return this.#points.get(mountPoint) ?? NONE;
  }

  below(directory: string): readonly MountEntry[] {
    this.#refresh();
    const start = directory === '/' ? '/' : `${directory}/`;
    return this.#all.filter(({ mountPoint }) => mountPoint.startsWith(start));
  }

  has({ unique }: MountIdentity): boolean {
    return this.#kernel.mounts.some((mount) => String(mount.unique) === unique);
  }

  forget(): void {
    this.#read = -1;
    for (const wake of this.#waiting.splice(0)) wake();
  }

  get revision(): number {
    this.#refresh();
    return this.#revision;
  }

  change(revision: number, ms: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.revision !== revision) {
        this.#scheduler.after(this.#life, 0, 'table: has changed', resolve);
        return;
      }
      const timer = this.#scheduler.after(this.#life, ms, 'table: has not changed', resolve);
      const wake = (): void => {
        timer.cancel();
        this.#scheduler.after(this.#life, this.#chance.int(0, NOTICED_MS), 'table: has changed', resolve);
      };
      this.#kernel.waiting.push(wake);
      this.#waiting.push(wake);
    });
  }

  #refresh(): void {
    if (this.#read === this.#kernel.version) return;
    this.#read = this.#kernel.version;
    this.#revision += 1;
    this.#all = [];
    this.#points = new Map();
    for (const mount of this.#kernel.mounts) {
      const stack = this.#points.get(mount.mountPoint) ?? [];
      const entry = entryOf(mount, this.#tree, stack.at(-1)?.mountId ?? ROOT_ID);
      this.#all.push(entry);
      // No walk comes to what is hidden.
      if (mount.shownAt !== null) continue;
      stack.push(entry);
      this.#points.set(mount.mountPoint, stack);
    }
  }
}

/** The directory in a volume that a mount of a part shows. */
const PART = '/part';

/** A mount as mountinfo shows it. */
export function entryOf(mount: Mount, tree: Tree, parentId: number): MountEntry {
  const { id, dev, directory, isPart, mountPoint, shownAt, options, fsType, source, owner } = mount;
  const root = directory === null ? '/' : tree.textOf(directory);
  return {
    mountId: id,
    parentId,
    dev,
    root: isPart ? PART : root,
    mountPoint: shownAt ?? mountPoint,
    options: [...options],
    tags: ['shared:1'],
    fsType,
    source,
    superOptions: ['rw', `user_id=${owner}`, `group_id=${owner}`],
  };
}
