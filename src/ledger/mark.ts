// The mark: a small file beside the ledger that says how many transactions it has acknowledged. SQLite drops damaged
// frames of its write-ahead log, and every commit behind them, without a word; so does a restored backup or a disk that
// lied about a flush. A ledger that is behind its mark has lost something.
//
// The mark is written after a commit is on disk and before it is acknowledged, and is not flushed itself: after a crash
// of the agent it is exact, after a power cut it may be behind. So it never raises a false alarm, and what it cannot
// notice is a loss of the last commits together with a loss of the mark's own last writes.

import * as fs from 'node:fs';
import { SCHEMA_VERSION } from './schema.js';

/** What a mark says. */
export interface MarkFacts {
  /** Transactions acknowledged. */
  readonly sequence: number;
  /** Version of the program that wrote it. */
  readonly writtenBy: string;
}

/** Versions are package versions; anything else is not shown to anybody. */
const TEXT = /^fairlead ledger mark\nwritten-by ([0-9A-Za-z.+-]{1,64})\nschema \d+\nsequence (\d{16})\n$/;
/** Far more than a mark has. */
const MAX_MARK_BYTES = 512;

const { O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR } = fs.constants;

/** The mark at `path`, or null where there is none, or none that can be read. */
export function readMark(path: string): MarkFacts | null {
  if (!fs.existsSync(path)) return null;
  const descriptor = fs.openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    const buffer = Buffer.alloc(MAX_MARK_BYTES);
    const length = fs.readSync(descriptor, buffer, 0, MAX_MARK_BYTES, 0);
    const match = TEXT.exec(buffer.toString('latin1', 0, length));
    return match === null ? null : { writtenBy: match[1] ?? '', sequence: Number(match[2]) };
  } finally {
    fs.closeSync(descriptor);
  }
}

/** The open mark of a ledger in use. */
export class Mark {
  readonly #head: string;
  #descriptor: number | null;

  /** Opens or makes the mark and writes `sequence`. */
  constructor(path: string, writtenBy: string, sequence: number) {
    this.#head = `fairlead ledger mark\nwritten-by ${writtenBy}\nschema ${SCHEMA_VERSION}\nsequence `;
    this.#descriptor = fs.openSync(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o600);
    fs.ftruncateSync(this.#descriptor, this.#text(sequence).length);
    this.note(sequence);
  }

  /** Notes the number of the last transaction that is on disk. */
  note(sequence: number): void {
    if (this.#descriptor === null) return;
    try {
      fs.writeSync(this.#descriptor, this.#text(sequence), 0, 'latin1');
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      // The commit is on disk already, and a mark that stays behind is harmless: only its witness is lost.
      this.close();
    }
  }

  /** Lets go of the file. */
  close(): void {
    if (this.#descriptor !== null) fs.closeSync(this.#descriptor);
    this.#descriptor = null;
  }

  #text(sequence: number): string {
    return `${this.#head}${String(sequence).padStart(16, '0')}\n`;
  }
}
