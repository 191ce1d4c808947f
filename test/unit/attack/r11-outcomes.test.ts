// R10, R11, R14: what a helper's end means. Neither an exit status nor a word decides: the mount table does. The same
// facts with another status, or in another language, come to the same end.

import { describe, expect, it } from 'vitest';
import type { HelperEnd } from '../../../src/sys/ports.js';
import { LEAF, MOUNTPOINT } from '../broker/fake-machine.js';
import { exited, World } from './broker-bench.js';

/** Ends that are not success, as the unit reports them. */
const FAILURES: readonly (readonly [string, HelperEnd, string])[] = [
  ['ends with status 1', exited(1), 'helper-failed'],
  ['ends with status 4', exited(4), 'helper-failed'],
  ['ends with status 32', exited(32, 'mount.quobyte: failed'), 'helper-failed'],
  ['dies by a signal', { end: 'signalled', signal: 'SIGSEGV', output: '' }, 'helper-failed'],
  ['is out of time', { end: 'late', isKnown: true, output: '' }, 'deadline-exceeded'],
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
    world.helper = () => end;
    expect(await world.step('mount')).toMatchObject({ end: 'refused', error: { code, leaf: LEAF } });
    expect([world.machine.mountsNow, world.bench.context.helpers.count]).toEqual([[], 0]);
    // The lock is free: the next attempt succeeds.
    world.helper = () => {
      world.mount();
      return exited(0);
    };
    expect(await world.step('mount')).toEqual({ end: 'done', changed: true });
  });

  it.each([0, 4])('and ends with status %i has not succeeded', async (status) => {
    const world = new World();
    world.helper = () => exited(status);
    expect(await world.step('mount', 1200)).toMatchObject({ end: 'refused' });
    expect(world.machine.mountsNow).toEqual([]);
  });

  it('and does not even end is not waited for beyond the budget', async () => {
    const world = new World();
    world.helper = () => new Promise<HelperEnd>(() => undefined);
    expect(await world.step('mount', 1000)).toMatchObject({ end: 'unknown', error: { code: 'stuck' } });
  });
});

describe('a mount helper that mounts', () => {
  it.each([0, 1, 4, 32])('and ends with status %i has mounted: the table says so', async (status) => {
    const world = new World();
    world.helper = () => {
      world.mount();
      return exited(status, 'already mounted? failed? nobody reads this');
    };
    expect(await world.step('mount')).toEqual({ end: 'done', changed: true });
  });
});

const HOLDER = { pid: 7, command: 'qemu', by: 'descriptor' } as const;

/** A world with the volume mounted, an unmount helper that ends so, and somebody who keeps the mount or not. */
function unmounting(end: HelperEnd, does: 'unmounts' | 'does nothing', mount: 'held' | 'idle'): World {
  const world = new World({ unmountHelper: '/usr/bin/umount.quobyte' });
  world.mount();
  if (mount === 'held') world.hold(HOLDER);
  world.helper = () => {
    if (does === 'unmounts') world.unmount();
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
    const end = await unmounting(exited(status, words), 'does nothing', 'held').step('unmount');
    expect(end).toMatchObject({ end: 'refused', error: { code: 'busy' } });
  });
});

describe('an unmount helper that leaves an idle mount', () => {
  it.each([
    ['umount: /x: target is busy', 32],
    ['Device or resource busy', 1],
    ['', 0],
  ])('has failed, and is not busy for its words (%j, status %i)', async (words, status) => {
    const world = unmounting(exited(status, words), 'does nothing', 'idle');
    expect(await world.step('unmount')).toMatchObject({ end: 'refused', error: { code: 'helper-failed' } });
    expect(world.machine.mountsNow).toHaveLength(1);
  });

  it.each<readonly [string, HelperEnd, object]>([
    [
      'is missing',
      { end: 'not-started', why: 'missing', detail: 'There is no such file.' },
      { end: 'refused', error: { code: 'helper-untrusted' } },
    ],
    [
      'was out of time, and is over',
      { end: 'late', isKnown: true, output: '' },
      { end: 'refused', error: { code: 'hung' } },
    ],
    [
      'was out of time, and may still act',
      { end: 'late', isKnown: false, output: '' },
      { end: 'unknown', error: { code: 'hung' } },
    ],
  ])('because it %s says so', async (_, end, expected) => {
    expect(await unmounting(end, 'does nothing', 'idle').step('unmount')).toMatchObject(expected);
  });
});

describe('an unmount helper that unmounts', () => {
  it.each([0, 1, 32])('has unmounted, though it ends with status %i and says that it is busy', async (status) => {
    const world = unmounting(exited(status, 'target is busy'), 'unmounts', 'idle');
    expect(await world.step('unmount')).toEqual({ end: 'done', changed: true });
  });

  it('is given exactly the leaf, by its own path, and once', async () => {
    const world = unmounting(exited(0), 'unmounts', 'idle');
    expect(await world.step('unmount')).toEqual({ end: 'done', changed: true });
    expect(await world.step('unmount')).toEqual({ end: 'done', changed: false });
    expect(world.started).toMatchObject([{ program: '/usr/bin/umount.quobyte', args: [MOUNTPOINT] }]);
  });
});
