// What each FUSE request does to the directory behind the volume: a table of operation → function. Each function
// writes its answer's payload to `reply` and answers its length, or a negative errno; what `fs` throws carries one too.
// Names and attributes are here, open files in files.ts, extended attributes in xattrs.ts.
import { chmodSync, constants, ftruncateSync, statfsSync, truncateSync } from 'node:fs';
import { fileOperations } from './files.js';
import {
  AT_EMPTY_PATH,
  AT_REMOVEDIR,
  AT_SYMLINK_NOFOLLOW,
  close,
  fchownat,
  linkat,
  mkdirat,
  mknodat,
  openat,
  procPath,
  readlinkat,
  renameat2,
  statx,
  symlinkat,
  unlinkat,
  utimensat,
} from './libc.js';
import { statxBuffer } from './nodes.js';
import { ATTR_BYTES, ENTRY_BYTES, Op, ROOT_ID, type Request, names, reply, writeAttr, writeOpen } from './protocol.js';
import { type Operation, type Served, dropPrivileges } from './served.js';
import { xattrOperations } from './xattrs.js';

const EPERM = 1;
const EEXIST = 17;
const { S_IFMT, S_IFREG, S_IFIFO, S_IFSOCK, O_CREAT, O_EXCL, O_NOFOLLOW, O_DIRECT, O_CLOEXEC } = {
  ...constants,
  O_CLOEXEC: 0o2000000,
};
const S_ISGID = 0o2000;

function lookup(mount: Served, { node, body }: Request): number {
  return mount.nodes.lookup(node, names(body, 0)[0], mount.rootSize);
}

function attributes(mount: Served, node: number): number {
  const failed = mount.nodes.look(mount.nodes.fd(node));
  if (failed < 0) return failed;
  reply.fill(0, 0, 16); // valid for no time
  writeAttr(16, statxBuffer, node === ROOT_ID ? mount.rootSize : undefined);
  return 16 + ATTR_BYTES;
}

/** FATTR_* of linux/fuse.h. */
const FATTR = {
  MODE: 1,
  UID: 2,
  GID: 4,
  SIZE: 8,
  ATIME: 16,
  MTIME: 32,
  FH: 64,
  ATIME_NOW: 128,
  MTIME_NOW: 256,
  KILL_SUIDGID: 2048,
};
const UTIME_NOW = 0x3fffffffn;
const UTIME_OMIT = 0x3ffffffen;
const NOBODY = 0xffffffff;
const times = Buffer.alloc(32);

function setAttributes(mount: Served, { node, body }: Request): number {
  const valid = body.readUInt32LE(0);
  const has = (bit: number): boolean => (valid & bit) !== 0;
  const fd = mount.nodes.fd(node);
  if (has(FATTR.UID | FATTR.GID)) {
    const uid = has(FATTR.UID) ? body.readUInt32LE(76) : NOBODY;
    const failed = fchownat(fd, '', uid, has(FATTR.GID) ? body.readUInt32LE(80) : NOBODY, AT_EMPTY_PATH);
    if (failed < 0) return failed;
  }
  if (has(FATTR.MODE)) chmodSync(procPath(fd), body.readUInt32LE(68) & 0o7777);
  if (has(FATTR.SIZE)) {
    const size = Number(body.readBigUInt64LE(16));
    if (has(FATTR.FH)) ftruncateSync(mount.written.changed(body.readUInt32LE(8)), size);
    else truncateSync(procPath(mount.written.changed(fd)), size);
    if (has(FATTR.KILL_SUIDGID)) dropPrivileges(fd);
  }
  if (has(FATTR.ATIME | FATTR.MTIME)) {
    const time = (set: number, now: number, seconds: number, nanoseconds: number, at: number): void => {
      times.writeBigInt64LE(body.readBigInt64LE(seconds), at);
      times.writeBigInt64LE(
        has(now) ? UTIME_NOW : has(set) ? BigInt(body.readUInt32LE(nanoseconds)) : UTIME_OMIT,
        at + 8,
      );
    };
    time(FATTR.ATIME, FATTR.ATIME_NOW, 32, 56, 0);
    time(FATTR.MTIME, FATTR.MTIME_NOW, 40, 60, 16);
    const failed = utimensat(fd, '', times, AT_EMPTY_PATH);
    if (failed < 0) return failed;
  }
  return attributes(mount, node);
}

/** Gives a new file to whoever asked for it; in a set-group-ID directory the group stays the directory's. */
function own(parent: number, name: string, { uid, gid }: Request): number {
  if (uid === 0 && gid === 0) return 0;
  statx(parent, statxBuffer);
  const group = (statxBuffer.readUInt16LE(28) & S_ISGID) !== 0 ? NOBODY : gid;
  return fchownat(parent, name, uid, group, AT_SYMLINK_NOFOLLOW);
}

/** Makes a name with `make`, hands it to its owner and answers its entry. */
function makeEntry(mount: Served, request: Request, name: string, make: (parent: number) => number): number {
  const parent = mount.nodes.fd(request.node);
  const failed = make(parent);
  if (failed < 0) return failed;
  const disowned = own(parent, name, request);
  return disowned < 0 ? disowned : mount.nodes.lookup(request.node, name, mount.rootSize);
}

function makeNode(mount: Served, request: Request): number {
  const mode = request.body.readUInt32LE(0);
  const type = mode & S_IFMT;
  if (type !== S_IFREG && type !== S_IFIFO && type !== S_IFSOCK) return -EPERM; // no devices on a network filesystem
  const name = names(request.body, 16)[0];
  return makeEntry(mount, request, name, (parent) => mknodat(parent, name, mode, 0));
}

function makeDirectory(mount: Served, request: Request): number {
  const name = names(request.body, 8)[0];
  return makeEntry(mount, request, name, (parent) => mkdirat(parent, name, request.body.readUInt32LE(0)));
}

function makeLink(mount: Served, request: Request): number {
  const [name, target] = names(request.body, 0);
  return makeEntry(mount, request, name, (parent) => symlinkat(target, parent, name));
}

function link(mount: Served, { node, body }: Request): number {
  const name = names(body, 8)[0];
  const failed = linkat(mount.nodes.fd(body.readUIntLE(0, 6)), '', mount.nodes.fd(node), name, AT_EMPTY_PATH);
  return failed < 0 ? failed : mount.nodes.lookup(node, name, mount.rootSize);
}

function readLink(mount: Served, { node }: Request): number {
  return readlinkat(mount.nodes.fd(node), '', reply, 4096);
}

function rename(mount: Served, { node, body }: Request, flags: number, at: number): number {
  const [from, to] = names(body, at);
  return renameat2(mount.nodes.fd(node), from, mount.nodes.fd(body.readUIntLE(0, 6)), to, flags);
}

function create(mount: Served, request: Request): number {
  const { body, node } = request;
  const name = names(body, 16)[0];
  const flags = (body.readUInt32LE(0) & ~O_DIRECT) | O_CREAT | O_NOFOLLOW | O_CLOEXEC;
  const mode = body.readUInt32LE(4) & 0o7777;
  const parent = mount.nodes.fd(node);
  let fd = openat(parent, name, flags | O_EXCL, mode);
  if (fd === -EEXIST && (flags & O_EXCL) === 0) fd = openat(parent, name, flags & ~O_CREAT, mode);
  else if (fd >= 0) own(parent, name, request);
  if (fd < 0) return fd;
  const entry = mount.nodes.lookup(node, name, mount.rootSize);
  if (entry < 0) {
    close(fd);
    return entry;
  }
  mount.open.add(fd);
  return entry + writeOpen(ENTRY_BYTES, fd);
}

function statfs(mount: Served): number {
  const of = statfsSync(procPath(mount.nodes.fd(ROOT_ID)), { bigint: true });
  [of.blocks, of.bfree, of.bavail, of.files, of.ffree].forEach((count, i) => reply.writeBigUInt64LE(count, i * 8));
  reply.fill(0, 40, 80);
  reply.writeUInt32LE(Number(of.bsize), 40);
  reply.writeUInt32LE(255, 44); // longest name
  reply.writeUInt32LE(Number(of.bsize), 48);
  return 80;
}

/** Every request that has an answer; what is missing answers ENOSYS, and the kernel does without it. */
export const operations: ReadonlyMap<number, Operation> = new Map<number, Operation>([
  [Op.LOOKUP, lookup],
  [Op.GETATTR, (mount, { node }) => attributes(mount, node)],
  [Op.SETATTR, setAttributes],
  [Op.READLINK, readLink],
  [Op.SYMLINK, makeLink],
  [Op.MKNOD, makeNode],
  [Op.MKDIR, makeDirectory],
  [Op.UNLINK, (mount, { node, body }) => unlinkat(mount.nodes.fd(node), names(body, 0)[0], 0)],
  [Op.RMDIR, (mount, { node, body }) => unlinkat(mount.nodes.fd(node), names(body, 0)[0], AT_REMOVEDIR)],
  [Op.RENAME, (mount, request) => rename(mount, request, 0, 8)],
  [Op.RENAME2, (mount, request) => rename(mount, request, request.body.readUInt32LE(8), 16)],
  [Op.LINK, link],
  [Op.CREATE, create],
  [Op.STATFS, statfs],
  ...fileOperations,
  ...xattrOperations,
]);

/** The operations that change a volume: a read-only one refuses them. */
export const changing: ReadonlySet<number> = new Set<number>([
  Op.SETATTR,
  Op.SYMLINK,
  Op.MKNOD,
  Op.MKDIR,
  Op.UNLINK,
  Op.RMDIR,
  Op.RENAME,
  Op.RENAME2,
  Op.LINK,
  Op.CREATE,
  Op.WRITE,
  Op.FALLOCATE,
  Op.SETXATTR,
  Op.REMOVEXATTR,
]);
