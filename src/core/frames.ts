// The frames in which processes of ours talk, and the byte stream that carries them. Pure: no socket, no clock, no meaning.
// Both ends read every byte with this file and trust none of it.
//
// A frame is four bytes, the length of the rest, unsigned and big-endian, from 2 to MAX_FRAME_BYTES; then that many bytes of
// UTF-8 (no byte order mark): one JSON value.

import { MAX_FRAME_BYTES } from './limits.js';

/** Bytes of a frame's header. */
const HEADER_BYTES = 4;
/** The smallest JSON object: `{}`. */
const MIN_FRAME_BYTES = 2;

/** A byte stream with a peer on the other end: a socket, or two queues in a test. */
export interface Transport {
  /** Queues the bytes; never blocks. After the end it does nothing. */
  send(bytes: Uint8Array): void;
  /** Called with each piece that arrives, of any size. */
  onData(listener: (bytes: Uint8Array) => void): void;
  /** Called once, when nothing can arrive any more, whoever ended it. */
  onClose(listener: () => void): void;
  /** Ends the connection at once, both ways. */
  close(): void;
}

const encoder = new TextEncoder();

/** The frame of a value. Throws RangeError if it is larger than MAX_FRAME_BYTES. */
export function encodeFrame(value: object): Uint8Array {
  const body = encoder.encode(JSON.stringify(value));
  if (body.length > MAX_FRAME_BYTES) throw new RangeError('a frame larger than MAX_FRAME_BYTES');
  const frame = new Uint8Array(HEADER_BYTES + body.length);
  new DataView(frame.buffer).setUint32(0, body.length);
  frame.set(body, HEADER_BYTES);
  return frame;
}

/** What a decoder made of the bytes so far. After `broken` it takes nothing more. */
export interface Decoded {
  /** JSON values of the complete frames, in order; not checked against any schema. */
  readonly values: readonly unknown[];
  /** Why the connection must end; null while all is well. */
  readonly broken: string | null;
}

/** Turns pieces of a stream into the values of its frames. Never throws, and never holds more than one frame. */
export class FrameDecoder {
  readonly #text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  #held = new Uint8Array(HEADER_BYTES);
  #filled = 0;
  /** Bytes of the body, or -1 while the header is incomplete. */
  #length = -1;
  #broken: string | null = null;

  /** Takes the next piece. */
  push(bytes: Uint8Array): Decoded {
    const values: unknown[] = [];
    let offset = 0;
    while (this.#broken === null && offset < bytes.length) {
      offset += this.#take(bytes, offset);
      if (this.#length >= 0 && this.#filled === this.#length) this.#finish(values);
    }
    return { values, broken: this.#broken };
  }

  #take(bytes: Uint8Array, offset: number): number {
    const wanted = (this.#length < 0 ? HEADER_BYTES : this.#length) - this.#filled;
    const count = Math.min(wanted, bytes.length - offset);
    this.#reserve(this.#filled + count);
    this.#held.set(bytes.subarray(offset, offset + count), this.#filled);
    this.#filled += count;
    if (this.#length < 0 && this.#filled === HEADER_BYTES) {
      const length = new DataView(this.#held.buffer).getUint32(0);
      if (length < MIN_FRAME_BYTES || length > MAX_FRAME_BYTES) this.#broken = 'a frame of a forbidden length';
      this.#length = length;
      this.#filled = 0;
    }
    return count;
  }

  /** Grows by doubling, so that a large length alone costs nothing. */
  #reserve(size: number): void {
    if (size <= this.#held.length) return;
    const larger = new Uint8Array(Math.max(size, this.#held.length * 2));
    larger.set(this.#held);
    this.#held = larger;
  }

  #finish(values: unknown[]): void {
    try {
      values.push(JSON.parse(this.#text.decode(this.#held.subarray(0, this.#length))));
    } catch (error) {
      if (!(error instanceof SyntaxError || error instanceof TypeError)) throw error;
      this.#broken = 'a frame that is not JSON in UTF-8';
    }
    this.#held = new Uint8Array(HEADER_BYTES);
    this.#filled = 0;
    this.#length = -1;
  }
}
