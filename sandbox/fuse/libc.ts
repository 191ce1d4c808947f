// The sandbox's foreign calls: the few libc functions that Node's `fs` lacks. No policy here. Calls answer what libc
// answers, except that a failure is the negative errno, as FUSE wants it.
import { constants } from 'node:os';
import koffi from 'koffi';

const libc = koffi.load(null);

/** Declares one libc function with the types that `prototype` gives it; its failures (-1) become -errno. */
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- the caller states what the prototype says
function foreign<A extends unknown[]>(prototype: string): (...args: A) => number {
  const call = libc.func(prototype) as (...args: A) => number;
  return (...args) => {
    const result = call(...args);
    return result < 0 ? -koffi.errno() : result;
  };
}

type At = [directory: number, name: string];

export const AT_SYMLINK_NOFOLLOW = 0x100;
export const AT_REMOVEDIR = 0x200;
export const AT_EMPTY_PATH = 0x1000;
/** O_PATH | O_NOFOLLOW | O_CLOEXEC: a name for a file, which opens nothing (open(2)). */
export const O_PATH_NODE = 0o10000000 | 0o400000 | 0o2000000;

export const read = foreign<[fd: number, into: Uint8Array, bytes: number]>('long read(int, void *, size_t)');
export const write = foreign<[fd: number, from: Uint8Array, bytes: number]>('long write(int, const void *, size_t)');
export const close = foreign<[fd: number]>('int close(int)');
export const openat = foreign<[...At, flags: number, mode: number]>('int openat(int, const char *, int, uint32_t)');
export const mkdirat = foreign<[...At, mode: number]>('int mkdirat(int, const char *, uint32_t)');
export const mknodat = foreign<[...At, mode: number, device: number]>(
  'int mknodat(int, const char *, uint32_t, uint64_t)',
);
export const unlinkat = foreign<[...At, flags: number]>('int unlinkat(int, const char *, int)');
export const symlinkat = foreign<[target: string, ...At]>('int symlinkat(const char *, int, const char *)');
export const linkat = foreign<[...At, ...At, flags: number]>('int linkat(int, const char *, int, const char *, int)');
export const readlinkat = foreign<[...At, into: Uint8Array, bytes: number]>(
  'long readlinkat(int, const char *, void *, size_t)',
);
export const renameat2 = foreign<[...At, ...At, flags: number]>(
  'int renameat2(int, const char *, int, const char *, uint32_t)',
);
export const fchownat = foreign<[...At, uid: number, gid: number, flags: number]>(
  'int fchownat(int, const char *, uint32_t, uint32_t, int)',
);
export const utimensat = foreign<[...At, times: Uint8Array, flags: number]>(
  'int utimensat(int, const char *, const void *, int)',
);
export const fallocate = foreign<[fd: number, mode: number, offset: bigint, bytes: bigint]>(
  'int fallocate(int, int, int64_t, int64_t)',
);
export const getdents = foreign<[fd: number, into: Uint8Array, bytes: number]>('long getdents64(int, void *, size_t)');
export const getxattr = foreign<[path: string, name: string, into: Uint8Array, bytes: number]>(
  'long getxattr(const char *, const char *, void *, size_t)',
);
export const setxattr = foreign<[path: string, name: string, value: Uint8Array, bytes: number, flags: number]>(
  'int setxattr(const char *, const char *, const void *, size_t, int)',
);
export const listxattr = foreign<[path: string, into: Uint8Array, bytes: number]>(
  'long listxattr(const char *, void *, size_t)',
);
export const removexattr = foreign<[path: string, name: string]>('int removexattr(const char *, const char *)');
export const flock = foreign<[fd: number, operation: number]>('int flock(int, int)');
export const eventfd = foreign<[initial: number, flags: number]>('int eventfd(uint32_t, int)');
export const memoryFile = foreign<[name: string, flags: number]>('int memfd_create(const char *, uint32_t)');
export const umask = foreign<[mask: number]>('uint32_t umask(uint32_t)');
export const mount = foreign<[source: string, target: string, type: string, flags: number, data: string]>(
  'int mount(const char *, const char *, const char *, ulong, const char *)',
);

export const umount2 = foreign<[target: string, flags: number]>('int umount2(const char *, int)');

const lseek64 = libc.func('int64_t lseek(int, int64_t, int)') as (
  fd: number,
  offset: bigint,
  whence: number,
) => number | bigint;
/** lseek(2); offsets of directories use all 63 bits, so bigints. */
export function lseek(fd: number, offset: bigint, whence: number): bigint {
  const result = BigInt(lseek64(fd, offset, whence));
  return result < 0n ? BigInt(-koffi.errno()) : result;
}

const statxInto = foreign<[...At, flags: number, mask: number, into: Uint8Array]>(
  'int statx(int, const char *, int, uint32_t, void *)',
);
const STATX_BASIC_STATS = 0x7ff;
/** What statx(2) says of an open descriptor, as the kernel's own struct of 256 bytes. */
export function statx(fd: number, into: Uint8Array): number {
  return statxInto(fd, '', AT_EMPTY_PATH, STATX_BASIC_STATS, into);
}

// epoll_event is packed on x86 only (epoll_ctl(2)).
const EVENT = process.arch === 'x64' ? { bytes: 12, fd: 4 } : { bytes: 16, fd: 8 };
const MOST_EVENTS = 64;
const epollCreate = foreign<[flags: number]>('int epoll_create1(int)');
const epollCtl = foreign<[epoll: number, operation: number, fd: number, event: Uint8Array]>(
  'int epoll_ctl(int, int, int, void *)',
);
const epollWait = foreign<[epoll: number, events: Uint8Array, most: number, ms: number]>(
  'int epoll_wait(int, void *, int, int)',
);

export const EPOLLIN = 0x1;
const EPOLLERR = 0x8;
const EPOLLHUP = 0x10;

/** An epoll instance, level-triggered. Errors and hang-ups are always reported, also for a descriptor watched for nothing. */
export class Epoll {
  readonly #fd = must(epollCreate(0o2000000), 'epoll_create1');
  readonly #events = Buffer.allocUnsafeSlow(EVENT.bytes * MOST_EVENTS);
  readonly #event = Buffer.alloc(EVENT.bytes);

  add(fd: number, interest: number): void {
    must(this.#control(1, fd, interest), 'epoll_ctl');
  }
  change(fd: number, interest: number): void {
    must(this.#control(3, fd, interest), 'epoll_ctl');
  }
  remove(fd: number): void {
    must(this.#control(2, fd, 0), 'epoll_ctl');
  }
  /**
   * Waits for events, that many milliseconds at most or without end, and tells each descriptor that has some; broken: it
   * reports an error or a hang-up.
   */
  wait(ms = -1): { fd: number; broken: boolean }[] {
    const count = epollWait(this.#fd, this.#events, MOST_EVENTS, ms);
    if (count === -constants.errno.EINTR) return [];
    must(count, 'epoll_wait');
    return Array.from({ length: count }, (_, i) => ({
      fd: this.#events.readInt32LE(i * EVENT.bytes + EVENT.fd),
      broken: (this.#events.readUInt32LE(i * EVENT.bytes) & (EPOLLERR | EPOLLHUP)) !== 0,
    }));
  }
  #control(operation: number, fd: number, interest: number): number {
    this.#event.writeUInt32LE(interest, 0);
    this.#event.writeInt32LE(fd, EVENT.fd);
    return epollCtl(this.#fd, operation, fd, this.#event);
  }
}

/** Throws where a call that cannot reasonably fail did. */
export function must(result: number, what: string): number {
  if (result < 0) throw new Error(`${what} failed: errno ${-result}`);
  return result;
}

/** A descriptor's file, as a path for calls that take no descriptor (proc(5)). */
export function procPath(fd: number): string {
  return `/proc/self/fd/${fd}`;
}

/** Where a buffer that is never moved (allocUnsafeSlow) lies, for structs that hold pointers. */
export function addressOf(buffer: Uint8Array): bigint {
  return koffi.address(buffer);
}

/** Declares a function of libc for one caller's use. */
export { foreign };
