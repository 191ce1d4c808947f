// One after the other: operations on one disk of one domain, so that none undoes what another one did, and the choice of a target in one
// domain, so that two do not choose the same. Different keys never wait for each other.

import type { Clock } from '../../core/clock.js';
import type { Deadline } from '../../core/deadline.js';
import type { DomainUuid } from '../../core/domains.js';
import { FairleadError } from '../../core/errors.js';
import { MAX_LOCK_QUEUE } from '../../core/limits.js';
import type { DiskName } from '../../core/names.js';
import type { Leaf } from '../../core/volume.js';

/** Who waits for each key. */
export class Turns {
  readonly #clock: Clock;
  readonly #waiting = new Map<string, (() => void)[]>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Does the work when it is its turn. Rejects with `deadline-exceeded` when the turn does not come in time or the client has gone, and with
   * `resource-exhausted` when too many wait; the work has not begun then.
   */
  async take<T>(key: string, deadline: Deadline, signal: AbortSignal | null, work: () => Promise<T>): Promise<T> {
    await this.#enter(key, deadline, signal);
    try {
      return await work();
    } finally {
      this.#leave(key);
    }
  }

  /** Whether somebody is at work or waits. */
  isTaken(key: string): boolean {
    return this.#waiting.has(key);
  }

  async #enter(key: string, deadline: Deadline, signal: AbortSignal | null): Promise<void> {
    const queue = this.#waiting.get(key);
    if (queue === undefined) {
      this.#waiting.set(key, []);
      return;
    }
    if (queue.length >= MAX_LOCK_QUEUE) {
      throw new FairleadError('resource-exhausted', 'Too many requests wait for this disk. Try again later.');
    }
    const entered = new AbortController();
    const over = signal === null ? entered.signal : AbortSignal.any([entered.signal, signal]);
    try {
      await new Promise<void>((enter, refuse) => {
        queue.push(enter);
        void this.#clock.sleep(deadline.remaining, over).then(() => {
          const place = queue.indexOf(enter);
          if (place < 0) return;
          queue.splice(place, 1);
          refuse(
            new FairleadError(
              'deadline-exceeded',
              'An earlier request on this disk or domain was not done in time. Try again.',
            ),
          );
        });
      });
    } finally {
      entered.abort();
    }
  }

  #leave(key: string): void {
    const next = this.#waiting.get(key)?.shift();
    if (next === undefined) this.#waiting.delete(key);
    else next();
  }
}

/** The key of one disk of one domain. */
export function diskTurn(uuid: DomainUuid, leaf: Leaf, disk: DiskName): string {
  return `${uuid} ${leaf}/${disk}`;
}

/** The key of a domain's targets. Taken while a disk's turn is held, never the other way round. */
export function domainTurn(uuid: DomainUuid): string {
  return uuid;
}
