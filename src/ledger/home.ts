// Whether the ledger is still where it was opened. A directory that is moved away while it is open takes every write with
// it, and the next start finds nothing, or another ledger, in its place. So nothing is acknowledged that was not written
// at the ledger's own path.

import { lstatSync } from 'node:fs';
import { FairleadError } from '../core/errors.js';
import { hasErrno, type LedgerFiles } from './files.js';

/** The place of an open ledger. */
export class Home {
  readonly #directory: string;
  /** What lay at each path when it was opened. */
  readonly #found: ReadonlyMap<string, string | null>;

  /** The ledger has just been opened, and read from. */
  constructor({ directory, database }: Pick<LedgerFiles, 'directory' | 'database'>) {
    this.#directory = directory;
    const paths = [directory, database, `${database}-wal`];
    this.#found = new Map(paths.map((path) => [path, identityOf(path)]));
  }

  /** Why what is written now would not be found at the next start; null: it would. */
  get fault(): FairleadError | null {
    for (const [path, found] of this.#found) {
      if (found === null || identityOf(path) === found) continue;
      const what = path === this.#directory ? "The ledger's directory" : 'A file of the ledger';
      return new FairleadError(
        'unavailable',
        `${what}, ${path} (state_dir), is not where it was: put it back. Until then nothing is connected or disconnected; what only reads goes on.`,
        { field: 'state_dir' },
      );
    }
    return null;
  }
}

/** Device and inode; null: there is nothing. */
function identityOf(path: string): string | null {
  try {
    const { dev, ino } = lstatSync(path, { bigint: true });
    return `${dev}/${ino}`;
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ENOTDIR')) return null;
    throw error;
  }
}
