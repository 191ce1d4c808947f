// The record of superblocks as a broker reads it: the truth, with numbers that are used again and entries that are not.

import { describe, expect, it } from 'vitest';
import { Kernel, type Mount } from '../kernel.js';
import { chanceOf } from '../prng.js';
import { Scheduler } from '../scheduler.js';

function setUp(): { kernel: Kernel; mountIt: (from: 'fuse' | 'other') => Mount } {
  const kernel = new Kernel(new Scheduler(chanceOf(3), 'hash-only'));
  const what = { mountPoint: '/m', fsType: 'fuse.x', source: 'x', serves: null, maker: 'fairlead' } as const;
  return { kernel, mountIt: (from) => kernel.mount({ ...what, from }) };
}

describe('the record of superblocks', () => {
  it('has what clients serve from its first mount to its last use', () => {
    const { kernel, mountIt } = setUp();
    const record = kernel.superblocks.port();
    const mount = mountIt('fuse');
    mountIt('other');
    expect(record.all()?.map(({ dev }) => dev)).toEqual([mount.dev]);
    const use = kernel.users.open(mount, null);
    kernel.vanish(mount);
    expect(record.at(mount.dev)).toMatchObject({ dev: mount.dev });
    kernel.users.close(use);
    expect(record.at(mount.dev)).toBe('none');
  });

  it('gives a number again, and never an entry', () => {
    const { kernel, mountIt } = setUp();
    const record = kernel.superblocks.port();
    const first = mountIt('fuse');
    const before = record.at(first.dev);
    kernel.vanish(first);
    const second = mountIt('fuse');
    expect(second.dev).toBe(first.dev);
    expect(record.at(second.dev)).not.toEqual(before);
  });

  it('has other entries when it has begun anew, and none that can be read where there is no record', () => {
    const { kernel, mountIt } = setUp();
    const record = kernel.superblocks.port();
    const { dev } = mountIt('fuse');
    const before = record.at(dev);
    kernel.superblocks.beginAnew();
    expect(record.at(dev)).toMatchObject({ dev });
    expect(record.at(dev)).not.toEqual(before);
    kernel.superblocks.isReadable = false;
    expect([record.at(dev), record.all()]).toEqual(['unknown', null]);
  });

  it('keeps a dead superblock for as long as somebody has it open, and tells its client at once', () => {
    const { kernel, mountIt } = setUp();
    const mount = mountIt('fuse');
    let ends = 0;
    mount.superblock.onEnd = () => (ends += 1);
    kernel.users.open(mount, null);
    kernel.setServer(mount.superblock, 'dead', 'stranger');
    expect([ends, mount.superblock.isGone]).toEqual([1, false]);
  });
});
