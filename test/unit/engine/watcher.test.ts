// What is shown of leaves without a record follows what is there, also where no mount changes with it.

import { expect, it } from 'vitest';
import { FairleadError } from '../../../src/core/errors.js';
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

it('a question for changes that ran out is asked again at once, so that a broker that goes on finds one open', async () => {
  const bench = new Bench();
  let asked = 0;
  bench.watching = async (_, budgetMs) => {
    asked += 1;
    await bench.clock.sleep(budgetMs);
    throw new FairleadError('deadline-exceeded', 'The broker did not answer in time.');
  };
  await bench.start();
  await bench.clock.pass(200_000);
  expect(asked).toBeGreaterThanOrEqual(9);
});
