// R6: leaves are digests, and digests of a broken kind collide on purpose. Two volumes with one leaf: the second is
// refused, and neither connect nor disconnect of it touches the first.

import { describe, expect, it } from 'vitest';
import { World } from './broker-bench.js';
import { ALICE, Bench, BOB, codeOf, mountOf, VOLUME, volumeOf } from '../engine/bench.js';

/** Another volume whose digest was made to be the same. */
const TWIN = { ...volumeOf('twin'), leaf: VOLUME.leaf };

/** The first volume is attached and mounted; the broker tells the two apart by what is mounted, as the real one does. */
async function withFirst(): Promise<Bench> {
  const bench = new Bench();
  await bench.start();
  await bench.connect(VOLUME, ALICE).promise;
  bench.at(VOLUME).mounts = [mountOf({ recognised: false })];
  bench.effects();
  return bench;
}

describe('a second volume with the leaf of the first', () => {
  it('is refused, and nothing is done', async () => {
    const bench = await withFirst();
    for (const consumer of [ALICE, BOB]) {
      const refused = bench.connect(TWIN, consumer);
      await refused.promise.catch(() => undefined);
      expect(codeOf(refused)).toBe('foreign');
    }
    expect(bench.effects()).toEqual([]);
    expect(bench.durable.usersOf(VOLUME.leaf)).toEqual([ALICE]);
  });

  it('is not what a disconnect of the second ends', async () => {
    const bench = await withFirst();
    const answer = bench.disconnect(TWIN, ALICE);
    await answer.promise.catch(() => undefined);
    expect(bench.durable.usersOf(VOLUME.leaf)).toEqual([ALICE]);
    expect(bench.effects()).toEqual([]);
    expect(answer.value?.outcome ?? codeOf(answer)).toMatch(/^(not-connected|foreign)$/);
  });

  it('is refused too where somebody took the first away for a moment', async () => {
    const bench = await withFirst();
    Object.assign(bench.at(VOLUME), { mounts: [], directory: 'empty' });
    const refused = bench.connect(TWIN, BOB);
    await refused.promise.catch(() => undefined);
    expect([codeOf(refused), bench.effects(), bench.at(VOLUME).mounts]).toEqual(['foreign', [], []]);
  });

  it('is not taken for it by the broker', async () => {
    const world = new World();
    world.mount({ source: 'quobyte@192.168.1.1/twin' });
    for (const kind of ['mount', 'harden', 'unmount', 'detach-dead'] as const) {
      expect(await world.step(kind)).toMatchObject({ end: 'refused', error: { code: 'foreign' } });
    }
    expect([world.machine.effects, world.machine.mountsNow.length]).toEqual([[], 1]);
  });
});
