// The simulated directories: bases, leaves, what strangers leave there, and the sources of local volumes. One flat table by
// path; each entry has an identity of its own, which a rename keeps and a replacement has not.

import type { Directories, DirectoryFacts } from '../../src/sys/ports.js';
import type { LeafState } from '../../src/core/observation.js';
import { short, type Kernel } from './kernel.js';
import type { Scheduler } from './scheduler.js';

/** One inode. */
export interface Node {
  readonly inode: number;
  /** Where it lies, or lay when it was removed. */
  path: string;
  isRemoved: boolean;
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
  /** Called after something has been renamed, removed or made at or above a path that is no leaf. */
  moved: () => void = () => undefined;
  readonly #kernel: Kernel;
  readonly #scheduler: Scheduler;
  /** What was removed, and whose number may be given again. */
  readonly #removed: Node[] = [];
  #nextInode = 1000;

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
        this.#add(each, { kind: 'directory', uid: 0, mode: each === path ? mode : 0o755, occupied: false }, 'stranger');
      }
    }
  }

  #add(path: string, what: Pick<Node, 'kind' | 'uid' | 'mode' | 'occupied'>, maker: Node['maker']): Node {
    const node: Node = { ...what, inode: this.#freeInode(), path, isRemoved: false, maker };
    this.nodes.set(path, node);
    return node;
  }

  /** The number of what was removed last, if nothing keeps that any more: filesystems give numbers again. */
  #freeInode(): number {
    const free = this.#removed.findLastIndex((node) => !this.#kernel.isBound(node));
    const [node] = free < 0 ? [] : this.#removed.splice(free, 1);
    if (node !== undefined) return node.inode;
    this.#nextInode += 1;
    return this.#nextInode;
  }

  /** Many directories with something in them, named as leaves are. */
  crowd(base: string, count: number): void {
    for (let number = 1; number <= count; number += 1) {
      const leaf = number.toString(16).padStart(32, '0');
      this.#add(`${base}/${leaf}`, { kind: 'directory', uid: 0, mode: 0o755, occupied: true }, 'stranger');
    }
  }

  /** rename(2) of a directory with everything below it. No mount table changes, and nobody is told. */
  rename(from: string, to: string): void {
    const moving = [...this.nodes.values()].filter(({ path }) => path === from || path.startsWith(`${from}/`));
    for (const node of moving) {
      this.nodes.delete(node.path);
      node.path = to + node.path.slice(from.length);
      this.nodes.set(node.path, node);
    }
    this.#scheduler.note(`tree: ${from} is renamed to ${to}`);
    this.moved();
  }

  /** Removes it with everything below it; who has it open or bound keeps it. */
  removeAll(path: string): void {
    for (const node of [...this.nodes.values()]) {
      if (node.path !== path && !node.path.startsWith(`${path}/`)) continue;
      this.nodes.delete(node.path);
      node.isRemoved = true;
      this.#removed.push(node);
    }
    this.#scheduler.note(`tree: ${path} is removed`);
    this.moved();
  }

  /** The path of a directory within its filesystem, as the mount table tells it (proc_pid_mountinfo(5), field 4). */
  textOf(node: Node): string {
    return node.isRemoved ? `${node.path}//deleted` : node.path;
  }

  /** Puts anything at a path, in the way of whoever wants it. */
  put(path: string, node: Pick<Node, 'kind' | 'uid' | 'mode' | 'occupied'>): void {
    this.#lose(path);
    this.#add(path, node, 'stranger');
    this.#scheduler.note(`tree: ${node.kind} at ${short(path)}`);
    this.#kernel.changed(path, 'stranger');
    this.moved();
  }

  take(path: string): void {
    this.#lose(path);
    this.#kernel.changed(path, 'stranger');
  }

  #lose(path: string): void {
    const node = this.nodes.get(path);
    if (node === undefined) return;
    this.nodes.delete(path);
    node.isRemoved = true;
    this.#removed.push(node);
    this.#kernel.users.removed(node);
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
        this.#add(path, { kind: 'directory', uid: 0, mode: 0o700, occupied: false }, 'fairlead');
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
        this.#scheduler.note(`tree: rmdir ${short(path)}`);
        this.#lose(path);
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
