// When a client counts as serving, and what may be ended: all that is asked of the kernel answers as a test says.

import { describe, expect, it } from 'vitest';
import type { Client } from '../../../src/broker/clients.js';
import { adoptUnits } from '../../../src/broker/client-states.js';
import { observe } from '../../../src/broker/handlers/observe.js';
import { step } from '../../../src/broker/handlers/step.js';
import { unitName } from '../../../src/broker/unit-names.js';
import { Deadline } from '../../../src/core/deadline.js';
import type { Observation, UnitState } from '../../../src/core/observation.js';
import type { StepEnd, StepKind } from '../../../src/core/steps.js';
import type { MountEntry } from '../../../src/core/mountinfo.js';
import { mountpointOf } from '../../../src/core/paths.js';
import { type Export, type Leaf, leafOf } from '../../../src/core/volume.js';
import type { HelperEnd, HelperSpec } from '../../../src/sys/ports.js';
import { BASE, bench, type Bench, entry, LEAF, MOUNTPOINT, restarted, URL } from './fake-machine.js';

const UNIT = unitName('mount', BASE, LEAF as Leaf);
const SECOND_UNIT = unitName('mount', BASE, LEAF as Leaf, 2);
/** Milliseconds for one call. */
const BUDGET_MS = 2000;
const DEV = '0:77';

function call({ context }: Bench): Parameters<typeof step>[0] {
  return { context, deadline: new Deadline(context.machine.clock, BUDGET_MS), emit: () => undefined };
}

function run(world: Bench, kind: StepKind): Promise<StepEnd> {
  return step(call(world), { id: 1, verb: 'step', volume: URL, kind, budgetMs: BUDGET_MS });
}

function seen(world: Bench): Promise<Observation> {
  return observe(call(world), { id: 1, verb: 'observe', volume: URL, probe: null, budgetMs: BUDGET_MS });
}

const kills = ({ machine }: Bench): readonly string[] => machine.effects.filter((effect) => effect.startsWith('kill'));
/** A unit cannot be told from one whose helper is at work, as where it is a control group. */
const OCCUPIED = 'occupied' as UnitState;

/** A helper that mounts this superblock at the leaf, and whose client stays in its unit. */
function mounting(world: Bench, dev: string, end: HelperEnd = { end: 'exited', status: 0, output: '' }) {
  return (spec: HelperSpec): Promise<HelperEnd> => {
    world.machine.mountsNow = [entry({ dev })];
    world.machine.unitStates.set(spec.unit, OCCUPIED);
    return Promise.resolve(end);
  };
}

/** A host on which the volume was mounted by us. */
async function mounted(): Promise<Bench> {
  const world = bench();
  world.machine.leaves.set(MOUNTPOINT, 'empty');
  world.machine.helper = mounting(world, DEV);
  expect(await run(world, 'mount')).toMatchObject({ end: 'done', changed: true });
  return world;
}

/** And then somebody else took the mount away from its leaf, and its superblock lives on, or does not. */
async function vanished(superblock: 'lives' | 'gone'): Promise<Bench> {
  const world = await mounted();
  world.machine.mountsNow = [];
  if (superblock === 'lives') world.machine.hidden.add(DEV);
  return world;
}

describe.each([
  ['by the broker that mounted it', (world: Bench) => world],
  ['by the one after it', restarted],
])('a client whose mount is not at its leaf any more, seen %s,', (_, since) => {
  it('serves while its superblock exists; it is not ended, its leaf stays, and a mount is made beside it', async () => {
    const world = since(await vanished('lives'));
    expect(await seen(world)).toMatchObject({ mounts: [], former: [{ state: 'serving' }] });
    expect(await run(world, 'remove-leaf')).toMatchObject({ end: 'refused', error: { code: 'busy' } });
    const units: string[] = [];
    world.machine.helper = (spec) => {
      units.push(spec.unit);
      return mounting(world, '0:78')(spec);
    };
    expect(await run(world, 'mount')).toMatchObject({ end: 'done' });
    expect(units).toEqual([SECOND_UNIT]);
    expect(await seen(world)).toMatchObject({ unit: 'serving', former: [{ state: 'serving' }] });
    expect(kills(world)).toEqual([]);
  });

  it('ends by itself once its superblock is gone', async () => {
    const world = since(await vanished('gone'));
    expect(await seen(world)).toMatchObject({ former: [{ state: 'ending' }] });
    expect(await run(world, 'remove-leaf')).toMatchObject({ end: 'done' });
    expect(kills(world)).toEqual([]);
    world.machine.unitStates.delete(UNIT);
    expect(await seen(world)).toMatchObject({ former: [] });
    expect([...world.machine.written.keys()]).toEqual([]);
  });

  it('serves, for all we know, while the kernel’s record cannot be read', async () => {
    const world = since(await vanished('lives'));
    world.machine.superblocks.at = () => 'unknown';
    world.machine.superblocks.all = () => null;
    expect(await seen(world)).toMatchObject({ former: [{ state: 'serving' }] });
    expect(await run(world, 'remove-leaf')).toMatchObject({ error: { code: 'busy' } });
    // A client may live outside of its unit.
    world.machine.unitStates.clear();
    expect(await seen(world)).toMatchObject({ former: [{ state: 'serving' }] });
    expect(kills(world)).toEqual([]);
  });
});

describe('a superblock’s number that another one has now', () => {
  it('is not taken for the client’s', async () => {
    const world = await vanished('lives');
    world.machine.entries.set(DEV, 'a later one');
    expect(await seen(world)).toMatchObject({ former: [{ state: 'ending' }] });
  });

  it('cannot be told in another record of the kernel, and counts as the client’s', async () => {
    const world = await vanished('lives');
    world.machine.entries.set(DEV, 'a later one, or another entry of the same');
    world.machine.record = 'a later one';
    expect(await seen(restarted(world))).toMatchObject({ former: [{ state: 'serving' }] });
  });

  it('can be told again in another record, once it was seen there', async () => {
    const world = await vanished('lives');
    world.machine.record = 'a later one';
    const next = restarted(world);
    expect(await seen(next)).toMatchObject({ former: [{ state: 'serving' }] });
    world.machine.entries.set(DEV, 'a later one');
    expect(await seen(next)).toMatchObject({ former: [{ state: 'ending' }] });
  });

  it('is another’s in another record too, where it is mounted as something else', async () => {
    const world = await vanished('lives');
    world.machine.entries.set(DEV, 'a later one');
    world.machine.record = 'a later one';
    world.machine.mountsNow = [entry({ dev: DEV, fsType: 'fuse.sshfs', source: 'host:/home', mountPoint: '/mnt' })];
    expect(await seen(restarted(world))).toMatchObject({ former: [{ state: 'ending' }] });
  });
});

describe('a client of which nothing is written', () => {
  it('serves, for all we know, as long as it is in its unit', async () => {
    const world = bench();
    world.machine.leaves.set(MOUNTPOINT, 'empty');
    world.machine.unitStates.set(UNIT, OCCUPIED);
    world.machine.hidden.add(DEV);
    expect(await seen(world)).toMatchObject({ former: [{ state: 'serving' }] });
    expect(await run(world, 'remove-leaf')).toMatchObject({ error: { code: 'busy' } });
    expect(kills(world)).toEqual([]);
    world.machine.unitStates.delete(UNIT);
    expect(await seen(world)).toMatchObject({ former: [] });
  });

  it('is taken in once, and again by nobody', async () => {
    const world = bench();
    world.machine.unitStates.set(UNIT, OCCUPIED);
    let lists = 0;
    world.machine.units.list = () => {
      lists += 1;
      return Promise.resolve([UNIT]);
    };
    for (let i = 0; i < 3; i += 1) await adoptUnits(world.context, new Deadline(world.machine.clock, BUDGET_MS));
    expect(lists).toBe(2);
    expect(world.context.clients.of({ base: BASE, volume: { leaf: LEAF as Leaf } })).toHaveLength(1);
  });

  it('of which another boot has written, either', async () => {
    const world = await vanished('lives');
    const next = restarted(world, '0d6c4f3e-0000-4000-8000-000000000002');
    world.machine.unitStates.clear();
    expect(await seen(next)).toMatchObject({ former: [] });
  });
});

describe('what a helper that failed has left in its unit', () => {
  const FAILED: HelperEnd = { end: 'exited', status: 1, output: '' };

  function failing(world: Bench, before: () => void = () => undefined): void {
    world.machine.leaves.set(MOUNTPOINT, 'empty');
    world.machine.helper = ({ unit }) => {
      before();
      world.machine.unitStates.set(unit, OCCUPIED);
      return Promise.resolve(FAILED);
    };
  }

  it('is ended, as nothing can be served by it', async () => {
    const world = bench();
    failing(world);
    expect(await run(world, 'mount')).toMatchObject({ error: { code: 'helper-failed' } });
    expect(kills(world)).toEqual([`kill ${UNIT}`]);
  });

  it('is ended although a superblock that was there before it is in no table', async () => {
    const world = bench();
    world.machine.hidden.add('0:50');
    failing(world);
    await run(world, 'mount');
    expect(kills(world)).toEqual([`kill ${UNIT}`]);
  });

  it('is not ended where a superblock that came since is in no table', async () => {
    const world = bench();
    failing(world, () => world.machine.hidden.add('0:50'));
    await run(world, 'mount');
    expect(await seen(world)).toMatchObject({ former: [{ state: 'serving' }] });
    expect(kills(world)).toEqual([]);
  });

  const SSHFS = { fsType: 'fuse.sshfs', source: 'host:/home', mountPoint: '/mnt' };
  const ELSEWHERE = mountpointOf(BASE, leafOf('reg/other' as Export));
  const AT_NOVA = mountpointOf('/var/lib/nova/mnt', leafOf('reg/other' as Export));
  const later: [string, Partial<MountEntry>[], Partial<MountEntry>[], 'ended' | 'stays'][] = [
    ['is mounted here as something else', [SSHFS], [], 'ended'],
    ['another namespace shows as something else', [], [SSHFS], 'ended'],
    ['is another volume, where that belongs', [{ source: 'quobyte@reg/other', mountPoint: ELSEWHERE }], [], 'ended'],
    [
      'is another volume at its leaf in another base',
      [{ source: 'quobyte@reg/other', mountPoint: AT_NOVA }],
      [],
      'ended',
    ],
    ['another namespace shows as the volume', [], [{ mountPoint: '/mnt' }], 'stays'],
    ['another namespace shows as something else at the leaf', [], [{ ...SSHFS, mountPoint: MOUNTPOINT }], 'stays'],
    ['another namespace shows in part', [], [{ root: '/sub', mountPoint: '/mnt' }], 'stays'],
    ['two namespaces show, one as something else', [], [SSHFS, { mountPoint: '/copy' }], 'stays'],
    ['is mounted at the leaf and not root’s', [{ superOptions: ['rw', 'user_id=1000'] }], [], 'stays'],
    ['is mounted at the leaf as something else', [{ ...SSHFS, mountPoint: MOUNTPOINT }], [], 'stays'],
    ['is bound in part elsewhere', [{ root: '/sub', mountPoint: '/mnt' }], [], 'stays'],
    ['is mounted elsewhere by another user', [{ superOptions: ['user_id=7'], mountPoint: '/mnt' }], [], 'stays'],
    ['is another volume, elsewhere', [{ source: 'quobyte@reg/other', mountPoint: '/mnt' }], [], 'stays'],
    [
      'is this volume, where another belongs',
      [{ source: 'quobyte@reg/other', root: '/sub', mountPoint: ELSEWHERE }],
      [],
      'stays',
    ],
  ];
  it.each(later)('where a superblock came since that %s', async (_, here, elsewhere, end) => {
    const world = bench();
    failing(world, () => {
      world.machine.hidden.add('0:50');
      world.machine.mountsNow.push(...here.map((one) => entry({ dev: '0:50', ...one })));
      world.machine.elsewhere = elsewhere.map((one) => entry({ dev: '0:50', ...one }));
    });
    await run(world, 'mount');
    expect(kills(world)).toEqual(end === 'ended' ? [`kill ${UNIT}`] : []);
  });

  it('is ended where that superblock is what the client of another leaf serves', async () => {
    const world = bench();
    failing(world, () => {
      world.machine.hidden.add('0:50');
      const site = { base: BASE, volume: { leaf: leafOf('reg/other' as Export) } };
      world.context.clients.find(site, { superblock: { dev: '0:50', record: 'record', entry: '0:50' } });
    });
    await run(world, 'mount');
    expect(kills(world)).toEqual([`kill ${UNIT}`]);
  });

  it('is not ended where the other namespaces cannot be seen', async () => {
    const world = bench();
    failing(world, () => world.machine.hidden.add('0:50'));
    world.machine.namespaces.mounts = () => null;
    await run(world, 'mount');
    expect(kills(world)).toEqual([]);
  });
});

describe('a helper that an earlier broker has asked systemd for, and whose unit is not there,', () => {
  const noted = (facts: Partial<Client>): Bench => {
    const world = bench();
    world.machine.leaves.set(MOUNTPOINT, 'empty');
    const begun = world.machine.uptime();
    const site = { base: BASE, volume: { leaf: LEAF as Leaf } };
    world.context.clients.find(site, { generation: 1, begun, budgetMs: 60_000, earlier: [], isOver: false, ...facts });
    return world;
  };

  it('may yet begin: no other is started until its time is up', async () => {
    const world = noted({});
    expect(await seen(world)).toMatchObject({ unit: 'starting', former: [] });
    expect(await run(world, 'mount')).toMatchObject({ end: 'refused', error: { code: 'stuck' } });
    expect(world.machine.effects).toEqual([]);
  });

  it.each([
    ['its time is up', { budgetMs: -1 }],
    ['its end was seen', { isOver: true }],
    ['the program that asks systemd for it has ended', { helper: { pid: 999_999, began: '1' } }],
  ] as const)('is over when %s', async (_, facts) => {
    expect(await seen(noted(facts))).toMatchObject({ unit: 'idle', former: [] });
  });

  it('is over where brokers start helpers themselves', async () => {
    const world = noted({});
    Object.assign(world.machine.units, { way: () => Promise.resolve('session') });
    expect(await seen(world)).toMatchObject({ unit: 'idle', former: [] });
  });
});

describe('a helper at work in a unit of which no note is left', () => {
  it('is waited for as long as a mount may take', async () => {
    const world = bench();
    world.machine.leaves.set(MOUNTPOINT, 'empty');
    world.machine.unitStates.set(UNIT, 'starting');
    world.machine.units.list = () => Promise.resolve([UNIT]);
    expect(await run(world, 'mount')).toMatchObject({ end: 'refused', error: { code: 'stuck' } });
    expect(world.machine.effects).toEqual([]);
  });
});

describe('before a helper is started', () => {
  it('its client is written down, and where that is not possible it is not started', async () => {
    const world = bench();
    world.machine.leaves.set(MOUNTPOINT, 'empty');
    world.machine.noRoom = Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
    expect(await run(world, 'mount')).toMatchObject({
      end: 'refused',
      error: { code: 'resource-exhausted', field: 'run_dir' },
    });
    expect(world.machine.effects).toEqual([]);
    world.machine.noRoom = null;
    let written: readonly string[] = [];
    world.machine.helper = (spec) => {
      written = [...world.machine.written.keys()];
      return mounting(world, DEV)(spec);
    };
    expect(await run(world, 'mount')).toMatchObject({ end: 'done' });
    expect(written).toEqual([expect.stringContaining(LEAF)]);
  });

  it('too many clients of the volume that still serve refuse it', async () => {
    const world = bench();
    world.machine.leaves.set(MOUNTPOINT, 'empty');
    for (let count = 1; ; count += 1) {
      world.machine.helper = mounting(world, `0:${1000 + count}`);
      const end = await run(world, 'mount');
      if (end.end === 'refused') {
        expect(end.error).toMatchObject({ code: 'resource-exhausted' });
        expect(count).toBe(17);
        break;
      }
      world.machine.hidden.add(`0:${1000 + count}`);
      world.machine.mountsNow = [];
    }
    expect(kills(world)).toEqual([]);
  });
});

describe('a leaf on which another mount namespace has a mount', () => {
  it.each([
    ['at the same path', MOUNTPOINT, 'busy'],
    ['at another one', `/host${MOUNTPOINT}`, 'busy'],
    ['somewhere else', '/mnt/copy', null],
  ])('%s', async (_, mountPoint, code) => {
    const world = bench();
    world.machine.leaves.set(MOUNTPOINT, 'empty');
    world.machine.elsewhere = [entry({ mountPoint })];
    const end = await run(world, 'remove-leaf');
    expect(end).toMatchObject(code === null ? { end: 'done' } : { end: 'refused', error: { code } });
    expect(world.machine.leaves.has(MOUNTPOINT)).toBe(code !== null);
  });

  it('counts as one where that cannot be seen', async () => {
    const world = bench();
    world.machine.leaves.set(MOUNTPOINT, 'empty');
    world.machine.namespaces.mounts = () => null;
    expect(await run(world, 'remove-leaf')).toMatchObject({ error: { code: 'busy' } });
    expect(world.machine.effects).toEqual([]);
  });
});
