// Whose superblock it is that appears at a leaf, and what may be ended: nothing is concluded from what may be somebody
// else's, and nothing is ended that may have served somebody, since it may write back what was written through it.

import { describe, expect, it } from 'vitest';
import { observe } from '../../../src/broker/handlers/observe.js';
import { settle, step } from '../../../src/broker/handlers/step.js';
import type { Client } from '../../../src/broker/clients.js';
import { unitName } from '../../../src/broker/unit-names.js';
import { Deadline } from '../../../src/core/deadline.js';
import type { Observation } from '../../../src/core/observation.js';
import type { Leaf } from '../../../src/core/volume.js';
import { BASE, bench, type Bench, entry, LEAF, MOUNTPOINT, URL } from './fake-machine.js';

const UNIT = unitName('mount', BASE, LEAF as Leaf);
const SITE = { base: BASE, volume: { leaf: LEAF as Leaf } };

function call({ context }: Bench, budgetMs = 2000): Parameters<typeof observe>[0] {
  return { context, deadline: new Deadline(context.machine.clock, budgetMs), emit: () => undefined };
}

function look(world: Bench): Promise<Observation> {
  return observe(call(world), { id: 1, verb: 'observe', budgetMs: 2000, volume: URL, probe: null });
}

function settled(world: Bench): Promise<'settled' | 'acting'> {
  return settle(call(world), { id: 1, verb: 'settle', budgetMs: 2000, volume: URL });
}

/** A world in which an earlier process has started a helper, whose end it has seen, and has never seen a mount of it. */
function inherited(facts: Partial<Client> = {}): Bench {
  const world = bench();
  world.machine.leaves.set(MOUNTPOINT, 'empty');
  world.context.clients.find(SITE, { generation: 1, earlier: [], ...facts });
  world.machine.unitStates.set(UNIT, 'serving');
  return world;
}

/** A promise that somebody else settles. */
function gate(): { readonly opened: Promise<void>; open(): void } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open: () => open() };
}

describe('a superblock that appears at the leaf', () => {
  it('is that of the client which alone can have made it', async () => {
    const world = inherited();
    world.machine.mountsNow = [entry({ dev: '0:41' })];
    await look(world);
    expect(world.context.clients.of(SITE).map(({ superblock }) => superblock?.dev)).toEqual(['0:41']);
  });

  const doubts: [string, Partial<Client>, (world: Bench) => void][] = [
    [
      'while the volume is mounted elsewhere',
      {},
      ({ machine }) => machine.mountsNow.push(entry({ mountPoint: '/moved', dev: '0:40' })),
    ],
    ['while another is there that no mount shows', {}, ({ machine }) => void machine.hidden.add('0:40')],
    ['after the note about the client was lost', { earlier: null }, () => undefined],
    [
      'beside another client of which nothing was seen',
      {},
      ({ context }) => context.clients.find(SITE, { generation: 2, earlier: [] }),
    ],
  ];
  it.each(doubts)('is nobody in particular’s %s: with its end no other client is gone', async (_, facts, disturb) => {
    const world = inherited(facts);
    const theirs = entry({ dev: '0:41' });
    world.machine.mountsNow = [theirs];
    disturb(world);
    await look(world);
    world.machine.mountsNow = world.machine.mountsNow.filter((one) => one !== theirs);
    const mine = world.context.clients.of(SITE).find(({ generation }) => generation === 1);
    expect(mine?.superblock).toBeNull();
    expect(world.context.clients.of(SITE).at(-1)).toMatchObject({ generation: null, superblock: { dev: '0:41' } });
  });
});

describe('what a helper has left', () => {
  it('is not ended where an earlier process started it: nobody knows what it has served', async () => {
    const world = inherited();
    expect(await settled(world)).toBe('settled');
    expect(world.machine.effects).not.toContain(`kill ${UNIT}`);
    expect((await look(world)).former).toEqual([{ state: 'ending' }]);
  });

  it('is not ended once a superblock was there that may have been its own', async () => {
    const world = bench();
    world.machine.leaves.set(MOUNTPOINT, 'empty');
    world.machine.unitsAreStuck = true;
    world.machine.helper = () => {
      world.machine.unitStates.set(UNIT, 'starting');
      return Promise.resolve({ end: 'late', isKnown: true, output: '' });
    };
    await step(call(world), { id: 1, verb: 'step', volume: URL, kind: 'mount', budgetMs: 2000 });
    world.machine.unitsAreStuck = false;
    world.machine.hidden.add('0:40');
    await look(world);
    world.machine.hidden.clear();
    world.machine.effects.length = 0;
    expect(await settled(world)).toBe('acting');
    expect(world.machine.effects).toEqual([]);
  });
});

describe('a client that was written down', () => {
  it('is not forgotten with an earlier one at which somebody still looks', async () => {
    const world = inherited({ superblock: { dev: '0:40', record: 'record', entry: '0:40' } });
    const asked = gate();
    const answer = gate();
    const state = async (): Promise<'idle'> => {
      asked.open();
      await answer.opened;
      return 'idle';
    };
    Object.assign(world.machine.units, { state });
    const slow = look(world);
    await asked.opened;
    Object.assign(world.machine.units, { state: () => Promise.resolve('idle') });
    await look(world);
    expect(world.context.clients.of(SITE)).toEqual([]);
    world.context.clients.find(SITE, { generation: 1, isOver: false });
    answer.open();
    await slow;
    expect(world.context.clients.of(SITE)).toHaveLength(1);
  });

  it('is not taken for what is in the unit whose name its helper could not have', async () => {
    const world = bench();
    world.machine.leaves.set(MOUNTPOINT, 'empty');
    world.machine.helper = () => {
      world.machine.unitStates.set(UNIT, 'serving');
      return Promise.resolve({ end: 'not-started', why: 'name-in-use', detail: '' });
    };
    await step(call(world), { id: 1, verb: 'step', volume: URL, kind: 'mount', budgetMs: 2000 });
    expect((await look(world)).former).toEqual([{ state: 'serving' }]);
    await settled(world);
    expect(world.machine.effects).not.toContain(`kill ${UNIT}`);
  });
});
