// A request's time on the broker's side, and waiting that ends with it. Nothing here interrupts work: whoever gives up
// waiting knows that the work may still go on, and says so.

import { type Clock, NOT_NEEDED } from '../core/clock.js';

/** The moment by which a request must be answered. */
export class Deadline {
  readonly #clock: Clock;
  readonly #at: number;

  /** `ms` from now. */
  constructor(clock: Clock, ms: number) {
    this.#clock = clock;
    this.#at = clock.now() + ms;
  }

  /** Milliseconds left; 0 when it has passed. */
  get remaining(): number {
    return Math.max(0, this.#at - this.#clock.now());
  }

  /** Milliseconds left, but no more than `limit`. */
  atMost(limit: number): number {
    return Math.min(limit, this.remaining);
  }

  /** Milliseconds left before the last `reserve` ones; 0 when only those are left. */
  before(reserve: number): number {
    return Math.max(0, this.remaining - reserve);
  }
}

/** The answer of {@link within} when the time was up first. */
export const LATE = Symbol('late');

/** What `work` comes to, or LATE after `ms`. Work that is late goes on; a later failure of it is nobody's. */
export async function within<T>(clock: Clock, work: Promise<T>, ms: number): Promise<T | typeof LATE> {
  const done = new AbortController();
  const timeUp = clock.sleep(ms, done.signal).then((): typeof LATE => LATE);
  try {
    return await Promise.race([work, timeUp]);
  } finally {
    done.abort(NOT_NEEDED);
  }
}

/** Looks until `look` answers something else than null, at most `ms`; then null. The pauses grow from `first` to `last`. */
export async function until<T>(
  clock: Clock,
  ms: number,
  pauses: { readonly first: number; readonly last: number },
  look: () => T | null | Promise<T | null>,
): Promise<T | null> {
  const deadline = new Deadline(clock, ms);
  for (let pause = pauses.first; ; pause = Math.min(pause * 2, pauses.last)) {
    const seen = await look();
    if (seen !== null || deadline.remaining === 0) return seen;
    await clock.sleep(deadline.atMost(pause));
  }
}
