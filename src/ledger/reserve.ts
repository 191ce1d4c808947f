// The reserve: a file that holds space on the state disk. When the disk is full it is given up, so that what ends
// (attachments, holds, operations, mounts) can still be written; it is taken back when there is room again.

import * as fs from 'node:fs';
import { randomBytes } from 'node:crypto';
import { dirname } from 'node:path';
import { LEDGER_RESERVE_BYTES } from '../core/limits.js';
import { hasErrno, syncDirectory } from './files.js';

const { O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_WRONLY } = fs.constants;

/** The reserve beside one ledger. */
export class Reserve {
  readonly #path: string;
  #held = false;

  /** Takes the space if the disk has it. */
  constructor(path: string) {
    this.#path = path;
    this.take();
  }

  /** Whether the space is ours now; if not, the disk is full or was until lately. */
  get held(): boolean {
    return this.#held;
  }

  /**
   * Takes the space (again), provided that as much would be left for others. Filled with noise and flushed, since a
   * filesystem may store zeros, or a hole, in no space at all. Tells whether the space is held now.
   */
  take(): boolean {
    this.#held ||= this.#takeNow();
    return this.#held;
  }

  /** Gives the space up. If somebody has deleted the file, that was done already. */
  free(): void {
    try {
      fs.truncateSync(this.#path, 0);
    } catch (error) {
      if (!hasErrno(error, 'ENOENT')) throw error;
    }
    // A journaling filesystem hands freed blocks out again only once the truncation is in its own journal.
    syncDirectory(dirname(this.#path));
    this.#held = false;
  }

  #takeNow(): boolean {
    let descriptor: number | undefined;
    try {
      descriptor = fs.openSync(this.#path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o600);
      const { size, blocks } = fs.fstatSync(descriptor);
      // A copy that was put back may be full of holes. Blocks are counted in units of 512 bytes (stat(2)).
      const isThere = size === LEDGER_RESERVE_BYTES && blocks * 512 >= size;
      return isThere || this.#fill(descriptor);
    } catch (error) {
      if (!hasErrno(error, 'ENOSPC', 'EDQUOT')) throw error;
      if (descriptor !== undefined) fs.ftruncateSync(descriptor, 0);
      return false;
    } finally {
      if (descriptor !== undefined) fs.closeSync(descriptor);
    }
  }

  #fill(descriptor: number): boolean {
    const { bavail, bsize } = fs.statfsSync(dirname(this.#path));
    if (bavail * bsize < 2 * LEDGER_RESERVE_BYTES) return false;
    const noise = randomBytes(LEDGER_RESERVE_BYTES);
    for (let at = 0; at < noise.length;) at += fs.writeSync(descriptor, noise, at, noise.length - at, at);
    fs.fsyncSync(descriptor);
    return true;
  }
}
