// What a start makes of what it finds.

import { describe, expect, it } from 'vitest';
import { FairleadError } from '../../../src/core/errors.js';
import type { Consumer } from '../../../src/core/names.js';
import type { InventoryItem, Observation } from '../../../src/core/observation.js';
import {
  ALICE,
  attached,
  Bench,
  BOB,
  codeOf,
  cutOff,
  DEAD,
  diskFull,
  ending,
  gate,
  hanging,
  HEALTHY,
  held,
  mountOf,
  recorded,
  volumeOf,
  VOLUME,
} from './bench.js';
import { quiet } from './virtual-clock.js';

const item = (different: Partial<InventoryItem>): InventoryItem => ({
  leaf: volumeOf('elsewhere').leaf,
  mountpoint: '/mnt/elsewhere',
  directory: 'mounted',
  mounts: [mountOf()],
  mayHideOurs: false,
  unit: 'idle',
  former: [],
  backend: 'quobyte',
  ...different,
});

describe('a start', () => {
  it('keeps a mount that nobody recorded, with a hold, and releases it when the hold is lifted', async () => {
    const bench = new Bench();
    bench.mounted(VOLUME);
    await bench.start();
    expect(bench.engine.list().mounts).toMatchObject([{ leaf: VOLUME.leaf, hold: 'inherited', state: 'mounted' }]);
    expect(bench.events).not.toContain('step unmount');
  });

  it('tries again to write the hold when the disk was full', async () => {
    const bench = new Bench();
    bench.mounted(VOLUME);
    bench.once('commit', diskFull);
    await bench.start();
    await bench.clock.pass(1000);
    expect(bench.durable.holds.has(VOLUME.leaf)).toBe(true);
  });

  it.each(['quobyte://throw', 'quobyte://reg/another'])(
    'is not stopped by an item that does not prove itself: %s',
    async (url) => {
      const bench = new Bench();
      bench.strangers.push(item({ url }));
      bench.mounted(VOLUME);
      await bench.start();
      expect(bench.engine.list()).toMatchObject({ state: 'ready' });
      expect(
        bench.engine
          .list()
          .mounts.map(({ state }) => state)
          .sort(),
      ).toEqual(['foreign', 'mounted']);
    },
  );

  it('shows a stranger and does nothing about it', async () => {
    const bench = new Bench();
    bench.strangers.push(item({ mounts: [mountOf({ recognised: false })] }));
    await bench.start();
    expect(bench.engine.list().mounts).toMatchObject([{ state: 'foreign', url: null }]);
    expect(bench.effects()).toEqual([]);
  });

  it('takes nothing away on the word of an earlier boot', async () => {
    for (const remains of [
      [recorded('releasing', 'boot-0')],
      [recorded('mounting', 'boot-0'), cutOff('connect', ['mount', 'harden'], true)],
      [recorded('mounted', 'boot-0')],
    ]) {
      const bench = new Bench();
      bench.remember(...remains);
      bench.mounted(VOLUME);
      await bench.start();
      expect(bench.at(VOLUME).mounts).toHaveLength(1);
      expect(bench.durable.usersOf(VOLUME.leaf)).toEqual(['hold:inherited']);
      expect(bench.durable.operations.size).toBe(0);
    }
  });

  it('holds nothing while it cannot be told what is mounted, and decides when it can', async () => {
    const bench = new Bench();
    bench.remember(recorded('releasing', 'boot-0'));
    bench.mounted(VOLUME);
    const hangs = bench.always('observe', async (proceed) => ({
      ...((await proceed()) as Observation),
      judgement: { verdict: 'hung', reason: 'The directory does not answer.', dead: false },
    }));
    await bench.start();
    await bench.clock.pass(10_000);
    expect(bench.durable.holds.size).toBe(0);
    expect(bench.engine.list().mounts).toMatchObject([{ leaf: VOLUME.leaf, verdict: 'hung' }]);
    hangs();
    await bench.clock.pass(60_000);
    expect(bench.durable.usersOf(VOLUME.leaf)).toEqual(['hold:inherited']);
  });

  it('goes on releasing what was releasing, also where a cancelling connect was cut off', async () => {
    for (const remains of [
      [recorded('releasing')],
      [recorded('releasing'), cutOff('connect', ['harden'], false)],
      [recorded('releasing'), cutOff('release', ['unmount', 'remove-leaf'], false)],
    ]) {
      const bench = new Bench();
      bench.remember(...remains);
      bench.mounted(VOLUME, { busy: true });
      await bench.start();
      expect(bench.engine.list().mounts[0]?.state).toBe('releasing');
      bench.at(VOLUME).busy = false;
      await bench.clock.pass(60_000);
      expect([bench.at(VOLUME).directory, bench.durable.leaves().size]).toEqual(['absent', 0]);
    }
  });

  it('undoes a connect that was never answered, each step of it', async () => {
    for (const steps of [
      { directory: 'absent', mounts: [], begun: false },
      { directory: 'empty', mounts: [], begun: true },
      { directory: 'empty', mounts: [mountOf({ hardened: false })], begun: true },
      { directory: 'empty', mounts: [mountOf()], begun: true },
    ] as const) {
      const bench = new Bench();
      bench.remember(recorded('mounting'), cutOff('connect', ['make-leaf', 'mount', 'harden'], steps.begun));
      Object.assign(bench.at(VOLUME), { directory: steps.directory, mounts: [...steps.mounts] });
      await bench.start();
      expect([bench.at(VOLUME).directory, bench.at(VOLUME).mounts.length]).toEqual(['absent', 0]);
      expect(bench.durable.leaves().size).toBe(0);
    }
  });

  it('finishes a recovery that was cut off between mount and hardening', async () => {
    const bench = new Bench();
    bench.remember(recorded('mounted'), attached(), cutOff('recover', ['detach-dead', 'mount', 'harden'], true));
    bench.mounted(VOLUME, { mounts: [mountOf({ hardened: false })] });
    await bench.start();
    expect(bench.at(VOLUME).mounts).toEqual([mountOf()]);
    expect(bench.durable.operations.size).toBe(0);
  });

  it('replaces a mount in use that has died meanwhile', async () => {
    const bench = new Bench();
    bench.remember(recorded('mounted'), attached());
    bench.mounted(VOLUME, { judgement: DEAD });
    await bench.start();
    expect(bench.effects()).toContain('step detach-dead');
    expect([bench.at(VOLUME).judgement, bench.at(VOLUME).mounts]).toEqual([HEALTHY, [mountOf()]]);
  });

  it('finds a recovery done that was cut off before its end was written, and closes it', async () => {
    const bench = new Bench();
    bench.remember(recorded('mounted'), attached(), cutOff('recover', ['mount', 'harden'], true));
    bench.mounted(VOLUME);
    await bench.start();
    expect(bench.effects()).toEqual(['commit close-operation']);
  });

  it('remembers that a mount in use was seen in this boot', async () => {
    const bench = new Bench();
    bench.remember(recorded('mounted', 'boot-0'), attached());
    bench.mounted(VOLUME);
    await bench.start();
    expect(bench.effects()).toEqual(['commit put-mount:mounted']);
    expect(bench.durable.mounts.get(VOLUME.leaf)?.bootId).toBe('boot-1');
  });

  it('mounts again what is used read-only though it cannot be written', async () => {
    const bench = new Bench();
    const [readOnly] = [attached()].map((change) =>
      change.kind === 'put-attachment' ? { ...change, attachment: { ...change.attachment, readOnly: true } } : change,
    );
    bench.remember(recorded('mounted', 'boot-0'), readOnly!);
    bench.once('step mount', async (proceed) => {
      const end = await proceed();
      bench.at(VOLUME).judgement = { verdict: 'read-only', reason: 'It cannot be written.', dead: false };
      return end;
    });
    await bench.start();
    expect(bench.at(VOLUME).mounts).toEqual([mountOf()]);
    expect(bench.durable.operations.size).toBe(0);
  });

  it('removes no directory of which nothing is recorded', async () => {
    const bench = new Bench();
    bench.mounted(VOLUME);
    bench.once('observe', (proceed) => {
      bench.at(VOLUME).mounts = [];
      return proceed();
    });
    await bench.start();
    expect(bench.effects()).toEqual([]);
  });

  it('says that somebody took a mount away, or mounts it again, as the policy says', async () => {
    for (const [onVanish, state] of [
      ['report', 'vanished'],
      ['remount', 'mounted'],
    ] as const) {
      const bench = new Bench();
      bench.onVanish = onVanish;
      bench.remember(recorded('mounted'), attached());
      await bench.start();
      expect(bench.engine.list().mounts[0]?.state).toBe(state);
      expect(bench.at(VOLUME).mounts).toHaveLength(onVanish === 'remount' ? 1 : 0);
    }
  });

  it('clears away a held mount that is gone, with its directory', async () => {
    const bench = new Bench();
    bench.remember(recorded('mounted', 'boot-0'), held());
    bench.at(VOLUME).directory = 'empty';
    await bench.start();
    expect([bench.at(VOLUME).directory, bench.durable.leaves().size]).toEqual(['absent', 0]);
  });

  it('mounts again after a reboot, however often that takes', async () => {
    const bench = new Bench();
    bench.remember(recorded('mounted', 'boot-0'), attached());
    for (let index = 0; index < 4; index++) bench.once('step mount', () => ending('refused', 'helper-failed'));
    await bench.start();
    expect(bench.engine.list().state).toBe('ready');
    await bench.clock.pass(60_000);
    expect(bench.at(VOLUME).mounts).toEqual([mountOf()]);
    expect(bench.durable.operations.size).toBe(0);
  });

  it('still owes a restore that an earlier start could not do', async () => {
    const bench = new Bench();
    bench.remember(recorded('mounted', 'boot-0'), attached());
    bench.once('step mount', () => ending('refused', 'helper-failed'));
    await bench.start();
    bench.crash();
    await bench.start();
    expect(bench.at(VOLUME).mounts).toEqual([mountOf()]);
  });

  it('lets each leaf have its turn though others hang', async () => {
    const bench = new Bench();
    const hangingOnes = Array.from({ length: 70 }, (_, index) => volumeOf(`hanging${index}`));
    for (const volume of [...hangingOnes, VOLUME]) {
      bench.remember(recorded('mounted', 'boot-0', volume), attached(`cli:${volume.leaf}` as Consumer, volume));
    }
    for (let index = 0; index < hangingOnes.length; index++) bench.once('observe', hanging);
    await bench.start();
    await bench.clock.pass(30_000);
    expect(bench.at(VOLUME).mounts).toHaveLength(1);
    expect(bench.engine.list().state).toBe('ready');
  });

  it('looks at an open leaf once, and keeps clients from it until then', async () => {
    const bench = new Bench();
    bench.remember(recorded('releasing'), cutOff('release', ['unmount'], true), attached(ALICE, volumeOf('vol1')));
    bench.remember(recorded('mounted', 'boot-1', volumeOf('vol1')));
    bench.mounted(volumeOf('vol1'));
    bench.always('settle', () => 'acting');
    await bench.start();
    const [open, other] = [bench.connect(), bench.disconnect(volumeOf('vol1'))];
    await quiet();
    expect([codeOf(open), other.value?.outcome]).toEqual(['stuck', 'released']);
    await bench.clock.pass(10_000);
    expect(bench.engine.list().state).toBe('ready');
    expect(bench.engine.list().mounts[0]?.state).toBe('stuck');
  });

  it('reconciles an open leaf only once', async () => {
    const bench = new Bench();
    bench.remember(recorded('mounted'), attached(), cutOff('recover', ['mount'], true));
    bench.mounted(VOLUME);
    await bench.start();
    expect(bench.events.filter((event) => event === 'observe')).toHaveLength(1);
  });

  it('shows no directory as a stranger, and leaves no timer behind', async () => {
    const bench = new Bench();
    bench.at(volumeOf('vol1')).directory = 'empty';
    bench.mounted(VOLUME);
    await bench.start();
    expect(bench.engine.list().mounts).toHaveLength(1);
    expect(bench.clock.sleeping).toBe(0);
  });

  it('tries again when the inventory fails in a way nobody foresaw, and frees no open leaf meanwhile', async () => {
    const bench = new Bench();
    bench.remember(recorded('mounting'), cutOff('connect', ['mount', 'harden'], true));
    bench.once('inventory', () => Promise.reject(new RangeError('unforeseen')));
    await bench.start();
    const connect = bench.connect();
    await quiet();
    expect([codeOf(connect), bench.engine.list().mounts[0]?.state]).toEqual(['internal', 'stuck']);
    await bench.clock.pass(1000);
    expect(bench.engine.list()).toMatchObject({ state: 'ready', mounts: [] });
  });

  it('that is stopped during its inventory lets whoever waits for an open leaf go', async () => {
    const bench = new Bench();
    bench.remember(recorded('mounting'), cutOff('connect', ['mount', 'harden'], true));
    const inventory = gate();
    bench.once('inventory', async () => {
      await inventory.opened;
      throw new FairleadError('deadline-exceeded', 'The broker was late.');
    });
    await bench.start();
    const patient = bench.engine.stop();
    inventory.open();
    await patient;
    await quiet();
    const connect = bench.connect();
    await quiet();
    expect(codeOf(connect)).toBe('unavailable');
    expect(bench.effects()).toEqual([]);
  });

  it('that is stopped puts no leaf in order that it waited for', async () => {
    const bench = new Bench();
    bench.remember(recorded('mounted'), attached());
    bench.mounted(VOLUME);
    const [inventory, look] = [gate(), gate()];
    bench.once('inventory', async (proceed) => {
      await inventory.opened;
      return proceed();
    });
    bench.once('observe', async (proceed) => {
      await look.opened;
      return proceed();
    });
    await bench.start();
    bench.connect(VOLUME, BOB);
    await quiet();
    inventory.open();
    await quiet();
    const stopped = bench.engine.stop();
    look.open();
    await stopped;
    await quiet();
    expect(bench.events.filter((event) => event === 'observe')).toHaveLength(1);
  });

  it('that is stopped while it waits for a broker ends', async () => {
    const bench = new Bench();
    bench.remember(recorded('mounted'), cutOff('connect', ['mount'], true));
    bench.brokerConnected = false;
    await bench.start();
    await bench.engine.stop();
    await bench.clock.pass(60_000);
    expect([bench.clock.sleeping, bench.listeners.size]).toEqual([0, 0]);
    expect(bench.durable.operations.size).toBe(1);
  });
});
