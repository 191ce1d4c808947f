import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { identify } from '../../../src/sys/binds.js';
import { KernelMountTable } from '../../../src/sys/mount-table.js';
import { deadFuse, LEAF, scratch, tmpfs, unmount, type Scratch } from './fixtures.js';

let host: Scratch;
let table: KernelMountTable;
let leaf: string;
beforeEach(() => {
  host = scratch();
  table = new KernelMountTable();
  leaf = join(host.base, LEAF);
  mkdirSync(leaf);
});
afterEach(() => {
  table[Symbol.dispose]();
  host.close();
});

describe('the mount table', () => {
  it('is current at each answer, however often it changes', () => {
    for (let round = 0; round < 20; round += 1) {
      expect(table.at(leaf)).toEqual([]);
      tmpfs(leaf, `round-${round}`);
      expect(table.at(leaf).map((entry) => entry.source)).toEqual([`round-${round}`]);
      unmount(leaf);
    }
  });

  it('sees a remount', () => {
    tmpfs(leaf);
    expect(table.at(leaf)[0]?.options).toContain('rw');
    execFileSync('mount', ['-o', 'remount,bind,ro', leaf]);
    expect(table.at(leaf)[0]?.options).toContain('ro');
  });

  it('shows what a real FUSE mount says of itself, a dead one too', () => {
    deadFuse(leaf, 'quobyte@reg1:7861|reg2:7861/vol-name');
    expect(table.at(leaf)).toMatchObject([
      { fsType: 'fuse.quobyte', source: 'quobyte@reg1:7861|reg2:7861/vol-name', root: '/', mountPoint: leaf },
    ]);
  });

  it('lists stacked mounts bottom first and everything below a base', () => {
    tmpfs(leaf, 'first');
    tmpfs(leaf, 'second');
    expect(table.at(leaf).map((entry) => entry.source)).toEqual(['first', 'second']);
    expect(table.below(host.base).map((entry) => entry.mountPoint)).toEqual([leaf, leaf]);
    expect(table.below(leaf)).toEqual([]);
  });

  it.each(['kernel', 'table'])('has a mount for as long as the %s has it, whatever hides or moves it', async (who) => {
    tmpfs(leaf, 'ours');
    const { mounted } = await identify({ kind: 'identify', source: '/', roots: [], base: host.base, leaf: LEAF });
    const [entry] = table.at(leaf);
    if (mounted === null || entry === undefined) throw new Error('it is mounted');
    expect([mounted.mountId, typeof mounted.unique]).toEqual([entry.mountId, 'string']);
    const ours = { mountId: entry.mountId, dev: entry.dev, unique: who === 'kernel' ? mounted.unique : null };
    tmpfs(leaf, 'cover');
    expect(table.has(ours)).toBe(true);
    unmount(leaf);
    tmpfs(host.base, 'cover');
    expect(table.at(leaf)).toEqual([]);
    expect(table.has(ours)).toBe(true);
    unmount(host.base);
    const elsewhere = join(host.dir, 'elsewhere');
    mkdirSync(elsewhere);
    execFileSync('mount', ['--move', leaf, elsewhere]);
    expect(table.has(ours)).toBe(true);
    unmount(elsewhere);
    expect(table.has(ours)).toBe(false);
    // Both of its numbers may be given to another mount, so only the one that is never given again can tell.
    tmpfs(leaf, 'other');
    const { mountId, dev } = table.at(leaf)[0] ?? ours;
    expect(table.has({ ...ours, mountId, dev })).toBe(who === 'table');
  });

  it('costs next to nothing while nothing changes', () => {
    table.at(leaf);
    const before = performance.now();
    for (let i = 0; i < 10_000; i += 1) table.at(leaf);
    expect((performance.now() - before) / 10_000).toBeLessThan(0.05);
  });

  it('reads a table of many pages whole', () => {
    for (let i = 0; i < 150; i += 1) {
      const path = join(host.base, `d${i}`);
      mkdirSync(path);
      tmpfs(path, `source-with-a-long-name-${'x'.repeat(200)}-${i}`);
    }
    expect(table.below(host.base)).toHaveLength(150);
    expect(table.at(join(host.base, 'd149'))[0]?.source).toMatch(/-149$/);
  });
});
