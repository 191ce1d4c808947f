// What is shown of leaves without a record follows what is there, also where no mount changes with it.

import { expect, it } from 'vitest';
import type { FormerClient } from '../../../src/core/observation.js';
import { Bench, VOLUME } from './bench.js';

/** A leaf of which nothing is recorded, with clients of earlier mounts. */
function left(...former: FormerClient[]): Bench['strangers'] {
  const seen = { directory: 'empty', mounts: [], mayHideOurs: false, unit: 'idle' } as const;
  return [{ ...seen, backend: 'quobyte', leaf: VOLUME.leaf, mountpoint: `/mnt/${VOLUME.leaf}`, former }];
}

it('a client without a record is shown as releasing, then as ending, and is gone from ls when it has ended', async () => {
  const bench = new Bench();
  bench.watching = async (seen, budgetMs) => {
    if (seen === null) return { version: 1, leaves: 'all' };
    await bench.clock.sleep(budgetMs);
    return { version: 1, leaves: [] };
  };
  const shown = (): readonly string[] => bench.engine.list().mounts.map(({ state }) => state);
  bench.strangers = left({ state: 'serving' });
  await bench.start();
  expect(shown()).toEqual(['releasing']);
  bench.strangers = left({ state: 'ending' });
  await bench.clock.pass(5000);
  expect(shown()).toEqual(['ending']);
  bench.strangers = [];
  await bench.clock.pass(5000);
  expect(shown()).toEqual([]);
});
