// Where lines go: an open descriptor, whatever is behind it. Nobody waits for it: lines are written in their order by one
// thread of libuv's pool at a time. Lines that cannot be written are lost and counted; they stop nothing.

import { write } from 'node:fs';
import { MAX_LOG_BUFFER_BYTES } from '../core/limits.js';
import { errnoOf } from './libc/errors.js';

/** What a log writes to. */
export interface LogSink {
  /** Queues one line, with its newline. */
  write(line: string): void;
  /** Resolves when every line is written or lost: perhaps never. It never rejects. */
  flush(): Promise<void>;
  /** Who is told how many lines were lost, as soon as one could be written again. */
  onRoom(listener: (lostLines: number) => void): void;
}

/** Bytes of one write, unless one line is longer: what a pipe takes whole (pipe(7), PIPE_BUF), since several processes write. */
const WRITE_BYTES = 4096;
/** Milliseconds before a descriptor that would block is tried again; it is somebody else who made it non-blocking. */
const RETRY_MS = 100;

/** A sink on an open descriptor, 2 for standard error. */
export function descriptorSink(fd: number): LogSink {
  return new DescriptorSink(fd);
}

class DescriptorSink implements LogSink {
  readonly #fd: number;
  readonly #queue: Buffer[] = [];
  #queuedBytes = 0;
  #isWriting = false;
  #lost = 0;
  /** The last write ended within a line. */
  #isTorn = false;
  #told: (lostLines: number) => void = () => undefined;
  readonly #idle = new Set<() => void>();

  constructor(fd: number) {
    this.#fd = fd;
  }

  write(line: string): void {
    const bytes = Buffer.from(line);
    if (this.#queuedBytes + bytes.length > MAX_LOG_BUFFER_BYTES) {
      this.#lost += 1;
      return;
    }
    this.#queue.push(bytes);
    this.#queuedBytes += bytes.length;
    this.#next();
  }

  async flush(): Promise<void> {
    if (!this.#isWriting) return;
    await new Promise<void>((resolve) => {
      this.#idle.add(resolve);
    });
  }

  onRoom(listener: (lostLines: number) => void): void {
    this.#told = listener;
  }

  #next(): void {
    if (this.#isWriting) return;
    if (this.#queue.length === 0) {
      for (const resolve of this.#idle) resolve();
      this.#idle.clear();
      return;
    }
    const lines: Buffer[] = this.#isTorn ? [Buffer.from('\n')] : [];
    let length = 0;
    for (let line = this.#queue[0]; line !== undefined; line = this.#queue[0]) {
      if (length > 0 && length + line.length > WRITE_BYTES) break;
      this.#queue.shift();
      lines.push(line);
      length += line.length;
    }
    this.#queuedBytes -= length;
    this.#isWriting = true;
    this.#put(Buffer.concat(lines), lines.length - (this.#isTorn ? 1 : 0));
  }

  #put(bytes: Buffer, lines: number): void {
    write(this.#fd, bytes, 0, bytes.length, null, (error, written) => {
      if (error === null && written > 0) {
        this.#isTorn = bytes[written - 1] !== NEWLINE;
        if (written < bytes.length) this.#put(bytes.subarray(written), lines);
        else this.#written();
      } else if (errnoOf(error) === 'EAGAIN') {
        setTimeout(() => this.#put(bytes, lines), RETRY_MS).unref();
      } else {
        this.#lost += lines;
        this.#isWriting = false;
        this.#next();
      }
    });
  }

  #written(): void {
    this.#isWriting = false;
    const lost = this.#lost;
    this.#lost = 0;
    if (lost > 0) this.#told(lost);
    this.#next();
  }
}

const NEWLINE = 0x0a;
