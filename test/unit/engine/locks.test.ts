import { describe, expect, it } from 'vitest';
import { FairleadError } from '../../../src/core/errors.js';
import { MAX_LOCK_QUEUE } from '../../../src/core/limits.js';
import { Deadline } from '../../../src/engine/deadline.js';
import { Locks } from '../../../src/engine/locks.js';
import { codeOf, volumeOf, watch } from './bench.js';
import { quiet, VirtualClock } from './virtual-clock.js';

const ONE = volumeOf('one').leaf;
const OTHER = volumeOf('other').leaf;
const STUCK = new FairleadError('stuck', 'It is not over.');

function bench(): { clock: VirtualClock; locks: Locks; within: (ms: number, signal?: AbortSignal) => Deadline } {
  const clock = new VirtualClock();
  return { clock, locks: new Locks(clock), within: (ms, signal) => new Deadline(clock, ms, signal) };
}

describe('the lock of a volume', () => {
  it('is had by one at a time, in the order of asking, patient or not', async () => {
    const { locks, within } = bench();
    const order: string[] = [];
    const first = await locks.acquire(ONE);
    const enter = async (name: string, lock: Promise<() => void>): Promise<void> => {
      const unlock = await lock;
      order.push(name);
      await quiet();
      order.push(`${name} leaves`);
      unlock();
    };
    const entered = [
      enter('a', locks.acquireWithin(ONE, within(1000))),
      enter('b', locks.acquire(ONE)),
      enter('c', locks.acquireWithin(ONE, within(1000))),
    ];
    await quiet();
    expect(order).toEqual([]);
    first();
    await Promise.all(entered);
    expect(order).toEqual(['a', 'a leaves', 'b', 'b leaves', 'c', 'c leaves']);
  });

  it('keeps no other volume waiting', async () => {
    const { locks, within } = bench();
    await locks.acquire(ONE);
    const other = watch(locks.acquireWithin(OTHER, within(1000)));
    await quiet();
    expect(other.state).toBe('kept');
  });

  it('is free again only once, however often it is freed', async () => {
    const { locks, within } = bench();
    const first = await locks.acquire(ONE);
    first();
    const second = await locks.acquireWithin(ONE, within(1000));
    first();
    const third = watch(locks.acquireWithin(ONE, within(1000)));
    await quiet();
    expect(third.state).toBe('open');
    second();
    await quiet();
    expect(third.state).toBe('kept');
  });

  it('is waited for until the deadline and no longer; who gave up is passed over', async () => {
    const { clock, locks, within } = bench();
    const first = await locks.acquire(ONE);
    const hasty = watch(locks.acquireWithin(ONE, within(100)));
    const calm = watch(locks.acquireWithin(ONE, within(1000)));
    await clock.pass(99);
    expect(hasty.state).toBe('open');
    await clock.pass(1);
    expect(codeOf(hasty)).toBe('deadline-exceeded');
    first();
    await quiet();
    expect(calm.state).toBe('kept');
    expect(clock.sleeping).toBe(0);
  });

  it('is not kept for a client that has gone', async () => {
    const { locks, within } = bench();
    const first = await locks.acquire(ONE);
    const client = new AbortController();
    const gone = watch(locks.acquireWithin(ONE, within(1000, client.signal)));
    const next = watch(locks.acquireWithin(ONE, within(1000)));
    client.abort();
    await quiet();
    expect(codeOf(gone)).toBe('deadline-exceeded');
    first();
    await quiet();
    expect(next.state).toBe('kept');
  });

  it('that was handed over at the very deadline is had', async () => {
    const { clock, locks, within } = bench();
    const first = await locks.acquire(ONE);
    const waiting = watch(locks.acquireWithin(ONE, within(100)));
    void clock.sleep(100).then(first);
    await clock.pass(100);
    const next = watch(locks.acquireWithin(ONE, within(1000)));
    await quiet();
    // Either it was refused and the lock is free, or it has the lock; never both, never neither.
    expect([waiting.state, next.state]).toEqual(waiting.state === 'kept' ? ['kept', 'open'] : ['broken', 'kept']);
  });

  it('turns clients away while its holder is stuck, and lets the engine itself wait', async () => {
    const { locks, within } = bench();
    const first = await locks.acquire(ONE);
    const client = watch(locks.acquireWithin(ONE, within(1000)));
    const engine = watch(locks.acquire(ONE));
    await quiet();
    locks.setStuck(ONE, STUCK);
    await quiet();
    expect(client.error).toBe(STUCK);
    expect(engine.state).toBe('open');
    const late = watch(locks.acquireWithin(ONE, within(1000)));
    await quiet();
    expect(late.error).toBe(STUCK);
    locks.clearStuck(ONE);
    const later = watch(locks.acquireWithin(ONE, within(1000)));
    await quiet();
    expect(later.state).toBe('open');
    first();
    await quiet();
    expect([engine.state, later.state]).toEqual(['kept', 'open']);
  });

  it('is no longer stuck for the next holder', async () => {
    const { locks, within } = bench();
    const first = await locks.acquire(ONE);
    const engine = locks.acquire(ONE);
    locks.setStuck(ONE, STUCK);
    first();
    await engine;
    const client = watch(locks.acquireWithin(ONE, within(1000)));
    await quiet();
    expect(client.state).toBe('open');
  });

  it('has a queue with an end', async () => {
    const { locks, within } = bench();
    await locks.acquire(ONE);
    for (let index = 0; index < MAX_LOCK_QUEUE; index++) watch(locks.acquireWithin(ONE, within(1000)));
    const tooMany = watch(locks.acquireWithin(ONE, within(1000)));
    await quiet();
    expect(codeOf(tooMany)).toBe('resource-exhausted');
  });

  it('of a volume that nobody holds cannot be stuck', async () => {
    const { locks, within } = bench();
    locks.setStuck(ONE, STUCK);
    const client = watch(locks.acquireWithin(ONE, within(1000)));
    await quiet();
    expect(client.state).toBe('kept');
  });
});
