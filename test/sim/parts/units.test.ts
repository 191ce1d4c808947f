// The simulated service manager: every way in which a helper may behave, and what is left of it.

import { describe, expect, it } from 'vitest';
import type { HelperEnd } from '../../../src/sys/ports.js';
import { Host } from '../machine.js';
import { chanceOf } from '../prng.js';
import { Scheduler } from '../scheduler.js';
import type { Mood } from '../moods.js';

const BASE = '/mnt/quobyte';
const POINT = `${BASE}/c94ed34ada0acf45c1213beb1fc52ce6`;
const UNIT = 'fairlead-mount-x';

async function started(
  mood: Mood,
  waitMs: number,
): Promise<{
  host: Host;
  end: HelperEnd | null;
  run: (ms: number) => Promise<void>;
  kill: () => Promise<'gone' | 'alive'>;
}> {
  const scheduler = new Scheduler(chanceOf(3), 'lines');
  const host = new Host(scheduler, chanceOf(4));
  const life = { name: 'broker', alive: true };
  host.tree.plant(POINT, 0o700);
  host.services.helpers.moodOf = () => mood;
  const units = host.machine(life).units;
  let end: HelperEnd | null = null;
  const spec = {
    unit: UNIT,
    program: '/usr/sbin/mount.quobyte',
    args: [{ option: '--disable-xattrs' }, 'r/v', POINT],
    budgetMs: 5000,
  };
  void units.start(spec).then((how) => (end = how));
  const run = async (ms: number): Promise<void> => {
    const until = scheduler.now + ms;
    while (await scheduler.step(until));
    scheduler.now = until;
  };
  await run(waitMs);
  const kill = async (): Promise<'gone' | 'alive'> => {
    let gone: 'gone' | 'alive' | null = null;
    void units.kill(UNIT, 700).then((how) => (gone = how));
    await run(1000);
    return gone!;
  };
  return { host, end, run, kill };
}

describe('helpers', () => {
  it.each([
    ['prompt', 'exited', 1, 'serving'],
    ['fails', 'exited', 0, 'idle'],
    ['fails-mounted', 'exited', 1, 'idle'],
    ['wrong', 'exited', 1, 'serving'],
    ['late', 'exited', 0, 'serving'],
    ['nothing', 'exited', 0, 'idle'],
    ['dies', 'signalled', 0, 'idle'],
    ['dies-mounted', 'exited', 1, 'idle'],
    ['hangs', undefined, 0, 'starting'],
    ['hangs-mounted', undefined, 1, 'starting'],
    ['missing', 'not-started', 0, 'idle'],
  ] as const)('that is %s ends %s with %i mounts and leaves its unit %s', async (mood, how, mounts, state) => {
    const { host, end } = await started(mood, 60);
    expect(end?.end).toBe(how);
    expect(host.kernel.at(POINT)).toHaveLength(mounts);
    expect(host.services.state(UNIT)).toBe(state);
  });

  it('that hangs is told to be late when its time is up, and killed with its unit when that is asked for', async () => {
    const { host, end, kill } = await started('hangs', 6000);
    expect(end).toEqual({ end: 'late', isKnown: true, output: '' });
    expect(host.services.units.size).toBe(1);
    expect(await kill()).toBe('gone');
    expect(host.services.units.size).toBe(0);
  });

  it('that cannot be killed keeps its unit until the world is healed', async () => {
    const { host, end, run, kill } = await started('stubborn', 6000);
    expect(end?.end).toBe('late');
    expect(await kill()).toBe('alive');
    host.services.heal(() => false);
    await run(100);
    expect(host.services.units.size).toBe(0);
    expect(await kill()).toBe('gone');
  });

  it('that mounts late mounts nothing once its unit was killed', async () => {
    const { host, kill, run } = await started('late', 45);
    expect(await kill()).toBe('gone');
    await run(30_000);
    expect(host.kernel.at(POINT)).toHaveLength(0);
  });

  it('cannot be started under a name in use; its daemon ends when its mount is gone', async () => {
    const { host, run } = await started('prompt', 60);
    let second: HelperEnd | null = null;
    const { units } = host.machine({ name: 'broker', alive: true });
    void units.start({ unit: UNIT, program: 'm', args: ['r/v', POINT], budgetMs: 1000 }).then((end) => (second = end));
    await run(50);
    expect(second).toMatchObject({ end: 'not-started', why: 'name-in-use' });
    host.kernel.unmount(POINT, 'plain', 'fairlead');
    await run(50);
    expect(host.services.units.size).toBe(0);
  });

  it('leaves a client that writes back what was written, for as long as that takes, and then ends', async () => {
    const { host, run } = await started('prompt', 60);
    host.services.helpers.isSlowToEnd = () => true;
    const mount = host.kernel.top(POINT)!;
    mount.superblock.wasUsed = true;
    host.kernel.unmount(POINT, 'plain', 'fairlead');
    expect(mount.superblock.isGone).toBe(true);
    expect(host.services.doings(POINT)).toEqual({ serve: false, end: true });
    expect([...host.services.units.get(UNIT)!.processes].map(({ writesBack }) => writesBack)).toEqual([true]);
    await run(30_000);
    expect(host.services.units.size).toBe(0);
  });

  it('leaves a client that serves until the last user has gone, wherever that is', async () => {
    const { host, run } = await started('crew', 60);
    const mount = host.kernel.top(POINT)!;
    const copy = host.kernel.users.copy(mount, null, null);
    const use = host.kernel.users.openIn(copy);
    host.kernel.unmount(POINT, 'plain', 'fairlead');
    host.kernel.users.dropCopy(copy);
    await run(60_000);
    expect(host.services.doings(POINT)).toEqual({ serve: true, end: false });
    host.kernel.users.close(use);
    await run(10_000);
    expect(host.services.units.size).toBe(0);
  });

  it('tells of each kill of a client what it serves', async () => {
    const { host, kill } = await started('prompt', 60);
    const seen: unknown[] = [];
    host.kernel.observe = (effect) => effect.kind === 'kill' && seen.push([effect.superblock?.dev, effect.by]);
    await kill();
    expect(seen).toEqual([['0:40', 'fairlead']]);
  });

  it('kills the server with the unit: the mount stays, dead', async () => {
    const { host, kill } = await started('prompt', 60);
    expect(await kill()).toBe('gone');
    expect(host.kernel.top(POINT)?.server?.state).toBe('dead');
  });
});
