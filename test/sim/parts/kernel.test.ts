// The simulated kernel behaves as the facts about the real one say: stacking, busy, lazy detach, dead and hung servers.

import { describe, expect, it } from 'vitest';
import type { ProbeAnswer, ProbeJob } from '../../../src/sys/ports.js';
import { newServer, type Mount } from '../kernel.js';
import { Host } from '../machine.js';
import { chanceOf } from '../prng.js';
import { Scheduler } from '../scheduler.js';

const BASE = '/mnt/quobyte';
const LEAF = 'c94ed34ada0acf45c1213beb1fc52ce6';
const POINT = `${BASE}/${LEAF}`;

function setUp(): {
  host: Host;
  scheduler: Scheduler;
  life: { name: string; alive: boolean };
  run: (ms: number) => Promise<void>;
} {
  const scheduler = new Scheduler(chanceOf(3), 'lines');
  const host = new Host(scheduler, chanceOf(4));
  host.tree.plant(BASE, 0o711);
  const run = async (ms: number): Promise<void> => {
    const until = scheduler.now + ms;
    while (await scheduler.step(until));
    scheduler.now = until;
  };
  return { host, scheduler, life: { name: 'broker', alive: true }, run };
}

function mountIt(host: Host, serves: string | null = 'r/v', maker: 'fairlead' | 'stranger' = 'fairlead'): Mount {
  return host.kernel.mount({
    root: '/',
    mountPoint: POINT,
    fsType: 'fuse.quobyte',
    source: 'quobyte@r/v',
    server: newServer(),
    serves,
    maker,
  });
}

describe('mount table', () => {
  it('stacks mounts, unmounts the topmost, and gives out device numbers again', () => {
    const { host, life } = setUp();
    const first = mountIt(host);
    const second = mountIt(host, null, 'stranger');
    const { table } = host.machine(life);
    expect(table.at(POINT).map(({ mountId }) => mountId)).toEqual([first.id, second.id]);
    expect(host.kernel.unmount(POINT, 'plain', 'stranger')).toBeNull();
    expect(table.below(BASE).map(({ mountId }) => mountId)).toEqual([first.id]);
    expect(mountIt(host).dev).toBe(second.dev);
    host.kernel.unmount(POINT, 'plain', 'fairlead');
    host.kernel.unmount(POINT, 'plain', 'fairlead');
    expect(host.kernel.unmount(POINT, 'plain', 'fairlead')).toBe('EINVAL');
  });

  it('says busy while somebody holds a mount, except from another namespace; a lazy detach hides it', () => {
    const { host } = setUp();
    const mount = mountIt(host);
    const copy = host.kernel.occupy(mount, { pid: 1, command: 'sh', by: 'namespace' });
    const holder = host.kernel.occupy(mount, { pid: 2, command: 'qemu', by: 'descriptor' });
    expect(host.kernel.unmount(POINT, 'plain', 'fairlead')).toBe('EBUSY');
    expect(host.kernel.unmount(POINT, 'detach', 'fairlead')).toBeNull();
    expect(host.kernel.at(POINT)).toEqual([]);
    expect(host.kernel.detached).toEqual([mount]);
    host.kernel.leave(copy);
    host.kernel.leave(holder);
    expect(host.kernel.detached).toEqual([]);
  });

  it('tells of each effect before it happens', () => {
    const { host } = setUp();
    const seen: string[] = [];
    host.kernel.observe = (effect) => seen.push(`${effect.kind} ${host.kernel.at(POINT).length}`);
    mountIt(host);
    host.kernel.unmount(POINT, 'plain', 'fairlead');
    expect(seen).toEqual(['mount 0', 'unmount 1']);
  });
});

describe('directories', () => {
  it('makes and removes leaves, and says what is in the way', () => {
    const { host, life } = setUp();
    const { directories } = host.machine(life);
    expect(directories.leafState(BASE, LEAF)).toBe('absent');
    expect(directories.makeLeaf(BASE, LEAF)).toBe('made');
    expect(directories.makeLeaf(BASE, LEAF)).toBe('exists');
    expect(directories.chain(POINT).at(-1)).toMatchObject({ kind: 'directory', mode: 0o700 });
    mountIt(host);
    expect(directories.removeLeaf(BASE, LEAF)).toBe('mounted');
    host.kernel.unmount(POINT, 'plain', 'fairlead');
    expect(directories.removeLeaf(BASE, LEAF)).toBe('removed');
    host.tree.put(POINT, { kind: 'link', uid: 0, mode: 0o777, occupied: false });
    expect(directories.leafState(BASE, LEAF)).toBe('link');
    expect(directories.removeLeaf(BASE, LEAF)).toBe('not-a-directory');
  });
});

describe('probe children', () => {
  const probe: ProbeJob = { kind: 'probe', path: POINT, access: 'read-write', witness: null, disks: [] };

  function child(
    host: Host,
    life: { name: string; alive: boolean },
  ): { answers: ProbeAnswer[]; post: (job: ProbeJob) => void; kill: () => void } {
    const prober = host.machine(life).probeChildren.start(0, 0);
    const answers: ProbeAnswer[] = [];
    let next = 1;
    prober.onAnswer((_, answer) => answers.push(answer));
    return { answers, post: (job) => prober.post(next++, job), kill: () => prober.kill() };
  }

  it('answer for a live server, fail for a dead one, and wait for a hung one', async () => {
    const { host, life, run } = setUp();
    host.machine(life).directories.makeLeaf(BASE, LEAF);
    const mount = mountIt(host);
    const prober = child(host, life);
    prober.post(probe);
    await run(20);
    expect(prober.answers).toMatchObject([{ facts: { statfs: { end: 'answered' }, root: { size: 0 } } }]);
    host.kernel.setServer(mount, 'never-read', 'stranger');
    prober.post(probe);
    await run(60_000);
    expect(prober.answers).toHaveLength(1);
    expect(host.kernel.unmount(POINT, 'plain', 'fairlead')).toBe('EBUSY');
    host.kernel.setServer(mount, 'dead', 'stranger');
    await run(20);
    expect(prober.answers[1]).toMatchObject({ facts: { statfs: { end: 'failed', errno: 'ENOTCONN' } } });
    expect(host.kernel.unmount(POINT, 'plain', 'fairlead')).toBeNull();
  });

  it('leave a stuck thread behind when killed inside a request that was read, and none when it was not', async () => {
    const { host, life, run } = setUp();
    const mount = mountIt(host);
    host.kernel.setServer(mount, 'never-read', 'stranger');
    const first = child(host, life);
    first.post(probe);
    await run(20);
    first.kill();
    expect([host.probes.stuck, mount.inside]).toEqual([0, 0]);
    host.kernel.setServer(mount, 'never-answered', 'stranger');
    const second = child(host, life);
    second.post(probe);
    await run(20);
    second.kill();
    expect([host.probes.stuck, mount.inside]).toEqual([1, 1]);
    host.kernel.setServer(mount, 'answering', 'stranger');
    await run(20);
    expect([host.probes.stuck, mount.inside]).toEqual([0, 0]);
    expect(second.answers).toEqual([]);
  });

  it('unmount what they are told to', async () => {
    const { host, life, run } = setUp();
    mountIt(host);
    const prober = child(host, life);
    prober.post({ kind: 'unmount', base: BASE, leaf: LEAF, mode: 'plain' });
    prober.post({ kind: 'unmount', base: BASE, leaf: LEAF, mode: 'plain' });
    await run(20);
    expect(prober.answers).toEqual([
      { kind: 'unmount', errno: null },
      { kind: 'unmount', errno: 'EINVAL' },
    ]);
  });
});
