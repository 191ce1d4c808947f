import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ForkedProbeChildren } from '../../../src/sys/probe-children.js';
import type { DirectoryIdentity, ProbeAnswer, ProbeChild, ProbeJob } from '../../../src/sys/ports.js';
import { setxattr } from '../../../sandbox/fuse/libc.js';
import { until } from '../../rig/until.js';
import { deadFuse, hungFuse, LEAF, scratch, tmpfs, type Scratch } from './fixtures.js';
import { programOf } from './programs.js';

const children = new ForkedProbeChildren(programOf('probe-main'));
const NOBODY = 65534;

let host: Scratch;
let leaf: string;
let child: ProbeChild;
let answers: Map<number, ProbeAnswer>;
let ended: boolean;
function begin(uid: number): void {
  answers = new Map();
  ended = false;
  child = children.start(uid, uid);
  child.onAnswer((id, answer) => answers.set(id, answer));
  child.onExit(() => {
    ended = true;
  });
}
beforeEach(() => {
  host = scratch();
  leaf = join(host.base, LEAF);
  mkdirSync(leaf);
  begin(0);
});
afterEach(async () => {
  child.kill();
  await until('the child has ended', () => ended);
  host.close();
});

let next = 1;
async function ask(job: ProbeJob): Promise<ProbeAnswer> {
  const id = next++;
  child.post(id, job);
  return until('an answer', () => answers.get(id));
}
const probe = (
  access: 'read-write' | 'read-only' = 'read-write',
  witness: string | null = null,
): Promise<ProbeAnswer> => ask({ kind: 'probe', path: leaf, access, witness, disks: [] });
const unmount = (mode: 'plain' | 'detach' = 'plain', name = LEAF): Promise<ProbeAnswer> =>
  ask({ kind: 'unmount', base: host.base, leaf: name, mode });
const disk = (name: string): Promise<ProbeAnswer> => ask({ kind: 'disk', path: leaf, name });
const mounted = (): boolean => readFileSync('/proc/self/mountinfo', 'latin1').includes(` ${leaf} `);

describe('a ping', () => {
  it('is answered by a child that runs, not by one that is stopped', async () => {
    let answered = 0;
    const ping = (): void => child.ping(() => (answered += 1));
    ping();
    await until('an answer', () => answered === 1);
    process.kill(child.pid, 'SIGSTOP');
    await until('it is stopped', () => readFileSync(`/proc/${child.pid}/stat`, 'latin1').includes(') T '));
    ping();
    process.kill(child.pid, 'SIGCONT');
    await until('an answer', () => answered === 2);
  });
});

describe('a probe', () => {
  it('tells what a live mount answers', async () => {
    tmpfs(leaf);
    chmodSync(leaf, 0o750);
    const dev = execFileSync('stat', ['--format=%Hd:%Ld', leaf], { encoding: 'utf8' }).trim();
    expect(await probe('read-write', 'trusted.absent')).toEqual({
      kind: 'probe',
      facts: {
        statfs: { end: 'answered' },
        root: { isDirectory: true, size: 40, dev, mode: 0o750 },
        write: 'granted',
        search: 'granted',
        witness: 'absent',
      },
      disks: [],
    });
  });

  it('looks for disks on its way, and answers each', async () => {
    tmpfs(leaf);
    writeFileSync(join(leaf, 'volume'), '0123456789');
    symlinkSync('/etc/passwd', join(leaf, 'link'));
    const disks = ['volume', 'absent', 'link'];
    expect(await ask({ kind: 'probe', path: leaf, access: 'read-only', witness: null, disks })).toMatchObject({
      facts: { statfs: { end: 'answered' } },
      disks: [{ state: 'regular' }, { state: 'absent' }, { state: 'link' }],
    });
  });

  it('looks for no disk where the server is gone', async () => {
    deadFuse(leaf);
    const job = { kind: 'probe', path: leaf, access: 'read-only', witness: null, disks: ['volume'] } as const;
    expect(await ask(job)).toMatchObject({ disks: [] });
  });

  it('tells the witness, and does not ask for what was not wanted', async () => {
    tmpfs(leaf);
    expect(setxattr(leaf, 'trusted.info', Buffer.from('x'), 1, 0)).toBe(0);
    expect(await probe('read-only', 'trusted.info')).toMatchObject({
      facts: { write: 'not-asked', witness: 'present' },
    });
    expect(await probe('read-only')).toMatchObject({ facts: { witness: 'not-asked' } });
  });

  it('spares the witness where the root has no size', async () => {
    const empty = join(host.base, 'a'.repeat(32));
    mkdirSync(empty);
    execFileSync('mount', ['-t', 'devpts', 'devpts', empty]);
    const job = { kind: 'probe', path: empty, access: 'read-only', witness: 'trusted.absent', disks: [] } as const;
    expect(await ask(job)).toMatchObject({ facts: { root: { size: 0 }, witness: 'not-asked' } });
  });

  it('tells the errno of a dead mount', async () => {
    deadFuse(leaf);
    expect(await probe()).toMatchObject({ facts: { statfs: { end: 'failed', errno: 'ENOTCONN' } } });
  });

  it('tells a read-only mount from a missing right', async () => {
    tmpfs(leaf);
    execFileSync('mount', ['-o', 'remount,bind,ro', leaf]);
    expect(await probe()).toMatchObject({ facts: { write: { errno: 'EROFS' }, search: 'granted' } });
  });

  it('tests the rights of the user that will use it, in all combinations', async () => {
    child.kill();
    await until('the first child has ended', () => ended);
    begin(NOBODY);
    tmpfs(leaf);
    execFileSync('chown', [`${NOBODY}:${NOBODY}`, leaf]);
    for (let bits = 0; bits < 8; bits += 1) {
      chmodSync(leaf, bits << 6);
      expect(await probe()).toMatchObject({
        facts: {
          write: (bits & 2) !== 0 ? 'granted' : { errno: 'EACCES' },
          search: (bits & 1) !== 0 ? 'granted' : { errno: 'EACCES' },
        },
      });
    }
    expect(readFileSync(`/proc/${child.pid}/status`, 'utf8')).toMatch(/^Uid:\t65534\t65534\t65534\t65534$/m);
    expect(readFileSync(`/proc/${child.pid}/status`, 'utf8')).toMatch(/^Groups:\t\s*$/m);
  });

  it('that hangs is never answered, and holds up no other', async () => {
    const other = join(host.base, 'f'.repeat(32));
    mkdirSync(other);
    const end = hungFuse(other);
    for (let id = 1_000_000; id < 1_000_048; id += 1) {
      child.post(id, { kind: 'probe', path: other, access: 'read-only', witness: null, disks: [] });
    }
    tmpfs(leaf);
    const before = performance.now();
    expect(await probe()).toMatchObject({ facts: { statfs: { end: 'answered' } } });
    expect(performance.now() - before).toBeLessThan(2000);
    expect(answers.size).toBe(1);
    end();
    await until('all have been told that the server is gone', () => answers.size === 49);
  });
});

describe('an unmount', () => {
  it('takes the topmost mount away', async () => {
    tmpfs(leaf, 'bottom');
    tmpfs(leaf, 'top');
    expect(await unmount()).toEqual({ kind: 'unmount', errno: null });
    expect(mounted()).toBe(true);
    expect(await unmount()).toEqual({ kind: 'unmount', errno: null });
    expect(mounted()).toBe(false);
    expect(await unmount()).toEqual({ kind: 'unmount', errno: 'EINVAL' });
  });

  it('tells a busy mount, dead or alive, and leaves it; a dead one may be detached', async () => {
    tmpfs(leaf);
    writeFileSync(join(leaf, 'file'), '');
    const held = execFileSync('sh', ['-c', 'sleep 1000 < "$0" >/dev/null 2>&1 & echo $!', join(leaf, 'file')], {
      encoding: 'utf8',
    });
    expect(await unmount()).toEqual({ kind: 'unmount', errno: 'EBUSY' });
    expect(mounted()).toBe(true);
    expect(await unmount('detach')).toEqual({ kind: 'unmount', errno: null });
    expect(mounted()).toBe(false);
    process.kill(Number(held), 'SIGKILL');
  });

  it('of a dead and of a hung server is answered at once', async () => {
    deadFuse(leaf);
    expect(await unmount()).toEqual({ kind: 'unmount', errno: null });
    const end = hungFuse(leaf);
    expect(await unmount()).toEqual({ kind: 'unmount', errno: null });
    end();
  });

  it('does not follow a link, and stays below the base', async () => {
    const victim = join(host.dir, 'victim');
    mkdirSync(victim);
    tmpfs(victim);
    symlinkSync(victim, join(host.base, 'link'));
    expect(await unmount('plain', 'link')).toEqual({ kind: 'unmount', errno: 'EINVAL' });
    expect(readFileSync('/proc/self/mountinfo', 'latin1')).toContain(` ${victim} `);
  });

  it('below a base that is gone says so', async () => {
    expect(await ask({ kind: 'unmount', base: join(host.dir, 'absent'), leaf: LEAF, mode: 'plain' })).toEqual({
      kind: 'failed',
      errno: 'ENOENT',
    });
  });
});

describe('a directory on storage that hangs', () => {
  const ALL = { nosuid: true, nodev: true, noexec: true, nosymfollow: true };
  const identifying = (source: string, root = host.dir): ProbeJob => ({
    kind: 'identify',
    source,
    roots: [root],
    base: host.base,
    leaf: LEAF,
  });
  const bind = (source: string, expected: DirectoryIdentity | null): ProbeJob => ({
    kind: 'bind',
    source,
    expected,
    roots: [host.dir],
    base: host.base,
    leaf: LEAF,
    hardening: ALL,
  });

  it('holds up only who asked for it, to be identified or to be bound', async () => {
    const inner = join(host.dir, 'inner');
    mkdirSync(inner);
    const end = hungFuse(inner);
    for (let id = 2_000_000; id < 2_000_024; id += 1) child.post(id, identifying(join(inner, 'x'), inner));
    for (let id = 2_000_024; id < 2_000_048; id += 1) {
      child.post(id, { ...bind(join(inner, 'x'), null), roots: [inner] } as ProbeJob);
    }
    const source = join(host.dir, 'source');
    mkdirSync(source);
    const before = performance.now();
    const named = await ask(identifying(source));
    expect(named).toMatchObject({ kind: 'identify', source: { inode: String(statSync(source).ino) }, mounted: null });
    const expected = named.kind === 'identify' ? named.source : null;
    expect(await ask(bind(source, expected))).toMatchObject({ kind: 'bind', end: 'bound' });
    expect(await ask(identifying(source))).toMatchObject({ source: expected, mounted: expected });
    expect(await unmount()).toEqual({ kind: 'unmount', errno: null });
    expect(performance.now() - before).toBeLessThan(2000);
    expect(answers.size).toBe(4);
    end();
    await until('all have been told that the server is gone', () => answers.size === 52);
    expect(answers.get(2_000_000)).toEqual({ kind: 'failed', errno: 'ENOTCONN' });
    expect(answers.get(2_000_047)).toEqual({ kind: 'failed', errno: 'ENOTCONN' });
    expect(mounted()).toBe(false);
  });
});

describe('a disk', () => {
  it('is a regular file, or told as what it is', async () => {
    tmpfs(leaf);
    writeFileSync(join(leaf, 'volume'), '');
    truncateSync(join(leaf, 'volume'), 3_000_000_000);
    symlinkSync('/etc/passwd', join(leaf, 'link'));
    mkdirSync(join(leaf, 'directory'));
    execFileSync('mkfifo', [join(leaf, 'fifo')]);
    expect(await disk('volume')).toEqual({ kind: 'disk', state: 'regular' });
    expect(await disk('link')).toEqual({ kind: 'disk', state: 'link' });
    expect(await disk('directory')).toEqual({ kind: 'disk', state: 'other' });
    expect(await disk('fifo')).toEqual({ kind: 'disk', state: 'other' });
    expect(await disk('absent')).toEqual({ kind: 'disk', state: 'absent' });
  });

  it('that another mount covers is not the volume’s, whatever lies there', async () => {
    tmpfs(leaf);
    writeFileSync(join(leaf, 'file'), '');
    writeFileSync(join(host.dir, 'elsewhere'), 'not the volume’s');
    execFileSync('mount', ['--bind', join(host.dir, 'elsewhere'), join(leaf, 'file')]);
    expect(await disk('file')).toEqual({ kind: 'disk', state: 'other' });
    execFileSync('umount', [join(leaf, 'file')]);
    expect(await disk('file')).toEqual({ kind: 'disk', state: 'regular' });
  });

  it('of a dead mount is an errno', async () => {
    deadFuse(leaf);
    expect(await disk('volume')).toEqual({ kind: 'failed', errno: 'ENOTCONN' });
  });

  it('whose name is a path ends the child, which no broker sends', async () => {
    child.post(7, { kind: 'disk', path: leaf, name: '../../etc/passwd' });
    await until('the child has ended', () => ended);
    expect(answers.has(7)).toBe(false);
  });
});

describe('a probe child', () => {
  it('ends with its parent', async () => {
    const program = programOf('probe-main');
    const parent = `const c = require('node:child_process').spawn(process.execPath, [${JSON.stringify(program)}, '0', '0'],
      { stdio: ['ignore', 'ignore', 'ignore', 'ipc'], detached: true });
      c.on('message', () => { console.log(c.pid); process.kill(process.pid, 'SIGKILL'); });
      c.send({ id: 1, job: { kind: 'disk', path: '/', name: 'etc' } });`;
    let said = '';
    try {
      execFileSync(process.execPath, ['-e', parent], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    } catch (error) {
      said = (error as { stdout: string }).stdout;
    }
    const pid = Number(said);
    expect(pid).toBeGreaterThan(1);
    await until('the child has ended', () => {
      try {
        return / Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
      } catch (error) {
        return (error as NodeJS.ErrnoException).code === 'ENOENT';
      }
    });
  });
});
