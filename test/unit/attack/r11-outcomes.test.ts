// R10, R11, R14: what a helper's end means. Neither an exit status nor a word decides: the mount table does. The same
// facts with another status, or another language, come to the same end.

import { describe, expect, it } from 'vitest';
import type { HelperEnd } from '../../../src/sys/ports.js';
import { exited, VOLUME, World } from './broker-bench.js';

/** Ends that are not success, as the unit reports them. */
const FAILURES: readonly (readonly [string, HelperEnd, string])[] = [
  ['ends with status 1', exited(1), 'helper-failed'],
  ['ends with status 4', exited(4), 'helper-failed'],
  ['ends with status 32', exited(32, 'mount.quobyte: failed'), 'helper-failed'],
  ['dies by a signal', { end: 'signalled', signal: 'SIGSEGV', output: '' }, 'helper-failed'],
  ['is out of time', { end: 'deadline', emptied: true, output: '' }, 'deadline-exceeded'],
  ['is missing', { end: 'not-started', why: 'missing', detail: 'There is no such file.' }, 'helper-untrusted'],
  ['is not executable', { end: 'not-started', why: 'not-executable', detail: 'chmod it.' }, 'helper-untrusted'],
  ['is not trusted', { end: 'not-started', why: 'untrusted', detail: 'chown it.' }, 'helper-untrusted'],
  ['meets a name in use', { end: 'not-started', why: 'name-in-use', detail: 'in use' }, 'stuck'],
  ['comes before systemd is ready', { end: 'not-started', why: 'not-ready', detail: 'wait' }, 'unavailable'],
  ['cannot be executed (E2BIG)', { end: 'not-started', why: 'failed', detail: 'E2BIG' }, 'helper-failed'],
];

describe('a mount helper that mounts nothing', () => {
  it.each(FAILURES)('and %s is one error, and leaves nothing', async (_, end, code) => {
    const world = new World();
    world.directory = 'empty';
    world.helper = () => end;
    expect(await world.step('mount')).toMatchObject({ end: 'refused', error: { code, leaf: VOLUME.leaf } });
    expect(world.mounts).toEqual([]);
    expect(world.context.helpers.count).toBe(0);
    // The lock is free: the next attempt succeeds.
    world.helper = () => {
      world.mount();
      return exited(0);
    };
    expect(await world.step('mount')).toEqual({ end: 'done', changed: true });
  });

  it.each([0, 4])('and ends with status %i has not succeeded', async (status) => {
    const world = new World();
    world.directory = 'empty';
    world.helper = () => exited(status);
    expect(await world.step('mount')).toMatchObject({ end: 'refused' });
    expect(world.mounts).toEqual([]);
  });

  it('and cannot be ended leaves the end unknown, not refused', async () => {
    const world = new World();
    world.directory = 'empty';
    world.helper = () => new Promise<HelperEnd>(() => undefined);
    expect(await world.step('mount', VOLUME.url, 1500)).toMatchObject({ end: 'unknown', error: { code: 'stuck' } });
  });
});

describe('a mount helper that mounts', () => {
  it.each([0, 1, 4, 32])('and ends with status %i has mounted: the table says so', async (status) => {
    const world = new World();
    world.directory = 'empty';
    world.helper = () => {
      world.mount();
      return exited(status, 'already mounted? failed? nobody reads this');
    };
    expect(await world.step('mount')).toEqual({ end: 'done', changed: true });
  });

  it('some time after it has ended is waited for', async () => {
    const world = new World();
    world.directory = 'empty';
    world.helper = () => {
      setTimeout(() => world.mount(), 300);
      return exited(0);
    };
    expect(await world.step('mount')).toEqual({ end: 'done', changed: true });
  });

  it('another volume is found out and undone', async () => {
    const world = new World();
    world.directory = 'empty';
    world.helper = () => {
      world.mount({ source: 'quobyte@reg1:7861|reg2:7861/vol2' });
      return exited(0);
    };
    expect(await world.step('mount')).toMatchObject({ end: 'refused', error: { code: 'helper-failed' } });
    expect([world.mounts, world.effects.at(-1)]).toEqual([[], 'umount plain']);
  });

  it('with the right label on the wrong filesystem is not taken for the volume', async () => {
    const world = new World();
    world.directory = 'empty';
    world.helper = () => {
      world.mount({ fsType: 'tmpfs' });
      return exited(0);
    };
    expect(await world.step('mount')).toMatchObject({ end: 'refused', error: { code: 'foreign' } });
  });
});

const HOLDER = { pid: 7, command: 'qemu', by: 'descriptor' } as const;

/** A world with the volume mounted, an unmount helper that says this, and somebody who keeps the mount or not. */
function unmounting(end: HelperEnd, does: 'unmounts' | 'does nothing', held: boolean): World {
  const world = new World({ unmountHelper: '/usr/bin/umount.quobyte' });
  world.mount();
  world.holders = held ? [HOLDER] : [];
  world.helper = () => {
    if (does === 'unmounts') world.mounts.pop();
    return end;
  };
  return world;
}

describe('an unmount helper that leaves a busy mount', () => {
  it.each([
    ['umount: /x: target is busy', 32],
    ['Device or resource busy', 16],
    ['umount: /x: Das Ziel wird gerade benutzt', 32],
    ['', 1],
    ['', 0],
  ])('is busy, whatever it says (%j, status %i)', async (words, status) => {
    const end = await unmounting(exited(status, words), 'does nothing', true).step('unmount');
    expect(end).toMatchObject({ end: 'refused', error: { code: 'busy' } });
  });
});

describe('an unmount helper that leaves an idle mount', () => {
  it.each([
    ['umount: /x: target is busy', 32],
    ['Device or resource busy', 1],
    ['', 0],
  ])('has failed, and is not busy for its words (%j, status %i)', async (words, status) => {
    const world = unmounting(exited(status, words), 'does nothing', false);
    expect(await world.step('unmount')).toMatchObject({ end: 'refused', error: { code: 'helper-failed' } });
    expect(world.mounts).toHaveLength(1);
  });

  it('because it is missing, or was out of time, says so', async () => {
    const missing: HelperEnd = { end: 'not-started', why: 'missing', detail: 'There is no such file.' };
    expect(await unmounting(missing, 'does nothing', false).step('unmount')).toMatchObject({
      end: 'refused',
      error: { code: 'helper-untrusted' },
    });
    const late: HelperEnd = { end: 'deadline', emptied: true, output: '' };
    expect(await unmounting(late, 'does nothing', false).step('unmount')).toMatchObject({
      end: 'refused',
      error: { code: 'hung' },
    });
    const acting: HelperEnd = { end: 'deadline', emptied: false, output: '' };
    expect(await unmounting(acting, 'does nothing', false).step('unmount')).toMatchObject({
      end: 'unknown',
      error: { code: 'hung' },
    });
  });
});

describe('an unmount helper that unmounts', () => {
  it.each([0, 1, 32])('has unmounted, though it ends with status %i and says that it is busy', async (status) => {
    const world = unmounting(exited(status, 'target is busy'), 'unmounts', false);
    expect(await world.step('unmount')).toEqual({ end: 'done', changed: true });
  });

  it('is given exactly the leaf, by its own path', async () => {
    const world = unmounting(exited(0), 'unmounts', false);
    await world.step('unmount');
    expect(world.started).toMatchObject([
      { program: '/usr/bin/umount.quobyte', args: [`/var/lib/fairlead/mnt/quobyte/${VOLUME.leaf}`] },
    ]);
  });

  it('is not asked a second time: nothing is mounted', async () => {
    const world = unmounting(exited(0), 'unmounts', false);
    await world.step('unmount');
    expect(await world.step('unmount')).toEqual({ end: 'done', changed: false });
    expect(world.started).toHaveLength(1);
  });
});

describe('the kernel’s own unmount', () => {
  it('that says success while the mount is still there has failed', async () => {
    const world = new World();
    world.mount();
    world.probe = (job) => (job.kind === 'unmount' ? { kind: 'unmount', errno: null } : world.answer(job));
    expect(await world.step('unmount')).toMatchObject({ end: 'refused', error: { code: 'unhealthy' } });
  });

  it('that says EINVAL while the mount is gone has succeeded', async () => {
    const world = new World();
    world.mount();
    world.probe = (job) => {
      world.mounts = [];
      return job.kind === 'unmount' ? { kind: 'unmount', errno: 'EINVAL' } : world.answer(job);
    };
    expect(await world.step('unmount')).toEqual({ end: 'done', changed: true });
  });

  it('that is busy is busy, and only that', async () => {
    const world = new World();
    world.mount();
    world.holders = [HOLDER];
    expect(await world.step('unmount')).toMatchObject({ end: 'refused', error: { code: 'busy' } });
    expect(world.effects).not.toContain('umount detach');
  });
});
