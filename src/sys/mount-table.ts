// The mount table of our own namespace. /proc/self/mountinfo stays open; before each answer the kernel is asked whether
// it has changed (0.6 microseconds), and only then it is read and parsed again. Nothing here touches a mounted path.

import { closeSync, openSync, readSync } from 'node:fs';
import { until } from '../core/deadline.js';
import { TABLE_POLL_MS } from '../core/limits.js';
import { mountTableParser, type MountEntry } from '../core/mountinfo.js';
import { mountTree, type MountTree } from '../core/mount-tree.js';
import { systemClock } from './clock.js';
import { mountTableChanged } from './libc/descriptors.js';
import { mountExists } from './libc/mounts.js';
import type { MountIdentity, MountTable } from './ports.js';

/** Reads of a table that changes all the time before the last one is taken as it is. */
const READ_ATTEMPTS = 4;
/** Bytes read at a time; the kernel hands out at most a page or one long line. */
const READ_BYTES = 262_144;

/** The table of the mount namespace in which this was constructed. */
export class KernelMountTable implements MountTable, Disposable {
  readonly #fd: number;
  readonly #buffer = Buffer.allocUnsafeSlow(READ_BYTES);
  readonly #parse = mountTableParser();
  #entries: readonly MountEntry[] = [];
  #tree: MountTree = mountTree([]);
  #byId: ReadonlyMap<number, MountEntry> | null = null;
  #read = false;
  #revision = 0;

  constructor() {
    this.#fd = openSync('/proc/self/mountinfo', 'r');
  }

  at(mountPoint: string): readonly MountEntry[] {
    return this.#current().at(mountPoint);
  }

  below(directory: string): readonly MountEntry[] {
    return this.#current().below(directory);
  }

  /** The mount with this ID, as statx(2) tells it of an open handle; undefined if it is in no table of ours. */
  withId(mountId: number): MountEntry | undefined {
    this.#current();
    this.#byId ??= new Map(this.#entries.map((entry) => [entry.mountId, entry]));
    return this.#byId.get(mountId);
  }

  has({ mountId, dev, unique }: MountIdentity): boolean {
    const exists = unique === null ? null : mountExists(unique);
    // A table that changed while it was read may lack what is there.
    return exists ?? (this.withId(mountId)?.dev === dev || !this.#read);
  }

  forget(): void {
    this.#read = false;
  }

  get revision(): number {
    this.#current();
    return this.#revision;
  }

  async change(revision: number, ms: number): Promise<void> {
    const pauses = { first: TABLE_POLL_MS, last: TABLE_POLL_MS };
    await until(systemClock, ms, pauses, () => (this.revision === revision ? null : true));
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }

  #current(): MountTree {
    let stale = mountTableChanged(this.#fd) || !this.#read;
    for (let attempt = 0; stale && attempt < READ_ATTEMPTS; attempt += 1) {
      this.#entries = this.#parse(this.#text());
      this.#revision += 1;
      // A change during the read may have been seen in part.
      stale = mountTableChanged(this.#fd);
      this.#tree = mountTree(this.#entries);
      this.#byId = null;
      this.#read = !stale;
    }
    return this.#tree;
  }

  /** The whole table, one character a byte (see core/mountinfo.ts). */
  #text(): string {
    let text = '';
    for (;;) {
      const bytes = readSync(this.#fd, this.#buffer, 0, READ_BYTES, text.length);
      if (bytes === 0) return text;
      text += this.#buffer.toString('latin1', 0, bytes);
    }
  }
}
