import { describe, expect, it } from 'vitest';
import { observe } from '../../../src/broker/handlers/observe.js';
import { Deadline } from '../../../src/core/deadline.js';
import { UnitsSeen } from '../../../src/broker/units-seen.js';
import { step } from '../../../src/broker/handlers/step.js';
import type { UnitState } from '../../../src/core/observation.js';
import type { Leaf } from '../../../src/core/volume.js';
import { BASE, bench, type Bench, entry, LEAF, MOUNTPOINT, URL } from './fake-machine.js';

const LEAF_AT = '/srv/base/x';

describe('what is remembered of a unit', () => {
  it('holds for the mount that it was seen with, and for no other', () => {
    const seen = new UnitsSeen();
    const mount = entry();
    expect(seen.recall(LEAF_AT, mount)).toBeNull();
    seen.learn(LEAF_AT, mount, 'serving', seen.moment);
    expect(seen.recall(LEAF_AT, mount)).toBe('serving');
    expect(seen.recall('/srv/base/y', mount)).toBeNull();
    expect(seen.recall(LEAF_AT, undefined)).toBeNull();
    expect(seen.recall(LEAF_AT, { ...mount, mountId: mount.mountId + 1 })).toBeNull();
    expect(seen.recall(LEAF_AT, { ...mount, dev: '0:1' })).toBeNull();
  });

  it('is never that a helper is at work', () => {
    const seen = new UnitsSeen();
    const mount = entry();
    seen.learn(LEAF_AT, mount, 'serving', seen.moment);
    seen.learn(LEAF_AT, mount, 'starting', seen.moment);
    expect(seen.recall(LEAF_AT, mount)).toBeNull();
  });

  it('ends when a helper is started, also for a look that began before', () => {
    const seen = new UnitsSeen();
    const mount = entry();
    seen.learn(LEAF_AT, mount, 'idle', seen.moment);
    const { moment } = seen;
    seen.begin(LEAF_AT);
    expect(seen.recall(LEAF_AT, mount)).toBeNull();
    seen.learn(LEAF_AT, mount, 'idle', moment);
    expect(seen.recall(LEAF_AT, mount)).toBeNull();
  });
});

const HELPER = { pid: 4711, began: '1' };
const SITE = { base: BASE, volume: { leaf: LEAF as Leaf } };

describe('looks at a mounted volume', () => {
  /** A world that counts how often units are asked. */
  function counting(state: UnitState): { readonly world: Bench; asked: number; look(): Promise<UnitState> } {
    const world = bench();
    world.machine.mountsNow = [entry()];
    world.machine.running.add(HELPER.pid);
    world.context.clients.find(SITE, { generation: 1, earlier: [], helper: HELPER, isOver: false, budgetMs: 60_000 });
    const counted = {
      world,
      asked: 0,
      async look() {
        const call = {
          context: world.context,
          deadline: new Deadline(world.machine.clock, 2000),
          emit: () => undefined,
        };
        const request = { id: 1, verb: 'observe', volume: URL, probe: 'read-only', budgetMs: 2000 } as const;
        return (await observe(call, request)).unit;
      },
    };
    world.machine.units.state = () => {
      counted.asked += 1;
      return Promise.resolve(state);
    };
    return counted;
  }

  it('ask the unit once', async () => {
    const counted = counting('serving');
    for (let i = 0; i < 3; i += 1) expect(await counted.look()).toBe('serving');
    expect(counted.asked).toBe(1);
  });

  it('ask again each time while its helper is at work', async () => {
    const counted = counting('starting');
    for (let i = 0; i < 3; i += 1) expect(await counted.look()).toBe('starting');
    expect(counted.asked).toBe(3);
  });

  it('ask again for another mount, and where nothing is mounted', async () => {
    const counted = counting('serving');
    await counted.look();
    counted.world.machine.mountsNow = [entry()];
    await counted.look();
    expect(counted.asked).toBe(2);
    counted.world.machine.mountsNow = [];
    await counted.look();
    await counted.look();
    expect(counted.asked).toBe(4);
  });

  it('ask again after the broker has started a helper, though its mount were to look like the one before', async () => {
    const counted = counting('serving');
    const { world } = counted;
    const [mount] = world.machine.mountsNow;
    await counted.look();
    world.machine.mountsNow = [];
    world.machine.leaves.set(MOUNTPOINT, 'empty');
    world.machine.units.state = () => Promise.resolve('idle');
    world.machine.helper = () => {
      world.machine.mountsNow = mount === undefined ? [] : [mount];
      return Promise.resolve({ end: 'exited', status: 0, output: '' });
    };
    const call = { context: world.context, deadline: new Deadline(world.machine.clock, 2000), emit: () => undefined };
    await step(call, { id: 2, verb: 'step', volume: URL, kind: 'mount', budgetMs: 2000 });
    world.machine.units.state = () => Promise.resolve('starting');
    expect(await counted.look()).toBe('starting');
  });
});
