// Time, for real. The rest of the house sees it only as the Clock port.

import type { Clock } from '../core/clock.js';

/** Longer than this setTimeout fires at once (a signed 32-bit number of milliseconds); about 24 days. */
const MAX_TIMER_MS = 2_147_483_647;

/** The machine's monotonic clock. A pending sleep does not keep the process alive by itself once it is aborted. */
export const systemClock: Clock = {
  now: () => performance.now(),
  date: () => new Date().toISOString(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted === true) {
        resolve();
        return;
      }
      const done = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, Math.min(Math.max(ms, 0), MAX_TIMER_MS));
      signal?.addEventListener('abort', done);
    }),
};

/** Milliseconds of the machine's monotonic clock (CLOCK_MONOTONIC, clock_gettime(2)): the same in all processes of a host. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1_000_000n);
}
