// To the kernel a mount of the sandbox looks like Quobyte's, and its helpers take what the real ones take.
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Sandbox, mountinfo, run, start, until } from './rig.js';

let sandbox: Sandbox;
beforeAll(async () => (sandbox = await Sandbox.up()));
afterAll(() => sandbox[Symbol.asyncDispose]());

const xattr = (where: string): string => run('/usr/bin/perl', '-e', GETXATTR, where).stdout;
// 191 is getxattr on x86-64, 8 on arm64; Debian's perl-base is there where the helpers are Perl.
const GETXATTR = `my $v = "\\0" x 200; my $n = syscall(${process.arch === 'x64' ? 191 : 8}, "$ARGV[0]", my $k = "quobyte.info", $v, 200); print $n < 0 ? $!{ENODATA} ? "ENODATA" : "none" : substr($v, 0, $n)`;

test('mountinfo tells source, type and options as for Quobyte', () => {
  const where = sandbox.mount('vol', '--disable-xattrs');
  expect(mountinfo(where).join()).toMatch(
    / \/ \S+ rw,nosuid,nodev,\S* - fuse\.quobyte quobyte@reg1:7861\|reg2:7861\/vol rw,\S*default_permissions/,
  );
});

test('the export may begin with quobyte://', () => {
  const where = sandbox.place();
  expect(run(sandbox.helper, 'quobyte://somewhere.example:7861/vol', where).status).toBe(0);
  expect(mountinfo(where).join()).toContain(' fuse.quobyte quobyte@somewhere.example:7861/vol ');
});

test('the root directory has size 0, also when it holds files', () => {
  const where = sandbox.mount();
  writeFileSync(join(where, 'a file'), 'x');
  expect(statSync(where).size).toBe(0);
  expect(statSync(join(where, 'a file')).size).toBe(1);
});

test('quobyte.info is on the root, unless --disable-xattrs', () => {
  expect(xattr(sandbox.mount())).toContain('vol');
  expect(xattr(sandbox.mount('vol', '--disable-xattrs'))).toBe('none');
});

test('all flags of the real client are accepted', () => {
  const config = join(sandbox.dir, 'client.cfg');
  writeFileSync(config, '');
  const flags =
    '--enable-access-contexts --no-default-permissions --allow-usermapping-in-volumename --hostname h --http-port=1 -d 3 -l /dev/null';
  const where = sandbox.place();
  expect(run(sandbox.helper, ...flags.split(' '), 'reg/vol', where, '-c', config)).toMatchObject({
    status: 0,
    stderr: '',
  });
});

test.each([
  ['an unknown volume', ['reg/nowhere'], /volume "nowhere" does not exist/],
  ['a missing configuration', ['-c', '/nonexistent.cfg', 'reg/vol'], /\/nonexistent\.cfg/],
  ['an unknown option', ['--bogus', 'reg/vol'], /unknown option --bogus/],
  ['an export without a volume', ['reg:7861'], /cannot read the volume/],
  ['a path for a volume', ['reg/../vol'], /cannot read the volume/],
])('%s: fails, says why, mounts nothing', (_what, args, says) => {
  const where = sandbox.place();
  const { status, stderr } = run(sandbox.helper, ...args, where);
  expect(status).toBeGreaterThan(0);
  expect(stderr).toMatch(says);
  expect(mountinfo(where)).toEqual([]);
});

test('a mountpoint that does not exist fails', () => {
  expect(run(sandbox.helper, 'reg/vol', '/nonexistent/dir')).toMatchObject({ status: 1 });
});

test('umount.quobyte takes the mount away, and says when it cannot', () => {
  const where = sandbox.mount();
  const umount = join(sandbox.dir, 'bin', 'umount.quobyte');
  expect(run(umount, where).status).toBe(0);
  expect(mountinfo(where)).toEqual([]);
  expect(run(umount, where)).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('Invalid argument') as string,
  });
});

test('with -f the helper stays until the mount is gone', async () => {
  const where = sandbox.place();
  const { child, ended } = start(sandbox.helper, '-f', 'reg/vol', where);
  await until('the mount', () => mountinfo(where).length > 0);
  expect(child.exitCode).toBeNull();
  run('/bin/umount', where);
  expect((await ended).status).toBe(0);
});

test('helpers and their directory are root-owned and nobody else may write there', () => {
  for (const name of ['.', 'bin', 'bin/mount.quobyte', 'bin/umount.quobyte', 'local', 'fairlead', 'fairlead/mnt']) {
    const { uid, mode } = statSync(join(sandbox.dir, name));
    expect([name, uid, mode & 0o7777]).toEqual([name, 0, 0o755]);
  }
  expect(readFileSync(sandbox.helper, 'latin1')).toMatch(/^#!\//);
});
