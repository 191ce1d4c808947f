// What the host's people do with the directories of local volumes: rename them, or a directory above, remove them, and put
// another one, or a link, in their place. No mount table changes by that, and nobody is told.

import type { Node, Tree } from './directories.js';
import type { Chance } from './prng.js';

const DIRECTORY = { kind: 'directory', uid: 0, mode: 0o755, occupied: false } as const;
const LINK = { kind: 'link', uid: 0, mode: 0o777, occupied: false } as const;

/** The directory of one local volume. */
export class Source {
  readonly #tree: Tree;
  readonly #chance: Chance;
  readonly #path: string;
  readonly #parent: string;
  /** The one that was there at first. */
  readonly #first: Node;
  #nextName = 1;

  /** `path`: the directory, which is there, below a parent that may be renamed, too. */
  constructor(tree: Tree, chance: Chance, path: string) {
    this.#tree = tree;
    this.#chance = chance;
    this.#path = path;
    this.#parent = path.slice(0, path.lastIndexOf('/'));
    this.#first = tree.nodes.get(path)!;
  }

  /** Something happens to it. */
  disturb(): void {
    switch (this.#chance.weighted({ rename: 4, remove: 2, parent: 2, back: 4 })) {
      case 'rename':
        if (this.#isThere(this.#path)) this.#tree.rename(this.#path, this.#free(this.#path));
        this.#replace();
        return;
      case 'remove':
        this.#tree.removeAll(this.#path);
        this.#replace();
        return;
      case 'parent':
        if (this.#isThere(this.#parent)) this.#tree.rename(this.#parent, this.#free(this.#parent));
        this.#replace();
        return;
      case 'back':
        this.restore();
        return;
    }
  }

  /** The first one comes back to its place, if it still exists; else there is another one. */
  restore(): void {
    if (this.#tree.nodes.get(this.#path) === this.#first) return;
    if (!this.#isThere(this.#parent)) this.#tree.plant(this.#parent, 0o755);
    if (this.#first.isRemoved) {
      if (this.#tree.nodes.get(this.#path)?.kind === 'directory') return;
      this.#tree.removeAll(this.#path);
      this.#tree.put(this.#path, DIRECTORY);
      return;
    }
    if (this.#isThere(this.#path)) this.#tree.rename(this.#path, this.#free(this.#path));
    this.#tree.rename(this.#first.path, this.#path);
  }

  /** Another directory takes its place, or a link; or nothing does. */
  #replace(): void {
    if (this.#isThere(this.#path)) return;
    const way = this.#chance.weighted({ directory: 5, nothing: 3, link: 1 });
    if (way === 'nothing') return;
    if (!this.#isThere(this.#parent)) this.#tree.plant(this.#parent, 0o755);
    this.#tree.put(this.#path, way === 'link' ? LINK : DIRECTORY);
  }

  #isThere(path: string): boolean {
    return this.#tree.nodes.has(path);
  }

  #free(path: string): string {
    this.#nextName += 1;
    return `${path}.old-${this.#nextName}`;
  }
}
