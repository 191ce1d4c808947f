// The simulated kernel behaves as the facts about the real one say: stacking, busy, lazy detach, dead and hung servers.

import { describe, expect, it } from 'vitest';
import type { ProbeAnswer, ProbeJob } from '../../../src/sys/ports.js';
import type { Mount } from '../kernel.js';
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
  const what = {
    mountPoint: POINT,
    fsType: 'fuse.quobyte',
    source: 'quobyte@r/v',
    from: 'fuse',
    serves,
    maker,
  } as const;
  return host.kernel.mount(what);
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

  it('says busy while somebody has a mount open, except by a copy; a lazy detach hides it', () => {
    const { host } = setUp();
    const mount = mountIt(host);
    const copy = host.kernel.users.copy(mount, null, { pid: 1, command: 'sh', by: 'namespace' });
    expect(host.kernel.unmount(POINT, 'plain', 'fairlead')).toBeNull();
    const again = mountIt(host);
    const use = host.kernel.users.open(again, null);
    expect(host.kernel.unmount(POINT, 'plain', 'fairlead')).toBe('EBUSY');
    expect(host.kernel.unmount(POINT, 'detach', 'fairlead')).toBeNull();
    expect(host.kernel.at(POINT)).toEqual([]);
    expect([...host.kernel.superblocks.all]).toEqual([mount.superblock, again.superblock]);
    host.kernel.users.dropCopy(copy);
    host.kernel.users.close(use);
    expect(host.kernel.superblocks.all.size).toBe(0);
  });

  it('shows a moved mount where it is now, and a bind copy beside it', () => {
    const { host, life } = setUp();
    const mount = mountIt(host);
    const { superblock, fsType, source, serves } = mount;
    const copy = host.kernel.mount({
      mountPoint: '/copy',
      fsType,
      source,
      serves,
      maker: 'stranger',
      from: superblock,
    });
    host.kernel.move(mount, '/moved');
    const { table } = host.machine(life);
    expect(table.at(POINT)).toEqual([]);
    expect(table.below('/').map(({ mountPoint, dev }) => [mountPoint, dev])).toEqual([
      ['/copy', superblock.dev],
      ['/moved', superblock.dev],
    ]);
    host.kernel.vanish(mount);
    expect(superblock.isGone).toBe(false);
    host.kernel.vanish(copy);
    expect(superblock.isGone).toBe(true);
  });

  it('tells the parent of each mount of a stack', () => {
    const { host, life } = setUp();
    const first = mountIt(host);
    mountIt(host);
    expect(
      host
        .machine(life)
        .table.at(POINT)
        .map(({ parentId }) => parentId),
    ).toEqual([1, first.id]);
  });

  it('is read again only after a change of the table: a rename of what was bound is none', () => {
    const { host, life } = setUp();
    host.tree.plant('/pool/d', 0o755);
    const directory = host.tree.nodes.get('/pool/d')!;
    const what = {
      mountPoint: POINT,
      fsType: 'ext4',
      source: '/dev/sda1',
      serves: '/pool/d',
      maker: 'fairlead',
    } as const;
    host.kernel.mount({ ...what, from: host.kernel.superblocks.host, directory });
    const { table } = host.machine(life);
    const rootOf = (): string | undefined => table.at(POINT)[0]?.root;
    expect(rootOf()).toBe('/pool/d');
    host.tree.rename('/pool', '/pool.old');
    expect(rootOf()).toBe('/pool/d');
    expect(host.machine(life).table.at(POINT)[0]?.root).toBe('/pool.old/d');
    mountIt(host);
    expect(rootOf()).toBe('/pool.old/d');
    host.tree.removeAll('/pool.old/d');
    mountIt(host);
    expect(rootOf()).toBe('/pool.old/d//deleted');
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
    host.kernel.setServer(mount.superblock, 'never-read', 'stranger');
    prober.post(probe);
    await run(60_000);
    expect(prober.answers).toHaveLength(1);
    expect(host.kernel.unmount(POINT, 'plain', 'fairlead')).toBe('EBUSY');
    host.kernel.setServer(mount.superblock, 'dead', 'stranger');
    await run(20);
    expect(prober.answers[1]).toMatchObject({ facts: { statfs: { end: 'failed', errno: 'ENOTCONN' } } });
    expect(host.kernel.unmount(POINT, 'plain', 'fairlead')).toBeNull();
  });

  it('leave a stuck thread behind when killed inside a request that was read, and none when it was not', async () => {
    const { host, life, run } = setUp();
    const mount = mountIt(host);
    host.kernel.setServer(mount.superblock, 'never-read', 'stranger');
    const first = child(host, life);
    first.post(probe);
    await run(20);
    first.kill();
    expect([host.probes.stuck, mount.pins]).toEqual([0, 0]);
    host.kernel.setServer(mount.superblock, 'never-answered', 'stranger');
    const second = child(host, life);
    second.post(probe);
    await run(20);
    second.kill();
    expect([host.probes.stuck, mount.pins]).toEqual([1, 1]);
    host.kernel.setServer(mount.superblock, 'answering', 'stranger');
    await run(20);
    expect([host.probes.stuck, mount.pins]).toEqual([0, 0]);
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
