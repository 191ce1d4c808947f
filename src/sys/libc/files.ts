// Files and directories by handle: openat2, statx and their kin. A handle is an O_PATH descriptor unless it says
// otherwise: a name for a file that opens nothing, so it does not wait for a filesystem server (open(2)). No policy here.

import { closeSync, constants } from 'node:fs';
import { errnoOf } from './errors.js';
import { BUFFER, foreign, foreignAsync, INT, SIZE, systemCall, systemCallAsync, TEXT, UINT } from './foreign.js';

/** An open descriptor that is closed when its scope ends (`using`). */
export class Handle implements Disposable {
  readonly fd: number;

  constructor(fd: number) {
    this.fd = fd;
  }

  /** The handle as a path, for calls that take no descriptor (proc(5), /proc/PID/fd). */
  get path(): string {
    return `/proc/self/fd/${this.fd}`;
  }

  [Symbol.dispose](): void {
    closeSync(this.fd);
  }
}

/** Flags of open(2) that Node does not name; the same on x86-64 and AArch64. */
const O_PATH = 0o10000000;
const O_CLOEXEC = 0o2000000;
// These differ between architectures, and Node knows them.
const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY, O_WRONLY } = constants;

/** How openat2(2) may walk. The first three are always wanted together with NO_MAGICLINKS. */
const RESOLVE = { NO_XDEV: 0x01, NO_MAGICLINKS: 0x02, NO_SYMLINKS: 0x04, BENEATH: 0x08 } as const;

/** What is to be opened. */
export type OpenKind =
  /** A handle on a directory. */
  | 'directory'
  /** A handle on whatever is there; on the link itself if it is one. */
  | 'anything'
  /** A directory, open for reading its names: this does ask the filesystem it is on. */
  | 'names'
  /** A file of the kernel's that takes orders, open for writing. */
  | 'control';

/** How far the walk may go. No walk follows a symbolic link, except that `anything` hands out a final one. */
export type Walk =
  /** Anywhere. */
  | 'anywhere'
  /** Not above the starting directory. */
  | 'beneath'
  /** Nor onto another mount. */
  | 'same-mount';

const OPEN_FLAGS: Readonly<Record<OpenKind, number>> = {
  directory: O_PATH | O_DIRECTORY | O_CLOEXEC,
  anything: O_PATH | O_NOFOLLOW | O_CLOEXEC,
  names: O_RDONLY | O_DIRECTORY | O_CLOEXEC,
  control: O_WRONLY | O_NOFOLLOW | O_CLOEXEC,
};
const WALK_FLAGS: Readonly<Record<Walk, number>> = {
  anywhere: RESOLVE.NO_SYMLINKS | RESOLVE.NO_MAGICLINKS,
  beneath: RESOLVE.NO_SYMLINKS | RESOLVE.NO_MAGICLINKS | RESOLVE.BENEATH,
  'same-mount': RESOLVE.NO_SYMLINKS | RESOLVE.NO_MAGICLINKS | RESOLVE.BENEATH | RESOLVE.NO_XDEV,
};

const AT_FDCWD = -100;
/** openat2(2) answers EAGAIN when a rename raced with a walk that must stay beneath. */
const OPEN_ATTEMPTS = 64;

const openat2 = systemCall('openat2', 437, [INT, TEXT, BUFFER, SIZE]);
const openat2Async = systemCallAsync('openat2', 437, [INT, TEXT, BUFFER, SIZE]);

/**
 * Opens `path` from `directory` (null: an absolute path, by walk `anywhere`). Throws SystemCallError: ENOENT, ELOOP (a
 * link in the way), ENOTDIR, EXDEV (the walk would have left its bounds).
 */
export function openAt(directory: Handle | null, path: string, kind: OpenKind, walk: Walk): Handle {
  const how = openHow(kind, walk);
  for (let attempt = 1; ; attempt += 1) {
    try {
      return new Handle(openat2(directory?.fd ?? AT_FDCWD, path, how, how.length));
    } catch (error) {
      if (!isRace(error) || attempt === OPEN_ATTEMPTS) throw error;
    }
  }
}

/** {@link openAt} on a pool thread, for a path whose walk may wait for a filesystem server. */
export async function openThroughServer(
  directory: Handle | null,
  path: string,
  kind: OpenKind,
  walk: Walk,
): Promise<Handle> {
  const how = openHow(kind, walk);
  for (let attempt = 1; ; attempt += 1) {
    try {
      return new Handle(await openat2Async(directory?.fd ?? AT_FDCWD, path, how, how.length));
    } catch (error) {
      if (!isRace(error) || attempt === OPEN_ATTEMPTS) throw error;
    }
  }
}

/** struct open_how: u64 flags, mode, resolve. */
function openHow(kind: OpenKind, walk: Walk): Buffer {
  const how = Buffer.alloc(24);
  how.writeBigUInt64LE(BigInt(OPEN_FLAGS[kind]), 0);
  how.writeBigUInt64LE(BigInt(WALK_FLAGS[walk]), 16);
  return how;
}

function isRace(error: unknown): boolean {
  const errno = errnoOf(error);
  return errno === 'EAGAIN' || errno === 'EINTR';
}

const statx = foreign('statx', [INT, TEXT, INT, UINT, BUFFER]);
const statxAsync = foreignAsync('statx', [INT, TEXT, INT, UINT, BUFFER]);
const AT_EMPTY_PATH = 0x1000;
/** Attributes as they are cached: no server is asked. */
const AT_STATX_DONT_SYNC = 0x4000;
const STATX_BASIC_STATS = 0x7ff;
const STATX_MNT_ID = 0x1000;

/** The kernel's struct statx of an open handle. */
function statxOf(handle: Handle, mask: number): Buffer {
  const into = Buffer.alloc(256);
  statx(handle.fd, '', AT_EMPTY_PATH | AT_STATX_DONT_SYNC, mask, into);
  return into;
}

/**
 * The mount that the handle is on, as mountinfo numbers it (STATX_MNT_ID, Linux 5.8). The handle keeps the mount, and so
 * its number, from being used again. Never asks a filesystem server.
 */
export function mountIdOf(handle: Handle): number {
  return Number(statxOf(handle, STATX_MNT_ID).readBigUInt64LE(144));
}

/** Fills in a number of a mount that is never given again in one boot (Linux 6.8). */
const STATX_MNT_ID_UNIQUE = 0x4000;

/** Which mount a handle is on. */
export interface MountNumbers {
  /** As mountinfo numbers it. */
  readonly mountId: number;
  /** Never given to another mount in one boot; null where the kernel has no such number (before Linux 6.8). */
  readonly unique: string | null;
}

/** Inode and mount of a handle, on a pool thread like {@link inodeThroughServer}. Both masks fill in one field. */
export async function mountedThroughServer(handle: Handle): Promise<Inode & MountNumbers> {
  const into = Buffer.alloc(256);
  await statxAsync(handle.fd, '', AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_BASIC_STATS | STATX_MNT_ID, into);
  const mountId = Number(into.readBigUInt64LE(144));
  const inode = inodeIn(into);
  await statxAsync(handle.fd, '', AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID_UNIQUE, into);
  const isKnown = (into.readUInt32LE(0) & STATX_MNT_ID_UNIQUE) !== 0;
  return { ...inode, mountId, unique: isKnown ? String(into.readBigUInt64LE(144)) : null };
}

/** On which superblock something lies, and through which mount it was reached. */
export interface Whereabouts {
  /** `major:minor` as stat(2) tells it. Some filesystems (Btrfs, overlayfs) tell others than the mount table does. */
  readonly dev: string;
  /** As mountinfo numbers it. */
  readonly mountId: number;
}

/**
 * Where a path leads to, a final link followed. Made for the links of /proc/PID: nothing is asked for, so that even a
 * FUSE filesystem that lets only its owner in tells its superblock and asks no server (fuse_getattr in fs/fuse/dir.c).
 * NFS, 9p and whatever lies on them may ask their server whether the file is still there (d_weak_revalidate): see
 * {@link whereaboutsThroughServer}.
 */
export function whereabouts(path: string): Whereabouts {
  const into = Buffer.alloc(256);
  statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, 0, into);
  return readWhereabouts(into);
}

/** {@link whereabouts} on a pool thread. */
export async function whereaboutsThroughServer(path: string): Promise<Whereabouts> {
  const into = Buffer.alloc(256);
  await statxAsync(AT_FDCWD, path, AT_STATX_DONT_SYNC, 0, into);
  return readWhereabouts(into);
}

function readWhereabouts(statx: Buffer): Whereabouts {
  const dev = `${statx.readUInt32LE(136)}:${statx.readUInt32LE(140)}`;
  return { dev, mountId: Number(statx.readBigUInt64LE(144)) };
}

/** What lies at a handle. */
export interface Facts {
  readonly kind: 'directory' | 'regular' | 'link' | 'other';
  readonly uid: number;
  readonly gid: number;
  /** Permission bits with set-id and sticky. */
  readonly mode: number;
}

const KINDS: Readonly<Record<number, Facts['kind']>> = { 0o040000: 'directory', 0o100000: 'regular', 0o120000: 'link' };

/** Facts of an open handle on a local filesystem; a network one may be asked and may hang. */
export function factsOf(handle: Handle): Facts {
  const into = statxOf(handle, STATX_BASIC_STATS);
  const mode = into.readUInt16LE(28);
  return {
    kind: KINDS[mode & 0o170000] ?? 'other',
    uid: into.readUInt32LE(20),
    gid: into.readUInt32LE(24),
    mode: mode & 0o7777,
  };
}

/** Which inode a handle is on, whatever name it has now (statx(2)). */
export interface Inode {
  /** `major:minor` of its superblock. */
  readonly dev: string;
  readonly inode: bigint;
}

/** The inode of an open handle, as far as it is cached: no server is asked. */
export function inodeOf(handle: Handle): Inode {
  return inodeIn(statxOf(handle, STATX_BASIC_STATS));
}

/** {@link inodeOf} on a pool thread, for a handle on a filesystem that may ask its server whatever it is told. */
export async function inodeThroughServer(handle: Handle): Promise<Inode> {
  const into = Buffer.alloc(256);
  await statxAsync(handle.fd, '', AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_BASIC_STATS, into);
  return inodeIn(into);
}

function inodeIn(statx: Buffer): Inode {
  return {
    dev: `${statx.readUInt32LE(136)}:${statx.readUInt32LE(140)}`,
    inode: statx.readBigUInt64LE(32),
  };
}

const mkdirat = foreign('mkdirat', [INT, TEXT, UINT]);
/** mkdir of a name in a directory: mkdirat(2). The process's umask applies. */
export function makeDirectoryAt(directory: Handle, name: string, mode: number): void {
  mkdirat(directory.fd, name, mode);
}

const unlinkat = foreign('unlinkat', [INT, TEXT, INT]);
const AT_REMOVEDIR = 0x200;
/** rmdir of a name in a directory: unlinkat(2). */
export function removeDirectoryAt(directory: Handle, name: string): void {
  unlinkat(directory.fd, name, AT_REMOVEDIR);
}

const lgetxattr = foreignAsync('lgetxattr', [TEXT, TEXT, BUFFER, SIZE]);
/** Bytes of an extended attribute's value; rejects with ENODATA or ENOTSUP where there is none. May hang: it asks the server. */
export function attributeLength(path: string, name: string): Promise<number> {
  return lgetxattr(path, name, null, 0);
}

/** `major:minor` of a device number as stat(2) gives it in one (makedev(3), glibc's encoding). */
export function deviceName(dev: number): string {
  const number = BigInt(dev);
  const major = ((number >> 8n) & 0xfffn) | ((number >> 32n) & 0xfffff000n);
  const minor = (number & 0xffn) | ((number >> 12n) & 0xffffff00n);
  return `${major}:${minor}`;
}

const renameat2 = foreignAsync('renameat2', [INT, TEXT, INT, TEXT, UINT]);
const RENAME_NOREPLACE = 0x1;
/** Renames within a directory, unless the new name is taken (EEXIST): renameat2(2). EINVAL where the filesystem cannot. May hang. */
export async function renameWithin(directory: Handle, from: string, to: string): Promise<void> {
  await renameat2(directory.fd, from, directory.fd, to, RENAME_NOREPLACE);
}
