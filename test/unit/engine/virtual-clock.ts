// Time for tests of the engine: it passes only when a test lets it pass. No real timer is set here; setImmediate only
// lets the promises that are ready run to their end.

import type { Clock } from '../../../src/core/clock.js';

interface Sleeper {
  readonly at: number;
  readonly wake: () => void;
}

/** A clock that a test moves. */
export class VirtualClock implements Clock {
  #now = 0;
  readonly #sleepers = new Set<Sleeper>();

  now(): number {
    return this.#now;
  }

  date(): string {
    return new Date(this.#now).toISOString();
  }

  /** How many sleep. */
  get sleeping(): number {
    return this.#sleepers.size;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted === true) {
        resolve();
        return;
      }
      const wake = (): void => {
        this.#sleepers.delete(sleeper);
        signal?.removeEventListener('abort', wake);
        resolve();
      };
      const sleeper: Sleeper = { at: this.#now + Math.max(0, ms), wake };
      this.#sleepers.add(sleeper);
      signal?.addEventListener('abort', wake);
    });
  }

  /** Lets `ms` pass: whoever sleeps is woken at its moment, in order, and runs as far as it can before time goes on. */
  async pass(ms: number): Promise<void> {
    const until = this.#now + ms;
    await quiet();
    for (;;) {
      const due = [...this.#sleepers].filter(({ at }) => at <= until).sort((left, right) => left.at - right.at)[0];
      if (due === undefined) break;
      this.#now = Math.max(this.#now, due.at);
      due.wake();
      await quiet();
    }
    this.#now = until;
  }
}

/** Resolves when no promise callback is left to run: Node runs all of them before the next immediate. */
export function quiet(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
