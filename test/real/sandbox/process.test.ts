// The cluster as a process: starting, ending, dying, many mounts, other namespaces, and what its command line refuses.
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CLI, Sandbox, mountinfo, run, start, until, waitsForFuse } from './rig.js';

let sandbox: Sandbox;
beforeEach(async () => void (sandbox = await Sandbox.up()));
afterEach(() => sandbox[Symbol.asyncDispose]());

test('up says one line, makes DIR passable, and a second up on it is refused', () => {
  expect(statSync(sandbox.dir).mode & 0o7777).toBe(0o755); // mkdtemp made it 0700
  expect(sandbox.cli('up')).toMatchObject({ status: 1, stderr: expect.stringContaining('is up already') as string });
  expect(statSync(sandbox.mount()).size).toBe(0);
});

test('SIGTERM ends it with 0, at once, although volumes hang; their callers go free', async () => {
  const [a, b] = [sandbox.mount(), sandbox.mount()];
  sandbox.do('fault', 'vol', 'hang-unanswered');
  const callers = [start('/usr/bin/stat', a), start('/usr/bin/stat', b)];
  for (const { child } of callers) await until('a caller that waits', () => waitsForFuse(child.pid!));
  const since = performance.now();
  sandbox.cluster.child.kill('SIGTERM');
  const { status, stdout, stderr } = await sandbox.cluster.ended;
  expect({ status, stderr, lines: stdout.split('\n').length }).toEqual({ status: 0, stderr: '', lines: 2 });
  expect(performance.now() - since).toBeLessThan(2000);
  for (const { ended } of callers) expect((await ended).status).toBe(1);
});

test('after SIGKILL its mounts are ENOTCONN, helpers say so, and a new up takes over with volumes and faults', async () => {
  const where = sandbox.mount();
  writeFileSync(join(where, 'kept'), '');
  sandbox.do('fault', 'vol', 'root-size', '9');
  sandbox.cluster.child.kill('SIGKILL');
  await sandbox.cluster.ended;
  expect(run('/usr/bin/stat', where).stderr).toContain('not connected');
  expect(run(sandbox.helper, 'reg/vol', sandbox.place())).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('no registry answers') as string,
  });
  sandbox.do('volume', 'made-while-down');
  await sandbox.again();
  const later = sandbox.mount();
  expect(statSync(later).size).toBe(9);
  expect(readdirSync(later)).toEqual(['kept']);
  sandbox.mount('made-while-down');
});

test('200 mounts in one cluster, all alive; none leaks a descriptor', async () => {
  const descriptors = (): number => readdirSync(`/proc/${sandbox.cluster.child.pid!}/fd`).length;
  run(join(sandbox.dir, 'bin/umount.quobyte'), sandbox.mount());
  const before = await until('an idle cluster', () => (sandbox.cli('heal', 'vol'), descriptors()));
  const all = Array.from({ length: 200 }, () => sandbox.mount());
  writeFileSync(join(all[0]!, 'x'), 'seen everywhere');
  for (const where of all) expect(readFileSync(join(where, 'x'), 'utf8')).toBe('seen everywhere');
  for (const where of all) expect(run(join(sandbox.dir, 'bin/umount.quobyte'), where).status).toBe(0);
  expect(mountinfo(sandbox.dir)).toEqual([]);
  await until('as few descriptors as before', () => descriptors() <= before);
});

test('a helper in another mount namespace mounts there, served by the same cluster', async () => {
  const fuse = (): number => readdirSync(`/proc/${sandbox.cluster.child.pid!}/fd`).length;
  const before = fuse();
  const where = sandbox.place();
  const script = `"$0" reg/vol "$1" && echo written > "$1/x" && cat "$1/x"`;
  const { stdout } = run(
    '/usr/bin/unshare',
    '--mount',
    '--propagation',
    'private',
    '/bin/sh',
    '-c',
    script,
    sandbox.helper,
    where,
  );
  expect(stdout).toBe('written\n');
  expect(mountinfo(where)).toEqual([]);
  expect(readFileSync(join(sandbox.dir, 'volumes/vol/x'), 'utf8')).toBe('written\n');
  // The namespace has ended, so its mount has too.
  await until('the end of its connection', () => fuse() <= before);
  sandbox.mount();
  await until('a cluster that serves on', () => fuse() > before);
});

test('the helpers for machines without Perl do the same', async () => {
  const script = `import(${JSON.stringify(pathToFileURL(CLI.replace('cli.js', 'helper/helpers.js')).href)}).then((it) => it.writeHelpers(...process.argv.slice(1)))`;
  execFileSync(process.execPath, ['-e', script, join(sandbox.dir, 'bin'), CLI, 'node']);
  expect(statSync(sandbox.mount()).size).toBe(0);
  expect(run(sandbox.helper, 'reg/nowhere', '/mnt')).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('does not exist') as string,
  });
  sandbox.do('fault', 'vol', 'helper-late', '300');
  const late = sandbox.mount();
  expect(mountinfo(late)).toEqual([]);
  await until('the late mount', () => mountinfo(late).length > 0);
  sandbox.do('heal', 'vol');
  sandbox.do('fault', 'vol', 'own-server');
  const own = sandbox.mount();
  expect(statSync(own).size).toBe(0);
  expect(run(join(sandbox.dir, 'bin/umount.quobyte'), own).status).toBe(0);
  sandbox.do('heal', 'vol');
  sandbox.do('fault', 'vol', 'helper-daemon');
  const { child, ended } = start(sandbox.helper, 'reg/vol', sandbox.place());
  let closed = false;
  child.on('close', () => (closed = true));
  await ended;
  expect(closed).toBe(false);
  sandbox.do('fault', 'vol', 'server-dies');
  await until('the output to be closed', () => closed);
});

test('config names existing root-owned directories and this helper', () => {
  const { stdout, status } = sandbox.cli('config');
  expect(status).toBe(0);
  expect(stdout).toContain(`mount_helper = "${sandbox.helper}"`);
  expect(stdout).toContain(`roots = ["${sandbox.dir}/local"]`);
  expect(statSync(join(sandbox.dir, 'local'))).toMatchObject({ uid: 0, mode: 0o40755 });
});

test.each([
  [['volume', '../x'], /one path component/],
  [['volume'], /expected 2 arguments/],
  [['fault', 'vol', 'bogus'], /there is no fault "bogus"/],
  [['fault', 'vol', 'slow-mount', '1s'], /whole number/],
  [['fault', 'vol', 'slow-mount'], /whole number/],
  [['fault', 'vol', 'errno', 'ENOSYS'], /name of an error/],
  [['fault', 'vol', 'hang-unread', 'x'], /too many arguments/],
  [['fault', 'vol'], /kind is missing/],
  [['fault', 'nowhere', 'hang-unread'], /no volume "nowhere"/],
  [['bogus'], /no subcommand "bogus"/],
])('wrong input ends with 2 and says why: %s', ([subcommand = '', ...args], says) => {
  const { status, stderr } = sandbox.cli(subcommand, ...args);
  expect(status).toBe(2);
  expect(stderr).toMatch(says);
});

test('DIR must be absolute and not too long for a socket', () => {
  expect(run(process.execPath, CLI, 'up', 'relative')).toMatchObject({
    status: 2,
    stderr: expect.stringContaining('absolute') as string,
  });
  expect(run(process.execPath, CLI, 'up', `/${'x'.repeat(90)}`).status).toBe(2);
});

test('a stranger passes DIR, and can neither speak to the cluster nor reach volumes around their mounts', () => {
  const stranger = (...command: string[]): ReturnType<typeof run> =>
    run('/usr/bin/setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', ...command);
  expect(stranger('/bin/ls', sandbox.mount()).status).toBe(0);
  expect(stranger('/bin/ls', join(sandbox.dir, 'volumes')).stderr).toContain('Permission denied');
  expect(stranger('/bin/ls', join(sandbox.dir, 'faults')).stderr).toContain('Permission denied');
  expect(statSync(join(sandbox.dir, 'cluster.sock')).mode & 0o777).toBe(0o600);
});
