import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { directories } from '../../../src/sys/directories.js';
import { deadFuse, hungFuse, LEAF, scratch, tmpfs, type Scratch } from './fixtures.js';

let host: Scratch;
let leaf: string;
beforeEach(() => {
  host = scratch();
  leaf = join(host.base, LEAF);
});
afterEach(() => {
  host.close();
});

describe('the state of a leaf', () => {
  it('is told apart without asking anything mounted there', () => {
    const state = (): string => directories.leafState(host.base, LEAF);
    expect(state()).toBe('absent');
    mkdirSync(leaf);
    expect(state()).toBe('empty');
    writeFileSync(join(leaf, 'file'), '');
    expect(state()).toBe('occupied');
    tmpfs(leaf);
    expect(state()).toBe('mounted');
  });

  it('is `mounted` at once for a dead and for a hung FUSE mount', () => {
    mkdirSync(leaf);
    deadFuse(leaf);
    expect(directories.leafState(host.base, LEAF)).toBe('mounted');
    const other = 'd'.repeat(32);
    mkdirSync(join(host.base, other));
    const end = hungFuse(join(host.base, other));
    const before = performance.now();
    expect(directories.leafState(host.base, other)).toBe('mounted');
    expect(performance.now() - before).toBeLessThan(1000);
    end();
  });

  it('is `mounted` for a bind of the same filesystem, whose device is the same', () => {
    mkdirSync(leaf);
    mkdirSync(join(host.dir, 'elsewhere'));
    execFileSync('mount', ['--bind', join(host.dir, 'elsewhere'), leaf]);
    expect(directories.leafState(host.base, LEAF)).toBe('mounted');
  });

  it('is `mounted` for a file that is mounted on a file', () => {
    writeFileSync(leaf, '');
    writeFileSync(join(host.dir, 'file'), '');
    execFileSync('mount', ['--bind', join(host.dir, 'file'), leaf]);
    expect(directories.leafState(host.base, LEAF)).toBe('mounted');
  });

  it('is `link` for a link, dangling or not, and `not-a-directory` for files and FIFOs', () => {
    symlinkSync('/etc', leaf);
    expect(directories.leafState(host.base, LEAF)).toBe('link');
    symlinkSync('/nowhere', join(host.base, 'dangling'));
    expect(directories.leafState(host.base, 'dangling')).toBe('link');
    writeFileSync(join(host.base, 'file'), '');
    expect(directories.leafState(host.base, 'file')).toBe('not-a-directory');
    execFileSync('mkfifo', [join(host.base, 'fifo')]);
    expect(directories.leafState(host.base, 'fifo')).toBe('not-a-directory');
  });

  it('is absent where there is no base, or no directory in its place', () => {
    mkdirSync(leaf);
    renameSync(host.base, `${host.base}-before`);
    expect(directories.leafState(host.base, LEAF)).toBe('absent');
    writeFileSync(host.base, '');
    expect(directories.leafState(host.base, LEAF)).toBe('absent');
  });

  it('is not asked through a base that is or lies behind a link', () => {
    symlinkSync(host.base, join(host.dir, 'alias'));
    mkdirSync(leaf);
    expect(directories.leafState(join(host.dir, 'alias'), LEAF)).toBe('absent');
    rmdirSync(leaf);
    expect(() => directories.makeLeaf(join(host.dir, 'alias'), LEAF)).toThrow(/ELOOP/);
    expect(readdirSync(host.base)).toEqual([]);
  });

  it.each(['', '.', '..', 'a/b', '/etc', 'a\0b'])('is not asked for the name %j', (name) => {
    expect(() => directories.leafState(host.base, name)).toThrow(RangeError);
    expect(() => directories.makeLeaf(host.base, name)).toThrow(RangeError);
    expect(() => directories.removeLeaf(host.base, name)).toThrow(RangeError);
  });
});

describe('making a leaf', () => {
  it.each([0, 0o077, 0o777])('gives mode 0700 under umask %o', (umask) => {
    const before = process.umask(umask);
    try {
      expect(directories.makeLeaf(host.base, LEAF)).toBe('made');
    } finally {
      process.umask(before);
    }
    expect(lstatSync(leaf).mode & 0o7777).toBe(0o700);
  });

  it('does not inherit set-group-id from the base', () => {
    chmodSync(host.base, 0o2711);
    directories.makeLeaf(host.base, LEAF);
    expect(lstatSync(leaf).mode & 0o7777).toBe(0o700);
  });

  it('leaves whatever is there alone', () => {
    symlinkSync(host.dir, leaf);
    expect(directories.makeLeaf(host.base, LEAF)).toBe('exists');
    expect(statSync(host.dir).mode & 0o777).toBe(0o755);
  });

  it('never changes the mode of a victim, however a link is swapped in', async () => {
    const victim = join(host.dir, 'victim');
    mkdirSync(victim, { mode: 0o755 });
    chmodSync(victim, 0o755);
    // An attacker in another thread puts a link to the victim in the leaf's place as often as he can.
    const attacker = new Worker(
      `const fs = require('node:fs'); const { workerData, parentPort } = require('node:worker_threads');
       const { leaf, victim } = workerData;
       parentPort.postMessage('ready');
       for (;;) {
         try { fs.renameSync(leaf, leaf + '.away'); fs.symlinkSync(victim, leaf); fs.rmdirSync(leaf + '.away'); } catch (e) {}
         try { fs.unlinkSync(leaf); } catch (e) {}
       }`,
      { eval: true, workerData: { leaf, victim } },
    );
    await new Promise((resolve) => attacker.once('message', resolve));
    let made = 0;
    const end = performance.now() + 1000;
    while (performance.now() < end) {
      if (directories.makeLeaf(host.base, LEAF) === 'made') made += 1;
      expect(lstatSync(victim).mode & 0o777).toBe(0o755);
    }
    await attacker.terminate();
    expect(made).toBeGreaterThan(10);
  });
});

describe('removing a leaf', () => {
  it('takes only an empty, unmounted directory', () => {
    const remove = (): string => directories.removeLeaf(host.base, LEAF);
    expect(remove()).toBe('absent');
    mkdirSync(leaf);
    writeFileSync(join(leaf, 'file'), '');
    expect(remove()).toBe('not-empty');
    tmpfs(leaf);
    expect(remove()).toBe('mounted');
    execFileSync('umount', [leaf]);
    execFileSync('rm', [join(leaf, 'file')]);
    expect(remove()).toBe('removed');
    symlinkSync(host.dir, leaf);
    expect(remove()).toBe('not-a-directory');
    expect(lstatSync(leaf).isSymbolicLink()).toBe(true);
  });

  it('answers at once under a hung mount', () => {
    mkdirSync(leaf);
    const end = hungFuse(leaf);
    const before = performance.now();
    expect(directories.removeLeaf(host.base, LEAF)).toBe('mounted');
    expect(performance.now() - before).toBeLessThan(1000);
    end();
  });
});

describe('the chain of directories to a path', () => {
  it('has facts of each, the root first, and follows no link', () => {
    chmodSync(host.dir, 0o1777);
    const chain = directories.chain(host.base);
    expect(chain.map((facts) => facts.path)).toEqual(['/', '/tmp', host.dir, host.base]);
    expect(chain.at(-1)).toMatchObject({ kind: 'directory', uid: 0, gid: 0, mode: 0o711 });
    expect(chain.at(-2)).toMatchObject({ mode: 0o1777 });
    symlinkSync(host.base, join(host.dir, 'alias'));
    const alias = directories.chain(join(host.dir, 'alias', 'x'));
    expect(alias.slice(-2).map((facts) => facts.kind)).toEqual(['link', 'absent']);
    expect(
      directories
        .chain(join(host.dir, 'no', 'such'))
        .slice(-2)
        .map((facts) => facts.kind),
    ).toEqual(['absent', 'absent']);
    expect(directories.chain('/').map((facts) => facts.path)).toEqual(['/']);
  });
});

describe('listing a base', () => {
  it('tells leaves and strangers alike', () => {
    mkdirSync(leaf);
    writeFileSync(join(host.base, 'stranger'), '');
    expect([...directories.list(host.base)].sort()).toEqual([LEAF, 'stranger']);
  });

  it('leaks no descriptor', () => {
    const open = (): number => readdirSync('/proc/self/fd').length;
    const before = open();
    for (let i = 0; i < 200; i += 1) {
      directories.list(host.base);
      directories.chain(host.base);
      directories.makeLeaf(host.base, LEAF);
      directories.leafState(host.base, LEAF);
      directories.removeLeaf(host.base, LEAF);
    }
    expect(open()).toBe(before);
    renameSync(host.base, `${host.base}.x`);
    rmdirSync(`${host.base}.x`);
    expect(() => directories.list(host.base)).toThrow(/ENOENT/);
    expect(open()).toBe(before);
  });
});
