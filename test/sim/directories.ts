// The simulated directories: bases, leaves and what strangers leave there. One flat table by path.

import type { Directories, DirectoryFacts } from '../../src/sys/ports.js';
import type { LeafState } from '../../src/core/observation.js';
import { short, type Kernel } from './kernel.js';
import type { Scheduler } from './scheduler.js';

/** What lies at one path. */
export interface Node {
  readonly kind: 'directory' | 'link' | 'other';
  readonly uid: number;
  readonly mode: number;
  readonly maker: 'fairlead' | 'stranger';
  /** Something lies in it (besides leaves, which are nodes themselves). */
  occupied: boolean;
}

/** The directories of the host, kept across reboots. */
export class Tree {
  readonly nodes = new Map<string, Node>();
  readonly #kernel: Kernel;
  readonly #scheduler: Scheduler;

  constructor(kernel: Kernel, scheduler: Scheduler) {
    this.#kernel = kernel;
    this.#scheduler = scheduler;
  }

  /** Puts a directory there, with the parents that are missing. */
  plant(path: string, mode: number): void {
    const parts = path.split('/').slice(1);
    for (let depth = 0; depth <= parts.length; depth += 1) {
      const each = `/${parts.slice(0, depth).join('/')}`;
      if (!this.nodes.has(each)) {
        this.nodes.set(each, {
          kind: 'directory',
          uid: 0,
          mode: each === path ? mode : 0o755,
          maker: 'stranger',
          occupied: false,
        });
      }
    }
  }

  /** Puts anything at a path, in the way of whoever wants it. */
  put(path: string, node: Omit<Node, 'maker'>): void {
    this.nodes.set(path, { ...node, maker: 'stranger' });
    this.#scheduler.note(`tree: ${node.kind} at ${short(path)}`);
    this.#kernel.changed(path, 'stranger');
  }

  take(path: string): void {
    this.nodes.delete(path);
    this.#kernel.changed(path, 'stranger');
  }

  /** Names directly below a base. */
  names(base: string): string[] {
    const start = `${base}/`;
    return [...this.nodes.keys()]
      .filter((path) => path.startsWith(start) && !path.slice(start.length).includes('/'))
      .map((path) => path.slice(start.length));
  }

  /** The port that the broker sees. */
  port(): Directories {
    return {
      chain: (path) => this.#chain(path),
      isMounted: (base, leaf) => this.#leafState(`${base}/${leaf}`) === 'mounted',
      leafState: (base, leaf) => this.#leafState(`${base}/${leaf}`),
      makeLeaf: (base, leaf) => {
        const path = `${base}/${leaf}`;
        if (this.nodes.has(path)) return 'exists';
        this.#kernel.observe({ kind: 'make-leaf', path, by: 'fairlead' });
        this.nodes.set(path, { kind: 'directory', uid: 0, mode: 0o700, maker: 'fairlead', occupied: false });
        this.#scheduler.note(`tree: mkdir ${short(path)}`);
        this.#kernel.changed(path, 'fairlead');
        return 'made';
      },
      removeLeaf: (base, leaf) => {
        const path = `${base}/${leaf}`;
        const state = this.#leafState(path);
        if (state === 'absent' || state === 'mounted') return state;
        if (state === 'occupied') return 'not-empty';
        if (state !== 'empty') return 'not-a-directory';
        this.#kernel.observe({ kind: 'remove-leaf', path, by: 'fairlead' });
        this.nodes.delete(path);
        this.#scheduler.note(`tree: rmdir ${short(path)}`);
        this.#kernel.changed(path, 'fairlead');
        return 'removed';
      },
      list: (base) => this.names(base),
    };
  }

  #leafState(path: string): LeafState {
    const node = this.nodes.get(path);
    if (node === undefined) return 'absent';
    if (node.kind === 'link') return 'link';
    if (node.kind === 'other') return 'not-a-directory';
    if (this.#kernel.top(path) !== undefined) return 'mounted';
    return node.occupied ? 'occupied' : 'empty';
  }

  #chain(path: string): readonly DirectoryFacts[] {
    const parts = path === '/' ? [] : path.split('/').slice(1);
    const facts: DirectoryFacts[] = [];
    for (let depth = 0; depth <= parts.length; depth += 1) {
      const each = `/${parts.slice(0, depth).join('/')}`;
      const node = this.nodes.get(each);
      facts.push(
        node === undefined
          ? { path: each, kind: 'absent', uid: 0, gid: 0, mode: 0 }
          : { path: each, kind: node.kind, uid: node.uid, gid: 0, mode: node.mode },
      );
    }
    return facts;
  }
}
