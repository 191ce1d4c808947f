// Connections that are refused whatever they ask: of users who may not ask, or beyond a limit. Each is answered once, when it has said
// something or said nothing for a moment, and closed. Nothing of what it says is read. They are few at a time; of more, the
// oldest is closed unheard, so that nobody is refused by somebody who says nothing.

import type { Socket } from 'node:net';
import { MAX_HTTP_REFUSALS } from '../../core/limits.js';
import { lingerThenClose } from './linger.js';

/** Milliseconds after which even who has said nothing is answered. */
const PATIENCE_MS = 1000;

/** The connections that are about to be refused. */
export class Refusals {
  /** In the order in which they came. */
  readonly #sockets = new Set<Socket>();

  /** Answers with the text of a whole HTTP answer, once, and ends the connection. */
  refuse(socket: Socket, answer: string): void {
    const [oldest] = this.#sockets;
    if (oldest !== undefined && this.#sockets.size >= MAX_HTTP_REFUSALS) oldest.destroy();
    this.#sockets.add(socket);
    const say = (): void => {
      clearTimeout(patience);
      socket.off('data', say);
      lingerThenClose(socket, answer);
    };
    const patience = setTimeout(say, PATIENCE_MS);
    socket.once('close', () => {
      clearTimeout(patience);
      this.#sockets.delete(socket);
    });
    socket.on('error', () => socket.destroy());
    socket.once('end', () => socket.destroySoon());
    socket.on('data', say);
  }

  /** Closes all of them. */
  end(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}
