// One client's connection, between its socket and the HTTP parser. The parser is given one request at a time: the head when it is this
// user's turn, the body as it comes, and the next head only when the answer to the last one has left. So a client that sends
// thousands of requests at once, or does not read, costs one request and one answer. Where a request ends the parser says; only the
// end of its head is looked for here, and nothing else is read.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { HTTP_IDLE_MS, HTTP_UNREAD_MS } from '../../core/limits.js';
import { lingerThenClose } from './linger.js';
import type { Turns } from './turns.js';
import type { Unread } from './unread.js';

/** What a connection shares with the others. */
export interface Shared {
  readonly turns: Turns;
  readonly unread: Unread;
}

/** Bytes that the parser gets at once, of a head or of a body whose length is not said. */
const PIECE_BYTES = 4096;
const CR = 0x0d;
const LF = 0x0a;
const NOTHING = Buffer.alloc(0);

/** What the parser is to get next. `answer`: nothing, until the request it has is answered. */
type Awaiting = 'head' | 'request' | 'body' | 'chunks' | 'answer';

/** See the file's head. */
export class Paced extends Duplex {
  readonly uid: number;
  readonly #socket: Socket;
  readonly #shared: Shared;
  #awaiting: Awaiting = 'head';
  /** Bytes that have come and that the parser has not been given. */
  #held: Buffer = NOTHING;
  /** Bytes of the head that the parser has been given. */
  #headBytes = 0;
  /** How much of the blank line that ends a head has been seen. */
  #matched = 0;
  #bodyBytes = 0;
  #request: IncomingMessage | null = null;
  #isAnswered = true;
  #hasAskedForTurn = false;
  #hasEnded = false;
  /** Whether the parser takes more. */
  #isThirsty = true;
  #writing = 0;
  /** Requests that it has made. */
  requests = 0;

  constructor(socket: Socket, uid: number, shared: Shared) {
    super({ allowHalfOpen: true });
    this.uid = uid;
    this.#socket = socket;
    this.#shared = shared;
    socket.setTimeout(HTTP_IDLE_MS, () => {
      if (this.#writing > 0 || (this.#isAnswered && this.#headBytes === 0)) this.destroy();
    });
    socket.on('data', (bytes: Buffer) => {
      this.#held = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes]);
      this.#goOn();
    });
    socket.once('end', () => {
      this.#hasEnded = true;
      this.#goOn();
    });
    socket.once('close', () => this.destroy());
    socket.on('error', () => this.destroy());
  }

  /** To be called when the parser has made a request of what it got; false if it still has another one. */
  begin(request: IncomingMessage, response: ServerResponse): boolean {
    if (!this.#isAnswered) return false;
    this.requests += 1;
    this.#request = request;
    this.#isAnswered = false;
    this.#headBytes = 0;
    this.#matched = 0;
    this.#bodyBytes = Number(request.headers['content-length'] ?? 0);
    if (request.headers['transfer-encoding'] !== undefined) {
      // What a piece has behind the last chunk only the parser knows, so nothing may come after it.
      response.shouldKeepAlive = false;
      this.#awaiting = 'chunks';
    } else this.#awaiting = this.#bodyBytes > 0 ? 'body' : 'answer';
    response.once('close', () => {
      this.#isAnswered = true;
      this.#goOn();
    });
    return true;
  }

  override _read(): void {
    this.#isThirsty = true;
    this.#goOn();
  }

  override _write(bytes: Buffer, _: BufferEncoding, done: (error?: Error | null) => void): void {
    const { unread } = this.#shared;
    this.#writing += 1;
    unread.add(this.uid, bytes.length);
    this.#socket.setTimeout(HTTP_UNREAD_MS);
    this.#socket.write(bytes, (error) => {
      this.#writing -= 1;
      unread.add(this.uid, -bytes.length);
      if (!this.destroyed) this.#socket.setTimeout(HTTP_IDLE_MS);
      done(error);
      this.#goOn();
    });
  }

  override _writev(pieces: { readonly chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this._write(Buffer.concat(pieces.map(({ chunk }) => chunk)), 'binary', done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#held = NOTHING;
    this.#socket.removeAllListeners('data');
    lingerThenClose(this.#socket);
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#held = NOTHING;
    this.#socket.destroy();
    done(error);
  }

  /** Gives the parser what it may have now, and reads on if there is nothing more to give. */
  #goOn(): void {
    if (this.destroyed || this.writableEnded) return;
    this.#giveBody();
    if (this.#awaiting === 'answer' && this.#isAnswered && this.#writing === 0 && this.writableLength === 0) {
      this.#request = null;
      this.#awaiting = 'head';
    }
    // The parser has read what looked like a whole head and wants more of it: HTTP/2 begins so.
    if (this.#awaiting === 'request' && this.readableLength === 0) this.#awaiting = 'head';
    if (this.#awaiting === 'head' && this.#held.length > 0) this.#askForTurn();
    if (this.#held.length > 0) this.#socket.pause();
    else if (this.#hasEnded) this.push(null);
    else this.#socket.resume();
  }

  #askForTurn(): void {
    if (this.#hasAskedForTurn) return;
    this.#hasAskedForTurn = true;
    this.#shared.turns.ask(this.uid, () => {
      if (this.destroyed || this.writableEnded) {
        this.#hasAskedForTurn = false;
        return;
      }
      this.#shared.unread.whenFew(this.uid, () => {
        this.#hasAskedForTurn = false;
        if (this.destroyed || this.writableEnded) return;
        this.#giveHead();
        this.#goOn();
      });
    });
  }

  #giveHead(): void {
    // Empty lines before a request mean nothing (RFC 9112, 2.2).
    if (this.#headBytes === 0) this.#held = this.#held.subarray(countOfBreaks(this.#held));
    const piece = this.#held.subarray(0, PIECE_BYTES);
    for (const [index, byte] of piece.entries()) {
      this.#matched = byte === (this.#matched % 2 === 0 ? CR : LF) ? this.#matched + 1 : byte === CR ? 1 : 0;
      if (this.#matched < 4) continue;
      this.#awaiting = 'request';
      this.#matched = 0;
      this.#giveHeadBytes(index + 1);
      return;
    }
    this.#giveHeadBytes(piece.length);
  }

  #giveHeadBytes(bytes: number): void {
    this.#headBytes += bytes;
    this.#give(bytes);
  }

  #giveBody(): void {
    while (this.#held.length > 0 && this.#isThirsty && !this.destroyed) {
      if (this.#awaiting === 'body') {
        const bytes = Math.min(this.#bodyBytes, this.#held.length);
        this.#bodyBytes -= bytes;
        if (this.#bodyBytes === 0) this.#awaiting = 'answer';
        this.#give(bytes);
      } else if (this.#awaiting === 'chunks') {
        this.#give(PIECE_BYTES);
        if (this.#request?.complete === true) this.#awaiting = 'answer';
      } else return;
    }
  }

  #give(bytes: number): void {
    const piece = this.#held.subarray(0, bytes);
    this.#held = this.#held.subarray(bytes);
    if (piece.length > 0) this.#isThirsty = this.push(piece);
  }
}

function countOfBreaks(bytes: Buffer): number {
  const first = bytes.findIndex((byte) => byte !== CR && byte !== LF);
  return first < 0 ? bytes.length : first;
}
