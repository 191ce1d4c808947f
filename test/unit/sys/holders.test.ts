// The parts of the search for holders that no filesystem here can be brought to show: looks that hang, and which looks may.

import { describe, expect, it } from 'vitest';
import { MAX_HUNG_LOOKS } from '../../../src/core/limits.js';
import { parseMountTable } from '../../../src/core/mountinfo.js';
import { Looks } from '../../../src/sys/holders-looks.js';
import { SoughtMounts } from '../../../src/sys/holders-mounts.js';
import { SystemCallError } from '../../../src/sys/libc/errors.js';

const failing = (errno: number) => (): unknown => {
  throw new SystemCallError('statx', errno);
};
const ENOENT = 2;
const ESRCH = 3;
const EACCES = 13;

describe('a look', () => {
  it('at what has ended sees nothing, and that is all there is; at what it may not see it is incomplete', async () => {
    const looks = new Looks();
    expect([looks.take(failing(ENOENT)), looks.take(failing(ESRCH)), looks.take(() => 1)]).toEqual([
      undefined,
      undefined,
      1,
    ]);
    expect(await looks.takeInTime(() => Promise.resolve().then(failing(ENOENT)))).toBeUndefined();
    expect(looks.complete).toBe(true);
    expect(looks.take(failing(EACCES))).toBeUndefined();
    expect(looks.complete).toBe(false);
    const others = new Looks();
    await others.takeInTime(() => Promise.resolve().then(failing(EACCES)));
    expect(others.complete).toBe(false);
    const broken = (): unknown => {
      throw new RangeError('a defect');
    };
    expect(() => looks.take(broken)).toThrow('a defect');
  });

  it('that hangs is given up, and after a few of them no more are made until one has ended', async () => {
    const looks = new Looks();
    const ends: (() => void)[] = [];
    const hanging = (): Promise<string> => new Promise((resolve) => ends.push(() => resolve('late')));
    for (let count = 0; count < MAX_HUNG_LOOKS; count += 1) {
      expect(await looks.takeInTime(hanging)).toBeUndefined();
    }
    expect([looks.complete, ends.length]).toEqual([false, MAX_HUNG_LOOKS]);
    expect(await looks.takeInTime(() => Promise.resolve('seen'))).toBeUndefined();
    ends[0]?.();
    await new Promise((resolve) => setImmediate(resolve));
    expect(await looks.takeInTime(() => Promise.resolve('seen'))).toBe('seen');
  });
});

describe('a file', () => {
  it('may have its server asked by its text where NFS or 9p is mounted, in whichever namespace', () => {
    const mounts = new SoughtMounts({ kind: 'superblock', mountPoint: '/m', devices: ['0:7'] }, new Looks());
    const table = [
      '30 1 0:40 / /m rw - fuse.quobyte quobyte@reg/vol rw',
      '31 1 0:41 / /net rw - nfs4 host:/export rw',
      '32 1 0:42 / /nine rw - 9p share rw',
      '33 1 0:43 / /nfsd rw - nfsd nfsd rw',
    ];
    expect(mounts.learn(parseMountTable(`${table.join('\n')}\n`))).toBe(false);
    const asked = ['/net', '/net/file', '/nine/file', '/network', '/m/file', '/nfsd/file'].map((path) =>
      mounts.mayAsk(path),
    );
    expect(asked).toEqual([true, true, true, false, false, false]);
  });
});
