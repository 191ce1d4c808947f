// Notes: small files in a directory that only root may look into, below the run directory. Each is written under another
// name first and renamed, so that after a crash there is the old text or the new one. They are not flushed: they need to
// survive the broker, and end with the boot.

import { chmodSync, lstatSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FairleadError } from '../core/errors.js';
import { errnoOf } from './libc/errors.js';
import type { Notes } from './ports.js';

const NAME = /^[a-z][a-z0-9-]{0,199}$/;
/** A note that is being written. */
const DRAFT = '.draft';

/** The notes in one directory. */
export class DirectoryNotes implements Notes {
  readonly #directory: string;

  /** Makes the directory, 0700, if it is missing. Throws `config-invalid` where it is not root's alone. */
  constructor(directory: string) {
    this.#directory = directory;
    try {
      mkdirSync(directory, { mode: 0o700 });
      chmodSync(directory, 0o700);
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
    }
    const facts = lstatSync(directory);
    if (facts.isDirectory() && facts.uid === process.geteuid?.() && (facts.mode & 0o077) === 0) return;
    throw new FairleadError(
      'config-invalid',
      `${directory} is not a directory of root alone. Find out who made it, and remove it.`,
      { field: 'run_dir' },
    );
  }

  all(): ReadonlyMap<string, string> {
    const names = readdirSync(this.#directory).filter((name) => NAME.test(name));
    return new Map(names.map((name) => [name, readFileSync(join(this.#directory, name), 'utf8')]));
  }

  write(name: string, text: string): void {
    const draft = join(this.#directory, DRAFT);
    writeFileSync(draft, text, { mode: 0o600 });
    renameSync(draft, this.#path(name));
  }

  remove(name: string): void {
    rmSync(this.#path(name), { force: true });
  }

  #path(name: string): string {
    if (!NAME.test(name)) throw new RangeError('a note must be named by lower-case letters, digits and dashes');
    return join(this.#directory, name);
  }
}
