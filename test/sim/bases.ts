// What the host's people do with the directory that all mounts of a backend lie in: rename it, put another one in its
// place, mount something over it. Nothing that is mounted goes by that, and after a while all is as it was.

import type { Tree } from './directories.js';
import type { History } from './history.js';
import type { Kernel } from './kernel.js';
import type { Chance } from './prng.js';

/** Permission bits of what comes in its place: nobody may mount in it. */
const UNSOUND = 0o777;

/** One mount base. */
export class Base {
  readonly #kernel: Kernel;
  readonly #tree: Tree;
  readonly #chance: Chance;
  readonly #path: string;
  readonly #histories: readonly History[];
  #isCovered = false;

  /** `histories`: those of the leaves in it. */
  constructor(kernel: Kernel, tree: Tree, chance: Chance, path: string, histories: readonly History[]) {
    this.#kernel = kernel;
    this.#tree = tree;
    this.#chance = chance;
    this.#path = path;
    this.#histories = histories;
  }

  /** Whether a leaf lies in it. */
  holds({ mountPoint }: History): boolean {
    return mountPoint.startsWith(`${this.#path}/`);
  }

  get isHidden(): boolean {
    return this.#tree.nodes.has(this.#aside);
  }

  get #aside(): string {
    return `${this.#path}.aside`;
  }

  /** It is not where it was. False: that is so already. */
  hide(): boolean {
    if (this.isHidden) return false;
    const way = this.#chance.weighted({ rename: 1, replace: 1, cover: 2 });
    this.#isCovered = way === 'cover';
    this.#tree.rename(this.#path, this.#aside);
    this.#kernel.renamed(this.#path, this.#aside, this.#isCovered ? this.#path : null);
    if (way !== 'rename') this.#tree.plant(this.#path, UNSOUND);
    this.#tell();
    return true;
  }

  /** It is where it was. */
  show(): void {
    if (!this.isHidden) return;
    this.#tree.removeAll(this.#path);
    this.#tree.rename(this.#aside, this.#path);
    this.#kernel.renamed(this.#aside, this.#path, null);
    this.#tell();
  }

  #tell(): void {
    if (this.#isCovered) this.#kernel.another(this.#path);
    for (const history of this.#histories) {
      history.wasHidden = true;
      this.#kernel.changed(history.mountPoint, 'stranger');
    }
  }
}
