// A ledger that could not be trusted, or not be read back whole, is told of until what it may have lost has been dealt with:
// until no hold is left. Until then no evidence lifts one.

import { beforeEach, expect, it } from 'vitest';
import { Bench, hanging, held, recorded, VOLUME, volumeOf } from './bench.js';
import { quiet } from './virtual-clock.js';

const OTHER = volumeOf('other');
let bench: Bench;
beforeEach(() => {
  bench = new Bench();
  bench.setAside = [{ table: 'ledger', key: 'ledger.damaged', reason: 'It is an older copy.' }];
});

const told = (): number => bench.engine.list().setAside.length;
const settled = (): boolean => bench.events.some((event) => event.includes('settle-doubt'));
async function lift(leaf: typeof VOLUME.leaf): Promise<void> {
  await bench.engine.liftHold({ leaf, force: true }, { deadlineMs: 1000, signal: new AbortController().signal });
}

it('is over with the last hold, in the commit that lifts it', async () => {
  for (const one of [VOLUME, OTHER]) {
    bench.mounted(one);
    bench.remember(recorded('mounted', 'boot-1', one), held(one));
  }
  await bench.start();
  expect(told()).toBe(1);
  await lift(VOLUME.leaf);
  expect([told(), settled()]).toEqual([1, false]);
  await lift(OTHER.leaf);
  expect(told()).toBe(0);
  expect(bench.events).toContainEqual(expect.stringMatching(/^commit lift-hold .*settle-doubt/));
  expect(bench.told).toContain('ledger-doubt-settled');
});

it('is over at a later start that finds no hold, and not before everything has been looked at', async () => {
  bench.remember(recorded('mounted'));
  bench.mounted(VOLUME);
  bench.crash();
  bench.once('observe', () => hanging());
  await bench.start();
  await bench.clock.pass(6000);
  expect([told(), settled()]).toEqual([1, false]);
  bench.durable.mounts.clear();
  bench.places.clear();
  bench.crash();
  await bench.start();
  await quiet();
  expect([told(), settled()]).toEqual([0, true]);
});
