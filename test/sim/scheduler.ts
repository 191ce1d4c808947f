// Virtual time. Everything that happens in the simulation is an event with a moment; one event runs at a time, then the
// promises it settled run to their end, then the invariants are checked. Events of one moment run in an order that the
// seed draws. No real timer is ever set here; setImmediate only lets the promise queue run dry.

import type { Clock } from '../../src/sys/ports.js';
import type { Chance } from './prng.js';

/** Virtual time zero, as a date: any will do. */
const EPOCH_MS = Date.UTC(2026, 0, 1);

/** One life of a process. After `alive` turned false nothing that belongs to it happens any more. */
export interface Life {
  readonly name: string;
  alive: boolean;
}

/** Something that will happen. */
interface Pending {
  readonly at: number;
  /** Drawn by the seed: orders events of one moment. */
  readonly order: number;
  readonly label: string;
  readonly life: Life | null;
  readonly run: () => void;
  cancelled: boolean;
}

/** A promise that an event settles, with a way to cancel the event. */
export interface Timer {
  cancel(): void;
}

/** Events in virtual time, and the trace of what happened. */
export class Scheduler {
  /** Milliseconds since the simulation began. */
  now = 0;
  /** Events run so far. */
  steps = 0;
  /** What happened, one line each; empty unless kept. */
  readonly lines: string[] = [];
  readonly #heap: Pending[] = [];
  readonly #chance: Chance;
  readonly #keep: 'lines' | 'hash-only';
  #hash = 0x811c9dc5;

  constructor(chance: Chance, keep: 'lines' | 'hash-only') {
    this.#chance = chance;
    this.#keep = keep;
  }

  /** Plans an event `delayMs` from now. It never happens if its life ends before. */
  after(life: Life | null, delayMs: number, label: string, run: () => void): Timer {
    const pending: Pending = {
      at: this.now + Math.max(0, Math.ceil(delayMs)),
      order: this.#chance.next(),
      label,
      life,
      run,
      cancelled: false,
    };
    this.#push(pending);
    return {
      cancel: () => {
        pending.cancelled = true;
      },
    };
  }

  /** A promise for what `compute` gives `delayMs` from now; it stays open for ever if the life ends before. */
  later<T>(life: Life | null, delayMs: number, label: string, compute: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.after(life, delayMs, label, () => {
        try {
          resolve(compute());
        } catch (error) {
          reject(
            error instanceof Error ? error : new Error('the simulated world threw something odd', { cause: error }),
          );
        }
      });
    });
  }

  /** The clock that one life of a process sees. */
  clock(life: Life): Clock {
    return {
      now: () => this.now,
      date: () => new Date(EPOCH_MS + this.now).toISOString(),
      sleep: (ms, signal) =>
        new Promise<void>((resolve) => {
          if (!life.alive) return;
          if (signal?.aborted === true) {
            resolve();
            return;
          }
          const abort = (): void => {
            timer.cancel();
            resolve();
          };
          const timer = this.after(life, ms, `${life.name}: wakes`, () => {
            signal?.removeEventListener('abort', abort);
            resolve();
          });
          signal?.addEventListener('abort', abort, { once: true });
        }),
    };
  }

  /** Runs the next event and lets its promises run dry. False when nothing is planned up to `until`. */
  async step(until: number): Promise<boolean> {
    for (;;) {
      const next = this.#heap[0];
      if (next === undefined || next.at > until) return false;
      this.#pop();
      if (next.cancelled || (next.life !== null && !next.life.alive)) continue;
      this.now = Math.max(this.now, next.at);
      this.steps += 1;
      this.note(next.label);
      next.run();
      await quiet();
      return true;
    }
  }

  /** Writes a line into the trace. */
  note(text: string): void {
    let hash = Math.imul(this.#hash ^ this.now, 0x01000193);
    for (let index = 0; index < text.length; index += 1) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
    this.#hash = hash;
    if (this.#keep === 'lines') this.lines.push(`${String(this.now).padStart(8)} ${text}`);
  }

  /** Eight hex digits that two equal runs share. */
  get hash(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, '0');
  }

  #push(pending: Pending): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(pending);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(pending, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = pending;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child += 1;
      if (!before(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}

function before(left: Pending, right: Pending): boolean {
  return left.at < right.at || (left.at === right.at && left.order < right.order);
}

/** Waits until no promise callback is left to run. Node runs all of them before the next immediate. */
export function quiet(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
