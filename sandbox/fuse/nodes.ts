// The files of one mount that the kernel knows: node number ↔ an O_PATH descriptor, which keeps an unlinked file
// reachable and its inode number from being used again. Two names of one file are one node.
import { openSync } from 'node:fs';
import { O_PATH_NODE, close, openat, statx } from './libc.js';
import { ENTRY_BYTES, ROOT_ID, writeAttr, writeEntry } from './protocol.js';

interface Node {
  fd: number;
  key: string;
  /** How many times the kernel was told of it; FORGET takes them back. */
  lookups: number;
}

/** Room for one struct statx; what `statxOf` leaves here counts until its next call. */
export const statxBuffer = Buffer.allocUnsafeSlow(256);

const ESTALE = 116;

export class Nodes {
  readonly #byId = new Map<number, Node>();
  readonly #byKey = new Map<string, number>();
  readonly #sizeOf: (key: string) => bigint | undefined;
  #next = ROOT_ID + 1;

  /** `sizeOf` tells the size of a file, by its identity, where the directory behind the volume does not. */
  constructor(root: string, sizeOf: (key: string) => bigint | undefined) {
    this.#sizeOf = sizeOf;
    const fd = openSync(root, O_PATH_NODE);
    statx(fd, statxBuffer);
    this.#byId.set(ROOT_ID, { fd, key: identity(), lookups: Infinity });
    this.#byKey.set(identity(), ROOT_ID);
  }

  /** The descriptor of a node: O_PATH, so good for names, attributes and /proc/self/fd, not for reading. */
  fd(id: number): number {
    const node = this.#byId.get(id);
    if (node === undefined)
      throw Object.assign(new Error('the kernel names a node that it has forgotten'), { errno: -ESTALE });
    return node.fd;
  }

  /** Finds `name` in a directory and writes its fuse_entry_out; answers the bytes, or -errno. */
  lookup(parent: number, name: string, rootSize: bigint): number {
    const fd = openat(this.fd(parent), name, O_PATH_NODE, 0);
    if (fd < 0) return fd;
    return this.enter(fd, rootSize);
  }

  /** Takes the O_PATH descriptor of a file, makes it known and writes its fuse_entry_out. */
  enter(fd: number, rootSize: bigint): number {
    const failed = this.look(fd);
    if (failed < 0) {
      close(fd);
      return failed;
    }
    let id = this.#byKey.get(identity());
    const known = id === undefined ? undefined : this.#byId.get(id);
    if (id === undefined || known === undefined) {
      id = this.#next++;
      this.#byId.set(id, { fd, key: identity(), lookups: 1 });
      this.#byKey.set(identity(), id);
    } else {
      known.lookups++;
      close(fd);
    }
    writeEntry(id);
    writeAttr(40, statxBuffer, id === ROOT_ID ? rootSize : undefined);
    return ENTRY_BYTES;
  }

  /** Leaves in `statxBuffer` what the volume says of an open file; answers 0 or -errno. */
  look(fd: number): number {
    const failed = statx(fd, statxBuffer);
    const size = failed < 0 ? undefined : this.#sizeOf(identity());
    if (size !== undefined) statxBuffer.writeBigUInt64LE(size, 40);
    return failed;
  }

  /** The kernel drops `count` of its lookups. */
  forget(id: number, count: number): void {
    const node = this.#byId.get(id);
    if (node === undefined) return;
    node.lookups -= count;
    if (node.lookups > 0) return;
    this.#byId.delete(id);
    this.#byKey.delete(node.key);
    close(node.fd);
  }

  [Symbol.dispose](): void {
    for (const node of this.#byId.values()) close(node.fd);
    this.#byId.clear();
    this.#byKey.clear();
  }
}

/** A file's identity, from `statxBuffer`: inode and device. */
export function identity(): string {
  return statxBuffer.toString('latin1', 32, 40) + statxBuffer.toString('latin1', 136, 144);
}
