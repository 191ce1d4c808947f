// Which leaves have changed in the mount table, for whoever asks what has changed since he last asked. Known from the
// kernel's word that the table has changed; what is mounted by whom is for a look to find out. A mount that has taken the
// place of another may have its numbers: of what a client serves the kernel's record tells, and what this process itself
// has done to a leaf is said to be a change.

import { MAX_WATCHED_CHANGES } from '../core/limits.js';
import type { LeafChanges } from '../core/broker-api.js';
import { type BackendName, BACKEND_NAMES, isLeaf, type Leaf, type LeafName } from '../core/volume.js';
import type { Context } from './context.js';

/** Remembers when each leaf last changed. */
export class LeafWatch {
  /** Revision of the table when it was last compared. */
  #revision = -1;
  #version = 0;
  /** Changes up to this version are forgotten. */
  #floor = 0;
  /** What lies at each leaf, by `<backend> <leaf>`. */
  #stacks: ReadonlyMap<string, string> = new Map();
  /** The version of each leaf's last change, the latest last. */
  readonly #changed = new Map<string, number>();

  /** What has changed since `seen`; null: everything may have. */
  since(context: Context, seen: number | null): LeafChanges {
    this.#compare(context);
    const version = this.#version;
    if (seen === null || seen < this.#floor || seen > version) return { version, leaves: 'all' };
    const leaves = [...this.#changed].filter(([, at]) => at > seen).map(([name]) => nameOf(name));
    return { version, leaves };
  }

  /** This process has mounted or unmounted something at the leaf. */
  acted({ machine }: Context, { backend, leaf }: LeafName): void {
    this.#note([`${backend} ${leaf}`]);
    // Whoever waits for a change of the table hears of it.
    machine.table.forget();
  }

  #compare({ machine, settings }: Context): void {
    const { revision } = machine.table;
    if (revision === this.#revision) return;
    this.#revision = revision;
    const stacks = new Map<string, string>();
    for (const backend of BACKEND_NAMES) {
      const base = settings.backends[backend].mountBase;
      for (const mountPoint of new Set(machine.table.below(base).map((entry) => entry.mountPoint))) {
        const leaf = mountPoint.slice(base.length + 1);
        if (!isLeaf(leaf)) continue;
        // What no walk comes to, because the base is covered, is not there.
        const stack = machine.table.at(mountPoint).map(({ mountId, dev }) => {
          const superblock = machine.superblocks.at(dev);
          return `${mountId}/${dev}/${typeof superblock === 'string' ? superblock : superblock.entry}`;
        });
        if (stack.length > 0) stacks.set(`${backend} ${leaf}`, stack.join(' '));
      }
    }
    const differing = [...new Set([...stacks.keys(), ...this.#stacks.keys()])].filter(
      (name) => stacks.get(name) !== this.#stacks.get(name),
    );
    this.#stacks = stacks;
    if (differing.length > 0) this.#note(differing);
  }

  #note(names: readonly string[]): void {
    this.#version += 1;
    for (const name of names) {
      this.#changed.delete(name);
      this.#changed.set(name, this.#version);
    }
    for (const [name, at] of this.#changed) {
      if (this.#changed.size <= MAX_WATCHED_CHANGES) break;
      this.#changed.delete(name);
      this.#floor = at;
    }
  }
}

function nameOf(name: string): LeafName {
  const [backend, leaf] = name.split(' ') as [BackendName, Leaf];
  return { backend, leaf };
}
