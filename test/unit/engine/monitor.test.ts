// The health monitor: what it notices without being asked, what it has done about it, and how it keeps out of everybody's way.

import { beforeEach, describe, expect, it } from 'vitest';
import { FairleadError } from '../../../src/core/errors.js';
import type { Holder } from '../../../src/core/observation.js';
import type { Volume } from '../../../src/core/volume.js';
import {
  ALICE,
  attached,
  Bench,
  BOB,
  DEAD,
  gate,
  hanging,
  HEALTHY,
  held,
  HUNG,
  KNOWN,
  mountOf,
  recorded,
  VOLUME,
  volumeOf,
} from './bench.js';
import { quiet } from './virtual-clock.js';

const INTERVAL = 30_000;
const QEMU: Holder = { pid: 7, command: 'qemu', by: 'descriptor' };

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
  bench.healthIntervalMs = INTERVAL;
});

/** An agent that begins with these volumes mounted and in use. */
async function begin(...volumes: Volume[]): Promise<void> {
  for (const volume of volumes) {
    bench.mounted(volume);
    bench.remember(recorded('mounted', 'boot-1', volume), attached(ALICE, volume));
  }
  bench.crash();
  await bench.start();
  bench.events.length = 0;
}

const listed = (volume = VOLUME) => bench.engine.list().mounts.find(({ leaf }) => leaf === volume.leaf);
const looks = (): number => bench.events.filter((event) => event === 'observe').length;
const changes = (): number => [...bench.warnings, ...bench.told].filter((event) => event === 'verdict-changed').length;

describe('a look', () => {
  it('shows a hung volume to whoever lists it, and says so once', async () => {
    await begin(VOLUME);
    expect(listed()?.verdict).toBe('healthy');
    bench.at(VOLUME).judgement = HUNG;
    await bench.clock.pass(2 * INTERVAL);
    expect(listed()?.verdict).toBe('hung');
    expect(changes()).toBe(1);
    await bench.clock.pass(5 * INTERVAL);
    expect(listed()?.verdictAge).toBeLessThanOrEqual((2 * INTERVAL) / 1000);
    expect([changes(), bench.effects()]).toEqual([1, []]);
    bench.at(VOLUME).judgement = HEALTHY;
    await bench.clock.pass(2 * INTERVAL);
    expect([listed()?.verdict, changes()]).toEqual(['healthy', 2]);
  });

  it('comes to each mount in use about every interval, and to no other', async () => {
    const [used, kept, unused, going] = [volumeOf('used'), volumeOf('kept'), volumeOf('unused'), volumeOf('going')];
    bench.remember(recorded('mounted', 'boot-1', kept), held(kept), recorded('releasing', 'boot-1', going));
    bench.mounted(kept);
    bench.mounted(going, { busy: true });
    bench.mounted(unused, { mounts: [mountOf({ recognised: false })] });
    await begin(used);
    const before = bench.clock.now();
    const seen: string[] = [];
    bench.always('observe', async (proceed) => {
      const observation = await (proceed() as Promise<{ leaf: string }>);
      seen.push(observation.leaf);
      return observation;
    });
    await bench.clock.pass(10 * INTERVAL);
    const times = (volume: Volume): number => seen.filter((leaf) => leaf === volume.leaf).length;
    const rounds = (bench.clock.now() - before) / INTERVAL;
    for (const volume of [used, kept]) {
      expect(times(volume)).toBeGreaterThanOrEqual(rounds / 2);
      expect(times(volume)).toBeLessThanOrEqual(1.4 * rounds);
    }
    expect(times(unused)).toBe(0);
  });

  it('is begun at most ten times a second, and all get their turn', async () => {
    const many = KNOWN.slice(1, 201);
    bench.healthIntervalMs = 1000;
    await begin(...many);
    await bench.clock.pass(10_000);
    expect(looks()).toBeLessThanOrEqual(101);
    expect(looks()).toBeGreaterThan(50);
    await bench.clock.pass(60_000);
    expect(Math.max(...many.map((volume) => listed(volume)?.verdictAge ?? Infinity))).toBeLessThan(45);
  });

  it('that hangs delays no other, and is not begun twice', async () => {
    const [bad, ...good] = KNOWN.slice(1, 40) as [Volume, ...Volume[]];
    await begin(bad, ...good);
    let begun = 0;
    bench.always('observe', async (proceed) => {
      const observation = await (proceed() as Promise<{ leaf: string }>);
      if (observation.leaf !== bad.leaf) return observation;
      begun += 1;
      return hanging();
    });
    await bench.clock.pass(6 * INTERVAL);
    expect(begun).toBe(1);
    for (const volume of good) expect(listed(volume)?.verdictAge).toBeLessThan((2 * INTERVAL) / 1000);
  });

  it('holds up no request, and is forgotten where one has been at work meanwhile', async () => {
    await begin(VOLUME);
    const look = gate();
    bench.at(VOLUME).judgement = HUNG;
    bench.once('observe', async (proceed) => {
      const seen = await proceed();
      await look.opened;
      return seen;
    });
    await bench.clock.pass(INTERVAL);
    bench.at(VOLUME).judgement = HEALTHY;
    const connected = bench.connect(VOLUME, BOB);
    await bench.clock.pass(0);
    expect(connected.state).toBe('kept');
    look.open();
    await bench.clock.pass(0);
    expect([listed()?.verdict, changes()]).toEqual(['healthy', 0]);
  });

  it('keeps away while a request is at work', async () => {
    await begin(VOLUME);
    bench.once('observe', () => hanging());
    bench.connect(VOLUME, BOB);
    await bench.clock.pass(0);
    bench.events.length = 0;
    await bench.clock.pass(4 * INTERVAL);
    expect(looks()).toBe(0);
  });

  it('is not made without a broker, nor after the engine has stopped; a refusal is no verdict', async () => {
    await begin(VOLUME);
    bench.brokerConnected = false;
    await bench.clock.pass(3 * INTERVAL);
    expect(looks()).toBe(0);
    bench.brokerConnects();
    bench.once('observe', () => {
      throw new FairleadError('resource-exhausted', 'Too many probes hang.');
    });
    await bench.clock.pass(2 * INTERVAL);
    expect([listed()?.verdict, changes(), bench.warnings]).toEqual(['healthy', 0, []]);
    await bench.engine.stop();
    bench.events.length = 0;
    await bench.clock.pass(4 * INTERVAL);
    expect(looks()).toBe(0);
  });
});

describe('what a look finds', () => {
  it('dead is mounted again, and who held it is listed until it has ended', async () => {
    await begin(VOLUME);
    Object.assign(bench.at(VOLUME), { judgement: DEAD, holders: [QEMU, { ...QEMU, pid: 8 }] });
    await bench.clock.pass(2 * INTERVAL);
    expect(bench.effects().filter((event) => event.startsWith('step '))).toEqual([
      'step detach-dead',
      'step mount',
      'step harden',
    ]);
    expect([listed()?.verdict, listed()?.state, listed()?.attachments.length]).toEqual(['healthy', 'mounted', 1]);
    expect(listed()?.needsRestart.map(({ pid }) => pid)).toEqual([7, 8]);
    bench.ended.add(7);
    await bench.clock.pass(2 * INTERVAL);
    expect(listed()?.needsRestart.map(({ pid }) => pid)).toEqual([8]);
  });

  it('vanished is shown and said once, and left to a connect', async () => {
    await begin(VOLUME);
    bench.at(VOLUME).mounts = [];
    await bench.clock.pass(5 * INTERVAL);
    expect([listed()?.state, listed()?.verdict, changes(), bench.effects()]).toEqual(['vanished', 'absent', 1, []]);
    // After a start nobody needs to have unmounted it: its storage may have come late.
    const found = await bench.engine.examine({ deadlineMs: 1000, signal: new AbortController().signal });
    expect(found.map(({ message }) => message).join()).toContain('or it could not be mounted again after a start');
  });

  it('vanished is mounted again where the policy says so', async () => {
    bench.onVanish = 'remount';
    await begin(VOLUME);
    bench.at(VOLUME).mounts = [];
    await bench.clock.pass(2 * INTERVAL);
    expect([listed()?.state, listed()?.verdict]).toEqual(['mounted', 'healthy']);
    expect(bench.at(VOLUME).mounts).toHaveLength(1);
  });

  it('vanished, and only held, is forgotten', async () => {
    bench.mounted(VOLUME);
    bench.remember(recorded('mounted'), held());
    bench.crash();
    await bench.start();
    bench.at(VOLUME).mounts = [];
    await bench.clock.pass(2 * INTERVAL);
    expect(listed()).toBeUndefined();
  });

  it('covered by a stranger is shown, touched by nobody, and well again when the stranger has gone', async () => {
    await begin(VOLUME);
    bench.at(VOLUME).mounts = [mountOf(), mountOf({ recognised: false })];
    await bench.clock.pass(2 * INTERVAL);
    expect([listed()?.verdict, bench.effects()]).toEqual(['foreign', []]);
    bench.at(VOLUME).mounts = [mountOf()];
    await bench.clock.pass(2 * INTERVAL);
    expect([listed()?.verdict, bench.effects()]).toEqual(['healthy', []]);
  });

  it('a stranger that has gone is listed no longer', async () => {
    const stranger = volumeOf('of-nobody');
    bench.mounted(stranger, { mounts: [mountOf({ recognised: false })] });
    const changed = tableChange(stranger);
    await begin(VOLUME);
    expect(listed(stranger)?.state).toBe('foreign');
    bench.at(stranger).mounts = [];
    bench.at(stranger).directory = 'absent';
    changed();
    await bench.clock.pass(1000);
    expect(listed(stranger)).toBeUndefined();
  });
});

/** Lets the broker tell of one change of the mount table, at this volume's leaf, when the returned function is called. */
function tableChange({ backend, leaf }: Volume): () => void {
  const told = gate();
  bench.watching = async (seen) => {
    if (seen === null) return { version: 1, leaves: [] };
    await (seen === 1 ? told.opened : new Promise(() => undefined));
    return { version: 2, leaves: [{ backend, leaf }] };
  };
  return () => told.open();
}

describe('what others mount', () => {
  const other = volumeOf('vol7');

  it('is held as soon as it is heard of, if it is a volume', async () => {
    const changed = tableChange(other);
    await begin(VOLUME);
    bench.mounted(other);
    changed();
    await bench.clock.pass(2000);
    expect(listed(other)).toMatchObject({ state: 'mounted', hold: 'inherited' });
  });

  it('is shown as foreign, if it is not', async () => {
    const changed = tableChange(other);
    await begin(VOLUME);
    bench.mounted(other, { mounts: [mountOf({ recognised: false })] });
    changed();
    await bench.clock.pass(1000);
    expect(listed(other)?.state).toBe('foreign');
  });

  it('over a mount in use is told at once, and so is that it has gone', async () => {
    const changed = tableChange(VOLUME);
    await begin(VOLUME);
    const ours = bench.at(VOLUME).mounts;
    bench.at(VOLUME).mounts = [...ours, mountOf({ recognised: false, dev: '0:99' })];
    changed();
    await bench.clock.pass(1000);
    expect(listed()?.verdict).toBe('foreign');
  });

  it('is left to whoever is at work on the leaf, and looked at when that is over', async () => {
    const changed = tableChange(VOLUME);
    await begin(VOLUME);
    const slow = gate();
    bench.once('observe', async (proceed) => {
      await slow.opened;
      return proceed();
    });
    bench.connect();
    await quiet();
    bench.at(VOLUME).mounts = [...bench.at(VOLUME).mounts, mountOf({ recognised: false, dev: '0:99' })];
    changed();
    await bench.clock.pass(500);
    expect(looks()).toBe(1);
    bench.watching = (seen) => Promise.resolve({ version: seen ?? 1, leaves: [] });
    slow.open();
    await bench.clock.pass(3000);
    expect(listed()?.verdict).toBe('foreign');
  });
});
