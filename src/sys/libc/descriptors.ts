// Calls on descriptors: poll, open file description locks, sealed memory files, credentials of a socket's peer. No
// policy here.

import { ftruncateSync } from 'node:fs';
import { errnoOf } from './errors.js';
import { Handle } from './files.js';
import { BUFFER, foreign, INT, SIZE, TEXT, UINT } from './foreign.js';

const pollCall = foreign('poll', [BUFFER, SIZE, INT]);
const POLLPRI = 0x2;
const POLLERR = 0x8;

/**
 * Whether the table behind an open `/proc/PID/mountinfo` has changed since this was last asked, or since it was opened
 * (proc_pid_mountinfo(5)). Asking forgets the change.
 */
export function mountTableChanged(fd: number): boolean {
  // struct pollfd: int fd, short events, short revents.
  const request = Buffer.alloc(8);
  request.writeInt32LE(fd, 0);
  request.writeInt16LE(POLLPRI | POLLERR, 4);
  pollCall(request, 1, 0);
  return (request.readInt16LE(6) & (POLLPRI | POLLERR)) !== 0;
}

const fcntlPointer = foreign('fcntl', [INT, INT, BUFFER]);
const F_OFD_SETLK = 37;
const F_WRLCK = 1;

/**
 * Takes an exclusive lock on the whole open file (fcntl(2), "Open file description locks"). It lives as long as the
 * descriptor and dies with the process, whatever kills it; false if somebody else has it.
 */
export function lockWhole(fd: number): boolean {
  // struct flock on 64-bit Linux: short l_type, l_whence; off_t l_start, l_len; pid_t l_pid (must be 0).
  const lock = Buffer.alloc(32);
  lock.writeInt16LE(F_WRLCK, 0);
  try {
    fcntlPointer(fd, F_OFD_SETLK, lock);
    return true;
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'EAGAIN' || errno === 'EACCES') return false;
    throw error;
  }
}

const memfdCreate = foreign('memfd_create', [TEXT, UINT]);
const fcntlNumber = foreign('fcntl', [INT, INT, INT]);
const MFD_CLOEXEC = 0x1;
const MFD_ALLOW_SEALING = 0x2;
const F_ADD_SEALS = 1033;
const SEALS = { SEAL: 0x1, SHRINK: 0x2, GROW: 0x4 } as const;

/**
 * A file in memory of exactly `bytes` bytes, all zero, that nobody can make larger or smaller (memfd_create(2)): whoever
 * writes beyond its end gets EPERM. It outlives us in whoever still holds it, so that writer never gets SIGPIPE.
 */
export function sealedMemory(name: string, bytes: number): Handle {
  const handle = new Handle(memfdCreate(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ftruncateSync(handle.fd, bytes);
  fcntlNumber(handle.fd, F_ADD_SEALS, SEALS.GROW | SEALS.SHRINK | SEALS.SEAL);
  return handle;
}

const getsockopt = foreign('getsockopt', [INT, INT, INT, BUFFER, BUFFER]);
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;

/** Who is at the other end of a unix socket, as of its connect(2) (unix(7), SO_PEERCRED). */
export interface PeerCredentials {
  /** 0 when the peer lives in a process namespace that ours cannot see. */
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** Credentials of the peer of a connected unix stream socket. */
export function peerCredentials(fd: number): PeerCredentials {
  const credentials = Buffer.alloc(12);
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(credentials.length);
  getsockopt(fd, SOL_SOCKET, SO_PEERCRED, credentials, bytes);
  if (bytes.readUInt32LE() !== credentials.length) throw new Error('SO_PEERCRED answered a struct of another size');
  return { pid: credentials.readInt32LE(0), uid: credentials.readUInt32LE(4), gid: credentials.readUInt32LE(8) };
}
