// Hears from the broker where others mount and unmount, and has each such leaf looked at: what is recorded by the health
// monitor, what is not recorded is put in order (the volume is held), or shown as somebody else's. What a request of ours
// does at a leaf is its own affair: while somebody has the lock, the leaf waits.

import { FairleadError } from '../core/errors.js';
import { RETRY_FIRST_MS, RETRY_LAST_MS, WATCH_GAP_MS } from '../core/limits.js';
import type { InventoryItem } from '../core/observation.js';
import { BACKEND_NAMES, type Leaf, type LeafName } from '../core/volume.js';
import type { Caretaker } from './caretaker.js';
import type { Context } from './context.js';
import { noteUnrecorded } from './found.js';

/** Milliseconds that a question for changes waits at the broker. */
const WATCH_BUDGET_MS = 20_000;
/** The same while a leaf waits for whoever has its lock, or for the end of a client. */
const PENDING_BUDGET_MS = 1000;
/** Milliseconds for finding out what lies at leaves. */
const INVENTORY_MS = 10_000;

/** The engine's ears. */
export class LeafWatcher {
  readonly #context: Context;
  readonly #caretaker: Caretaker;
  /** Looks at a recorded mount in use, unless somebody is at work on it. */
  readonly #look: (leaf: Leaf) => void;
  #seen: number | null = null;
  /** Changed leaves that somebody was at work on, or whose records were on their way out. */
  readonly #pending = new Map<Leaf, LeafName>();

  constructor(context: Context, caretaker: Caretaker, look: (leaf: Leaf) => void) {
    this.#context = context;
    this.#caretaker = caretaker;
    this.#look = look;
  }

  /** Begins, after the start is over; ends with the engine. */
  start(): void {
    void this.#work();
  }

  async #work(): Promise<void> {
    const { ports, stopping } = this.#context;
    let patience = RETRY_FIRST_MS;
    while (!stopping.signal.aborted) {
      try {
        await this.#hear();
        patience = RETRY_FIRST_MS;
        await ports.clock.sleep(WATCH_GAP_MS, stopping.signal);
      } catch (error) {
        if (!(error instanceof FairleadError)) ports.log.warn('watch-failed', { error });
        this.#seen = null;
        // A question that has run out has waited long enough: a broker, or an agent, that was stopped must find one open
        // when it goes on.
        const isOverdue = error instanceof FairleadError && error.code === 'deadline-exceeded';
        await this.#context.pause(isOverdue ? RETRY_FIRST_MS : patience);
        patience = Math.min(patience * 2, RETRY_LAST_MS);
      }
    }
  }

  async #hear(): Promise<void> {
    const { broker } = this.#context.ports;
    const isWaiting = this.#pending.size > 0 || this.#ending().length > 0;
    const { version, leaves } = await broker.watch(this.#seen, isWaiting ? PENDING_BUDGET_MS : WATCH_BUDGET_MS);
    if (this.#context.stopping.signal.aborted) return;
    if (leaves === 'all') await this.survey();
    else await this.#lookAt([...leaves, ...this.#pending.values(), ...this.#ending()]);
    this.#seen = version;
  }

  /** Leaves without a record that have a client of an earlier mount: with its end no mount changes. */
  #ending(): readonly LeafName[] {
    return [...this.#context.state.strangers.values()].flatMap(({ leaf, backend: name, state }) => {
      const backend = BACKEND_NAMES.find((known) => known === name);
      return state === 'foreign' || backend === undefined ? [] : [{ leaf, backend }];
    });
  }

  /** Goes over everything that lies below the bases once. Rejects when nobody can look. */
  async survey(): Promise<void> {
    const { state, ports } = this.#context;
    const { items } = await ports.broker.inventory('all', INVENTORY_MS);
    const found = new Set(items.map(({ leaf }) => leaf));
    for (const leaf of [...state.strangers.keys()]) if (!found.has(leaf)) state.strangers.delete(leaf);
    for (const leaf of state.mounts.keys()) if (!found.has(leaf)) this.#recorded(leaf, null);
    for (const item of items) {
      const backend = BACKEND_NAMES.find((name) => name === item.backend);
      if (backend !== undefined) this.#takeOrWait({ leaf: item.leaf, backend }, item);
    }
  }

  async #lookAt(names: readonly LeafName[]): Promise<void> {
    if (names.length === 0) return;
    this.#pending.clear();
    const { items } = await this.#context.ports.broker.inventory(names, INVENTORY_MS);
    for (const name of names) {
      const item = items.find(({ leaf, backend }) => leaf === name.leaf && backend === name.backend);
      this.#takeOrWait(name, item ?? null);
    }
  }

  #takeOrWait(name: LeafName, item: InventoryItem | null): void {
    if (!this.#take(name.leaf, item)) this.#pending.set(name.leaf, name);
  }

  /** False: the leaf is to be looked at again, since what is there now may be nobody's when the record is gone. */
  #take(leaf: Leaf, item: InventoryItem | null): boolean {
    const { state, locks } = this.#context;
    if (locks.isHeld(leaf)) return false;
    if (state.mounts.has(leaf) || state.operations.has(leaf)) {
      this.#recorded(leaf, item);
      return state.isUsed(leaf);
    }
    if (item === null) {
      state.strangers.delete(leaf);
      return true;
    }
    const volume = noteUnrecorded(this.#context, item);
    if (volume !== null) this.#caretaker.schedule(volume);
    return true;
  }

  /** Has a recorded mount looked at, unless what is there is what was last seen there. */
  #recorded(leaf: Leaf, item: InventoryItem | null): void {
    const { state } = this.#context;
    if (!state.mounts.has(leaf)) return;
    const isAsSeen = JSON.stringify(item?.mounts ?? []) === state.sightOf(leaf).mounts;
    if (!isAsSeen) this.#look(leaf);
  }
}
