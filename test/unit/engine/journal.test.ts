// Journal before effect: for each flow, everything that is committed and everything that is done, in one order.

import { describe, expect, it } from 'vitest';
import { FairleadError } from '../../../src/core/errors.js';
import {
  ALICE,
  attached,
  Bench,
  BOB,
  codeOf,
  cutOff,
  DEAD,
  DISK,
  diskFull,
  ending,
  gate,
  hanging,
  mountOf,
  recorded,
  VOLUME,
} from './bench.js';
import { quiet } from './virtual-clock.js';

/** A started bench on which Alice is attached, with nothing written down yet. */
async function attachedBench(): Promise<Bench> {
  const bench = new Bench();
  await bench.start();
  await bench.connect().promise;
  bench.effects();
  return bench;
}

const MOUNTING = [
  'commit put-mount:mounting put-operation:connect@make-leaf',
  'step make-leaf',
  'commit put-operation:connect@mount',
  'step mount',
  'commit put-operation:connect@harden',
  'step harden',
];
const RELEASING = [
  'commit put-mount:releasing put-operation:release@unmount',
  'step unmount',
  'commit put-operation:release@remove-leaf',
  'step remove-leaf',
  'commit forget-mount close-operation',
];

describe('the order of what is written and what is done', () => {
  it('of a connect: each step after its entry, the attachment last, with the end of the operation', async () => {
    const bench = new Bench();
    await bench.start();
    await bench.connect().promise;
    expect(bench.effects()).toEqual([...MOUNTING, 'commit put-mount:mounted put-attachment close-operation']);
  });

  it('of a second connect: the attachment alone; of a repeated one: nothing', async () => {
    const bench = await attachedBench();
    expect((await bench.connect(VOLUME, BOB).promise).changed).toBe(true);
    expect(bench.effects()).toEqual(['commit put-attachment']);
    expect((await bench.connect(VOLUME, BOB).promise).changed).toBe(false);
    expect(bench.effects()).toEqual([]);
  });

  it('of a connect to a mount without a record: the attachment, and a hold for whoever made it', async () => {
    const bench = new Bench();
    await bench.start();
    bench.mounted(VOLUME);
    await bench.connect().promise;
    expect(bench.effects()).toEqual(['commit put-mount:mounted put-hold put-attachment']);
  });

  it('of a connect to a mount without a record that is not hardened yet', async () => {
    const bench = new Bench();
    await bench.start();
    bench.mounted(VOLUME, { mounts: [mountOf({ hardened: false })] });
    await bench.connect().promise;
    expect(bench.effects()).toEqual([
      'commit put-mount:mounting put-operation:connect@harden',
      'step harden',
      'commit put-mount:mounted put-hold put-attachment close-operation',
    ]);
  });

  it('of the last disconnect: the end of the attachment before anything is asked for', async () => {
    const bench = await attachedBench();
    const { outcome, mounted } = await bench.disconnect().promise;
    expect([outcome, mounted]).toEqual(['released', false]);
    expect(bench.effects()).toEqual(['commit end-attachment put-mount:releasing', ...RELEASING]);
  });

  it('of a disconnect that leaves users: its end, and nothing else', async () => {
    const bench = await attachedBench();
    await bench.connect(VOLUME, BOB).promise;
    bench.effects();
    expect((await bench.disconnect().promise).outcome).toBe('still-used');
    expect(bench.effects()).toEqual(['commit end-attachment']);
  });

  it('of a connect that cancels a release: no step, the record and the attachment at once', async () => {
    const bench = await attachedBench();
    bench.at(VOLUME).busy = true;
    await bench.disconnect().promise;
    expect(bench.effects().at(-1)).toBe('commit put-mount:releasing close-operation');
    await bench.connect(VOLUME, BOB).promise;
    expect(bench.effects()).toEqual(['commit put-mount:mounted put-attachment']);
    bench.at(VOLUME).busy = false;
    await bench.clock.pass(120_000);
    expect(bench.effects()).toEqual([]);
  });

  it('of a connect whose helper fails: what it made goes away', async () => {
    const bench = new Bench();
    await bench.start();
    bench.once('step mount', () => ending('refused', 'helper-failed'));
    const connect = bench.connect();
    await quiet();
    expect(codeOf(connect)).toBe('helper-failed');
    expect(bench.effects()).toEqual([
      ...MOUNTING.slice(0, 4),
      'commit put-operation:release@remove-leaf',
      'step remove-leaf',
      'commit forget-mount close-operation',
    ]);
  });

  it('of a connect whose disk is no file: mounted, refused, taken away', async () => {
    const bench = new Bench();
    await bench.start();
    bench.at(VOLUME).disk = 'link';
    const connect = bench.connect(VOLUME, ALICE, { disk: DISK });
    await quiet();
    expect(codeOf(connect)).toBe('foreign');
    expect(bench.effects()).toEqual([...MOUNTING, ...RELEASING]);
  });

  it('of a dead mount with users: journaled as a recovery, replaced, users kept', async () => {
    const bench = await attachedBench();
    bench.at(VOLUME).judgement = DEAD;
    await bench.connect(VOLUME, BOB).promise;
    expect(bench.effects()).toEqual([
      'commit put-operation:recover@detach-dead',
      'step detach-dead',
      'commit put-operation:recover@mount',
      'step mount',
      'commit put-operation:recover@harden',
      'step harden',
      'commit put-attachment close-operation',
    ]);
    expect(bench.durable.usersOf(VOLUME.leaf)).toEqual([ALICE, BOB]);
  });

  it('of a release whose mount is dead and busy: detached after the proof', async () => {
    const bench = await attachedBench();
    Object.assign(bench.at(VOLUME), { judgement: DEAD, busy: true });
    expect((await bench.disconnect().promise).outcome).toBe('released');
    expect(bench.effects()).toEqual([
      'commit end-attachment put-mount:releasing',
      ...RELEASING.slice(0, 2),
      'commit put-operation:release@detach-dead',
      'step detach-dead',
      ...RELEASING.slice(2),
    ]);
  });

  it('of a mount lost in a reboot: the record of this boot with the first entry', async () => {
    const bench = new Bench();
    bench.remember(recorded('mounted', 'boot-0'), attached());
    await bench.start();
    expect(bench.effects()).toEqual([
      'commit put-mount:mounted put-operation:recover@make-leaf',
      'step make-leaf',
      'commit put-operation:recover@mount',
      'step mount',
      'commit put-operation:recover@harden',
      'step harden',
      'commit close-operation',
    ]);
    expect(bench.durable.mounts.get(VOLUME.leaf)?.bootId).toBe('boot-1');
  });

  it('of a release that was cut off: settled, then rolled forward', async () => {
    const bench = new Bench();
    bench.remember(recorded('releasing'), cutOff('release', ['unmount', 'remove-leaf'], true));
    bench.mounted(VOLUME);
    await bench.start();
    expect(bench.events.slice(0, 3)).toEqual(['inventory', 'settle', 'observe']);
    expect(bench.effects()).toEqual(RELEASING);
  });

  it('of a hold that is lifted: its end and the release at once, then the unmount', async () => {
    const bench = new Bench();
    bench.mounted(VOLUME);
    await bench.start();
    expect(bench.effects()).toEqual(['commit put-mount:mounted put-hold']);
    const context = { deadlineMs: 1000, signal: new AbortController().signal };
    expect(await bench.engine.liftHold({ leaf: VOLUME.leaf, force: false }, context)).toEqual({ lifted: true });
    expect(bench.effects()).toEqual(['commit lift-hold put-mount:releasing']);
    await bench.clock.pass(1000);
    expect(bench.effects()).toEqual(RELEASING);
    expect(await bench.engine.liftHold({ leaf: VOLUME.leaf, force: false }, context)).toEqual({ lifted: false });
  });
});

describe('the lifting of a hold', () => {
  it('takes nothing from those who are attached', async () => {
    const bench = new Bench();
    bench.mounted(VOLUME);
    await bench.start();
    await bench.connect().promise;
    bench.effects();
    const context = { deadlineMs: 1000, signal: new AbortController().signal };
    await bench.engine.liftHold({ leaf: VOLUME.leaf, force: false }, context);
    await bench.clock.pass(60_000);
    expect(bench.effects()).toEqual(['commit lift-hold']);
    expect((await bench.disconnect().promise).outcome).toBe('released');
  });
});

describe('a commit that fails', () => {
  /** Runs a connect on an empty leaf with the `nth` commit failing, and all after it until the disk has room again. */
  async function connectWithFull(nth: number): Promise<{ bench: Bench; code: string }> {
    const bench = new Bench();
    await bench.start();
    for (let index = 0; index < nth; index++) bench.once('commit', (proceed) => proceed());
    const connect = bench.connect();
    const makeRoom = bench.always('commit', diskFull);
    await quiet();
    const code = codeOf(connect);
    makeRoom();
    return { bench, code };
  }

  it.each([0, 1, 2, 3])(
    'in a connect, as its commit %i: refused, no effect without its entry, nothing left',
    async (nth) => {
      const { bench, code } = await connectWithFull(nth);
      expect(code).toBe('resource-exhausted');
      const effects = bench.effects();
      expect(effects.filter((event) => event.startsWith('step '))).toHaveLength(nth);
      expect(bench.durable.isUsed(VOLUME.leaf)).toBe(false);
      await bench.clock.pass(60_000);
      expect([bench.at(VOLUME).mounts.length, bench.at(VOLUME).directory]).toEqual([0, 'absent']);
      expect(bench.durable.leaves().size).toBe(0);
    },
  );

  it.each([0, 1, 2, 3])(
    'in a connect, as its commit %i, and then a crash: the next start leaves nothing',
    async (nth) => {
      const { bench } = await connectWithFull(nth);
      bench.crash();
      await bench.start();
      expect([bench.at(VOLUME).mounts.length, bench.at(VOLUME).directory]).toEqual([0, 'absent']);
      expect(bench.durable.leaves().size).toBe(0);
    },
  );

  it('is what doctor says, until something new could be written again', async () => {
    const bench = await attachedBench();
    const context = { deadlineMs: 1000, signal: new AbortController().signal };
    bench.once('commit', diskFull);
    bench.connect(VOLUME, BOB);
    await quiet();
    const finding = { subject: 'state_dir', severity: 'error', message: 'The state disk is full.' };
    expect(await bench.engine.examine(context)).toMatchObject([finding]);
    // Ends can be written on a full disk, too: they prove nothing.
    bench.disconnect();
    await bench.clock.pass(1000);
    expect(bench.durable.isUsed(VOLUME.leaf)).toBe(false);
    expect(await bench.engine.examine(context)).toMatchObject([finding]);
    bench.connect();
    await bench.clock.pass(1000);
    expect(await bench.engine.examine(context)).toEqual([]);
  });

  it('as the first of a disconnect: refused, the attachment stays, nothing was touched', async () => {
    const bench = await attachedBench();
    bench.once('commit', diskFull);
    const disconnect = bench.disconnect();
    await quiet();
    expect(codeOf(disconnect)).toBe('resource-exhausted');
    expect(bench.durable.usersOf(VOLUME.leaf)).toEqual([ALICE]);
    await bench.clock.pass(60_000);
    expect(bench.at(VOLUME).mounts).toHaveLength(1);
  });

  it.each([1, 2, 3])('as commit %i of a disconnect: the end stands and the release goes on later', async (nth) => {
    const bench = await attachedBench();
    for (let index = 0; index < nth; index++) bench.once('commit', (proceed) => proceed());
    const disconnect = bench.disconnect();
    const makeRoom = bench.always('commit', diskFull);
    await bench.clock.pass(60_000);
    expect(codeOf(disconnect)).toBe('resource-exhausted');
    expect(bench.durable.isUsed(VOLUME.leaf)).toBe(false);
    expect(bench.effects().filter((event) => event.startsWith('step '))).toHaveLength(nth - 1);
    makeRoom();
    await bench.clock.pass(60_000);
    expect([bench.at(VOLUME).directory, bench.durable.leaves().size]).toEqual(['absent', 0]);
  });
});

describe('a step whose end is unknown', () => {
  it.each(['make-leaf', 'mount', 'harden'] as const)(
    '%s keeps the lock until it is settled, then is looked at',
    async (kind) => {
      const bench = await startedWith(kind);
      const connect = bench.connect();
      await bench.clock.pass(10_000);
      const other = bench.connect(VOLUME, BOB);
      await quiet();
      expect([connect.state, codeOf(other)]).toEqual(['open', 'stuck']);
      expect(bench.engine.list().mounts[0]).toMatchObject({
        state: 'stuck',
        operation: { kind: 'connect', stuck: true },
      });
      bench.effects();
      settled.open();
      await bench.clock.pass(30_000);
      expect(connect.state).toBe('kept');
      expect(bench.engine.list().mounts[0]).toMatchObject({ state: 'mounted', operation: null });
      expect((await bench.connect(VOLUME, BOB).promise).changed).toBe(true);
    },
  );

  let settled = gate();
  async function startedWith(kind: string): Promise<Bench> {
    const bench = new Bench();
    await bench.start();
    settled = gate();
    bench.once(`step ${kind}`, async (proceed) => {
      await proceed();
      return ending('unknown', 'unavailable');
    });
    let isSettled = false;
    void settled.opened.then(() => (isSettled = true));
    bench.always('settle', () => (isSettled ? 'settled' : 'acting'));
    return bench;
  }

  it.each(['unmount', 'remove-leaf'] as const)(
    '%s of a disconnect keeps the lock until it is settled',
    async (kind) => {
      const bench = await startedWith(kind);
      await bench.connect().promise;
      const disconnect = bench.disconnect();
      await bench.clock.pass(10_000);
      const other = bench.connect(VOLUME, BOB);
      await quiet();
      expect([disconnect.state, codeOf(other)]).toEqual(['open', 'stuck']);
      settled.open();
      await bench.clock.pass(30_000);
      expect(disconnect.value?.outcome).toBe('released');
      expect(bench.durable.leaves().size).toBe(0);
    },
  );

  it.each(['unmount', 'remove-leaf'] as const)('%s of a disconnect that never happened is done again', async (kind) => {
    const bench = await attachedBench();
    for (let index = 0; index < 2; index++) bench.once(`step ${kind}`, () => ending('unknown', 'unavailable'));
    expect((await bench.disconnect().promise).outcome).toBe('released');
    expect([bench.at(VOLUME).directory, bench.durable.leaves().size]).toEqual(['absent', 0]);
  });

  it('because it hangs is answered at once as hung, and worked off behind the answer', async () => {
    const bench = await attachedBench();
    bench.once('step unmount', () => ending('unknown', 'hung'));
    const over = bench.always('settle', () => 'acting');
    const disconnect = bench.disconnect();
    await quiet();
    expect(disconnect.value).toMatchObject({ outcome: 'hung', mounted: true });
    const again = bench.disconnect();
    await quiet();
    expect(codeOf(again)).toBe('stuck');
    over();
    await bench.clock.pass(60_000);
    expect([bench.at(VOLUME).directory, bench.durable.leaves().size]).toEqual(['absent', 0]);
  });

  it('is settled though settling fails in a way nobody foresaw', async () => {
    const bench = new Bench();
    await bench.start();
    bench.once('step mount', () => ending('unknown', 'unavailable'));
    bench.once('settle', () => Promise.reject(new RangeError('unforeseen')));
    const connect = bench.connect();
    await quiet();
    expect(connect.state).toBe('open');
    expect(bench.effects()).toEqual(MOUNTING.slice(0, 4));
    await bench.clock.pass(1000);
    expect(connect.state).toBe('kept');
  });

  it('is settled as soon as a broker connects', async () => {
    const bench = new Bench();
    await bench.start();
    bench.once('step mount', () => {
      bench.brokerConnected = false;
      return ending('unknown', 'unavailable');
    });
    const connect = bench.connect();
    await bench.clock.pass(60_000);
    const other = bench.connect(VOLUME, BOB);
    await quiet();
    expect([connect.state, codeOf(other)]).toEqual(['open', 'unavailable']);
    bench.brokerConnects();
    await quiet();
    expect(connect.state).toBe('kept');
    expect(bench.listeners.size).toBe(0);
  });

  it('does not make the journal forget that a mount was begun', async () => {
    const bench = await startedWith('mount');
    settled.open();
    bench.once('step harden', hanging);
    bench.connect();
    await quiet();
    expect(bench.durable.operations.get(VOLUME.leaf)).toMatchObject({ steps: [{ kind: 'harden' }], mountBegun: true });
    bench.crash();
    await bench.start();
    expect([bench.at(VOLUME).directory, bench.durable.leaves().size]).toEqual(['absent', 0]);
  });

  it('stays in the journal, as it is, when the engine stops before it is settled', async () => {
    const bench = new Bench();
    await bench.start();
    bench.once('step mount', () => ending('unknown', 'unavailable'));
    bench.always('settle', () => 'acting');
    const connect = bench.connect();
    await quiet();
    bench.effects();
    const stopped = bench.engine.stop();
    await bench.clock.pass(10_000);
    await stopped;
    expect(codeOf(connect)).toBe('unavailable');
    expect(bench.effects()).toEqual([]);
    expect(bench.durable.operations.get(VOLUME.leaf)).toMatchObject({ kind: 'connect', mountBegun: true });
  });
});

describe('a broker that is absent', () => {
  it('leaves the end of an attachment recorded and the release owed', async () => {
    const bench = await attachedBench();
    bench.brokerConnected = false;
    const disconnect = bench.disconnect();
    await quiet();
    expect(codeOf(disconnect)).toBe('unavailable');
    expect(bench.effects()).toEqual(['commit end-attachment put-mount:releasing']);
    bench.brokerConnects();
    await quiet();
    expect(bench.effects()).toEqual(RELEASING);
  });

  it.each(['make-leaf', 'mount', 'harden'])(
    'before %s: refused, and what was made goes when it is back',
    async (kind) => {
      const bench = new Bench();
      await bench.start();
      bench.once(`step ${kind}`, () => {
        bench.brokerConnected = false;
        return ending('refused', 'unavailable');
      });
      const connect = bench.connect();
      await quiet();
      expect(codeOf(connect)).toBe('unavailable');
      bench.brokerConnects();
      await bench.clock.pass(1000);
      expect([bench.at(VOLUME).directory, bench.durable.leaves().size]).toEqual(['absent', 0]);
    },
  );

  it('is never answered with a guess about the mount', async () => {
    const bench = await attachedBench();
    await bench.connect(VOLUME, BOB).promise;
    bench.brokerConnected = false;
    const [used, unknown] = [bench.disconnect(), bench.disconnect(VOLUME, 'cli:nobody' as never)];
    await quiet();
    expect([codeOf(used), codeOf(unknown)]).toEqual(['unavailable', 'unavailable']);
    expect(bench.durable.usersOf(VOLUME.leaf)).toEqual([BOB]);
  });

  it('at start keeps the open leaves locked, says why, and lets the others through', async () => {
    const bench = new Bench();
    bench.remember(recorded('releasing'), cutOff('release', ['unmount'], true));
    bench.mounted(VOLUME);
    bench.brokerConnected = false;
    await bench.start();
    const connect = bench.connect();
    await quiet();
    expect(connect.error).toBeInstanceOf(FairleadError);
    expect(codeOf(connect)).toBe('unavailable');
    expect(bench.engine.list()).toMatchObject({ state: 'reconciling', broker: 'absent', mounts: [{ state: 'stuck' }] });
    bench.brokerConnects();
    await quiet();
    expect(bench.engine.list()).toMatchObject({ state: 'ready', broker: 'connected', mounts: [] });
  });
});
