import { describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/sys/clock.js';

describe('the system clock', () => {
  it('sleeps about as long as it is told', async () => {
    const before = systemClock.now();
    await systemClock.sleep(20);
    expect(systemClock.now() - before).toBeGreaterThanOrEqual(18);
  });

  it('wakes early, without an error, when the signal aborts', async () => {
    const abort = new AbortController();
    const before = systemClock.now();
    const slept = systemClock.sleep(60_000, abort.signal);
    abort.abort();
    await slept;
    expect(systemClock.now() - before).toBeLessThan(5_000);
  });

  it('does not sleep at all when the signal has aborted already', async () => {
    const before = systemClock.now();
    await systemClock.sleep(60_000, AbortSignal.abort());
    expect(systemClock.now() - before).toBeLessThan(5_000);
  });

  it('sleeps for ever when told so, instead of waking at once', async () => {
    const abort = new AbortController();
    let woken = false;
    const slept = systemClock.sleep(Number.MAX_SAFE_INTEGER, abort.signal).then(() => {
      woken = true;
    });
    await systemClock.sleep(20);
    expect(woken).toBe(false);
    abort.abort();
    await slept;
  });
});
