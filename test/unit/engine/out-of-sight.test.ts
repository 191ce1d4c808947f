// What is recorded of a mount that is not seen at its leaf: a hold is kept while something of its mount may be left, nothing
// that has come back is taken from its users, and a consumer that has an attachment is told how to name it.

import { beforeEach, describe, expect, it } from 'vitest';
import type { DiskName } from '../../../src/core/names.js';
import { ALICE, Bench, BOB, DISK, held, mountOf, recorded, VOLUME } from './bench.js';
import { quiet } from './virtual-clock.js';

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});

async function begin(...hold: readonly ReturnType<typeof held>[]): Promise<void> {
  bench.remember(recorded('mounted'), ...hold);
  bench.crash();
  await bench.start();
}

describe('a hold whose mount is not at its leaf', () => {
  it('is kept while a mount of the volume may be elsewhere, and given up after', async () => {
    bench.at(VOLUME).former = [{ state: 'serving' }];
    await begin(held());
    await bench.clock.pass(60_000);
    expect(bench.durable.holds.has(VOLUME.leaf)).toBe(true);
    bench.at(VOLUME).former = [];
    bench.crash();
    await bench.start();
    expect(bench.durable.leaves().size).toBe(0);
  });

  it('is kept when the mount is there again before it is given up', async () => {
    bench.remember(recorded('mounted'), held());
    bench.crash();
    bench.once('observe', async (proceed) => {
      const seen = await proceed();
      Object.assign(bench.at(VOLUME), { directory: 'empty', mounts: [mountOf()] });
      return seen;
    });
    await bench.start();
    await bench.clock.pass(60_000);
    await quiet();
    expect(bench.takenAway).toEqual([]);
    expect([bench.at(VOLUME).mounts.length, bench.durable.holds.has(VOLUME.leaf)]).toEqual([1, true]);
  });
});

describe('a disconnect that names another disk than the attachment, or none', () => {
  it('is told which, and ends nothing', async () => {
    await bench.start();
    for (const disk of [DISK, 'another' as DiskName]) await bench.connect(VOLUME, ALICE, { disk }).promise;
    await bench.connect(VOLUME, BOB).promise;
    const { disks, ...rest } = await bench.disconnect(VOLUME, ALICE).promise;
    expect(rest).toMatchObject({ outcome: 'not-connected', mounted: true, usedBy: [ALICE, BOB] });
    expect(disks).toEqual(['another', DISK]);
    expect(bench.durable.attachmentsOf(VOLUME.leaf)).toHaveLength(3);
  });

  it('is told of none where the consumer has no attachment', async () => {
    await bench.start();
    await bench.connect(VOLUME, BOB, { disk: DISK }).promise;
    expect(await bench.disconnect(VOLUME, ALICE).promise).toMatchObject({ outcome: 'not-connected', disks: [] });
  });
});
