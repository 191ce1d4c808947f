// The FUSE protocol as the sandbox speaks it (linux/fuse.h, 7.39): numbers and layouts, and the buffers that a reply is
// written to. One thread serves all mounts, one request at a time, so there is one reply buffer.

/** Most bytes that one WRITE or READ carries. */
export const MAX_WRITE = 1 << 20;
/** The kernel wants room for MAX_WRITE and headers in every read of /dev/fuse. */
export const REQUEST_BYTES = MAX_WRITE + 4096;
export const IN_HEADER = 40;
export const OUT_HEADER = 16;
export const ROOT_ID = 1;

export const Op = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  CREATE: 35,
  INTERRUPT: 36,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  RENAME2: 45,
  LSEEK: 46,
} as const;

/** A request as it was read: its header, and the bytes after it. */
export interface Request {
  op: number;
  /** The kernel's number of this request: eight bytes that the reply repeats. */
  unique: bigint;
  node: number;
  uid: number;
  gid: number;
  body: Buffer;
}

/** Reads the header of fuse_in_header; the body is a view, valid until the next read. */
export function parseRequest(bytes: Buffer): Request {
  return {
    op: bytes.readUInt32LE(4),
    unique: bytes.readBigUInt64LE(8),
    node: bytes.readUIntLE(16, 6),
    uid: bytes.readUInt32LE(24),
    gid: bytes.readUInt32LE(28),
    body: bytes.subarray(IN_HEADER),
  };
}

/** The reply under construction: header, then `reply`, which operations fill. */
export const replyBuffer = Buffer.allocUnsafeSlow(OUT_HEADER + MAX_WRITE);
/** The reply's payload. An operation writes here and answers how many bytes count. */
export const reply = replyBuffer.subarray(OUT_HEADER);

/** The zero-terminated names in `body` from `at` on. */
export function names(body: Buffer, at: number): [string, string] {
  const end = body.indexOf(0, at);
  const second = body.indexOf(0, end + 1);
  return [body.toString('utf8', at, end), second < 0 ? '' : body.toString('utf8', end + 1, second)];
}

// What INIT offers: flags of fuse_init_out.
const ASYNC_READ = 1 << 0;
const BIG_WRITES = 1 << 5;
const ASYNC_DIO = 1 << 15;
const PARALLEL_DIROPS = 1 << 18;
const MAX_PAGES = 1 << 22;
const HANDLE_KILLPRIV_V2 = 1 << 28;
const INIT_EXT = 1 << 30;
/** In flags2: lets files that are opened with FOPEN_DIRECT_IO be mapped (6.6). */
const DIRECT_IO_ALLOW_MMAP = 1 << 4;

/** Answers INIT: what the kernel offers and we use. */
export function initReply(body: Buffer): number {
  const offered = body.readUInt32LE(12);
  const offered2 = body.length >= 20 && (offered & INIT_EXT) !== 0 ? body.readUInt32LE(16) : 0;
  const wanted = ASYNC_READ | BIG_WRITES | ASYNC_DIO | PARALLEL_DIROPS | MAX_PAGES | HANDLE_KILLPRIV_V2 | INIT_EXT;
  reply.fill(0, 0, 64);
  reply.writeUInt32LE(7, 0);
  reply.writeUInt32LE(39, 4);
  reply.writeUInt32LE(body.readUInt32LE(8), 8); // max_readahead
  reply.writeUInt32LE((offered & wanted) >>> 0, 12);
  reply.writeUInt16LE(64, 16); // max_background
  reply.writeUInt16LE(48, 18); // congestion_threshold
  reply.writeUInt32LE(MAX_WRITE, 20);
  reply.writeUInt32LE(1, 24); // time granularity, ns
  reply.writeUInt16LE(MAX_WRITE / 4096, 28);
  reply.writeUInt32LE((offered2 & DIRECT_IO_ALLOW_MMAP) >>> 0, 32);
  return 64;
}

export const ATTR_BYTES = 88;
export const ENTRY_BYTES = 40 + ATTR_BYTES;

/** Copies struct statx to fuse_attr. `size` overrides the size, for the root. */
export function writeAttr(at: number, statx: Buffer, size: bigint | undefined): void {
  statx.copy(reply, at, 32, 56); // ino, size, blocks
  if (size !== undefined) reply.writeBigUInt64LE(size, at + 8);
  statx.copy(reply, at + 24, 64, 72); // atime
  statx.copy(reply, at + 32, 112, 120); // mtime
  statx.copy(reply, at + 40, 96, 104); // ctime
  statx.copy(reply, at + 48, 72, 76);
  statx.copy(reply, at + 52, 120, 124);
  statx.copy(reply, at + 56, 104, 108);
  reply.writeUInt32LE(statx.readUInt16LE(28), at + 60); // mode
  statx.copy(reply, at + 64, 16, 28); // nlink, uid, gid
  const [major, minor] = [statx.readUInt32LE(128), statx.readUInt32LE(132)];
  reply.writeUInt32LE(((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0, at + 76);
  statx.copy(reply, at + 80, 4, 8); // blksize
  reply.writeUInt32LE(0, at + 84);
}

/** fuse_entry_out without its attributes; times of validity are zero: nothing is cached. */
export function writeEntry(node: number): void {
  reply.fill(0, 0, 40);
  reply.writeUIntLE(node, 0, 6);
}

/** FOPEN_DIRECT_IO: every read and write comes here, so two mounts of one volume never disagree. */
const FOPEN_DIRECT_IO = 1;
/** fuse_open_out for a file that is served by descriptor `fd`. */
export function writeOpen(at: number, fd: number): number {
  reply.fill(0, at, at + 16);
  reply.writeUInt32LE(fd, at);
  reply.writeUInt32LE(FOPEN_DIRECT_IO, at + 8);
  return 16;
}
