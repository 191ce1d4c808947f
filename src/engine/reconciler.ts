// Reconciliation at start: what the ledger remembers meets what the world shows, leaf by leaf, each under its lock. What
// was open is settled first, then put in order like any other.

import { errorBody, errorFromBody } from '../core/errors.js';
import { RETRY_FIRST_MS, RETRY_LAST_MS } from '../core/limits.js';
import type { Inventory } from '../core/broker-api.js';
import type { LedgerSnapshot } from '../core/records.js';
import type { InventoryItem } from '../core/observation.js';
import type { Leaf, Volume } from '../core/volume.js';
import type { Caretaker } from './caretaker.js';
import type { Context } from './context.js';
import { noteUnrecorded } from './found.js';
import type { Unlock } from './locks.js';
import { putInOrder, type Order } from './order.js';
import { settle } from './settle.js';

/** Milliseconds for one look at the whole host. */
const INVENTORY_BUDGET_MS = 30_000;
/** Milliseconds that one leaf may keep the others waiting. */
const LEAF_PATIENCE_MS = 5000;
/** Leaves without an open operation that are put in order at the same time. */
const LEAVES_AT_ONCE = 32;

/** Puts the world in order once, after a start. */
export class Reconciler {
  readonly #context: Context;
  readonly #caretaker: Caretaker;
  /** Leaves that are not in order yet: a hold may come of each. */
  #unsettled = 0;

  constructor(context: Context, caretaker: Caretaker) {
    this.#context = context;
    this.#caretaker = caretaker;
  }

  /**
   * Loads the ledger, takes the locks of all leaves with open operations (so that no request comes before them), and
   * goes on in the background. Resolves when requests may come; `done` is called when all has been gone over.
   */
  async start(done: () => void): Promise<void> {
    const { state, ports, locks } = this.#context;
    const snapshot = await ports.ledger.load();
    state.restore(snapshot);
    if (snapshot.origin !== 'existing') ports.log.warn('ledger-begun-anew', { origin: snapshot.origin });
    for (const { table, key, reason } of snapshot.setAside) ports.log.warn('ledger-doubted', { table, key, reason });
    const open = new Map<Leaf, Unlock>();
    for (const leaf of state.operations.keys()) open.set(leaf, await locks.acquire(leaf));
    void this.#work(open, snapshot.origin, done);
  }

  async #work(open: Map<Leaf, Unlock>, origin: LedgerSnapshot['origin'], done: () => void): Promise<void> {
    const { stopping, ports, state } = this.#context;
    try {
      const inventory = await this.#inventory([...open.keys()]);
      const volumes = [...this.#volumes(inventory.items).values()];
      const begun = volumes.filter(({ leaf }) => open.has(leaf));
      const queue = volumes.filter(({ leaf }) => !open.has(leaf));
      const next = async (): Promise<void> => {
        for (let volume = queue.shift(); volume !== undefined && !stopping.signal.aborted; volume = queue.shift()) {
          await this.#patiently(this.#reconcile(volume, open));
        }
      };
      // What was open may be stuck for long, so each of these has a task of its own; the rest share a few.
      await Promise.all([
        ...begun.map((volume) => this.#patiently(this.#reconcile(volume, open))),
        ...Array.from({ length: LEAVES_AT_ONCE }, next),
      ]);
      this.#context.reconciled = true;
      // Told of by an earlier agent, and everything that was found then has been dealt with.
      if (origin === 'existing' && this.#unsettled === 0) await this.#context.settleDoubt();
      done();
      ports.log.info('reconciled', { leaves: volumes.length, strangers: state.strangers.size });
    } catch (error) {
      ports.log.warn('reconciliation-ended', { error });
    } finally {
      for (const unlock of open.values()) unlock();
    }
  }

  /** The world at start, waited for as long as it takes. Whoever asks for an open leaf meanwhile is told why it waits. */
  async #inventory(open: readonly Leaf[]): Promise<Inventory> {
    const context = this.#context;
    for (let pause = RETRY_FIRST_MS; ; pause = Math.min(pause * 2, RETRY_LAST_MS)) {
      context.checkRunning();
      try {
        return await context.ports.broker.inventory('all', INVENTORY_BUDGET_MS);
      } catch (error) {
        context.ports.log.warn('waiting-for-the-broker', { error });
        // Whatever it was: what is open stays locked until it is known that nothing acts there.
        for (const leaf of open) context.setStuck(leaf, errorFromBody(errorBody(error)));
      }
      await context.pause(pause);
    }
  }

  /** Every volume that is recorded, or found mounted under a base with a name that its leaf proves. */
  #volumes(items: readonly InventoryItem[]): Map<Leaf, Volume> {
    const { state } = this.#context;
    const volumes = new Map<Leaf, Volume>();
    for (const { volume } of state.operations.values()) volumes.set(volume.leaf, volume);
    for (const { volume } of state.mounts.values()) volumes.set(volume.leaf, volume);
    for (const item of items) {
      if (volumes.has(item.leaf)) continue;
      const volume = noteUnrecorded(this.#context, item);
      if (volume !== null) volumes.set(item.leaf, volume);
    }
    return volumes;
  }

  /** Waits for one leaf, but not for ever: if it hangs it goes on by itself, and the others get their turn. */
  async #patiently(work: Promise<void>): Promise<void> {
    const over = new AbortController();
    await Promise.race([work, this.#context.ports.clock.sleep(LEAF_PATIENCE_MS, over.signal)]);
    over.abort();
  }

  async #reconcile(volume: Volume, open: Map<Leaf, Unlock>): Promise<void> {
    const context = this.#context;
    const { leaf } = volume;
    const mine = open.get(leaf);
    open.delete(leaf);
    this.#unsettled += 1;
    const unlock = mine ?? (await context.locks.acquire(leaf));
    try {
      context.checkRunning();
      const order = await context.track(this.#settleAndPutInOrder(volume));
      if (order === 'in-order') this.#unsettled -= 1;
      else this.#caretaker.schedule(volume);
    } catch (error) {
      context.ports.log.warn('leaf-not-reconciled', { leaf, error });
      this.#caretaker.schedule(volume);
    } finally {
      unlock();
    }
  }

  /** What an earlier agent had begun may still act. */
  async #settleAndPutInOrder(volume: Volume): Promise<Order> {
    if (this.#context.state.operations.has(volume.leaf)) await settle(this.#context, volume);
    return putInOrder(this.#context, volume);
  }
}
