// A unix socket as the transport that the protocol wants, for both ends; and the asking side's way to reach one.

import { connect, type Socket } from 'node:net';
import type { Transport } from '../core/frames.js';
import { MAX_UNREAD_BYTES } from '../core/limits.js';

/** A connected socket. A peer that does not read loses its connection, not our memory. */
export function socketTransport(socket: Socket): Transport {
  socket.on('error', () => {
    // 'close' follows, and tells whoever must know.
  });
  return {
    send: (bytes) => {
      if (socket.writableLength > MAX_UNREAD_BYTES) socket.destroy();
      else if (!socket.destroyed) socket.write(bytes);
    },
    onData: (listener) => {
      socket.on('data', listener);
    },
    onClose: (listener) => {
      socket.once('close', listener);
      // Half a connection is none.
      socket.once('end', () => socket.destroy());
    },
    close: () => {
      socket.destroy();
    },
  };
}

/** Connects to the socket at `path`; rejects when nobody listens there, or nobody whom we may reach. */
export function dialSocket(path: string): Promise<Transport> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      resolve(socketTransport(socket));
    });
  });
}
