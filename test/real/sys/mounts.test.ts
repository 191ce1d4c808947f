import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Binds, identify } from '../../../src/sys/binds.js';
import { KernelMountTable } from '../../../src/sys/mount-table.js';
import { KernelMounts } from '../../../src/sys/mounts.js';
import type { ProbeJob } from '../../../src/sys/ports.js';
import { deadFuse, hungFuse, LEAF, scratch, tmpfs, type Scratch } from './fixtures.js';

const ALL = { nosuid: true, nodev: true, noexec: true, nosymfollow: true };
const NONE = { nosuid: false, nodev: false, noexec: false, nosymfollow: false };

let host: Scratch;
let table: KernelMountTable;
let mounts: KernelMounts;
let binds: Binds;
let leaf: string;
let pool: string;
let source: string;
function begin(propagation: 'private' | 'shared'): void {
  host = scratch(propagation);
  table = new KernelMountTable();
  mounts = new KernelMounts(table);
  binds = new Binds(table);
  leaf = join(host.base, LEAF);
  mkdirSync(leaf, { mode: 0o700 });
  pool = join(host.dir, 'pool');
  source = join(pool, 'name');
  mkdirSync(source, { recursive: true });
  writeFileSync(join(source, 'witness'), 'here');
}
beforeEach(() => {
  begin('private');
});
afterEach(() => {
  table[Symbol.dispose]();
  host.close();
});
const devAt = (path: string): string => table.at(path).at(-1)?.dev ?? '';
const optionsAt = (path: string): readonly string[] => table.at(path).at(-1)?.options ?? [];

describe('hardening', () => {
  it('sets the attributes that were asked for, seen in the table', () => {
    tmpfs(leaf);
    expect(mounts.harden(host.base, LEAF, devAt(leaf), { ...ALL, noexec: false })).toBe('hardened');
    expect(optionsAt(leaf)).toEqual(expect.arrayContaining(['nosuid', 'nodev', 'nosymfollow']));
    expect(optionsAt(leaf)).not.toContain('noexec');
    expect(mounts.harden(host.base, LEAF, devAt(leaf), ALL)).toBe('hardened');
    expect(optionsAt(leaf)).toContain('noexec');
  });

  it('never weakens what somebody has set', () => {
    tmpfs(leaf);
    mounts.harden(host.base, LEAF, devAt(leaf), ALL);
    expect(mounts.harden(host.base, LEAF, devAt(leaf), NONE)).toBe('hardened');
    expect(optionsAt(leaf)).toEqual(expect.arrayContaining(['nosuid', 'nodev', 'noexec', 'nosymfollow']));
  });

  it('does not ask the server: dead and hung mounts are hardened at once', () => {
    deadFuse(leaf);
    expect(mounts.harden(host.base, LEAF, devAt(leaf), ALL)).toBe('hardened');
    const other = 'e'.repeat(32);
    mkdirSync(join(host.base, other));
    const end = hungFuse(join(host.base, other));
    const before = performance.now();
    expect(mounts.harden(host.base, other, devAt(join(host.base, other)), ALL)).toBe('hardened');
    expect(performance.now() - before).toBeLessThan(1000);
    end();
  });

  it('stops planted links on the volume', () => {
    tmpfs(leaf);
    symlinkSync('/etc/hostname', join(leaf, 'disk'));
    mounts.harden(host.base, LEAF, devAt(leaf), ALL);
    expect(() => readFileSync(join(leaf, 'disk'))).toThrow(/ELOOP/);
  });

  it('leaves another superblock alone, and an unmounted leaf', () => {
    expect(mounts.harden(host.base, LEAF, '0:1', ALL)).toBe('not-mounted');
    expect(mounts.harden(host.base, 'absent', '0:1', ALL)).toBe('not-mounted');
    tmpfs(leaf);
    const dev = devAt(leaf);
    tmpfs(leaf, 'on-top');
    expect(mounts.harden(host.base, LEAF, dev, ALL)).toBe('other');
    expect(table.at(leaf).flatMap((entry) => entry.options)).not.toContain('nosymfollow');
  });

  it('never goes through a link at the leaf', () => {
    const elsewhere = join(host.dir, 'elsewhere');
    mkdirSync(elsewhere);
    tmpfs(elsewhere);
    symlinkSync(elsewhere, join(host.base, 'link'));
    expect(mounts.harden(host.base, 'link', devAt(elsewhere), ALL)).toBe('not-mounted');
    expect(optionsAt(elsewhere)).not.toContain('nosymfollow');
  });
});

type BindJob = Extract<ProbeJob, { readonly kind: 'bind' }>;

const lookAt = (from: string, roots: readonly string[] = [pool]): ReturnType<typeof identify> =>
  identify({ kind: 'identify', source: from, roots, base: host.base, leaf: LEAF });

describe('binding a local directory', () => {
  const jobOf = async (from: string, roots: readonly string[]): Promise<BindJob> => ({
    kind: 'bind',
    source: from,
    expected: (await lookAt(from, roots)).source,
    roots,
    base: host.base,
    leaf: LEAF,
    hardening: ALL,
  });
  const bind = async (from = source, roots = [pool]): Promise<string> =>
    (await binds.bind(await jobOf(from, roots))).end;

  it('shows the directory at the leaf, hardened, and is recognised by its identity', async () => {
    expect(await bind()).toBe('bound');
    expect(readFileSync(join(leaf, 'witness'), 'utf8')).toBe('here');
    expect(optionsAt(leaf)).toEqual(expect.arrayContaining(['nosuid', 'nodev', 'noexec', 'nosymfollow']));
    const { source: named, mounted } = await lookAt(source);
    expect(named).toEqual({ dev: devAt(leaf), inode: String(statSync(source).ino) });
    expect(mounted).toEqual({ ...named, mountId: table.at(leaf)[0]?.mountId, unique: mounted?.unique });
    expect(table.at(leaf)).toHaveLength(1);
  });

  it('lets no mount leak between leaf and source, also where the host shares its mounts', async () => {
    host.close();
    begin('shared');
    expect(await bind()).toBe('bound');
    mkdirSync(join(leaf, 'inner'));
    tmpfs(join(leaf, 'inner'), 'leak');
    expect(table.below(pool)).toEqual([]);
    expect(readdirSync(join(source, 'inner'))).toEqual([]);
  });

  it('refuses what lies outside every root, and a root itself', async () => {
    expect(await bind(join(host.dir, 'base'))).toBe('source-outside');
    expect(await bind(pool)).toBe('source-outside');
    expect(await bind(source, [])).toBe('source-outside');
    expect(await bind(`${pool}x/name`)).toBe('source-outside');
    expect(table.at(leaf)).toEqual([]);
  });

  it('tells what is wrong with the source', async () => {
    symlinkSync('/etc', join(pool, 'link'));
    mkdirSync(join(host.dir, 'out/in'), { recursive: true });
    symlinkSync(join(host.dir, 'out'), join(pool, 'way'));
    writeFileSync(join(pool, 'file'), '');
    expect(await bind(join(pool, 'link'))).toBe('source-link');
    expect(await bind(join(pool, 'way', 'in'))).toBe('source-link');
    expect(await bind(join(pool, 'file'))).toBe('source-not-a-directory');
    expect(await bind(join(pool, 'file', 'x'))).toBe('source-not-a-directory');
    expect(await bind(join(pool, 'absent'))).toBe('source-absent');
    expect(table.at(leaf)).toEqual([]);
  });

  it('does not enter a mount below the root, a hung one least of all; as a root of its own it may', async () => {
    const inner = join(pool, 'inner');
    mkdirSync(inner);
    const end = hungFuse(inner);
    const before = performance.now();
    expect(await bind(join(inner, 'x'))).toBe('source-outside');
    expect(performance.now() - before).toBeLessThan(1000);
    end();
    execFileSync('umount', ['--lazy', inner]);
    tmpfs(inner);
    mkdirSync(join(inner, 'x'));
    expect(await bind(join(inner, 'x'))).toBe('source-outside');
    expect(await bind(join(inner, 'x'), [pool, inner])).toBe('bound');
    const { source: named, mounted } = await lookAt(join(inner, 'x'), [pool, inner]);
    expect(mounted).toMatchObject({ ...named });
  });

  it('refuses a leaf that is mounted, a link or gone', async () => {
    tmpfs(leaf);
    expect(await bind()).toBe('leaf-changed');
    execFileSync('umount', [leaf]);
    renameSync(leaf, `${leaf}.x`);
    expect(await bind()).toBe('leaf-changed');
    symlinkSync(pool, leaf);
    expect(await bind()).toBe('leaf-changed');
    expect(existsSync(join(pool, 'witness'))).toBe(false);
    expect(table.below(host.dir)).toEqual([]);
  });

  it('takes its bind back when the table does not show it at the leaf', async () => {
    // What a rename of the leaf between opening and attaching looks like from here: the mount is somewhere else.
    const blind = new Binds(
      new Proxy(table, {
        get: (target, key) => (key === 'at' ? () => [] : (Reflect.get(target, key) as () => unknown).bind(target)),
      }),
    );
    expect(await blind.bind(await jobOf(source, [pool]))).toEqual({ kind: 'bind', end: 'leaf-changed' });
    expect(table.at(leaf)).toEqual([]);
  });

  it('leaks no descriptor', async () => {
    const open = (): number => readdirSync('/proc/self/fd').length;
    const before = open();
    for (let i = 0; i < 50; i += 1) {
      expect(await bind()).toBe('bound');
      execFileSync('umount', [leaf]);
      expect(await bind(join(pool, 'absent'))).toBe('source-absent');
    }
    expect(open()).toBe(before);
  });
});

describe('identifying a directory', () => {
  const named = async (path: string): Promise<unknown> => (await lookAt(path, [host.dir])).source;

  it('tells it by its inode, through bind mounts too', async () => {
    const view = join(host.dir, 'view');
    mkdirSync(view);
    mkdirSync(join(source, 'deep'));
    execFileSync('mount', ['--bind', source, view]);
    const through = async (path: string): Promise<unknown> => (await lookAt(path, [view])).source;
    expect(await through(join(view, 'deep'))).toEqual(await named(join(source, 'deep')));
    // What is mounted over a directory is not the directory.
    expect(await named(join(view, 'deep'))).toBeNull();
    expect(await named(source)).toMatchObject({ inode: String(statSync(source).ino) });
  });

  it('has nothing to say of what is not a directory', async () => {
    symlinkSync(source, join(pool, 'link'));
    expect(await named(join(pool, 'link'))).toBeNull();
    expect(await named(join(pool, 'absent'))).toBeNull();
    expect(await named(join(source, 'witness'))).toBeNull();
  });

  it.each([
    ['renamed', (path: string) => renameSync(path, `${path}.old`)],
    ['removed', (path: string) => rmSync(path, { recursive: true })],
  ])('knows what is mounted from what took its name, when it was %s', async (_, change) => {
    execFileSync('mount', ['--bind', source, leaf]);
    const before = await lookAt(source);
    expect(before.mounted).toMatchObject({ ...before.source });
    change(source);
    expect((await lookAt(source)).source).toBeNull();
    mkdirSync(source);
    const after = await lookAt(source);
    expect(after.mounted).toEqual(before.mounted);
    expect(after.source).not.toMatchObject({ inode: before.source?.inode });
  });

  it('says that nothing is mounted where nothing is', async () => {
    expect((await lookAt(source)).mounted).toBeNull();
    expect(
      (await identify({ kind: 'identify', source, roots: [pool], base: host.base, leaf: 'absent' })).mounted,
    ).toBeNull();
  });

  it('refuses to bind another directory than the one that was looked at', async () => {
    const { source: expected } = await lookAt(source);
    renameSync(source, `${source}.old`);
    mkdirSync(source);
    const job = { kind: 'bind', source, expected, roots: [pool], base: host.base, leaf: LEAF, hardening: ALL } as const;
    expect(await binds.bind(job)).toEqual({ kind: 'bind', end: 'source-changed' });
    expect(await binds.bind({ ...job, expected: null })).toEqual({ kind: 'bind', end: 'source-changed' });
    expect(table.at(leaf)).toEqual([]);
  });
});
