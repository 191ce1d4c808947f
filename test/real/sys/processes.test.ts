// Who keeps a mount busy, on real mounts: processes of every namespace, by the superblock and wherever it is mounted.

import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Holder, Holding } from '../../../src/core/observation.js';
import { KernelMountTable } from '../../../src/sys/mount-table.js';
import type { Sought } from '../../../src/sys/ports.js';
import { KernelProcesses } from '../../../src/sys/processes.js';
import { until } from '../../rig/until.js';
import { Sandbox, stateOf } from '../sandbox/rig.js';
import { deadFuse, hungFuse, LEAF, scratch, tmpfs, unmount, type Scratch } from './fixtures.js';
import { programOf } from './programs.js';

const processes = new KernelProcesses(programOf('holders-main'));
let host: Scratch;
let leaf: string;
let dev: string;
let children: ChildProcess[];
beforeEach(() => {
  host = scratch();
  leaf = join(host.base, LEAF);
  mkdirSync(leaf);
  tmpfs(leaf);
  dev = deviceAt(leaf);
  children = [];
});
afterEach(async () => {
  await Promise.all(
    children.map((child) => {
      child.kill('SIGKILL');
      return new Promise((resolve) =>
        child.exitCode === null && child.signalCode === null ? child.once('exit', resolve) : resolve(null),
      );
    }),
  );
  host.close();
});

const BUDGET_MS = 10_000;
const PYTHON = '/usr/bin/python3';

function deviceAt(path: string): string {
  using table = new KernelMountTable();
  return table.at(path).at(-1)?.dev ?? '';
}
const superblock = (...devices: string[]): Sought => ({ kind: 'superblock', mountPoint: leaf, devices });
const holding = (exclude: number[] = [], sought: Sought = superblock(dev)): Promise<Holding> =>
  processes.holding(sought, exclude, BUDGET_MS);
const holders = async (exclude: number[] = [], sought?: Sought): Promise<readonly Holder[]> =>
  (await holding(exclude, sought)).holders;
const mount = (...words: string[]): void => void execFileSync('mount', words);

/** Starts a program that says `ready` when it has begun. */
async function started(program: string, args: readonly string[]): Promise<number> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  await until('it is ready', () => said.includes('ready'));
  return child.pid ?? 0;
}

/** What a shell does before it becomes a `sleep`. */
const script = (text: string): string[] => ['-c', `${text}; echo ready; exec /bin/sleep 1000`];

/** A process that does this in a shell and then waits; resolves when it has begun to. */
const busy = (text: string): Promise<number> => started('/bin/sh', script(text));
/** The same in a mount namespace of its own, which has a copy of each mount. */
const apart = (text: string): Promise<number> =>
  started('/usr/bin/unshare', ['--mount', '--propagation', 'private', '/bin/sh', ...script(text)]);

describe('who keeps a mount busy', () => {
  it('is nobody on an idle mount', async () => {
    await busy('cd /');
    expect(await holders()).toEqual([]);
  });

  it('is found by descriptor, directory and mapping, and told once each', async () => {
    writeFileSync(join(leaf, 'file'), '');
    copyFileSync('/bin/sleep', join(leaf, 'sleeper'));
    const byDescriptor = await busy(`exec 9< ${leaf}/file`);
    const byDirectory = await busy(`cd ${leaf}`);
    const mapped = spawn('/bin/sh', ['-c', `chmod +x ${leaf}/sleeper; exec ${leaf}/sleeper 1000`], { stdio: 'ignore' });
    children.push(mapped);
    const found = await until('all three are found', async () => {
      const found = await holders();
      return found.length === 3 && found;
    });
    expect([...found].sort((a, b) => a.pid - b.pid)).toEqual([
      { pid: byDescriptor, command: 'sleep', by: 'descriptor' },
      { pid: byDirectory, command: 'sleep', by: 'directory' },
      { pid: mapped.pid, command: 'sleeper', by: 'mapping' },
    ]);
    expect((await holders([byDescriptor])).map((holder) => holder.pid)).not.toContain(byDescriptor);
  });

  it('is not whoever uses another mount at the same path, but that mount itself is, if it lies on top', async () => {
    writeFileSync(join(leaf, 'file'), '');
    tmpfs(leaf, 'on-top');
    writeFileSync(join(leaf, 'file'), '');
    await busy(`exec 9< ${leaf}/file`);
    expect(await holders()).toEqual([{ pid: 0, command: leaf, by: 'mount' }]);
  });

  it('is a namespace with a copy of the mount that no process there uses, named by one of its processes', async () => {
    const pid = await apart('cd /');
    expect(await holding()).toEqual({ holders: [{ pid, command: 'sleep', by: 'namespace' }], complete: true });
  });

  it('cannot forge a line with its name', async () => {
    const program = join(host.dir, 'a\nb\u001b');
    copyFileSync('/bin/sleep', program);
    children.push(spawn(program, ['1000'], { cwd: leaf, stdio: 'ignore' }));
    const found = await until('it is found', async () => {
      const found = await holders();
      return found.length > 0 && found;
    });
    expect(found.map((holder) => holder.command)).toEqual(['a\\nb\\u{1b}']);
  });
});

describe('a process in another mount namespace', () => {
  it.each([
    ['an open file', 'descriptor', 'exec 9< $leaf/file'],
    ['its directory', 'directory', 'cd $leaf'],
  ] as const)('is a holder like any other by %s', async (_, by, text) => {
    writeFileSync(join(leaf, 'file'), '');
    const pid = await apart(text.replaceAll('$leaf', leaf));
    await apart('cd /');
    const found = await holding();
    expect(found.complete).toBe(true);
    expect(found.holders.filter(({ by: how }) => how !== 'namespace')).toEqual([{ pid, command: 'sleep', by }]);
    expect(found.holders.filter(({ by: how }) => how === 'namespace')).toHaveLength(1);
  });

  it('is one by its root, from which its mounts cannot all be seen, and by what it has mapped', async () => {
    copyFileSync('/bin/sleep', join(leaf, 'sleeper'));
    const jail = `chroot('${leaf}') or die; $| = 1; print "ready"; sleep 1000`;
    const jailed = await started('/usr/bin/unshare', ['--mount', '/usr/bin/perl', '-e', jail]);
    const mapped = spawn('/usr/bin/unshare', ['--mount', join(leaf, 'sleeper'), '1000'], { stdio: 'ignore', cwd: '/' });
    children.push(mapped);
    const found = await until('both are found', async () => {
      const all = await holders();
      return all.length === 2 && all.some(({ command }) => command === 'sleeper') && all;
    });
    expect([...found].sort((one, other) => one.pid - other.pid)).toEqual([
      { pid: jailed, command: 'perl', by: 'root' },
      { pid: mapped.pid, command: 'sleeper', by: 'mapping' },
    ]);
  });

  it('is one by a file that it was handed from outside', async () => {
    writeFileSync(join(leaf, 'file'), '');
    const inside = `exec 9< ${leaf}/file; exec unshare --mount --propagation private /bin/sh -c 'umount -l ${leaf}; echo ready; exec sleep 1000'`;
    const pid = await started('/bin/sh', ['-c', inside]);
    expect(await holders()).toEqual([{ pid, command: 'sleep', by: 'descriptor' }]);
  });
});

describe('the superblock is what counts, not the path:', () => {
  it('a mount that was taken away lazily has its users still', async () => {
    writeFileSync(join(leaf, 'file'), '');
    copyFileSync('/bin/sleep', join(leaf, 'sleeper'));
    const byDescriptor = await busy(`exec 9< ${leaf}/file`);
    const byDirectory = await busy(`cd ${leaf}`);
    const mapped = spawn(join(leaf, 'sleeper'), ['1000'], { stdio: 'ignore', cwd: '/' });
    children.push(mapped);
    await until('it runs', async () => (await holders()).some(({ by }) => by === 'mapping'));
    execFileSync('umount', ['--lazy', leaf]);
    const { holders: found, complete } = await holding();
    expect(complete).toBe(true);
    expect([...found].sort((one, other) => one.pid - other.pid)).toEqual([
      { pid: byDescriptor, command: 'sleep', by: 'descriptor' },
      { pid: byDirectory, command: 'sleep', by: 'directory' },
      { pid: mapped.pid, command: 'sleeper', by: 'mapping' },
    ]);
  });

  it.each([
    ['moved', ['--move']],
    ['bound', ['--bind']],
  ])('a mount that was %s elsewhere is named, and so are the users of what lies there', async (_, how) => {
    writeFileSync(join(leaf, 'file'), '');
    const elsewhere = join(host.dir, 'else\nwhere');
    mkdirSync(elsewhere);
    mount(...how, leaf, elsewhere);
    const pid = await busy(`exec 9< '${elsewhere}/file'`);
    expect(await holding()).toEqual({
      holders: [
        { pid: 0, command: elsewhere.replace('\n', '\\n'), by: 'mount' },
        { pid, command: 'sleep', by: 'descriptor' },
      ],
      complete: true,
    });
  });

  it('a mount on a directory inside is named', async () => {
    const inside = join(leaf, 'inside');
    mkdirSync(inside);
    tmpfs(inside);
    expect(await holders()).toEqual([{ pid: 0, command: inside, by: 'mount' }]);
  });

  it('several superblocks are looked for at once', async () => {
    const other = join(host.dir, 'other');
    mkdirSync(other);
    tmpfs(other);
    const pids = [await busy(`cd ${leaf}`), await busy(`cd ${other}`)];
    const found = await holders([], superblock(dev, deviceAt(other)));
    expect(found.filter(({ by }) => by === 'directory').map(({ pid }) => pid)).toEqual(pids);
    expect((await holders()).map(({ pid }) => pid)).toEqual(pids.slice(0, 1));
  });

  it('a loop device whose file lies there is named', async ({ skip }) => {
    writeFileSync(join(leaf, 'disk'), Buffer.alloc(1_048_576));
    const made = spawnSync('losetup', ['--find', '--show', join(leaf, 'disk')], { encoding: 'utf8' });
    if (made.status !== 0) skip('this host has no loop devices to give');
    const device = made.stdout.trim();
    try {
      expect(await holders()).toEqual([{ pid: 0, command: device, by: 'loop' }]);
    } finally {
      execFileSync('losetup', ['--detach', device]);
    }
  });

  it.skipIf(!existsSync(PYTHON))('a thread with a directory or with descriptors of its own counts', async () => {
    writeFileSync(join(leaf, 'file'), '');
    const threads = [
      ['directory', `libc.unshare(0x200); os.chdir('${leaf}')`],
      ['descriptor', `libc.unshare(0x400); os.open('${leaf}/file', os.O_RDONLY)`],
    ] as const;
    for (const [by, work] of threads) {
      const program = [
        'import ctypes, os, threading, time',
        'libc = ctypes.CDLL(None)',
        'def work():',
        `    ${work}`,
        "    print('ready', flush=True)",
        '    time.sleep(1000)',
        'threading.Thread(target=work).start()',
      ].join('\n');
      const pid = await started(PYTHON, ['-c', program]);
      expect(await holders()).toEqual([{ pid, command: 'python3', by }]);
      children.at(-1)?.kill('SIGKILL');
      await until('it has ended', async () => (await holders()).length === 0);
    }
  });
});

describe('of a bound directory', () => {
  let source: string;
  let bound: Sought;
  beforeEach(() => {
    unmount(leaf);
    source = join(host.dir, 'pool/volume');
    mkdirSync(source, { recursive: true });
    writeFileSync(join(source, 'file'), '');
    writeFileSync(join(host.dir, 'pool/other'), '');
    copyFileSync('/bin/sleep', join(source, 'sleeper'));
    mount('--bind', source, leaf);
    using table = new KernelMountTable();
    const { dev: device, root } = table.at(leaf)[0] ?? { dev: '', root: '' };
    bound = { kind: 'bind', mountPoint: leaf, devices: [device], root, source };
  });

  it('nobody is a user who uses the rest of its filesystem, or the directory itself and not the mount', async () => {
    await busy(`exec 9< ${host.dir}/pool/other; cd ${source}`);
    children.push(spawn(join(source, 'sleeper'), ['1000'], { stdio: 'ignore', cwd: '/' }));
    await apart(`umount -l ${leaf}; cd ${source}`);
    await until('the program runs', () => children.at(-2)?.pid !== undefined);
    expect(await holding([], bound)).toEqual({ holders: [], complete: true });
  });

  it('users are whoever has a file below the mount, in every namespace', async () => {
    const byDescriptor = await busy(`exec 9< ${leaf}/file`);
    const byDirectory = await busy(`cd ${leaf}`);
    const elsewhere = await apart(`exec 9< ${leaf}/file`);
    const mapped = spawn(join(leaf, 'sleeper'), ['1000'], { stdio: 'ignore', cwd: '/' });
    children.push(mapped);
    const found = await until('all are found', async () => {
      const all = await holders([], bound);
      return all.length === 4 && all;
    });
    expect([...found].sort((one, other) => one.pid - other.pid)).toEqual([
      { pid: byDescriptor, command: 'sleep', by: 'descriptor' },
      { pid: byDirectory, command: 'sleep', by: 'directory' },
      { pid: elsewhere, command: 'sleep', by: 'descriptor' },
      { pid: mapped.pid, command: 'sleeper', by: 'mapping' },
    ]);
  });

  it('the mount that the directory itself is the root of has users of its own', async () => {
    unmount(leaf);
    tmpfs(source);
    mount('--bind', source, leaf);
    const sought: Sought = { kind: 'bind', mountPoint: leaf, devices: [deviceAt(leaf)], root: '/', source };
    await busy(`cd ${source}`);
    expect(await holders([], sought)).toEqual([]);
    const pid = await busy(`cd ${leaf}`);
    expect(await holders([], sought)).toEqual([{ pid, command: 'sleep', by: 'directory' }]);
  });
});

describe('the search asks no server, so that it is complete and in time while a volume', () => {
  it.each(['hang-unread', 'hang-unanswered'])('hangs (%s)', async (fault) => {
    await using sandbox = await Sandbox.up();
    const volume = sandbox.mount();
    writeFileSync(join(volume, 'file'), 'text');
    const device = deviceAt(volume);
    const pids = [
      await busy(`exec 9< ${volume}/file`),
      await busy(`cd ${volume}`),
      await apart(`exec 9< ${volume}/file`),
    ];
    sandbox.do('fault', 'vol', fault);
    const stuck = spawn('/bin/cat', [join(volume, 'file')], { stdio: 'ignore' });
    children.push(stuck);
    await until('it waits for the server', () => ['S', 'D'].includes(stateOf(stuck.pid ?? 0)));
    const { holders: found, complete } = await processes.holding(
      { kind: 'superblock', mountPoint: volume, devices: [device] },
      [stuck.pid ?? 0],
      BUDGET_MS,
    );
    expect(complete).toBe(true);
    expect([...found].sort((one, other) => one.pid - other.pid)).toEqual([
      { pid: pids[0], command: 'sleep', by: 'descriptor' },
      { pid: pids[1], command: 'sleep', by: 'directory' },
      { pid: pids[2], command: 'sleep', by: 'descriptor' },
    ]);
    sandbox.do('heal', 'vol');
  });

  it('was never initialised, or is dead', async () => {
    const other = join(host.base, 'e'.repeat(32));
    mkdirSync(other);
    const end = hungFuse(other);
    const sought = (): Sought => ({ kind: 'superblock', mountPoint: other, devices: [deviceAt(other)] });
    expect(await holding([], sought())).toEqual({ holders: [], complete: true });
    end();
    unmount(other);
    deadFuse(other);
    expect(await holding([], sought())).toEqual({ holders: [], complete: true });
  });
});

describe('an answer says when it is not all:', () => {
  it('there are more holders than are reported', async () => {
    await busy(`cd ${leaf}; for one in $(seq 260); do /bin/sleep 1000 < /dev/null > /dev/null & done`);
    const { holders: found, complete } = await holding();
    expect([found.length, complete]).toEqual([256, false]);
    execFileSync('/bin/sh', ['-c', `kill -9 ${await until('all', async () => pidsOf(await holders()))}`]);
  });

  it('a process may not be looked at', async () => {
    await busy('cd /');
    const program = join(host.dir, 'nobody.mjs');
    // The other user must be able to read the program, not the files of others.
    writeFileSync(program, `await import(${JSON.stringify(programOf('holders-main'))}); process.seteuid(65534);`);
    const unprivileged = new KernelProcesses(program);
    expect((await unprivileged.holding(superblock(dev), [], BUDGET_MS)).complete).toBe(false);
    expect((await holding()).complete).toBe(true);
  });

  it('the search ends before it is over, or does not begin', async () => {
    const program = join(host.dir, 'ends.mjs');
    writeFileSync(program, "process.once('message', () => process.exit(0));");
    expect(await new KernelProcesses(program).holding(superblock(dev), [], BUDGET_MS)).toEqual({
      holders: [],
      complete: false,
    });
    expect((await new KernelProcesses('/nowhere').holding(superblock(dev), [], BUDGET_MS)).complete).toBe(false);
  });
});

describe('searches', () => {
  /** Searches that never end by themselves, and how many were started. */
  function endless(): { readonly searches: KernelProcesses; readonly count: () => number } {
    const program = join(host.dir, 'endless.mjs');
    const log = join(host.dir, 'started');
    writeFileSync(log, '');
    writeFileSync(
      program,
      `import { appendFileSync } from 'node:fs'; appendFileSync('${log}', '.'); process.on('disconnect', () => process.exit());`,
    );
    return { searches: new KernelProcesses(program), count: () => readFileSync(log, 'utf8').length };
  }
  const asking = (one: KernelProcesses, device: number, budgetMs = BUDGET_MS): Promise<Holding | string> =>
    one.holding(superblock(`0:${device}`), [], budgetMs).catch((error: unknown) => (error as { code: string }).code);

  it('of the same are one, for all who ask meanwhile', async () => {
    const { searches, count } = endless();
    const answers = await Promise.all(Array.from({ length: 10 }, () => asking(searches, 1)));
    expect(answers).toEqual(Array.from({ length: 10 }, () => ({ holders: [], complete: false })));
    expect(count()).toBe(1);
  });

  it('are a few at a time: further ones wait as long as they may, then are refused', async () => {
    const { searches, count } = endless();
    const first = [1, 2, 3, 4].map((device) => asking(searches, device));
    const [waiting, shared] = [asking(searches, 5), asking(searches, 4, 1)];
    expect(await asking(searches, 6, 1)).toBe('resource-exhausted');
    await until('four are started', () => count() === 4);
    await Promise.all([...first, shared]);
    expect(await waiting).toEqual({ holders: [], complete: false });
    expect(count()).toBe(5);
  });

  it('leave out for each who asks what he names', async () => {
    const pids = [await busy(`cd ${leaf}`), await busy(`cd ${leaf}`)];
    const [one, other] = await Promise.all([holders([pids[0] ?? 0]), holders([pids[1] ?? 0])]);
    expect(one.some(({ pid }) => pid === pids[0])).toBe(false);
    expect(other.some(({ pid }) => pid === pids[1])).toBe(false);
  });
});

function pidsOf(found: readonly Holder[]): string {
  return found.map(({ pid }) => pid).join(' ');
}
