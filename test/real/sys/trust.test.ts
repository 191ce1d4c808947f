import {
  chmodSync,
  chownSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkProgram } from '../../../src/sys/trust.js';

const STRANGER = 12345;
let root: string;
let sbin: string;
let program: string;
beforeEach(() => {
  root = mkdtempSync('/tmp/fairlead-trust-');
  sbin = join(root, 'sbin');
  mkdirSync(sbin);
  program = join(sbin, 'mount.quobyte');
  writeFileSync(program, '#!/bin/sh\n');
  chmodSync(program, 0o755);
});
afterEach(() => {
  rmSync(root, { recursive: true });
});
const why = (path = program, dirs = [sbin]): string => {
  const trust = checkProgram(path, dirs);
  return trust.trusted ? 'trusted' : trust.why;
};

describe('a program is trusted', () => {
  it('when it and its directory are root’s alone', () => {
    expect(why()).toBe('trusted');
    expect(why('/usr/bin/true', ['/usr/bin'])).toBe('trusted');
  });

  it('through links of root’s that stay inside the trusted directories, as /sbin is one', () => {
    symlinkSync('sbin', join(root, 'alias'));
    expect(why(join(root, 'alias', 'mount.quobyte'), [join(root, 'alias')])).toBe('trusted');
    symlinkSync('../sbin/mount.quobyte', join(sbin, 'mount.other'));
    expect(why(join(sbin, 'mount.other'))).toBe('trusted');
    expect(why('/sbin/mount', ['/usr/sbin', '/usr/bin', '/sbin', '/bin'])).not.toBe('untrusted');
  });
});

describe('a program is not trusted', () => {
  it('when it is missing, and that is said as such', () => {
    expect(why(join(sbin, 'absent'))).toBe('missing');
    symlinkSync('absent', join(sbin, 'dangling'));
    expect(why(join(sbin, 'dangling'))).toBe('missing');
  });

  it.each(['mount.quobyte', './mount.quobyte', '', '-x'])('when it is named %j', (name) => {
    expect(why(name)).toBe('untrusted');
  });

  it('when it is spelt around, or lies elsewhere', () => {
    expect(why(`${sbin}/../sbin/mount.quobyte`)).toBe('untrusted');
    expect(why(`${sbin}//mount.quobyte`)).toBe('untrusted');
    expect(why(program, [join(root, 'other')])).toBe('untrusted');
    expect(why(program, [sbin.slice(0, -1)])).toBe('untrusted');
    expect(why(sbin)).toBe('untrusted');
  });

  it('when somebody else may change it', () => {
    for (const mode of [0o775, 0o757, 0o777]) {
      chmodSync(program, mode);
      expect(why()).toBe('untrusted');
    }
    chmodSync(program, 0o755);
    chownSync(program, STRANGER, 0);
    expect(why()).toBe('untrusted');
  });

  it('when somebody else may change a directory on the way', () => {
    chmodSync(sbin, 0o775);
    expect(why()).toBe('untrusted');
    chmodSync(sbin, 0o755);
    chownSync(root, STRANGER, 0);
    expect(why()).toBe('untrusted');
    chownSync(root, 0, 0);
    expect(why()).toBe('trusted');
  });

  it('when a link on the way is somebody else’s, or leads through a directory of somebody else', () => {
    const link = join(sbin, 'link');
    symlinkSync('mount.quobyte', link);
    lchownSync(link, STRANGER, 0);
    expect(why(link)).toBe('untrusted');
    const lair = join(root, 'lair');
    mkdirSync(lair);
    symlinkSync(sbin, join(lair, 'way'));
    symlinkSync('../lair/way/mount.quobyte', join(sbin, 'around'));
    expect(why(join(sbin, 'around'))).toBe('trusted');
    chownSync(lair, STRANGER, 0);
    expect(why(join(sbin, 'around'))).toBe('untrusted');
  });

  it('when it is a link out of the trusted directories, or a loop', () => {
    renameSync(program, join(root, 'elsewhere'));
    symlinkSync('../elsewhere', program);
    expect(why()).toBe('untrusted');
    symlinkSync('loop', join(sbin, 'loop'));
    expect(why(join(sbin, 'loop'))).toBe('untrusted');
  });

  it('when it is no regular file, or not executable', () => {
    mkdirSync(join(sbin, 'directory'));
    expect(why(join(sbin, 'directory'))).toBe('untrusted');
    chmodSync(program, 0o644);
    expect(why()).toBe('not-executable');
  });
});
