import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
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
