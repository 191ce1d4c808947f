// One after the other: operations on one disk of one domain, so that none undoes what another one did, and the choice of a target in one
// domain, so that two do not choose the same. Different keys never wait for each other.

import type { Clock } from '../../core/clock.js';
import type { Deadline } from '../../core/deadline.js';
import type { DomainUuid } from '../../core/domains.js';
import { FairleadError } from '../../core/errors.js';
import { KeyLocks } from '../../core/key-locks.js';
import type { DiskName } from '../../core/names.js';
import type { Leaf } from '../../core/volume.js';

/** Who is at work on what. */
export class Turns {
  readonly #locks: KeyLocks;

  constructor(clock: Clock) {
    this.#locks = new KeyLocks(clock);
  }

  /**
   * Does the work when it is its turn. Rejects with `deadline-exceeded` when the turn does not come in time or the client has gone, and with
   * `resource-exhausted` when too many wait; the work has not begun then.
   */
  async take<T>(key: string, deadline: Deadline, signal: AbortSignal | null, work: () => Promise<T>): Promise<T> {
    const unlock = await this.#locks.take(key, deadline.remaining, signal ?? undefined);
    if (unlock === null) {
      throw new FairleadError(
        'deadline-exceeded',
        'An earlier request on this disk or domain was not done in time. Try again.',
      );
    }
    try {
      return await work();
    } finally {
      unlock();
    }
  }

  /** Whether somebody is at work or waits. */
  isTaken(key: string): boolean {
    return this.#locks.isTaken(key);
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
