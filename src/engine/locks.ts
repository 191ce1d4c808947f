// One lock a volume. Requests for one volume come one after the other, in their order; volumes never wait for each other.
// A lock is freed by whoever holds it and by nothing else: no deadline, no client's death frees it. When its holder is
// stuck, those who wait are told so at once instead of being kept until their own deadlines.

import { FairleadError } from '../core/errors.js';
import { MAX_LOCK_QUEUE } from '../core/limits.js';
import type { Clock } from '../core/clock.js';
import type { Leaf } from '../core/volume.js';
import type { Deadline } from './deadline.js';

interface Waiter {
  readonly enter: () => void;
  readonly refuse: (error: FairleadError) => void;
  /** Clients are turned away from a stuck volume; the engine's own work waits. */
  readonly patient: boolean;
}

interface Lock {
  readonly queue: Waiter[];
  stuck: FairleadError | null;
}

/** Frees a lock. Calling it twice does nothing. */
export type Unlock = () => void;

/** The locks of all volumes. */
export class Locks {
  readonly #clock: Clock;
  readonly #held = new Map<Leaf, Lock>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Waits for the lock as long as the engine itself may wait: for ever. */
  async acquire(leaf: Leaf): Promise<Unlock> {
    if (this.#take(leaf)) return this.#unlocker(leaf);
    const lock = this.#lockOf(leaf);
    await new Promise<void>((enter, refuse) => lock.queue.push({ enter, refuse, patient: true }));
    return this.#unlocker(leaf);
  }

  /** Whether somebody has the lock. */
  isHeld(leaf: Leaf): boolean {
    return this.#held.has(leaf);
  }

  /** Takes the lock if nobody has it; null otherwise. */
  tryAcquire(leaf: Leaf): Unlock | null {
    return this.#take(leaf) ? this.#unlocker(leaf) : null;
  }

  /** Waits for the lock within the deadline. Rejects with `deadline-exceeded`, `stuck`, `unavailable` or `resource-exhausted`. */
  async acquireWithin(leaf: Leaf, deadline: Deadline): Promise<Unlock> {
    if (this.#take(leaf)) return this.#unlocker(leaf);
    const lock = this.#lockOf(leaf);
    if (lock.stuck !== null) throw lock.stuck;
    if (lock.queue.length >= MAX_LOCK_QUEUE) {
      throw new FairleadError('resource-exhausted', 'Too many requests wait for this volume. Try again later.', {
        leaf,
      });
    }
    const entered = new AbortController();
    const signal = deadline.signal === undefined ? entered.signal : AbortSignal.any([entered.signal, deadline.signal]);
    try {
      await new Promise<void>((enter, refuse) => {
        const waiter: Waiter = { enter, refuse, patient: false };
        lock.queue.push(waiter);
        void this.#clock.sleep(deadline.remaining, signal).then(() => {
          const place = lock.queue.indexOf(waiter);
          if (place < 0) return;
          lock.queue.splice(place, 1);
          refuse(
            new FairleadError(
              'deadline-exceeded',
              'An earlier request on this volume was not done in time. Try again.',
              { leaf },
            ),
          );
        });
      });
    } finally {
      entered.abort();
    }
    return this.#unlocker(leaf);
  }

  /** Tells everybody who waits, and everybody who comes, that the holder cannot go on for now. */
  setStuck(leaf: Leaf, error: FairleadError): void {
    const lock = this.#held.get(leaf);
    if (lock === undefined) return;
    lock.stuck = error;
    const impatient = lock.queue.filter((waiter) => !waiter.patient);
    lock.queue.splice(0, lock.queue.length, ...lock.queue.filter((waiter) => waiter.patient));
    for (const waiter of impatient) waiter.refuse(error);
  }

  /** The holder goes on. */
  clearStuck(leaf: Leaf): void {
    const lock = this.#held.get(leaf);
    if (lock !== undefined) lock.stuck = null;
  }

  #take(leaf: Leaf): boolean {
    if (this.#held.has(leaf)) return false;
    this.#held.set(leaf, { queue: [], stuck: null });
    return true;
  }

  #lockOf(leaf: Leaf): Lock {
    const lock = this.#held.get(leaf);
    if (lock === undefined) throw new Error('the lock is not held');
    return lock;
  }

  #unlocker(leaf: Leaf): Unlock {
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      const lock = this.#lockOf(leaf);
      lock.stuck = null;
      const next = lock.queue.shift();
      if (next === undefined) this.#held.delete(leaf);
      else next.enter();
    };
  }
}
