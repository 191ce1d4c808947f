// The ledger itself, synchronous: transactions over the tables, and what happens when one cannot be written. Runs in the
// ledger's thread (worker.ts) and, on `:memory:`, in the simulation: the same code. Knows changes and records; decides
// nothing about mounts, except that what was lost is made up for by a hold.

import { FairleadError } from '../core/errors.js';
import { LEDGER_CHECKPOINT_PAGES } from '../core/limits.js';
import type { Change, HoldRecord, LedgerSnapshot } from '../core/records.js';
import type { Leaf } from '../core/volume.js';
import type { Home } from './home.js';
import type { Mark } from './mark.js';
import { Reads, type Contents } from './reads.js';
import type { Reserve } from './reserve.js';
import { migrate } from './schema.js';
import { errorCodeOf, openDatabase, type Database } from './sqlite.js';
import { Writes } from './writes.js';

/** Pages of write-ahead log while the disk is full: few, so that it is used over and over instead of growing. */
const FULL_CHECKPOINT_PAGES = 16;

/** What a store works with. */
export interface StoreParts {
  readonly database: Database;
  readonly origin: LedgerSnapshot['origin'];
  /** Written after each transaction, before it is acknowledged. */
  readonly marks: readonly Pick<Mark, 'note' | 'close'>[];
  /** Null where there is no disk. */
  readonly home: Pick<Home, 'fault'> | null;
  /** Null where there is no disk. */
  readonly reserve: Reserve | null;
  /** ISO 8601, for people. */
  readonly date: () => string;
}

/** A ledger in memory, for simulations: everything but the disk is the real thing. */
export function openMemoryStore(date: () => string): LedgerStore {
  const database = openDatabase(':memory:');
  migrate(database);
  return new LedgerStore({ database, origin: 'created', marks: [], home: null, reserve: null, date });
}

/** An open ledger. Not for two threads. */
export class LedgerStore {
  readonly #parts: StoreParts;
  readonly #reads: Reads;
  readonly #writes: Writes;
  readonly #begin;
  readonly #commit;
  readonly #rollback;
  readonly #savepoint;
  readonly #release;
  readonly #rollbackTo;
  #origin: LedgerSnapshot['origin'];
  #sequence: number;
  #broken: unknown = null;

  /** The database has been checked and has today's schema. */
  constructor(parts: StoreParts) {
    const { database } = parts;
    this.#parts = parts;
    this.#origin = parts.origin;
    this.#reads = new Reads(database);
    this.#writes = new Writes(database);
    this.#begin = database.prepare('BEGIN IMMEDIATE');
    this.#commit = database.prepare('COMMIT');
    this.#rollback = database.prepare('ROLLBACK');
    this.#savepoint = database.prepare('SAVEPOINT one');
    this.#release = database.prepare('RELEASE one');
    this.#rollbackTo = database.prepare('ROLLBACK TO one');
    this.#sequence = this.#reads.sequence();
    if (parts.reserve?.held === false) this.#checkpointEvery(FULL_CHECKPOINT_PAGES);
  }

  /**
   * Everything that is recorded. Rows that cannot be read are moved to `set_aside` and reported. A lost attachment, hold
   * or operation may be all that kept a mount, so its leaf gets a hold; if not even the leaf can be read, every recorded
   * mount does. `origin` tells how this ledger began, the first time only: from then on it is `existing`.
   */
  load(): LedgerSnapshot {
    const found = this.#read();
    const loaded = found.bad.length === 0 ? found : this.#setAside(found);
    const { mounts, attachments, holds, operations, setAside } = loaded;
    const origin = this.#origin;
    this.#origin = 'existing';
    return { origin, mounts, attachments, holds, operations, setAside };
  }

  /** Makes the changes durable, all or none. Errors as `Ledger.commit`. */
  apply(changes: readonly Change[]): void {
    for (const failure of this.applyGroup([changes])) if (failure !== null) throw failure;
  }

  /**
   * Makes several commits durable in one transaction, with one flush. Each is all or none by itself; the answer has, for
   * each, null or why it was not made. Nothing is acknowledged that is not on disk. Throws when the ledger is broken:
   * then none of them was made, and it must be opened anew.
   */
  applyGroup(commits: readonly (readonly Change[])[]): readonly (FairleadError | null)[] {
    if (this.#broken !== null) throw broken(this.#broken);
    const away = this.fault;
    if (away !== null) return commits.map(() => away);
    const { reserve } = this.#parts;
    const wantsRoom = reserve?.held === false && commits.some((changes) => this.#takesOn(changes));
    if (wantsRoom && reserve.take()) this.#checkpointEvery(LEDGER_CHECKPOINT_PAGES);
    try {
      return this.#transact(commits);
    } catch (error) {
      if (errorCodeOf(error) !== 'full') throw this.#break(error);
      if (reserve?.held !== true) return commits.map(() => diskFull(error));
    }
    return this.#onReserve(reserve, commits);
  }

  /** Why nothing can be written at the ledger's path now; null: it can, as far as is known. */
  get fault(): FairleadError | null {
    return this.#parts.home?.fault ?? null;
  }

  /** Folds the log into the database and closes it. The store is of no use afterwards. */
  close(): void {
    const { database, marks } = this.#parts;
    this.#broken ??= new Error('closed');
    for (const mark of marks) mark.close();
    database.close();
  }

  /** The disk has just become full: give the reserve up, and write what ends. */
  #onReserve(reserve: Reserve, commits: readonly (readonly Change[])[]): readonly (FairleadError | null)[] {
    reserve.free();
    this.#checkpointEvery(FULL_CHECKPOINT_PAGES);
    try {
      return this.#transact(commits);
    } catch (error) {
      if (errorCodeOf(error) === 'full') return commits.map(() => diskFull(error));
      throw this.#break(error);
    }
  }

  #transact(commits: readonly (readonly Change[])[]): readonly (FairleadError | null)[] {
    const endsOnly = this.#parts.reserve?.held === false;
    return this.#transaction(() =>
      commits.map((changes) => (endsOnly && this.#takesOn(changes) ? diskFull() : this.#one(changes))),
    );
  }

  /** One transaction, numbered; rolled back if anything in it throws. */
  #transaction<T>(work: () => T): T {
    this.#begin.run();
    let result;
    try {
      result = work();
      this.#writes.advance(this.#sequence + 1);
      this.#commit.run();
    } catch (error) {
      // SQLite has already rolled back by itself after some errors, a full disk among them.
      if (this.#parts.database.isTransaction) this.#rollback.run();
      throw error;
    }
    this.#sequence += 1;
    for (const mark of this.#parts.marks) mark.note(this.#sequence);
    // It went away meanwhile, with what was written or without it.
    const away = this.fault;
    if (away !== null) {
      this.#broken = away;
      throw away;
    }
    return result;
  }

  /** One commit of a group: undone alone if it is refused. What concerns the whole transaction is thrown on. */
  #one(changes: readonly Change[]): FairleadError | null {
    this.#savepoint.run();
    try {
      for (const change of changes) this.#writes.write(change);
      this.#release.run();
      return null;
    } catch (error) {
      const code = errorCodeOf(error);
      if (code !== null && code !== 'constraint') throw error;
      this.#rollbackTo.run();
      this.#release.run();
      return refused(error);
    }
  }

  /** Whether the commit begins something, so that it can wait until the disk has room. */
  #takesOn(changes: readonly Change[]): boolean {
    return changes.some(
      (change) =>
        (change.kind === 'put-attachment' && !this.#reads.hasAttachment(change.attachment.id)) ||
        (change.kind === 'put-operation' &&
          change.operation.kind === 'connect' &&
          !this.#reads.hasOperation(change.operation.id)),
    );
  }

  #read(): Contents {
    try {
      return this.#reads.contents();
    } catch (error) {
      throw this.#break(error);
    }
  }

  #setAside({ bad, ...found }: Contents): Omit<LedgerSnapshot, 'origin'> {
    const since = this.#parts.date();
    const held = new Set(found.holds.map(({ leaf }) => leaf));
    const leaves = bad
      .filter(({ table }) => table !== 'mounts')
      .flatMap(({ leaf }): readonly Leaf[] => (leaf === null ? found.mounts.map(({ volume }) => volume.leaf) : [leaf]));
    const holds = [...new Set(leaves)]
      .filter((leaf) => !held.has(leaf))
      .map((leaf): HoldRecord => ({ leaf, reason: 'inherited', since }));
    try {
      this.#transaction(() => {
        for (const row of bad) this.#writes.moveAside(row, since);
        for (const hold of holds) this.#writes.putHold(hold);
      });
    } catch (error) {
      // On a full disk they stay where they are until the next start; this time they are reported all the same.
      if (errorCodeOf(error) !== 'full') throw this.#break(error);
    }
    const reported = bad.map(({ table, key, reason }) => ({ table, key, reason }));
    return { ...found, holds: [...found.holds, ...holds], setAside: [...reported, ...found.setAside] };
  }

  #checkpointEvery(pages: number): void {
    // Without effect on what is stored: if the disk is too full for it, the log goes on growing.
    this.#parts.database.exec(`PRAGMA wal_autocheckpoint = ${pages}`);
  }

  /** After an error of the disk nobody knows what is in the cache and what on disk: only a new start finds out. */
  #break(error: unknown): unknown {
    if (error instanceof FairleadError || errorCodeOf(error) === null) return error;
    this.#broken = error;
    return broken(error);
  }
}

function broken(cause: unknown): FairleadError {
  return new FairleadError(
    'unavailable',
    'The ledger can no longer be written to: look at the disk of state_dir (the kernel log tells), then restart the agent.',
    { field: 'state_dir', cause },
  );
}

function diskFull(cause?: unknown): FairleadError {
  return new FairleadError(
    'resource-exhausted',
    'The disk of state_dir is full: make room there. Until then nothing new is attached; disconnecting still works.',
    { field: 'state_dir', cause },
  );
}

function refused(error: unknown): FairleadError {
  if (error instanceof FairleadError) return error;
  if (errorCodeOf(error) === 'constraint') {
    return new FairleadError(
      'conflict',
      'An attachment of the same consumer to the same volume, disk and target is recorded already under another id.',
      { cause: error },
    );
  }
  return new FairleadError('internal', 'The ledger was given a change that it cannot write; the log has the cause.', {
    cause: error,
  });
}
