// What the broker remembers of mount units, so that systemd (or the control groups) need not be asked at every look at a
// volume that has been mounted for months. Only that no helper is at work any more is remembered, only beside the mount it
// was seen with, and only as long as the broker itself starts no helper there: nobody else starts one in that unit.

import type { MountEntry } from '../core/mountinfo.js';
import type { UnitState } from '../core/observation.js';

interface Seen {
  readonly mountId: number;
  readonly dev: string;
  readonly unit: Exclude<UnitState, 'starting'>;
}

/** See the file's head. Forgotten with the process. */
export class UnitsSeen {
  /** By mountpoint. */
  readonly #seen = new Map<string, Seen>();
  /** Helpers begun so far. A look that began before the latest one tells nothing. */
  #begun = 0;

  /** To be taken before a unit is asked, and given to {@link learn}. */
  get moment(): number {
    return this.#begun;
  }

  /** The state that the unit was last seen in beside this mount, where asking again would tell nothing new; else null. */
  recall(mountpoint: string, top: MountEntry | undefined): UnitState | null {
    const seen = this.#seen.get(mountpoint);
    if (seen === undefined) return null;
    return top !== undefined && seen.mountId === top.mountId && seen.dev === top.dev ? seen.unit : null;
  }

  /** Remembers what was asked at `moment`, while `top` was mounted; `undefined`: nothing is. */
  learn(mountpoint: string, top: MountEntry | undefined, state: UnitState, moment: number): void {
    if (top === undefined || state === 'starting' || moment !== this.#begun) this.#seen.delete(mountpoint);
    else this.#seen.set(mountpoint, { mountId: top.mountId, dev: top.dev, unit: state });
  }

  /** A helper is about to be started for the leaf. */
  begin(mountpoint: string): void {
    this.#begun += 1;
    this.#seen.delete(mountpoint);
  }
}
