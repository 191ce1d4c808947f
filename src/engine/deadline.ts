// A request's time. Work done for it asks what remains; nothing here interrupts anything by itself.

import type { Clock } from '../core/clock.js';

/** The moment by which a request must be answered, and whether anybody still waits for the answer. */
export class Deadline {
  readonly #clock: Clock;
  readonly #at: number;
  readonly signal: AbortSignal | undefined;

  /** `ms` from now; `signal` aborts when the client has gone away. */
  constructor(clock: Clock, ms: number, signal?: AbortSignal) {
    this.#clock = clock;
    this.#at = clock.now() + ms;
    this.signal = signal;
  }

  /** Milliseconds left; 0 when it has passed. */
  get remaining(): number {
    return Math.max(0, this.#at - this.#clock.now());
  }

  /** Milliseconds left, but no more than `limit`. */
  atMost(limit: number): number {
    return Math.min(limit, this.remaining);
  }

  /** True when the time is up or the client has gone. */
  isOver(): boolean {
    return this.remaining === 0 || this.signal?.aborted === true;
  }
}
