// The simulated state disk with the ledger on it. Commits reach the disk one after the other, in their order; an
// acknowledged one survives everything but a restore of an older copy, one that was not acknowledged may or may not have
// reached the disk when the agent dies.

import { FairleadError } from '../../src/core/errors.js';
import type { Change, Ledger, LedgerSnapshot } from '../../src/core/records.js';
import type { Database } from '../../src/ledger/sqlite.js';
import { copyOf, recordsIn, type Place } from './ledger.js';
import type { Chance } from './prng.js';
import type { Life, Scheduler } from './scheduler.js';

/** What keeps the records: applies all changes or none, at once. */
export interface Store {
  load(): LedgerSnapshot;
  apply(changes: readonly Change[]): void;
}

/** Opens what lies on the disk, in a boot. */
export type OpenStore = (place: Place, bootId: string) => Store;

/** Share of the commits after which state_dir is copied, where it is; and how many copies are kept. */
const COPIED = 0.2;
const MAX_COPIES = 4;

/** One commit on its way to the disk. */
interface Commit {
  readonly changes: readonly Change[];
  readonly done: (error: FairleadError | null) => void;
}

/** The disk: outlives every life of the agent. */
export class StateDisk {
  full = false;
  /** It takes nothing at all any more. A ledger that has seen this refuses everything until its agent ends. */
  isReadOnly = false;
  /** Milliseconds that a write takes at most; raised by a stall. */
  slowness = 3;
  /** Called when a ledger has seen that nothing can be written. */
  onBroken: () => void = () => undefined;
  /** Whether state_dir is copied now and then, and what befalls the marks is simulated. */
  copied = false;
  readonly #place: Place = { database: null, mark: null, witness: null };
  readonly #open: OpenStore;
  #store: Store | null = null;
  readonly #copies: { readonly database: Database; readonly mark: Place['mark'] }[] = [];
  /** Commits that were acknowledged. */
  acknowledged = 0;
  readonly #scheduler: Scheduler;
  readonly #chance: Chance;
  #queue: Commit[] = [];
  #writing = false;
  /** Whose ledger has seen that nothing can be written. */
  #broken: Life | null = null;

  constructor(scheduler: Scheduler, chance: Chance, open: OpenStore) {
    this.#scheduler = scheduler;
    this.#chance = chance;
    this.#open = open;
  }

  /** What is recorded. */
  records(): LedgerSnapshot {
    return recordsIn(this.#place);
  }

  /** The agent died: some of what was on its way reached the disk, in order; nobody is told. */
  abandon(): void {
    const reached = this.#chance.int(0, this.#queue.length);
    for (const { changes } of this.#queue.slice(0, reached)) {
      if (!this.full && !this.isReadOnly) this.#applyCutOff(changes);
    }
    if (this.#queue.length > 0) this.#scheduler.note(`disk: ${reached} of ${this.#queue.length} open commits survive`);
    this.#queue = [];
    this.#writing = false;
  }

  /** The file is gone with its mark: the next life begins with an empty one. */
  lose(): void {
    this.#place.database = null;
    this.#place.mark = null;
  }

  /** The mark alone is gone. */
  loseMark(): void {
    this.#place.mark = null;
  }

  /** What lies in run_dir goes with the boot, unless that is on a disk. */
  reboot(): void {
    if (!this.copied || this.#chance.once(0.7)) this.#place.witness = null;
  }

  /**
   * An older copy of state_dir is put back while no agent runs; returns what is recorded then. Null, and nothing happens,
   * if there is none, or no agent has run in this boot: then nothing is mounted that the copy could be wrong about.
   */
  putBack(bootId: string): LedgerSnapshot | null {
    if (this.#copies.length === 0 || this.#place.witness?.bootId !== bootId) return null;
    const { database, mark } = this.#chance.pick(this.#copies);
    this.#place.database = copyOf(database);
    this.#place.mark = mark;
    return this.records();
  }

  /** The Ledger port for one life of the agent. */
  ledger(life: Life, bootId: string): Ledger {
    const refusal = (): FairleadError | null => this.#unwritable(life);
    return {
      get fault() {
        return refusal();
      },
      load: () =>
        this.#scheduler.later(life, this.#chance.int(0, 10), 'disk: load', () => {
          if (this.isReadOnly) {
            this.#break(life);
            return { ...this.records(), origin: 'existing' };
          }
          this.#store = this.#open(this.#place, bootId);
          return this.#store.load();
        }),
      commit: (changes) =>
        new Promise<void>((resolve, reject) => {
          if (!life.alive) return;
          this.#queue.push({ changes, done: (error) => (error === null ? resolve() : reject(error)) });
          this.#write(life);
        }),
      close: () => this.#scheduler.later(life, 1, 'disk: close', () => undefined),
    };
  }

  #unwritable(life: Life): FairleadError | null {
    if (!this.isReadOnly && this.#broken !== life) return null;
    return new FairleadError('unavailable', 'The ledger can no longer be written to.', { field: 'state_dir' });
  }

  #break(life: Life): void {
    if (this.#broken === life) return;
    this.#broken = life;
    this.onBroken();
  }

  #refusal(life: Life): FairleadError | null {
    const unwritable = this.#unwritable(life);
    if (unwritable !== null) return unwritable;
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
      const refusal = this.#refusal(life);
      this.#scheduler.after(life, this.#chance.int(0, this.slowness), `disk: commit of ${count}`, () => {
        const members = this.#queue.splice(0, count);
        this.#writing = false;
        if (refusal === null) {
          for (const { changes } of members) this.#apply(changes);
          this.acknowledged += members.length;
          this.#maybeCopy();
        }
        for (const { done } of members) done(refusal);
        if (refusal?.code === 'unavailable') this.#break(life);
        if (this.#queue.length > 0) this.#write(life);
      });
    });
  }

  #apply(changes: readonly Change[]): void {
    if (this.#store === null) throw new Error('a commit came before the ledger was loaded');
    this.#store.apply(changes);
  }

  /** The agent dies somewhere between this commit, its mark and its witness. */
  #applyCutOff(changes: readonly Change[]): void {
    const place = this.#place;
    const { mark, witness } = place;
    this.#apply(changes);
    const written = this.copied ? this.#chance.int(0, 2) : 2;
    if (written < 2) place.witness = witness;
    if (written < 1) place.mark = mark;
  }

  #maybeCopy(): void {
    const { database, mark } = this.#place;
    if (!this.copied || database === null || !this.#chance.once(COPIED)) return;
    this.#copies.push({ database: copyOf(database), mark });
    if (this.#copies.length > MAX_COPIES) this.#copies.shift()?.database.close();
    this.#scheduler.note('disk: state_dir is copied');
  }
}
