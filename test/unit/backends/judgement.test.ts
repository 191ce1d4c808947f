import { describe, expect, it } from 'vitest';
import { quobyte } from '../../../src/backends/quobyte.js';
import type { Access, ProbeFacts, Verdict } from '../../../src/core/verdict.js';
import { quobyteSettings } from './settings.js';

const well: ProbeFacts = {
  statfs: { end: 'answered' },
  root: { isDirectory: true, size: 0, dev: '0:52', mode: 0o40700 },
  write: 'granted',
  search: 'granted',
  witness: 'absent',
};

function judge(change: Partial<ProbeFacts>, access: Access = 'read-write', rootSize: 'warn' | 'require' = 'warn') {
  return quobyte.judge({ ...well, ...change }, access, quobyteSettings({ rootSize }));
}

/** As when the root's attributes were never given. */
const rootless: ProbeFacts = {
  statfs: well.statfs,
  write: well.write,
  search: well.search,
  witness: well.witness,
};

describe('a probe’s facts', () => {
  it('mean healthy when the server answered and the rights are there', () => {
    expect(judge({})).toMatchObject({ verdict: 'healthy', dead: false });
    expect(judge({}, 'read-only')).toMatchObject({ verdict: 'healthy' });
  });

  it('mean hung when statfs did not answer, whatever else is said', () => {
    expect(judge({ statfs: { end: 'hung' }, rootError: 'ENOTCONN' })).toMatchObject({ verdict: 'hung', dead: false });
  });

  const table: readonly (readonly [string, Verdict, boolean])[] = [
    ['ENOTCONN', 'stale', true],
    ['ESTALE', 'stale', true],
    ['EIO', 'stale', false],
    ['ETIMEDOUT', 'stale', false],
    ['EHOSTDOWN', 'stale', false],
    ['EACCES', 'denied', false],
    ['EPERM', 'denied', false],
    ['EROFS', 'stale', false],
    ['ENOENT', 'stale', false],
    ['EWHATEVER', 'stale', false],
  ];
  it.each(table)('%s of statfs or of the root: %s, dead %s', (errno, verdict, dead) => {
    for (const change of [{ statfs: { end: 'failed', errno } as const }, { rootError: errno }]) {
      const judgement = judge(change, 'read-only');
      expect(judgement).toMatchObject({ verdict, dead, errno });
      expect(judgement.reason).toContain(errno);
    }
  });

  it('mean dead when either call found the connection gone', () => {
    expect(judge({ statfs: { end: 'failed', errno: 'EIO' }, rootError: 'ENOTCONN' })).toMatchObject({
      dead: true,
      errno: 'ENOTCONN',
    });
  });

  it('never mean dead because a permission test failed', () => {
    for (const errno of ['ENOTCONN', 'ESTALE', 'EIO']) {
      expect(judge({ write: { errno } })).toMatchObject({ verdict: 'stale', dead: false, errno });
      expect(judge({ search: { errno } })).toMatchObject({ verdict: 'stale', dead: false, errno });
    }
  });

  it('are not repeated when an errno is none', () => {
    const judgement = judge({ rootError: 'quobyte://secret\n' });
    expect(judgement.errno).toBe('EUNKNOWN');
    expect(judgement.reason).not.toContain('secret');
  });

  it('mean stale when the root is no directory', () => {
    expect(judge({ root: { isDirectory: false, size: 0, dev: '0:52', mode: 0o100600 } })).toMatchObject({
      verdict: 'stale',
      dead: false,
    });
  });
});

describe('the permissions', () => {
  it.each([
    ['granted', 'granted', 'healthy', ''],
    ['granted', 'EACCES', 'denied', 'lacks search permission'],
    ['EACCES', 'granted', 'denied', 'lacks write permission'],
    ['EACCES', 'EPERM', 'denied', 'lacks search and write permission'],
    ['EROFS', 'granted', 'read-only', 'read-only'],
    ['EROFS', 'EACCES', 'denied', 'lacks search permission'],
    ['EIO', 'EACCES', 'stale', 'write permission failed'],
    ['EIO', 'granted', 'stale', 'write permission failed'],
  ])('write %s, search %s: %s', (write, search, verdict, words) => {
    const right = (said: string) => (said === 'granted' ? 'granted' : { errno: said });
    const judgement = judge({ write: right(write), search: right(search) });
    expect(judgement.verdict).toBe(verdict);
    expect(judgement.reason).toContain(words);
  });

  it('to write is waived for read-only use, to search is not', () => {
    expect(judge({ write: { errno: 'EROFS' } }, 'read-only').verdict).toBe('healthy');
    expect(judge({ write: 'not-asked' }, 'read-only').verdict).toBe('healthy');
    expect(judge({ search: { errno: 'EACCES' } }, 'read-only').verdict).toBe('denied');
  });

  it('that were not tested are not there', () => {
    expect(judge({ write: 'not-asked' })).toMatchObject({ verdict: 'denied' });
    expect(judge({ search: 'not-asked' }, 'read-only')).toMatchObject({ verdict: 'denied' });
  });
});

describe('the size of the root', () => {
  const odd = { root: { isDirectory: true, size: 4096, dev: '0:52', mode: 0o40700 } };

  it('is told of, or required to be 0', () => {
    expect(judge(odd)).toMatchObject({
      verdict: 'healthy',
      reason: expect.stringContaining('size other than 0') as string,
    });
    expect(judge(odd, 'read-write', 'require')).toMatchObject({ verdict: 'stale', dead: false });
    expect(judge({}, 'read-write', 'require')).toMatchObject({ verdict: 'healthy' });
  });

  it('does not matter when the witness is there', () => {
    expect(judge({ ...odd, witness: 'present' }, 'read-write', 'require').verdict).toBe('healthy');
    expect(judge({ ...odd, witness: 'present' }).reason).not.toContain('size');
  });

  it('is not taken for 0 when it is not known', () => {
    expect(quobyte.judge(rootless, 'read-write', quobyteSettings({ rootSize: 'require' })).verdict).toBe('stale');
    expect(quobyte.judge(rootless, 'read-write', quobyteSettings()).reason).toContain('not known');
  });

  it('never outweighs a worse verdict, and the absent witness never counts', () => {
    expect(judge({ ...odd, write: { errno: 'EACCES' } }, 'read-write', 'require').verdict).toBe('denied');
    expect(judge({ witness: 'not-asked' })).toEqual(judge({ witness: 'absent' }));
    expect(judge({ rootError: 'ENOTCONN', witness: 'present' })).toMatchObject({ dead: true });
  });
});
