// The mark: a small file that says which ledger it is about and how many transactions that has acknowledged. A ledger
// that is behind its mark, or another one than its mark tells of, has lost something: SQLite drops damaged frames of
// its write-ahead log, and every commit behind them, without a word; a restored backup brings back older records.
//
// There are two. One lies beside the ledger. Whoever puts back an older copy of that directory puts back its mark as
// well, so a second one, the witness, lies in run_dir. It counts for the boot that it names, as long as the mounts do.
//
// Both are written after a commit is on disk and before it is acknowledged, and are not flushed then. After a crash of
// the agent they are exact. After a power cut the mark may be behind, and the witness counts no more. So neither ever
// raises a false alarm.

import * as fs from 'node:fs';
import { openIfThere, openOwn, type Setting } from './files.js';
import { SCHEMA_VERSION } from './schema.js';

/** What a mark says. */
export interface MarkFacts {
  /** Transactions acknowledged. */
  readonly sequence: number;
  /** The ledger's own; null in a mark of a version that had none. */
  readonly identity: string | null;
  /** Kernel boot during which it was written; null as well. */
  readonly bootId: string | null;
  /** Version of the program that wrote it. */
  readonly writtenBy: string;
}

/** What a mark of this version says. */
export interface OwnFacts extends MarkFacts {
  readonly identity: string;
  readonly bootId: string;
}

/** Versions are package versions; anything else is not shown to anybody. */
const TEXT =
  /^fairlead ledger mark\nwritten-by ([0-9A-Za-z.+-]{1,64})\nschema \d+\n(?:ledger ([0-9a-f]{32})\nboot ([0-9A-Za-z-]{1,64})\n)?sequence (\d{16})\n+$/;
/** Always this long, so that one write replaces all that was there, and a kill leaves the old text or the new one. */
const MARK_BYTES = 256;

const { O_CREAT, O_RDWR } = fs.constants;

/** The mark at `path`, or null where there is none, or none that can be read. Refuses as `checkFiles`. */
export function readMark(path: string, setting: Setting): MarkFacts | null {
  const descriptor = openIfThere(path, setting);
  if (descriptor === null) return null;
  try {
    const buffer = Buffer.alloc(MARK_BYTES);
    const [, writtenBy = '', identity = null, bootId = null, sequence] =
      TEXT.exec(buffer.toString('latin1', 0, fs.readSync(descriptor, buffer, 0, MARK_BYTES, 0))) ?? [];
    return sequence === undefined ? null : { writtenBy, identity, bootId, sequence: Number(sequence) };
  } finally {
    fs.closeSync(descriptor);
  }
}

/** The open mark of a ledger in use. One that cannot be written stops nothing: it stays behind, and notices less. */
export class Mark {
  readonly #head: string;
  readonly #failed: (error: Error) => void;
  #descriptor: number | null = null;

  /** Opens or makes the file, and flushes what it says now. `failed` is told once, when it cannot be written. */
  constructor(path: string, setting: Setting, facts: OwnFacts, failed: (error: Error) => void) {
    const { writtenBy, identity, bootId, sequence } = facts;
    this.#head = `fairlead ledger mark\nwritten-by ${writtenBy}\nschema ${SCHEMA_VERSION}\nledger ${identity}\nboot ${bootId}\nsequence `;
    this.#failed = failed;
    this.#attempt(() => {
      const descriptor = openOwn(path, O_RDWR | O_CREAT, setting);
      this.#descriptor = descriptor;
      this.#write(descriptor, sequence);
      fs.ftruncateSync(descriptor, MARK_BYTES);
      fs.fsyncSync(descriptor);
    });
  }

  /** Notes the number of the last transaction that is on disk. */
  note(sequence: number): void {
    const descriptor = this.#descriptor;
    if (descriptor === null) return;
    this.#attempt(() => {
      this.#write(descriptor, sequence);
    });
  }

  /** Lets go of the file. */
  close(): void {
    if (this.#descriptor !== null) fs.closeSync(this.#descriptor);
    this.#descriptor = null;
  }

  #write(descriptor: number, sequence: number): void {
    const text = `${this.#head}${String(sequence).padStart(16, '0')}`.padEnd(MARK_BYTES, '\n');
    fs.writeSync(descriptor, text, 0, 'latin1');
  }

  #attempt(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      this.close();
      this.#failed(error);
    }
  }
}
