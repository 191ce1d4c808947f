// Requests that share a probe: fewer questions, and for each of them a probe that began after it had come.

import { expect, it } from 'vitest';
import type { Consumer, DiskName } from '../../../src/core/names.js';
import { SHARED_LOOK_MS } from '../../../src/core/limits.js';
import { ALICE, Bench, BOB, DISK, gate, HUNG, VOLUME } from './bench.js';
import { quiet } from './virtual-clock.js';

const CAROL = 'cli:carol' as Consumer;
const DAVE = 'cli:dave' as Consumer;

async function mounted(): Promise<Bench> {
  const bench = new Bench();
  await bench.start();
  await bench.connect().promise;
  bench.events.splice(0);
  return bench;
}

/** The next look sees what is the case now, and tells it when the gate is opened. */
function holdUp(bench: Bench): ReturnType<typeof gate> {
  const held = gate();
  bench.once('observe', async (proceed) => {
    const seen = await proceed();
    await held.opened;
    return seen;
  });
  return held;
}

const count = (bench: Bench, event: string): number => bench.events.filter((one) => one === event).length;

it('those that came before a probe began share it, and each is told of its own disk', async () => {
  const bench = await mounted();
  const held = holdUp(bench);
  const first = bench.connect(VOLUME, BOB, { disk: 'one' as DiskName });
  await quiet();
  const later = [ALICE, CAROL, DAVE].map((consumer) => bench.connect(VOLUME, consumer, { disk: DISK }));
  await quiet();
  held.open();
  for (const { promise } of [first, ...later])
    expect(await promise).toMatchObject({ verdict: 'healthy', disk: 'present' });
  expect(count(bench, 'observe')).toBe(2);
  expect(count(bench, 'disk')).toBe(2);
});

it('whoever comes after a probe began has one of its own', async () => {
  const bench = await mounted();
  const held = holdUp(bench);
  const first = bench.connect(VOLUME, BOB);
  await quiet();
  const second = bench.connect(VOLUME, CAROL);
  await quiet();
  bench.at(VOLUME).judgement = HUNG;
  held.open();
  expect(await first.promise).toMatchObject({ verdict: 'healthy' });
  await expect(second.promise).rejects.toMatchObject({ code: 'hung' });
});

it('no look outlives what is done to the volume', async () => {
  const bench = await mounted();
  const held = holdUp(bench);
  const first = bench.connect(VOLUME, BOB);
  await quiet();
  const shared = bench.connect(VOLUME, CAROL);
  const ends = [ALICE, BOB, CAROL].map((consumer) => bench.disconnect(VOLUME, consumer));
  const last = bench.connect(VOLUME, DAVE);
  await quiet();
  held.open();
  await Promise.all([first, shared, ...ends, last].map(({ promise }) => promise));
  expect((await last.promise).changed).toBe(true);
  expect(count(bench, 'step unmount')).toBe(1);
  expect(count(bench, 'step mount')).toBe(1);
  expect(bench.at(VOLUME).mounts).toHaveLength(1);
});

it('a look that is too old is not shared', async () => {
  const bench = await mounted();
  const held = holdUp(bench);
  const first = bench.connect(VOLUME, BOB);
  await quiet();
  const second = bench.connect(VOLUME, CAROL);
  const third = bench.connect(VOLUME, DAVE);
  await quiet();
  // The commit of the second takes longer than a look is good for.
  const slow = gate();
  bench.once('commit', (proceed) => proceed());
  bench.once('commit', async (proceed) => {
    await slow.opened;
    return proceed();
  });
  held.open();
  await quiet();
  await bench.clock.pass(SHARED_LOOK_MS + 1);
  slow.open();
  await Promise.all([first, second, third].map(({ promise }) => promise));
  expect(count(bench, 'observe')).toBe(3);
});

it('a look for reading is not enough for whoever writes', async () => {
  const bench = await mounted();
  const held = holdUp(bench);
  const first = bench.connect(VOLUME, BOB);
  await quiet();
  const reader = bench.connect(VOLUME, CAROL, { readOnly: true });
  const writer = bench.connect(VOLUME, DAVE);
  await quiet();
  held.open();
  await Promise.all([first, reader, writer].map(({ promise }) => promise));
  expect(count(bench, 'observe')).toBe(3);
});
