// What is written down of directories that were bound: kept for as long as the kernel has the bind, or it can still come,
// and no longer; whatever lies on it, and wherever it is.

import { beforeEach, describe, expect, it } from 'vitest';
import { inventory } from '../../../src/broker/handlers/inventory.js';
import { observe } from '../../../src/broker/handlers/observe.js';
import { placeOf } from '../../../src/broker/place.js';
import { look } from '../../../src/broker/sight.js';
import { Deadline } from '../../../src/core/deadline.js';
import { MAX_OBSERVED_MOUNTS } from '../../../src/core/limits.js';
import type { MountEntry } from '../../../src/core/mountinfo.js';
import type { LeafState, Observation } from '../../../src/core/observation.js';
import { leafOf, type Export } from '../../../src/core/volume.js';
import { bench, type Bench, entry, LOCAL_BASE, restarted } from './fake-machine.js';

const SOURCE = '/srv/pool/d' as Export;
const URL = `local://${SOURCE}`;
const SITE = { base: LOCAL_BASE, volume: { leaf: leafOf(SOURCE) } };
const POINT = `${LOCAL_BASE}/${leafOf(SOURCE)}`;

async function takeStock({ context }: Bench): Promise<void> {
  const call = { context, deadline: new Deadline(context.machine.clock, 2000), emit: () => undefined };
  await inventory(call, { id: 1, verb: 'inventory', leaves: 'all', budgetMs: 2000 });
}

async function observed({ context }: Bench, probe: 'read-only' | null = null): Promise<Observation> {
  const call = { context, deadline: new Deadline(context.machine.clock, 2000), emit: () => undefined };
  return await observe(call, { id: 1, verb: 'observe', volume: URL, probe, budgetMs: 2000 });
}

/** A bind of the directory that had the name at first, or of the one that has it now. */
function bindOf(inode: string): MountEntry {
  return entry({ mountPoint: POINT, dev: '8:1', root: inode, fsType: 'ext4', source: '/dev/sda1' });
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
    await takeStock(world);
    expect(world.machine.written.size).toBe(times);
  });
});

describe('a bind that was seen', () => {
  let world: Bench;
  let ours: MountEntry;
  beforeEach(async () => {
    world = bench();
    ours = bindOf(SOURCE);
    world.machine.leaves.set(POINT, 'empty');
    world.machine.mountsNow = [ours];
    expect((await observed(world)).mounts).toMatchObject([{ recognised: true }]);
  });

  it.each(['the same', 'the next'])(
    'is ours for %s broker after a mount of the directory that has its name now',
    async (which) => {
      world.machine.inodes.set(SOURCE, 'new');
      world.machine.mountsNow = [ours, bindOf('new')];
      expect((await observed(world)).mounts).toMatchObject([{ recognised: true }, { recognised: true }]);
      if (which === 'the next') world = restarted(world);
      world.machine.mountsNow = [ours];
      const { mounts, judgement } = await observed(world, 'read-only');
      expect([mounts.map(({ recognised }) => recognised), judgement?.verdict]).toEqual([[true], 'stale']);
    },
  );

  it.each(['absent', 'empty', 'link', 'occupied'] as const)(
    'is kept while it is elsewhere and its leaf is %s',
    async (state) => {
      world.machine.mountsNow = [{ ...ours, mountPoint: `${LOCAL_BASE}-before/${SITE.volume.leaf}` }];
      if (state === 'absent') world.machine.leaves.delete(POINT);
      else world.machine.leaves.set(POINT, state);
      await takeStock(world);
      world = restarted(world);
      await takeStock(world);
      expect(await observed(world)).toMatchObject({ mounts: [], mayHideOurs: false, former: [{ state: 'serving' }] });
      world.machine.mountsNow = [];
      expect(await observed(world)).toMatchObject({ mounts: [], mayHideOurs: false, former: [] });
    },
  );

  it('is told from another mount of its number', async () => {
    world.machine.mountsNow = [{ ...ours, dev: '8:2', mountPoint: '/mnt' }];
    expect(await observed(world)).toMatchObject({ mounts: [], former: [] });
  });

  it('under somebody else’s mount is not thought to be there when it has gone', async () => {
    world.machine.mountsNow = [entry({ mountPoint: POINT, fsType: 'tmpfs', source: 'tmpfs' })];
    expect(await observed(world)).toMatchObject({ mounts: [{ recognised: false }], mayHideOurs: false, former: [] });
  });

  it('is not given up for binds of others, however many', async () => {
    for (let number = 0; number < MAX_OBSERVED_MOUNTS + 5; number += 1) {
      world.machine.mountsNow = [ours, bindOf(SOURCE)];
      await look(world.context, placeOf(world.context, URL), new Deadline(world.machine.clock, 2000));
    }
    world.machine.inodes.set(SOURCE, 'new');
    world.machine.mountsNow = [ours];
    expect((await observed(world)).mounts).toMatchObject([{ recognised: true }]);
    expect(world.context.bound.of(SITE)?.length).toBe(1);
  });
});

describe('a bind that was begun, and that nobody has seen', () => {
  it('may be any mount at a directory of the leaf’s name, and any that lies below another', async () => {
    const world = bench();
    world.context.bound.begin(SITE, { dev: '8:1', inode: SOURCE });
    world.machine.leaves.set(POINT, 'empty');
    expect(await observed(world)).toMatchObject({ mounts: [], former: [] });
    world.machine.mountsNow = [{ ...bindOf(SOURCE), mountPoint: `${LOCAL_BASE}-before/${SITE.volume.leaf}` }];
    expect(await observed(world)).toMatchObject({ mounts: [], former: [{ state: 'serving' }] });
    const cover = entry({ mountPoint: POINT, fsType: 'tmpfs', source: 'tmpfs' });
    world.machine.mountsNow = [bindOf(SOURCE), cover];
    expect(await observed(world)).toMatchObject({ mayHideOurs: true });
    world.machine.mountsNow = [cover];
    expect(await observed(world)).toMatchObject({ mayHideOurs: false });
  });
});
