// What counts as a change of a leaf: the numbers of a mount are used again by the next one.

import { describe, expect, it } from 'vitest';
import type { LeafName } from '../../../src/core/volume.js';
import { step } from '../../../src/broker/handlers/step.js';
import { Deadline } from '../../../src/core/deadline.js';
import { bench, type Bench, entry, LEAF, MOUNTPOINT, URL } from './fake-machine.js';

const NAME = { backend: 'quobyte', leaf: LEAF } as LeafName;

function changes({ context }: Bench, seen: number | null): { version: number; leaves: readonly LeafName[] | 'all' } {
  return context.leafWatch.since(context, seen);
}

/** The table is read again, as after any change of it. */
function read({ machine }: Bench): void {
  Object.assign(machine.table, { revision: machine.table.revision + 1 });
}

describe('a leaf has changed', () => {
  it('when the same numbers are those of another superblock', () => {
    const world = bench();
    world.machine.mountsNow = [entry({ mountPoint: MOUNTPOINT, dev: '0:50' })];
    const { version } = changes(world, null);
    read(world);
    expect(changes(world, version).leaves).toEqual([]);
    world.machine.entries.set('0:50', 'a later one');
    read(world);
    expect(changes(world, version).leaves).toEqual([NAME]);
  });

  it('when we have unmounted there, whatever is there by now', async () => {
    const world = bench();
    const mount = entry({ mountPoint: MOUNTPOINT, dev: '0:50' });
    world.machine.leaves.set(MOUNTPOINT, 'mounted');
    world.machine.mountsNow = [mount];
    const { version } = changes(world, null);
    const { clock } = world.machine;
    const call = { context: world.context, deadline: new Deadline(clock, 2000), emit: () => undefined };
    const end = await step(call, { id: 1, verb: 'step', volume: URL, kind: 'unmount', budgetMs: 2000 });
    expect(end).toMatchObject({ end: 'done' });
    world.machine.mountsNow = [mount];
    expect(changes(world, version).leaves).toEqual([NAME]);
  });
});
