// Unix sockets that we listen on, and who is at the other end. The caller holds the process's lock before it touches a
// socket, and the directory is root's or ours; so whatever socket lies at the path is a dead one. No policy here.

import { chmodSync, chownSync, lstatSync, unlinkSync, type Stats } from 'node:fs';
import type { Server, Socket } from 'node:net';
import { FairleadError } from '../core/errors.js';
import { removeAcl, setAcl } from './libc/acl.js';
import { peerCredentials, type PeerCredentials } from './libc/descriptors.js';
import { errnoOf } from './libc/errors.js';

export type { PeerCredentials } from './libc/descriptors.js';

/** Who may connect: connecting needs write permission on the socket (unix(7)). */
export interface SocketOwner {
  /** Permission bits, for instance 0o660. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** Connections that the kernel may queue for us; it takes no more than net.core.somaxconn, 4096 since Linux 5.4. */
const BACKLOG = 4096;

/** Milliseconds between two looks whether the socket still lies at its path. */
const SOCKET_LOOK_MS = 1000;

/** Who is told what becomes of a socket. */
export interface SocketLog {
  warn(event: 'socket-put-back' | 'socket-missing', fields: Readonly<Record<string, unknown>>): void;
}

/** A socket that is kept at its path. */
export interface KeptSocket {
  /** It is not put back any more. To be called before the server is closed. */
  letGo(): void;
}

/**
 * Makes the server listen at `path`, after taking away a dead socket of an earlier process, and puts the socket back whenever
 * somebody has removed it; connections stay. At no moment may anybody connect whom `owner` does not let: the socket is
 * born 0600. Works with any server of node:net, HTTP servers too. Rejects with `config-invalid` if something other than
 * a socket lies there.
 */
export async function listenAt(server: Server, path: string, owner: SocketOwner, log: SocketLog): Promise<KeptSocket> {
  let ours = await bind(server, path, owner);
  let working = false;
  let missing = false;
  const look = async (): Promise<void> => {
    if (working || isAt(path, ours)) return;
    working = true;
    try {
      // The listening descriptor alone: connections stay.
      server.close();
      ours = await bind(server, path, owner);
      missing = false;
      log.warn('socket-put-back', {});
    } catch (error) {
      if (!missing) log.warn('socket-missing', { error });
      missing = true;
    } finally {
      working = false;
    }
  };
  const timer = setInterval(() => void look(), SOCKET_LOOK_MS).unref();
  return {
    letGo: () => {
      clearInterval(timer);
    },
  };
}

/** What lies at the path once the server listens there. */
async function bind(server: Server, path: string, owner: SocketOwner): Promise<Stats> {
  removeDeadSocket(path);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    const umask = process.umask(0o177);
    try {
      // bind(2) happens before listen() returns.
      server.listen({ path, backlog: BACKLOG }, () => {
        server.off('error', reject);
        resolve();
      });
    } finally {
      process.umask(umask);
    }
  });
  const made = lstatSync(path);
  if (made.uid !== owner.uid || made.gid !== owner.gid) chownSync(path, owner.uid, owner.gid);
  chmodSync(path, owner.mode);
  return made;
}

function isAt(path: string, { dev, ino }: Stats): boolean {
  const found = lstatSync(path, { throwIfNoEntry: false });
  return found?.ino === ino && found.dev === dev;
}

/** Users and groups. */
export interface Connectors {
  readonly uids: readonly number[];
  readonly gids: readonly number[];
}

const READ_WRITE = 6;
const NONE = 0;

/**
 * Changes who may connect to a socket of ours, by an access control list: `only` (null: everybody), but none of `except`. Root always may,
 * as far as it has CAP_DAC_OVERRIDE, and so may the socket's owner. What waits to be accepted stays.
 * Throws SystemCallError where the filesystem knows no such lists.
 */
export function restrictConnecting(path: string, only: Connectors | null, except: readonly number[]): void {
  if (only === null && except.length === 0) {
    removeAclIfAny(path);
    chmodSync(path, 0o666);
    return;
  }
  const access = only === null ? READ_WRITE : NONE;
  const allowed = [0, ...(only?.uids ?? [])].filter((uid) => !except.includes(uid));
  setAcl(path, {
    owner: READ_WRITE,
    users: [
      ...[...new Set(allowed)].map((id) => ({ id, access: READ_WRITE })),
      ...except.map((id) => ({ id, access: NONE })),
    ],
    group: access,
    groups: [...new Set(only?.gids ?? [])].map((id) => ({ id, access: READ_WRITE })),
    others: access,
  });
}

function removeAclIfAny(path: string): void {
  try {
    removeAcl(path);
  } catch (error) {
    if (errnoOf(error) !== 'ENODATA' && errnoOf(error) !== 'EOPNOTSUPP') throw error;
  }
}

function removeDeadSocket(path: string): void {
  try {
    if (!lstatSync(path).isSocket()) {
      throw new FairleadError('config-invalid', 'Something other than a socket lies at the socket path; remove it.', {
        field: 'run_dir',
      });
    }
    unlinkSync(path);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}

/**
 * Who is at the other end of an accepted connection. Call it in the server's `connection` event: later the socket may be
 * closed, and then this answers null.
 */
export function peerOf(socket: Socket): PeerCredentials | null {
  // Node shows the descriptor nowhere else; the field has been there since Node 0.6.
  const { _handle } = socket as unknown as { readonly _handle?: { readonly fd?: number } | null };
  const fd = _handle?.fd;
  return fd === undefined || fd < 0 ? null : peerCredentials(fd);
}
