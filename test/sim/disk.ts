// The simulated state disk with the ledger on it. Commits reach the disk one after the other, in their order; an
// acknowledged one survives everything, one that was not acknowledged may or may not have reached the disk when the
// agent dies. The store may be the real one on SQLite, or a plain one for tests of the simulation itself.

import { FairleadError } from '../../src/core/errors.js';
import type { Change, Ledger, LedgerSnapshot } from '../../src/core/records.js';
import type { Chance } from './prng.js';
import type { Life, Scheduler } from './scheduler.js';

/** What keeps the records: applies all changes or none, at once. */
export interface Store {
  load(): LedgerSnapshot;
  apply(changes: readonly Change[]): void;
}

/** One commit on its way to the disk. */
interface Commit {
  readonly changes: readonly Change[];
  readonly done: (error: FairleadError | null) => void;
}

/** The disk: outlives every life of the agent. */
export class StateDisk {
  full = false;
  /** It takes nothing at all any more, and a ledger that has seen this is broken: its agent ends. */
  isReadOnly = false;
  /** Milliseconds that a write takes at most; raised by a stall. */
  slowness = 3;
  store: Store;
  readonly #newStore: () => Store;
  /** Called when a commit was refused as by a disk that is broken. */
  onBroken: () => void = () => undefined;
  /** Commits that were acknowledged. */
  acknowledged = 0;
  readonly #scheduler: Scheduler;
  readonly #chance: Chance;
  #queue: Commit[] = [];
  #writing = false;

  constructor(scheduler: Scheduler, chance: Chance, newStore: () => Store) {
    this.#scheduler = scheduler;
    this.#chance = chance;
    this.#newStore = newStore;
    this.store = newStore();
  }

  /** The agent died: some of what was on its way reached the disk, in order; nobody is told. */
  abandon(): void {
    const reached = this.#chance.int(0, this.#queue.length);
    for (const { changes } of this.#queue.slice(0, reached))
      if (!this.full && !this.isReadOnly) this.store.apply(changes);
    if (this.#queue.length > 0) this.#scheduler.note(`disk: ${reached} of ${this.#queue.length} open commits survive`);
    this.#queue = [];
    this.#writing = false;
  }

  /** The file is gone or damaged: the next life begins with an empty one. */
  lose(): void {
    this.store = this.#newStore();
  }

  /** The Ledger port for one life of the agent. */
  ledger(life: Life): Ledger {
    return {
      load: () => this.#scheduler.later(life, this.#chance.int(0, 10), 'disk: load', () => this.store.load()),
      commit: (changes) =>
        new Promise<void>((resolve, reject) => {
          if (!life.alive) return;
          this.#queue.push({ changes, done: (error) => (error === null ? resolve() : reject(error)) });
          this.#write(life);
        }),
      close: () => this.#scheduler.later(life, 1, 'disk: close', () => undefined),
    };
  }

  #refusal(): FairleadError | null {
    if (this.isReadOnly) {
      return new FairleadError('unavailable', 'The ledger can no longer be written to.', { field: 'state_dir' });
    }
    if (!this.full) return null;
    const message = 'The state disk is full. Make room on it, then try again.';
    return new FairleadError('resource-exhausted', message, { field: 'state_dir' });
  }

  /** Takes everything that waits in one group, as the real ledger does. */
  #write(life: Life): void {
    if (this.#writing) return;
    this.#writing = true;
    this.#scheduler.after(life, this.#chance.int(0, this.slowness), 'disk: group begins', () => {
      const count = this.#queue.length;
      const refusal = this.#refusal();
      this.#scheduler.after(life, this.#chance.int(0, this.slowness), `disk: commit of ${count}`, () => {
        const members = this.#queue.splice(0, count);
        this.#writing = false;
        if (refusal === null) {
          for (const { changes } of members) this.store.apply(changes);
          this.acknowledged += members.length;
        }
        for (const { done } of members) done(refusal);
        if (refusal?.code === 'unavailable') this.onBroken();
        if (this.#queue.length > 0) this.#write(life);
      });
    });
  }
}

/** A store in memory. `origin` is what the next load says. */
export function plainStore(): Store & { origin: LedgerSnapshot['origin'] } {
  const mounts = new Map<string, LedgerSnapshot['mounts'][number]>();
  const attachments = new Map<string, LedgerSnapshot['attachments'][number]>();
  const holds = new Map<string, LedgerSnapshot['holds'][number]>();
  const operations = new Map<string, LedgerSnapshot['operations'][number]>();
  const one = (change: Change): void => {
    switch (change.kind) {
      case 'put-mount':
        mounts.set(change.mount.volume.leaf, change.mount);
        return;
      case 'forget-mount':
        mounts.delete(change.leaf);
        return;
      case 'put-attachment':
        attachments.set(change.attachment.id, change.attachment);
        return;
      case 'end-attachment':
        attachments.delete(change.id);
        return;
      case 'put-hold':
        holds.set(change.hold.leaf, change.hold);
        return;
      case 'lift-hold':
        holds.delete(change.leaf);
        return;
      case 'put-operation':
        operations.set(change.operation.id, change.operation);
        return;
      case 'close-operation':
        operations.delete(change.id);
        return;
    }
  };
  return {
    origin: 'created',
    load() {
      const { origin } = this;
      this.origin = 'existing';
      return {
        origin,
        mounts: [...mounts.values()],
        attachments: [...attachments.values()],
        holds: [...holds.values()],
        operations: [...operations.values()],
        setAside: [],
      };
    },
    apply(changes) {
      for (const change of changes) one(change);
    },
  };
}
