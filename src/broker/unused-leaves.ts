// Leaf directories that were made here and on which nothing has been mounted since. There is a limit to their number, and
// each is removed after a while: whoever asks for a directory wants to mount there at once.

import type { Clock } from '../core/clock.js';
import { UNUSED_LEAF_MS } from '../core/limits.js';
import type { Place } from './place.js';

/** See the file's head. Forgotten with the process: what an earlier one made is the agent's to find and remove. */
export class UnusedLeaves {
  readonly #clock: Clock;
  /** By mountpoint, the oldest first. */
  readonly #made = new Map<string, { readonly place: Place; readonly at: number }>();
  #isWatched = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get count(): number {
    return this.#made.size;
  }

  /** A leaf was made. `remove` is called when it is old, and answers whether it is to be called again later. */
  add(place: Place, remove: (place: Place) => Promise<'later' | 'done'>): void {
    this.#made.delete(place.mountpoint);
    this.#made.set(place.mountpoint, { place, at: this.#clock.now() });
    if (!this.#isWatched) void this.#watch(remove);
  }

  /** Something was mounted there, or the leaf was removed. */
  drop({ mountpoint }: Place): void {
    this.#made.delete(mountpoint);
  }

  async #watch(remove: (place: Place) => Promise<'later' | 'done'>): Promise<void> {
    this.#isWatched = true;
    for (let [oldest] = this.#made.values(); oldest !== undefined; [oldest] = this.#made.values()) {
      const age = this.#clock.now() - oldest.at;
      if (age < UNUSED_LEAF_MS) {
        await this.#clock.sleep(UNUSED_LEAF_MS - age);
        continue;
      }
      const { place } = oldest;
      const end = await remove(place);
      if (this.#made.get(place.mountpoint) !== oldest) continue;
      this.#made.delete(place.mountpoint);
      if (end === 'later') this.#made.set(place.mountpoint, { place, at: this.#clock.now() });
    }
    this.#isWatched = false;
  }
}
