// Each fault does what its name says, to mounts that exist already, and `heal` ends it.
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  readdirSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Sandbox, mountinfo, run, start, stateOf, until, waitsForFuse } from './rig.js';

let sandbox: Sandbox;
beforeEach(async () => void (sandbox = await Sandbox.up()));
afterEach(() => sandbox[Symbol.asyncDispose]());

const stat = (where: string): string =>
  run('/usr/bin/stat', '-c', '%s', where).stderr + run('/usr/bin/stat', '-c', '%s', where).stdout;
/** Runs the helper and tells how it ended and how long that took. */
function mount(where: string): { status: number | null; stderr: string; ms: number } {
  const since = performance.now();
  const { status, stderr } = run(sandbox.helper, 'reg/vol', where);
  return { status, stderr, ms: performance.now() - since };
}

test('slow-mount: the helper takes that long', () => {
  sandbox.do('fault', 'vol', 'slow-mount', '400');
  const where = sandbox.place();
  expect(mount(where).ms).toBeGreaterThan(400);
  expect(stat(where)).toBe('0\n');
  sandbox.do('heal', 'vol');
  expect(mount(sandbox.place()).ms).toBeLessThan(300);
});

test('helper-fails: status and text are as asked, in any language', () => {
  sandbox.do('fault', 'vol', 'helper-fails', '32', 'Zugriff', 'verweigert: €');
  const where = sandbox.place();
  expect(mount(where)).toMatchObject({ status: 32, stderr: 'Zugriff verweigert: €\n' });
  expect(mountinfo(where)).toEqual([]);
});

test('helper-noop: exits 0 and mounts nothing', () => {
  sandbox.do('fault', 'vol', 'helper-noop');
  const where = sandbox.place();
  expect(mount(where).status).toBe(0);
  expect(mountinfo(where)).toEqual([]);
});

test('helper-wrong-volume: another volume is mounted', () => {
  sandbox.do('volume', 'other');
  sandbox.do('fault', 'vol', 'helper-wrong-volume', 'other');
  const where = sandbox.place();
  expect(mount(where).status).toBe(0);
  expect(mountinfo(where).join()).toContain('quobyte@reg/other');
  writeFileSync(join(where, 'x'), '');
  expect(readdirSync(join(sandbox.dir, 'volumes', 'other'))).toEqual(['x']);
});

test('helper-late: the helper is done before its mount appears', async () => {
  sandbox.do('fault', 'vol', 'helper-late', '700');
  const where = sandbox.place();
  const { status, ms } = mount(where);
  expect(status).toBe(0);
  expect(ms).toBeLessThan(500);
  expect(mountinfo(where)).toEqual([]);
  await until('the late mount', () => mountinfo(where).length > 0 && stat(where) === '0\n');
});

test.each(['before', 'after'])('helper-hangs %s its mount: it never ends, and can be killed', async (when) => {
  sandbox.do('fault', 'vol', 'helper-hangs', when);
  const where = sandbox.place();
  const { child, ended } = start(sandbox.helper, 'reg/vol', where);
  await until('the helper to sleep', () => readFileSync(`/proc/${child.pid!}/stack`, 'utf8').includes('nanosleep'));
  expect(mountinfo(where).length).toBe(when === 'before' ? 0 : 1);
  child.kill('SIGKILL');
  await ended;
  if (when === 'after') expect(stat(where)).toBe('0\n');
});

test('helper-floods: that much comes out of the helper, which then mounts', () => {
  sandbox.do('fault', 'vol', 'helper-floods', '200000000');
  const where = sandbox.place();
  const count = execFileSync('/bin/sh', ['-c', `"${sandbox.helper}" reg/vol "${where}" | wc -c`], { encoding: 'utf8' });
  expect(Number(count)).toBe(200_000_000);
  expect(stat(where)).toBe('0\n');
});

test('helper-daemon: something keeps the standard output until the mount is gone', async () => {
  sandbox.do('fault', 'vol', 'helper-daemon');
  const where = sandbox.place();
  const { child, ended } = start(sandbox.helper, 'reg/vol', where);
  let closed = false;
  child.on('close', () => (closed = true));
  expect((await ended).status).toBe(0);
  expect(stat(where)).toBe('0\n');
  expect(closed).toBe(false);
  run('/bin/umount', where);
  await until('the output to be closed', () => closed);
});

test.each([
  ['EIO', 'Input/output error'],
  ['ESTALE', 'Stale file handle'],
  ['EACCES', 'Permission denied'],
  ['ETIMEDOUT', 'Connection timed out'],
])('errno %s: everything on the mount answers it, until healed', (name, text) => {
  const where = sandbox.mount();
  sandbox.do('fault', 'vol', 'errno', name);
  expect(stat(where)).toContain(text);
  expect(run('/usr/bin/stat', '-f', where).stderr).toContain(text);
  const later = sandbox.mount();
  expect(stat(later)).toContain(text);
  sandbox.do('heal', 'vol');
  expect([stat(where), stat(later)]).toEqual(['0\n', '0\n']);
});

test('hang-unread: callers wait, die of SIGKILL, and go on when healed', async () => {
  const where = sandbox.mount();
  sandbox.do('fault', 'vol', 'hang-unread');
  const [killed, patient] = [start('/usr/bin/stat', where), start('/usr/bin/stat', '-f', where)];
  const later = start('/usr/bin/stat', '-c', '%s', sandbox.mount());
  for (const { child } of [killed, patient, later]) await until('a caller that waits', () => waitsForFuse(child.pid!));
  killed.child.kill('SIGKILL');
  expect((await killed.ended).status).toBeNull();
  expect(patient.child.exitCode).toBeNull();
  sandbox.do('heal', 'vol');
  expect((await patient.ended).status).toBe(0);
  expect((await later.ended).stdout).toBe('0\n');
});

test('hang-unanswered: callers are in D, SIGKILL or not, until healed', async () => {
  const where = sandbox.mount();
  sandbox.do('fault', 'vol', 'hang-unanswered');
  const [killed, patient] = [start('/usr/bin/stat', where), start('/usr/bin/stat', '-c', '%s', where)];
  for (const { child } of [killed, patient]) await until('a caller that waits', () => waitsForFuse(child.pid!));
  killed.child.kill('SIGKILL');
  await until('state D', () => stateOf(killed.child.pid!) === 'D');
  sandbox.do('fault', 'vol', 'hang-unread'); // another way to hang frees nobody
  expect(stateOf(killed.child.pid!)).toBe('D');
  sandbox.do('heal', 'vol');
  await killed.ended;
  expect(await patient.ended).toMatchObject({ status: 0, stdout: '0\n' });
});

test('a hung volume delays no other', () => {
  sandbox.do('volume', 'other');
  const [hung, well] = [sandbox.mount(), sandbox.mount('other')];
  sandbox.do('fault', 'vol', 'hang-unanswered');
  const { child } = start('/usr/bin/stat', hung);
  expect(stat(well)).toBe('0\n');
  sandbox.do('heal', 'vol');
  expect(child.pid).toBeGreaterThan(0);
});

test('an aborted connection frees who hangs, and the cluster survives', async () => {
  const where = sandbox.mount();
  const connections = join(sandbox.dir, 'fusectl');
  execFileSync('/bin/mkdir', [connections]);
  execFileSync('/bin/mount', ['-t', 'fusectl', 'none', connections]);
  const { dev } = statSync(where);
  sandbox.do('fault', 'vol', 'hang-unanswered');
  const { child, ended } = start('/usr/bin/stat', where);
  await until('a caller that waits', () => waitsForFuse(child.pid!));
  writeFileSync(join(connections, String(dev & 0xff), 'abort'), '1');
  expect((await ended).status).toBe(1);
  sandbox.do('heal', 'vol');
  expect(stat(sandbox.mount())).toBe('0\n');
});

test('hang-statfs: stat answers, statfs does not', async () => {
  const where = sandbox.mount();
  sandbox.do('fault', 'vol', 'hang-statfs');
  const { child, ended } = start('/usr/bin/stat', '-f', where);
  await until('a caller that waits', () => waitsForFuse(child.pid!));
  expect(stat(where)).toBe('0\n');
  sandbox.do('heal', 'vol');
  expect((await ended).status).toBe(0);
});

test('server-dies: ENOTCONN for all mounts of the volume and for no other; a new mount works', () => {
  sandbox.do('volume', 'other');
  const [a, b, other] = [sandbox.mount(), sandbox.mount(), sandbox.mount('other')];
  const inside = openSync(a, 'r');
  sandbox.do('fault', 'vol', 'server-dies');
  for (const dead of [a, b]) expect(stat(dead)).toContain('Transport endpoint is not connected');
  expect(stat(other)).toBe('0\n');
  expect(mountinfo(a)).toHaveLength(1);
  expect(stat(sandbox.mount())).toBe('0\n');
  closeSync(inside);
});

test('own-server: a process of its own serves, killing it kills that mount alone; faults reach it', async () => {
  sandbox.do('fault', 'vol', 'own-server');
  const [a, b] = [sandbox.mount(), sandbox.mount()];
  const servers = (): number[] =>
    readdirSync('/proc')
      .filter((pid) => /^\d+$/.test(pid) && commandOf(pid).includes(`serve\0${sandbox.dir}\0`))
      .map(Number);
  writeFileSync(join(a, 'x'), 'through its own server');
  expect(readFileSync(join(b, 'x'), 'utf8')).toBe('through its own server');
  await until('two servers that listen', () => readdirSync(join(sandbox.dir, 'servers')).length === 2);
  sandbox.do('fault', 'vol', 'errno', 'EIO');
  expect(stat(a)).toContain('Input/output error');
  sandbox.do('heal', 'vol');
  sandbox.cluster.child.kill('SIGKILL');
  await sandbox.cluster.ended;
  expect(stat(a)).toBe('0\n');
  const pids = servers();
  expect(pids).toHaveLength(2);
  process.kill(pids[0]!, 'SIGKILL');
  await until('one dead mount', () => [a, b].filter((where) => stat(where).includes('not connected')).length === 1);
  for (const where of [a, b]) run('/bin/umount', '-l', where);
  await until('no server', () => servers().length === 0);
});

test('own-server with a helper that never ends: the server alone keeps the mount alive', async () => {
  sandbox.do('fault', 'vol', 'own-server');
  sandbox.do('fault', 'vol', 'helper-hangs', 'after');
  const where = sandbox.place();
  const { child } = start(sandbox.helper, 'reg/vol', where);
  await until('the mount', () => mountinfo(where).length > 0 && stat(where) === '0\n');
  await until('a server that listens', () => readdirSync(join(sandbox.dir, 'servers')).length === 1);
  sandbox.do('fault', 'vol', 'server-dies');
  expect(stat(where)).toContain('not connected');
  child.kill('SIGKILL');
});

describe('slow-end: an own server', () => {
  const backing = (name: string): string => readFileSync(join(sandbox.dir, 'volumes/vol', name), 'utf8');
  const serverPid = (): number | undefined =>
    readdirSync('/proc')
      .filter((pid) => /^\d+$/.test(pid) && commandOf(pid).includes(`serve\0${sandbox.dir}\0`))
      .map(Number)[0];
  /** A mount whose server outlives it by half a minute, and that server. */
  const slow = async (): Promise<{ where: string; pid: number }> => {
    sandbox.do('fault', 'vol', 'own-server');
    sandbox.do('fault', 'vol', 'slow-end', '30000');
    const where = sandbox.mount();
    await until('a server that listens', () => readdirSync(join(sandbox.dir, 'servers')).length === 1);
    return { where, pid: await until('its process', serverPid) };
  };

  test('stores what was written only at its end, after its mount has gone; readers of the mount see it at once', async () => {
    sandbox.do('fault', 'vol', 'own-server');
    sandbox.do('fault', 'vol', 'slow-end', '700');
    const where = sandbox.mount();
    writeFileSync(join(where, 'x'), 'one');
    appendFileSync(join(where, 'x'), ' two');
    expect(readFileSync(join(where, 'x'), 'utf8')).toBe('one two');
    expect(statSync(join(where, 'x')).size).toBe(7);
    truncateSync(join(where, 'x'), 5);
    expect([readFileSync(join(where, 'x'), 'utf8'), backing('x')]).toEqual(['one t', '']);
    const pid = await until('its process', serverPid);
    const since = performance.now();
    run('/bin/umount', where);
    process.kill(pid, 'SIGTERM');
    await until('its end', () => serverPid() === undefined);
    expect(performance.now() - since).toBeGreaterThan(700);
    expect(backing('x')).toBe('one t');
    expect(readFileSync(join(sandbox.mount(), 'x'), 'utf8')).toBe('one t');
  });

  test('that is killed before its end loses what was not stored; an fsync stores', async () => {
    const { where, pid } = await slow();
    writeFileSync(join(where, 'lost'), 'lost');
    const descriptor = openSync(join(where, 'kept'), 'w');
    writeSync(descriptor, 'kept');
    fsyncSync(descriptor);
    closeSync(descriptor);
    run('/bin/umount', where);
    process.kill(pid, 'SIGKILL');
    await until('its end', () => serverPid() === undefined);
    expect([backing('lost'), backing('kept')]).toEqual(['', 'kept']);
  });

  test('ends at once, and stores, when it is healed', async () => {
    const { where } = await slow();
    writeFileSync(join(where, 'x'), 'stored');
    run('/bin/umount', where);
    expect(serverPid()).toBeGreaterThan(0);
    sandbox.do('heal', 'vol');
    await until('its end', () => serverPid() === undefined);
    expect(backing('x')).toBe('stored');
  });

  test('whose connection is cut takes its time as well', async () => {
    const { where, pid } = await slow();
    writeFileSync(join(where, 'x'), 'stored');
    sandbox.do('fault', 'vol', 'server-dies');
    expect(stat(where)).toContain('not connected');
    expect([serverPid(), backing('x')]).toEqual([pid, '']);
    sandbox.do('heal', 'vol');
    await until('its end', () => serverPid() === undefined);
    expect(backing('x')).toBe('stored');
  });
});

test('mounted-by: the kernel’s table says that this user made the mount', () => {
  sandbox.do('fault', 'vol', 'mounted-by', '4711');
  const where = sandbox.mount();
  expect(mountinfo(where).join()).toContain('user_id=4711,group_id=0');
  expect(stat(where)).toBe('0\n');
});

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return '';
    throw error;
  }
}

test('read-only: EROFS on mounts that exist, and new mounts say ro', () => {
  const where = sandbox.mount();
  writeFileSync(join(where, 'x'), '1');
  sandbox.do('fault', 'vol', 'read-only');
  expect(() => writeFileSync(join(where, 'x'), '2')).toThrow(/EROFS/);
  expect(() => writeFileSync(join(where, 'new'), '2')).toThrow(/EROFS/);
  expect(readFileSync(join(where, 'x'), 'utf8')).toBe('1');
  expect(mountinfo(sandbox.mount()).join()).toMatch(/ ro,nosuid/);
  sandbox.do('heal', 'vol');
  writeFileSync(join(where, 'x'), '2');
});

test('no-xattrs and root-size', () => {
  const where = sandbox.mount();
  const set = (): string =>
    run(
      '/usr/bin/perl',
      '-e',
      `print syscall(${process.arch === 'x64' ? 188 : 5}, "$ARGV[0]", my $k = "user.x", my $v = "y", 1, 0) < 0 ? "$!" : "set"`,
      where,
    ).stdout;
  expect(set()).toBe('set');
  sandbox.do('fault', 'vol', 'no-xattrs');
  sandbox.do('fault', 'vol', 'root-size', '4096');
  expect(set()).toBe('Operation not supported');
  expect(statSync(where).size).toBe(4096);
  sandbox.do('heal', 'vol');
  expect([set(), statSync(where).size]).toEqual(['set', 0]);
});

test('several faults are active at once; one replaces what it contradicts', () => {
  const kinds = (): string[] =>
    (JSON.parse(readFileSync(join(sandbox.dir, 'faults', 'vol.json'), 'utf8')) as { kind: string }[]).map(
      ({ kind }) => kind,
    );
  sandbox.do('fault', 'vol', 'root-size', '7');
  sandbox.do('fault', 'vol', 'hang-unread');
  sandbox.do('fault', 'vol', 'errno', 'EIO');
  expect(kinds()).toEqual(['root-size', 'errno']);
  sandbox.do('heal', 'vol');
  expect(existsSync(join(sandbox.dir, 'faults', 'vol.json'))).toBe(false);
});
