// One effect at a time on one thing (a leaf, a domain, a disk), whoever asked for it and over whichever connection. Different things
// never wait for each other. A lock is held until the work is really over, not until somebody stops waiting for it.

import type { Clock } from './clock.js';
import { FairleadError } from './errors.js';
import { MAX_LOCK_QUEUE } from './limits.js';

/** Gives the lock back; once. */
export type Unlock = () => void;

/** Locks by the name of what they lock. */
export class KeyLocks {
  readonly #clock: Clock;
  /** What is here is locked; the list holds who waits, first come first served. */
  readonly #queues = new Map<string, (() => void)[]>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The lock of `key`, or null if it was not free within `ms`, or before the signal aborted. */
  async take(key: string, ms: number, signal?: AbortSignal): Promise<Unlock | null> {
    const queue = this.#queues.get(key);
    if (queue === undefined) {
      this.#queues.set(key, []);
      return this.#unlock(key);
    }
    if (queue.length >= MAX_LOCK_QUEUE) {
      throw new FairleadError(
        'resource-exhausted',
        'Too many requests wait for the same volume or domain. Try again later.',
      );
    }
    const mine = new AbortController();
    const granted = (): void => mine.abort();
    queue.push(granted);
    await this.#clock.sleep(ms, signal === undefined ? mine.signal : AbortSignal.any([mine.signal, signal]));
    if (mine.signal.aborted) return this.#unlock(key);
    queue.splice(queue.indexOf(granted), 1);
    return null;
  }

  /** Whether somebody has the lock. */
  isTaken(key: string): boolean {
    return this.#queues.has(key);
  }

  #unlock(key: string): Unlock {
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      const next = this.#queues.get(key)?.shift();
      if (next === undefined) this.#queues.delete(key);
      else next();
    };
  }
}
