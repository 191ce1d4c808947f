// Unix sockets that we listen on, and who is at the other end. The caller holds the process's lock before it touches a
// socket, and the directory is root's or ours; so whatever socket lies at the path is a dead one. No policy here.

import { chmodSync, chownSync, lstatSync, unlinkSync } from 'node:fs';
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

/**
 * Makes the server listen at `path`, after taking away a dead socket of an earlier process. At no moment may anybody
 * connect whom `owner` does not let: the socket is born 0600. Works with any server of node:net, HTTP servers too.
 * Rejects with `config-invalid` if something other than a socket lies there.
 */
export async function listenAt(server: Server, path: string, owner: SocketOwner): Promise<void> {
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
