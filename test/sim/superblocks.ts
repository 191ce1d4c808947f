// Superblocks: filesystems apart from where they are mounted. One lives as long as anything refers to it: a mount in our
// namespace, a copy in another one, an open file of a mount that was detached, a descriptor on its way through a socket, a
// call inside it. The kernel's record of those that clients serve (fusectl) is kept here too: it tells the truth, to those
// who can read it, and begins anew when nobody has kept it.

import type { Superblock as Recorded, Superblocks as RecordPort } from '../../src/sys/ports.js';
import type { Scheduler } from './scheduler.js';

/** Who does something: Fairlead (broker or helper), or the rest of the world. */
export type Doer = 'fairlead' | 'stranger';

/**
 * What the server behind a superblock does. `never-read`: requests are not read (a killed caller gets free).
 * `never-answered`: read and kept (a killed caller stays). `dead`: the connection is gone.
 */
export type ServerState = 'answering' | 'never-read' | 'never-answered' | 'dead' | 'stale' | 'failing';

/** One filesystem server: what answers for one superblock. */
export interface Server {
  state: ServerState;
  /** What the volume permits; told to everybody who probes it. */
  rights: 'all' | 'read-only' | 'none';
  /** Called once when the state changes: calls that wait for an answer. */
  waiting: (() => void)[];
}

/** The host's own disk. */
export const HOST_DEV = '8:1';

/** One filesystem. */
export interface Superblock {
  /** `major:minor`: used again by a later one. */
  readonly dev: string;
  /** `fuse`: a client serves it, so the kernel's record has it. `host`: the host's own disk, which is there for ever. */
  readonly kind: 'fuse' | 'other' | 'host';
  /** Null: it always answers. */
  readonly server: Server | null;
  /** The export that it really is; null: no volume at all. */
  readonly serves: string | null;
  readonly maker: Doer;
  /** The mount point at which it was first mounted. */
  readonly home: string;
  readonly bornAt: number;
  /** Who keeps it, in words, each as often as it does. */
  readonly references: Set<{ readonly by: string }>;
  isGone: boolean;
  /** Somebody may have written to it, so its client has something to write back. */
  wasUsed: boolean;
  /** A broker has written down that it is there. */
  wasNoted: boolean;
  /** Told to its client, if it has one: it is gone, or its connection was cut. */
  onEnd: () => void;
}

/** All superblocks there are, the host's own left out. */
export class Superblocks {
  readonly all = new Set<Superblock>();
  /** Called when one begins, ends or changes. */
  changed: (superblock: Superblock, by: Doer) => void = () => undefined;
  /** False: this host has no record that could be read. */
  isReadable = true;
  /** How often the record has begun anew in this boot. */
  begunAnew = 0;
  readonly host: Superblock;
  readonly #scheduler: Scheduler;
  readonly #entries = new Map<Superblock, number>();
  #nextEntry = 1;
  #readers = 0;

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
    this.host = this.#newOne({ kind: 'host', serves: null, maker: 'stranger', home: '/' }, HOST_DEV, null);
  }

  /** A new one, to which nothing refers yet. */
  make(what: Pick<Superblock, 'kind' | 'serves' | 'maker' | 'home'>): Superblock {
    const made = this.#newOne(what, this.#freeDev(), { state: 'answering', rights: 'all', waiting: [] });
    this.all.add(made);
    if (made.kind === 'fuse') this.#enter(made);
    return made;
  }

  /** Something begins to refer to it; the returned function ends that, and with the last of them the superblock ends. */
  refer(superblock: Superblock, by: string): () => void {
    const reference = { by };
    superblock.references.add(reference);
    return () => {
      if (!superblock.references.delete(reference) || superblock.references.size > 0) return;
      this.#end(superblock);
    };
  }

  /** A broker writes this down: the superblocks that clients serve, as it says, are known from now on. */
  noted(text: string): void {
    const entries = new Set(
      [...text.matchAll(/"superblock":\{[^}]*"entry":"(\d+)"/g)].map(([, entry]) => Number(entry)),
    );
    for (const [one, entry] of this.#entries) if (entries.has(entry)) one.wasNoted = true;
  }

  /** The record was kept by nobody, and is read again: every entry is a new one. */
  beginAnew(): void {
    this.begunAnew += 1;
    this.#entries.clear();
    for (const one of this.all) if (one.kind === 'fuse') this.#enter(one);
    this.#scheduler.note('kernel: the record of superblocks begins anew');
  }

  /** Nothing survives a reboot, and nobody is told. */
  reboot(): void {
    for (const one of this.all) {
      one.isGone = true;
      if (one.server !== null) one.server.state = 'dead';
      one.references.clear();
    }
    this.all.clear();
    this.#entries.clear();
    this.begunAnew = 0;
  }

  /** The kernel's record, as one life of the broker reads it: nothing tells it whether it is the record of an earlier one. */
  port(): RecordPort {
    this.#readers += 1;
    const record = `record-${this.#readers}`;
    const recorded = (one: Superblock): Recorded => {
      return { dev: one.dev, record, entry: String(this.#entries.get(one)) };
    };
    return {
      at: (dev) => {
        if (!this.isReadable) return 'unknown';
        for (const one of this.#entries.keys()) if (one.dev === dev) return recorded(one);
        return 'none';
      },
      all: () => (this.isReadable ? [...this.#entries.keys()].map(recorded) : null),
    };
  }

  #enter(one: Superblock): void {
    this.#entries.set(one, this.#nextEntry);
    this.#nextEntry += 1;
  }

  #end(one: Superblock): void {
    if (one.kind === 'host') return;
    one.isGone = true;
    this.all.delete(one);
    this.#entries.delete(one);
    this.#scheduler.note(`kernel: the superblock ${one.dev} is gone`);
    one.onEnd();
    this.changed(one, 'stranger');
  }

  #newOne(
    what: Pick<Superblock, 'kind' | 'serves' | 'maker' | 'home'>,
    dev: string,
    server: Server | null,
  ): Superblock {
    return {
      ...what,
      dev,
      server,
      bornAt: this.#scheduler.now,
      references: new Set(),
      isGone: false,
      wasUsed: false,
      wasNoted: false,
      onEnd: () => undefined,
    };
  }

  /** The lowest free minor, as the kernel gives them out: numbers are used again. */
  #freeDev(): string {
    const used = new Set([...this.all].map(({ dev }) => dev));
    for (let minor = 40; ; minor += 1) if (!used.has(`0:${minor}`)) return `0:${minor}`;
  }
}

/** Whether somebody may be served by it: it is there, and its connection too. */
export function isLiving({ isGone, server }: Superblock): boolean {
  return !isGone && server?.state !== 'dead';
}
