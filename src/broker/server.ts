// The broker's socket: connections come in, each is asked who it is before one byte of it is read, and what is not too
// much is handed to dispatch. Nothing is decided here about requests.

import { createServer, type Server, type Socket } from 'node:net';
import { MAX_BROKER_CONNECTIONS } from '../core/limits.js';
import { listenAt, peerOf } from '../sys/sockets.js';
import type { Context } from './context.js';
import { serve } from './dispatch.js';
import { brokerSocket, socketTransport } from './socket-transport.js';

/** The listening socket. */
export interface BrokerServer {
  /** Accepts nobody any more and ends every connection; work that has begun goes on. */
  close(): Promise<void>;
}

/** Listens at run_dir/broker.sock for root and for the group `agentGid` (0660). The caller has the broker's lock. */
export async function listen(context: Context, runDir: string, agentGid: number): Promise<BrokerServer> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    accept(context, sockets, socket);
  });
  await listenAt(server, brokerSocket(runDir), { mode: 0o660, uid: 0, gid: agentGid });
  server.on('error', (error) => {
    context.log.warn('socket-failed', { error });
  });
  return { close: () => close(server, sockets) };
}

function accept(context: Context, sockets: Set<Socket>, socket: Socket): void {
  const peer = peerOf(socket);
  if (peer === null || sockets.size >= MAX_BROKER_CONNECTIONS) {
    context.log.warn('connection-refused', { why: peer === null ? 'no credentials' : 'too many connections' });
    socket.destroy();
    return;
  }
  sockets.add(socket);
  socket.once('close', () => sockets.delete(socket));
  serve(context, peer, socketTransport(socket));
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
