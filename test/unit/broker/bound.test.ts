// What is written down of a directory that was bound: kept for as long as it can be bound, and no longer.

import { describe, expect, it } from 'vitest';
import { inventory } from '../../../src/broker/handlers/inventory.js';
import { Deadline } from '../../../src/core/deadline.js';
import type { LeafState } from '../../../src/core/observation.js';
import { leafOf, type Export } from '../../../src/core/volume.js';
import { bench, type Bench, entry, LOCAL_BASE } from './fake-machine.js';

const SOURCE = '/srv/pool/d' as Export;
const SITE = { base: LOCAL_BASE, volume: { leaf: leafOf(SOURCE) } };
const POINT = `${LOCAL_BASE}/${leafOf(SOURCE)}`;

async function look({ context }: Bench): Promise<void> {
  const call = { context, deadline: new Deadline(context.machine.clock, 2000), emit: () => undefined };
  await inventory(call, { id: 1, verb: 'inventory', leaves: 'all', budgetMs: 2000 });
}

describe('the note about a directory that was bound', () => {
  it.each<[LeafState, number]>([
    ['mounted', 1],
    ['empty', 1],
    ['absent', 0],
    ['link', 0],
    ['not-a-directory', 0],
    ['occupied', 0],
  ])('where the leaf is %s is there %i times', async (state, times) => {
    const world = bench();
    world.context.bound.begin(SITE, { dev: '8:1', inode: '7' });
    if (state === 'mounted') world.machine.mountsNow = [entry({ mountPoint: POINT })];
    if (state !== 'absent') world.machine.leaves.set(POINT, state);
    await look(world);
    expect(world.machine.written.size).toBe(times);
  });
});
