// The end of a connection: what was written can still be read by the other end, though it may not have stopped sending. Closing a unix
// socket with unread bytes in it would take the answer from him, or meet him with EPIPE.

import type { Socket } from 'node:net';

/** Milliseconds that the other end gets to read and close. */
const LINGER_MS = 500;
/** Bytes that are still taken from it, and thrown away. */
const LINGER_BYTES = 262_144;

/** Writes the last text, if one is given; ends the connection when the other end does, or soon. */
export function lingerThenClose(socket: Socket, last = ''): void {
  if (socket.destroyed) return;
  if (socket.readableEnded) {
    socket.end(last);
    socket.destroySoon();
    return;
  }
  let taken = 0;
  const patience = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once('close', () => clearTimeout(patience));
  socket.on('error', () => socket.destroy());
  socket.once('end', () => socket.destroySoon());
  socket.on('data', (bytes: Buffer) => {
    taken += bytes.length;
    if (taken > LINGER_BYTES) socket.destroy();
  });
  socket.end(last);
  socket.resume();
}
