// Whose users the broker looks for when it is asked for a volume's holders, and what it makes of the answer.

import { beforeEach, describe, expect, it } from 'vitest';
import { holders } from '../../../src/broker/handlers/use.js';
import { Deadline } from '../../../src/core/deadline.js';
import { FairleadError } from '../../../src/core/errors.js';
import type { Holder, Holding } from '../../../src/core/observation.js';
import { leafOf, type Export, type Leaf } from '../../../src/core/volume.js';
import type { Sought } from '../../../src/sys/ports.js';
import { BASE, bench, type Bench, entry, LEAF, LOCAL_BASE, MOUNTPOINT, URL } from './fake-machine.js';

const SOURCE = '/srv/pool/data';
const LOCAL_POINT = `${LOCAL_BASE}/${leafOf(SOURCE as Export)}`;
const BUDGET_MS = 2000;
const USER: Holder = { pid: 7, command: 'cat', by: 'descriptor' };

let world: Bench;
let asked: Sought[];
beforeEach(() => {
  world = bench();
  asked = [];
  answer(() => Promise.resolve({ holders: [USER], complete: true }));
});

function answer(found: () => Promise<Holding>): void {
  world.machine.processes.holding = (sought) => {
    asked.push(sought);
    return found();
  };
}

function ask(volume = URL): Promise<Holding> {
  const { context } = world;
  const call = { context, deadline: new Deadline(context.machine.clock, BUDGET_MS), emit: () => undefined };
  return holders(call, { id: 1, verb: 'holders', volume, budgetMs: BUDGET_MS });
}

describe('the users of a volume', () => {
  it('are those of its superblock, wherever it is mounted', async () => {
    world.machine.mountsNow = [entry({ dev: '0:77' })];
    expect(await ask()).toEqual({ holders: [USER], complete: true });
    expect(asked).toEqual([{ kind: 'superblock', mountPoint: MOUNTPOINT, devices: ['0:77'] }]);
  });

  it('are those of every mount of it that lies there, one below the other or below a stranger', async () => {
    world.machine.mountsNow = [entry({ dev: '0:78' }), entry({ dev: '0:77' }), entry({ dev: '0:9', source: 'else' })];
    await ask();
    expect(asked).toEqual([{ kind: 'superblock', mountPoint: MOUNTPOINT, devices: ['0:77', '0:78'] }]);
  });

  it('of a bound directory are those of its mounts: the superblock is others’ too', async () => {
    world.machine.mountsNow = [entry({ mountPoint: LOCAL_POINT, dev: '8:1', root: '/pool/data', fsType: 'ext4' })];
    world.machine.inodes.set(SOURCE, '/pool/data');
    await ask(`local://${SOURCE}`);
    expect(asked).toEqual([
      { kind: 'bind', mountPoint: LOCAL_POINT, devices: ['8:1'], root: '/pool/data', source: SOURCE },
    ]);
  });

  it('are those of an earlier mount, too, whose client still serves somebody elsewhere', async () => {
    const { clients } = world.context;
    const place = { base: BASE, volume: { leaf: LEAF as Leaf } };
    for (const dev of ['0:77', '0:79']) {
      clients.find(place, { superblock: { dev, record: world.machine.record, entry: dev } });
    }
    world.machine.hidden.add('0:77');
    await ask();
    world.machine.mountsNow = [entry({ dev: '0:78' })];
    await ask();
    expect(asked.map(({ devices }) => devices)).toEqual([['0:77'], ['0:77', '0:78']]);
  });

  it('are nobody where nothing of it is mounted, and nobody is looked for', async () => {
    world.machine.mountsNow = [entry({ source: 'else' })];
    expect(await ask()).toEqual({ holders: [], complete: true });
    expect(asked).toEqual([]);
  });

  it('are not all known when the search was cut short, or found too many', async () => {
    world.machine.mountsNow = [entry()];
    answer(() => Promise.resolve({ holders: [USER], complete: false }));
    expect(await ask()).toEqual({ holders: [USER], complete: false });
    answer(() => Promise.resolve({ holders: Array.from({ length: 300 }, () => USER), complete: true }));
    const { holders: found, complete } = await ask();
    expect([found.length, complete]).toEqual([256, false]);
  });

  it('are refused when too many are looked for', async () => {
    world.machine.mountsNow = [entry()];
    answer(() => Promise.reject(new FairleadError('resource-exhausted', 'Too many.')));
    await expect(ask()).rejects.toMatchObject({ code: 'resource-exhausted' });
  });
});
