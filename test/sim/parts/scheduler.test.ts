// The simulation's time and chance keep their own promises: one order a seed, nothing from a life that ended.

import { describe, expect, it } from 'vitest';
import { chanceOf } from '../prng.js';
import { Scheduler } from '../scheduler.js';

async function drain(scheduler: Scheduler): Promise<void> {
  while (await scheduler.step(Infinity));
}

describe('chance', () => {
  it('gives the same numbers for the same seed and others for another', () => {
    const draw = (seed: number): number[] => {
      const chance = chanceOf(seed);
      return Array.from({ length: 50 }, () => chance.int(0, 1_000_000));
    };
    expect(draw(7)).toEqual(draw(7));
    expect(draw(7)).not.toEqual(draw(8));
  });

  it('draws names as often as their weights say, and never one of weight 0', () => {
    const chance = chanceOf(1);
    const counts = { often: 0, seldom: 0, never: 0 };
    for (let round = 0; round < 10_000; round += 1) counts[chance.weighted({ often: 3, seldom: 1, never: 0 })] += 1;
    expect(counts.never).toBe(0);
    expect(counts.often / counts.seldom).toBeGreaterThan(2.7);
    expect(counts.often / counts.seldom).toBeLessThan(3.3);
  });
});

describe('scheduler', () => {
  it('runs events in the order of their moments, and those of one moment in an order that the seed draws', async () => {
    const orderOf = async (seed: number): Promise<string> => {
      const scheduler = new Scheduler(chanceOf(seed), 'hash-only');
      let order = '';
      for (const name of ['a', 'b', 'c', 'd', 'e']) scheduler.after(null, 10, name, () => (order += name));
      scheduler.after(null, 5, 'first', () => (order += '1'));
      scheduler.after(null, 20, 'last', () => (order += '9'));
      await drain(scheduler);
      return order;
    };
    const orders = await Promise.all([1, 2, 3, 4, 5, 6].map(orderOf));
    for (const order of orders) expect(order).toMatch(/^1[a-e]{5}9$/);
    expect(new Set(orders).size).toBeGreaterThan(2);
    expect(await orderOf(3)).toBe(orders[2]);
  });

  it('settles promises before the next event, however long their chain', async () => {
    const scheduler = new Scheduler(chanceOf(1), 'hash-only');
    const seen: string[] = [];
    void (async () => {
      await scheduler.later(null, 1, 'one', () => undefined);
      for (let turn = 0; turn < 100; turn += 1) await Promise.resolve();
      seen.push('chain');
    })();
    scheduler.after(null, 1.5, 'two', () => seen.push('two'));
    await drain(scheduler);
    expect(seen).toEqual(['chain', 'two']);
  });

  it('lets nothing happen that belongs to a life that ended', async () => {
    const scheduler = new Scheduler(chanceOf(1), 'hash-only');
    const life = { name: 'agent', alive: true };
    const seen: string[] = [];
    void scheduler.later(life, 5, 'answer', () => 'answer').then((text) => seen.push(text));
    void scheduler
      .clock(life)
      .sleep(7)
      .then(() => seen.push('woke'));
    scheduler.after(null, 3, 'crash', () => (life.alive = false));
    await drain(scheduler);
    expect(seen).toEqual([]);
  });

  it('ends a sleep early when its signal aborts', async () => {
    const scheduler = new Scheduler(chanceOf(1), 'hash-only');
    const life = { name: 'agent', alive: true };
    const abort = new AbortController();
    let wokeAt = -1;
    void scheduler
      .clock(life)
      .sleep(1000, abort.signal)
      .then(() => (wokeAt = scheduler.now));
    scheduler.after(null, 10, 'abort', () => abort.abort());
    await drain(scheduler);
    expect(wokeAt).toBe(10);
  });
});
