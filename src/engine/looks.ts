// Looks at volumes that several requests may share. Whoever waits for a volume's lock while somebody else has it probed need
// not have it probed again, if that probe began after his own request had come. A look is good for as long as nothing of ours
// has been done to the leaf since; it is made, kept and used under the leaf's lock only.

import type { Clock } from '../core/clock.js';
import { SHARED_LOOK_MS } from '../core/limits.js';
import type { Observation } from '../core/observation.js';
import type { Access } from '../core/verdict.js';
import type { Leaf } from '../core/volume.js';

/** A place in the order of requests and looks. */
export type Moment = number & { readonly moment: true };

interface Look {
  readonly began: Moment;
  /** Clock time after which it is too old to be shared. */
  readonly until: number;
  readonly access: Access;
  readonly observation: Observation;
}

/** See the file's head. */
export class Looks {
  readonly #kept = new Map<Leaf, Look>();
  readonly #clock: Clock;
  #last = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The moment at which a request comes, or a look begins: each is later than all before. */
  next(): Moment {
    this.#last += 1;
    return this.#last as Moment;
  }

  /** Keeps a look that has just found the volume usable for `access`. */
  keep(began: Moment, access: Access, observation: Observation): void {
    this.#kept.set(observation.leaf, { began, until: this.#clock.now() + SHARED_LOOK_MS, access, observation });
  }

  /**
   * A look that began after `came` and found the volume usable for `access`; null if there is none. What it says of a disk
   * is for whoever had it made.
   */
  since(leaf: Leaf, came: Moment, access: Access): Observation | null {
    const look = this.#kept.get(leaf);
    if (look === undefined || look.began < came || this.#clock.now() > look.until) return null;
    return look.access === 'read-write' || access === 'read-only' ? look.observation : null;
  }

  /** Something is about to be done to the leaf. */
  forget(leaf: Leaf): void {
    this.#kept.delete(leaf);
  }
}
