// The socket of a process that is asked: connections come in, each is asked who it is before one byte of it is read, and what is
// not too much is served. Nothing is decided here about requests.

import { createServer, type Server, type Socket } from 'node:net';
import type { Transport } from '../core/frames.js';
import { MAX_LINK_CONNECTIONS } from '../core/limits.js';
import { listenAt, peerOf } from '../sys/sockets.js';
import type { Peer, SessionLog } from './session.js';
import { socketTransport } from './socket-transport.js';

/** A listening socket. */
export interface Listening {
  /** Accepts nobody any more and ends every connection; work that has begun goes on. */
  close(): Promise<void>;
}

/** What is listened for. */
export interface Listener {
  readonly path: string;
  /** Besides root, this group may connect (0660). */
  readonly agentGid: number;
  readonly log: SessionLog;
  serve(peer: Peer, transport: Transport): void;
}

/** Listens. The caller has the lock that makes the socket its own. */
export async function listen(listener: Listener): Promise<Listening> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    accept(listener, sockets, socket);
  });
  const kept = await listenAt(server, listener.path, { mode: 0o660, uid: 0, gid: listener.agentGid }, listener.log);
  server.on('error', (error) => {
    listener.log.warn('socket-failed', { error });
  });
  return {
    close: () => {
      kept.letGo();
      return close(server, sockets);
    },
  };
}

function accept(listener: Listener, sockets: Set<Socket>, socket: Socket): void {
  const peer = peerOf(socket);
  if (peer === null || sockets.size >= MAX_LINK_CONNECTIONS) {
    listener.log.warn('connection-refused', { why: peer === null ? 'no credentials' : 'too many connections' });
    socket.destroy();
    return;
  }
  sockets.add(socket);
  socket.once('close', () => sockets.delete(socket));
  listener.serve(peer, socketTransport(socket));
}

async function close(server: Server, sockets: ReadonlySet<Socket>): Promise<void> {
  const closed = new Promise<void>((resolve) => {
    server.close(() => {
      resolve();
    });
  });
  for (const socket of sockets) socket.destroy();
  await closed;
}
