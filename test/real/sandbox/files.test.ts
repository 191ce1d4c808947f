// What programs do to files works on a mount of the sandbox, and two mounts of one volume never disagree.
import * as fs from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Sandbox, run, until } from './rig.js';

let sandbox: Sandbox;
let one: string;
let two: string;
beforeAll(async () => {
  sandbox = await Sandbox.up();
  one = sandbox.mount();
  two = sandbox.mount();
});
afterAll(() => sandbox[Symbol.asyncDispose]());

const qemu = fs.existsSync('/usr/bin/qemu-img');

test('what one mount writes, the other reads at once, also through a descriptor that was open before', () => {
  fs.writeFileSync(join(one, 'shared'), 'first');
  const reader = fs.openSync(join(two, 'shared'), 'r');
  const buffer = Buffer.alloc(100);
  const seen = (): string => buffer.toString('utf8', 0, fs.readSync(reader, buffer, 0, 100, 0));
  for (let i = 0; i < 200; i++) {
    fs.writeFileSync(join(one, 'shared'), `turn${String(i).padStart(2, '0').slice(-2)}`);
    expect(seen()).toBe(`turn${String(i).padStart(2, '0').slice(-2)}`);
  }
  fs.closeSync(reader);
  fs.appendFileSync(join(two, 'shared'), '!');
  expect(fs.statSync(join(one, 'shared')).size).toBe(7);
});

test('appends of two mounts do not overwrite each other', () => {
  const ends = [one, two].map((where) => fs.openSync(join(where, 'log'), 'a'));
  for (let i = 0; i < 20; i++) fs.writeSync(ends[i % 2]!, `${i % 10}`);
  for (const end of ends) fs.closeSync(end);
  expect(fs.readFileSync(join(one, 'log'), 'utf8')).toBe('01234567890123456789');
});

test('direct I/O and fsync; every byte arrives', () => {
  const source = join(sandbox.dir, 'random');
  run('/bin/dd', 'if=/dev/urandom', `of=${source}`, 'bs=1M', 'count=8');
  expect(
    run('/bin/dd', `if=${source}`, `of=${join(one, 'direct')}`, 'bs=256k', 'oflag=direct', 'conv=fsync').status,
  ).toBe(0);
  expect(run('/usr/bin/cmp', source, join(two, 'direct')).status).toBe(0);
  expect(run('/bin/dd', `if=${join(two, 'direct')}`, 'of=/dev/null', 'bs=4k', 'iflag=direct').status).toBe(0);
  const fd = fs.openSync(join(one, 'direct'), 'r+');
  fs.fsyncSync(fd);
  fs.fdatasyncSync(fd);
  fs.closeSync(fd);
});

test('rename, also over another file and across directories', () => {
  fs.mkdirSync(join(one, 'dir'));
  fs.writeFileSync(join(one, 'from'), 'from');
  fs.writeFileSync(join(one, 'dir/to'), 'to');
  fs.renameSync(join(one, 'from'), join(one, 'dir/to'));
  expect(fs.readFileSync(join(two, 'dir/to'), 'utf8')).toBe('from');
  expect(fs.existsSync(join(two, 'from'))).toBe(false);
  expect(() => fs.rmdirSync(join(two, 'dir'))).toThrow(/ENOTEMPTY/);
});

test('renameat2 exchanges two names', () => {
  for (const name of ['left', 'right']) fs.writeFileSync(join(one, name), name);
  const EXCHANGE = `syscall(${process.arch === 'x64' ? 316 : 276}, -100, "$ARGV[0]", -100, "$ARGV[1]", 2) == 0 or die $!`;
  expect(run('/usr/bin/perl', '-e', EXCHANGE, join(one, 'left'), join(one, 'right'))).toMatchObject({
    status: 0,
    stderr: '',
  });
  expect(fs.readFileSync(join(two, 'left'), 'utf8')).toBe('right');
});

test('files that come and go leave no descriptor in the cluster', async () => {
  const descriptors = (): number => fs.readdirSync(`/proc/${sandbox.cluster.child.pid!}/fd`).length;
  const before = descriptors();
  for (let i = 0; i < 500; i++) {
    fs.writeFileSync(join(one, `gone${i}`), '');
    fs.unlinkSync(join(one, `gone${i}`));
  }
  await until('as few descriptors as before', () => descriptors() <= before);
});

test('an unlinked file lives on for who has it open', () => {
  const path = join(one, 'unlinked');
  fs.writeFileSync(path, 'still here');
  const fd = fs.openSync(path, 'r+');
  fs.unlinkSync(join(two, 'unlinked'));
  expect(fs.existsSync(path)).toBe(false);
  expect(fs.fstatSync(fd)).toMatchObject({ size: 10, nlink: 0 });
  fs.writeSync(fd, 'even', 0);
  fs.ftruncateSync(fd, 5);
  expect(fs.readFileSync(fd, 'utf8')).toBe('evenl');
  fs.closeSync(fd);
});

test('truncate, chmod, chown, times', () => {
  const path = join(one, 'attributes');
  fs.writeFileSync(path, 'x'.repeat(100));
  fs.truncateSync(path, 10);
  fs.chmodSync(path, 0o640);
  fs.chownSync(path, 12, 34);
  fs.utimesSync(path, 1000, 2000.5);
  expect(fs.statSync(join(two, 'attributes'))).toMatchObject({
    size: 10,
    mode: 0o100640,
    uid: 12,
    gid: 34,
    atimeMs: 1_000_000,
    mtimeMs: 2_000_500,
  });
});

test('what somebody makes is theirs, and permissions are checked', () => {
  const touch = (where: string): ReturnType<typeof run> =>
    run('/usr/bin/setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '/usr/bin/touch', where);
  fs.mkdirSync(join(one, 'closed'), { mode: 0o700 });
  expect(touch(join(one, 'theirs')).status).toBe(0);
  expect(fs.statSync(join(two, 'theirs'))).toMatchObject({ uid: 65534, gid: 65534 });
  expect(touch(join(one, 'closed/not')).stderr).toContain('Permission denied');
});

test('a write takes set-user-ID away', () => {
  const path = join(one, 'suid');
  fs.writeFileSync(path, 'x');
  fs.chmodSync(path, 0o4777);
  run(
    '/usr/bin/setpriv',
    '--reuid=65534',
    '--regid=65534',
    '--clear-groups',
    '/bin/dd',
    'if=/dev/zero',
    `of=${path}`,
    'bs=1',
    'count=1',
    'conv=notrunc',
  );
  expect(fs.statSync(path).mode & 0o7777).toBe(0o777);
});

test('links, symbolic links and fifos', () => {
  fs.writeFileSync(join(one, 'linked'), 'x');
  fs.linkSync(join(one, 'linked'), join(one, 'second name'));
  fs.symlinkSync('linked', join(one, 'symbolic'));
  expect(run('/usr/bin/mkfifo', join(one, 'fifo')).status).toBe(0);
  expect(fs.statSync(join(two, 'second name')).nlink).toBe(2);
  expect(fs.readlinkSync(join(two, 'symbolic'))).toBe('linked');
  expect(fs.statSync(join(two, 'fifo')).isFIFO()).toBe(true);
  expect(run('/bin/mknod', join(one, 'device'), 'c', '1', '3').status).not.toBe(0);
});

test('a directory of 3,000 names is listed whole and once', () => {
  const dir = join(one, 'many');
  fs.mkdirSync(dir);
  const names = Array.from({ length: 3000 }, (_, i) => `${i}-${'n'.repeat(i % 200)}`).sort();
  for (const name of names) fs.writeFileSync(join(dir, name), '');
  expect(fs.readdirSync(join(two, 'many')).sort()).toEqual(names);
  fs.rmSync(join(two, 'many'), { recursive: true });
  expect(fs.existsSync(dir)).toBe(false);
});

test('holes, preallocation and statfs', () => {
  const path = join(one, 'sparse');
  expect(run('/usr/bin/fallocate', '-l', '1M', path).status).toBe(0);
  expect(fs.statSync(path)).toMatchObject({ size: 1 << 20, blocks: 2048 });
  expect(run('/usr/bin/fallocate', '-p', '-o', '0', '-l', '512K', path).status).toBe(0);
  expect(fs.statSync(path).blocks).toBe(1024);
  expect(fs.statfsSync(one).blocks).toBe(fs.statfsSync(sandbox.dir).blocks);
});

test('a mapped file is read (a program runs from the volume)', () => {
  fs.copyFileSync('/bin/true', join(one, 'program'));
  fs.chmodSync(join(one, 'program'), 0o755);
  expect(run(join(two, 'program')).status).toBe(0);
});

test.skipIf(!qemu).each([
  ['raw', 'off'],
  ['raw', 'falloc'],
  ['raw', 'full'],
  ['qcow2', 'off'],
  ['qcow2', 'metadata'],
  ['qcow2', 'falloc'],
])(
  'qemu-img makes and checks a disk: %s, preallocation %s (skipped where qemu-img is absent: apt-get install qemu-utils)',
  (format, preallocation) => {
    const disk = join(one, `disk.${format}.${preallocation}`);
    const made = run('/usr/bin/qemu-img', 'create', '-f', format, '-o', `preallocation=${preallocation}`, disk, '16M');
    expect(made).toMatchObject({ status: 0, stderr: '' });
    const info = run('/usr/bin/qemu-img', 'info', '--output=json', '-f', format, disk.replace(one, two));
    expect(JSON.parse(info.stdout)).toMatchObject({ format, 'virtual-size': 16 << 20 });
    if (format === 'qcow2') expect(run('/usr/bin/qemu-img', 'check', disk).status).toBe(0);
    expect(run('/usr/bin/qemu-img', 'resize', '-f', format, disk, '32M').status).toBe(0);
  },
);

test.skipIf(!qemu)('qemu-io writes with cache=none and native I/O (skipped where qemu-img is absent)', () => {
  const disk = join(one, 'io.raw');
  run('/usr/bin/qemu-img', 'create', '-f', 'raw', disk, '4M');
  const io = run(
    '/usr/bin/qemu-io',
    '-t',
    'none',
    '-i',
    'native',
    '-f',
    'raw',
    '-c',
    'write -P 7 0 1M',
    '-c',
    'read -P 7 0 1M',
    '-c',
    'flush',
    disk,
  );
  expect(io).toMatchObject({ status: 0 });
  expect(fs.readFileSync(join(two, 'io.raw'))[1000]).toBe(7);
});
