// Open files and directories: the descriptor that serves one is its file handle. The kernel hands back only what we gave.
import { constants, fsyncSync, fdatasyncSync, openSync, readSync, writeSync } from 'node:fs';
import { close, fallocate, getdents, lseek, procPath } from './libc.js';
import { MAX_WRITE, Op, reply, writeOpen } from './protocol.js';
import { type Operation, dropPrivileges } from './served.js';

const O_CLOEXEC = 0o2000000;
const { O_DIRECT, O_CREAT, O_EXCL, O_NOFOLLOW, O_DIRECTORY } = constants;
const FUSE_OPEN_KILL_SUIDGID = 1;
const FUSE_WRITE_KILL_SUIDGID = 4;
const FSYNC_DATA_ONLY = 1;

const open: Operation = (mount, { node, body }) => {
  const path = procPath(mount.nodes.fd(node));
  const flags = body.readUInt32LE(0) & ~(O_DIRECT | O_CREAT | O_EXCL | O_NOFOLLOW);
  const fd = openSync(path, flags | O_CLOEXEC);
  mount.open.add(fd);
  if ((body.readUInt32LE(4) & FUSE_OPEN_KILL_SUIDGID) !== 0) dropPrivileges(fd);
  return writeOpen(0, fd);
};

const openDirectory: Operation = (mount, { node }) => {
  const fd = openSync(procPath(mount.nodes.fd(node)), O_DIRECTORY | O_CLOEXEC);
  mount.open.add(fd);
  writeOpen(0, fd);
  reply.writeUInt32LE(0, 8);
  return 16;
};

const release: Operation = (mount, { body }) => {
  const fd = body.readUInt32LE(0);
  return mount.open.delete(fd) ? close(fd) : 0;
};

const read: Operation = (mount, { body }) => {
  const size = Math.min(body.readUInt32LE(16), MAX_WRITE);
  return readSync(mount.written.content(body.readUInt32LE(0)), reply, 0, size, Number(body.readBigUInt64LE(8)));
};

const write: Operation = (mount, { body }) => {
  const fd = body.readUInt32LE(0);
  const size = body.readUInt32LE(16);
  if ((body.readUInt32LE(20) & FUSE_WRITE_KILL_SUIDGID) !== 0) dropPrivileges(fd);
  reply.writeUInt32LE(writeSync(mount.written.changed(fd), body, 40, size, Number(body.readBigUInt64LE(8))), 0);
  reply.writeUInt32LE(0, 4);
  return 8;
};

const sync: Operation = (mount, { body }) => {
  const fd = body.readUInt32LE(0);
  mount.written.store(fd);
  if ((body.readUInt32LE(8) & FSYNC_DATA_ONLY) !== 0) fdatasyncSync(fd);
  else fsyncSync(fd);
  return 0;
};

const allocate: Operation = (mount, { body }) =>
  fallocate(
    mount.written.changed(body.readUInt32LE(0)),
    body.readUInt32LE(24),
    body.readBigInt64LE(8),
    body.readBigInt64LE(16),
  );

const seek: Operation = (mount, { body }) => {
  const offset = lseek(mount.written.content(body.readUInt32LE(0)), body.readBigInt64LE(8), body.readUInt32LE(16));
  if (offset < 0n) return Number(offset);
  reply.writeBigInt64LE(offset, 0);
  return 8;
};

const done: Operation = () => 0;

const entries = Buffer.allocUnsafeSlow(65_536);
/** Bytes of a fuse_dirent before its name. */
const DIRENT = 24;

/**
 * linux_dirent64 records become fuse_dirents; both carry the directory's own cookies, so seeking needs no state. A
 * fuse_dirent is at most a third longer, so we fetch three quarters of what fits.
 */
const readDirectory: Operation = (_mount, { body }) => {
  const fd = body.readUInt32LE(0);
  const offset = lseek(fd, body.readBigInt64LE(8), 0);
  if (offset < 0n) return Number(offset);
  const room = Math.min(body.readUInt32LE(16), MAX_WRITE);
  const got = getdents(fd, entries, Math.min(entries.length, Math.floor((room * 3) / 4)));
  if (got < 0) return got;
  let at = 0;
  for (let from = 0; from < got; from += entries.readUInt16LE(from + 16)) {
    const length = entries.indexOf(0, from + 19) - (from + 19);
    entries.copy(reply, at, from, from + 16); // inode, cookie of the next
    reply.writeUInt32LE(length, at + 16);
    reply.writeUInt32LE(entries.readUInt8(from + 18), at + 20);
    entries.copy(reply, at + DIRENT, from + 19, from + 19 + length);
    const end = at + DIRENT + length;
    at = (end + 7) & ~7;
    reply.fill(0, end, at);
  }
  return at;
};

export const fileOperations: readonly (readonly [number, Operation])[] = [
  [Op.OPEN, open],
  [Op.OPENDIR, openDirectory],
  [Op.RELEASE, release],
  [Op.RELEASEDIR, release],
  [Op.READ, read],
  [Op.WRITE, write],
  [Op.FLUSH, done],
  [Op.FSYNC, sync],
  [Op.FSYNCDIR, sync],
  [Op.FALLOCATE, allocate],
  [Op.LSEEK, seek],
  [Op.READDIR, readDirectory],
];
