// One effect at a time on one leaf, whoever asked for it and over whichever connection. Different leaves never wait for
// each other. The lock is held until the work is really over, not until somebody stops waiting for it.

import type { Clock } from '../core/clock.js';
import { FairleadError } from '../core/errors.js';
import { MAX_LOCK_QUEUE } from '../core/limits.js';

/** Gives the lock back; once. */
export type Unlock = () => void;

/** The locks of all leaves. */
export class LeafLocks {
  readonly #clock: Clock;
  /** A leaf that is here is locked; the list holds who waits, first come first served. */
  readonly #queues = new Map<string, (() => void)[]>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The lock of the leaf that is mounted at `mountpoint`, or null if it was not free within `ms`. */
  async take(mountpoint: string, ms: number): Promise<Unlock | null> {
    const queue = this.#queues.get(mountpoint);
    if (queue === undefined) {
      this.#queues.set(mountpoint, []);
      return this.#unlock(mountpoint);
    }
    if (queue.length >= MAX_LOCK_QUEUE) {
      throw new FairleadError('resource-exhausted', 'Too many requests wait for this volume. Try again later.');
    }
    const mine = new AbortController();
    const granted = (): void => mine.abort();
    queue.push(granted);
    await this.#clock.sleep(ms, mine.signal);
    if (mine.signal.aborted) return this.#unlock(mountpoint);
    queue.splice(queue.indexOf(granted), 1);
    return null;
  }

  #unlock(mountpoint: string): Unlock {
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      const next = this.#queues.get(mountpoint)?.shift();
      if (next === undefined) this.#queues.delete(mountpoint);
      else next();
    };
  }
}
