// Works off what could not be finished at once: releasing mounts, mounts that have users and are not there. One task a
// leaf at most, with growing pauses, each attempt under the leaf's lock. Nobody waits for it; what it does not get done
// before the agent ends is found again in the ledger.

import { RETRY_FIRST_MS, RETRY_LAST_MS, WATCH_MS } from '../core/limits.js';
import type { Leaf, Volume } from '../core/volume.js';
import type { Context } from './context.js';
import { putInOrder, type Order } from './order.js';

/** The engine's background work. */
export class Caretaker {
  readonly #context: Context;
  readonly #tasks = new Set<Leaf>();

  constructor(context: Context) {
    this.#context = context;
  }

  /** Sees to it that the leaf is put in order as soon as that is possible. Does nothing if that is under way. */
  schedule(volume: Volume): void {
    if (this.#tasks.has(volume.leaf)) return;
    this.#tasks.add(volume.leaf);
    void this.#work(volume);
  }

  async #work(volume: Volume): Promise<void> {
    for (let pause = RETRY_FIRST_MS; ; pause = Math.min(pause * 2, RETRY_LAST_MS)) {
      await this.#context.pause(pause);
      const order = await this.#attempt(volume);
      if (order === 'in-order') return;
      if (order === 'watch') pause = WATCH_MS / 2;
    }
  }

  async #attempt(volume: Volume): Promise<Order> {
    const context = this.#context;
    const { leaf } = volume;
    const unlock = await context.locks.acquire(leaf);
    try {
      if (context.stopping.signal.aborted) return 'in-order';
      const order = await context.track(putInOrder(context, volume));
      // Before the lock is free, so that whoever comes next can schedule anew.
      if (order === 'in-order') this.#tasks.delete(leaf);
      return order;
    } catch (error) {
      context.ports.log.warn('not-in-order', { leaf, error });
      return 'again';
    } finally {
      unlock();
    }
  }
}
