// The lock that decides who is the agent and who the broker: an open file description lock on a file in the run
// directory. It dies with the process that has it, however it ends, so there is no stale lock.

import {
  closeSync,
  constants,
  fstatSync,
  ftruncate as ftruncateWith,
  ftruncateSync,
  lstatSync,
  openSync,
  readSync,
  writeSync,
} from 'node:fs';
import { promisify } from 'node:util';
import { FairleadError } from '../core/errors.js';
import { lockWhole } from './libc/descriptors.js';
import { errnoOf } from './libc/errors.js';

const ftruncate = promisify(ftruncateWith);

/** The answer to {@link takeLock}. */
export type LockTaken =
  /** Ours until `release` or the end of the process. */
  | { readonly taken: true; readonly release: () => void }
  /** Somebody else's; the process id it wrote there, if it wrote one. A hint for people. */
  | { readonly taken: false; readonly holder: number | null };

/** Milliseconds between two looks whether the lock's file still lies at its path. */
const LOCK_LOOK_MS = 1000;

/** Locks that this process has. */
const held = new Set<HeldLock>();

/** Takes our process number out of every lock that we have, and keeps the locks: for the end of the process. */
export async function blankLocks(): Promise<void> {
  await Promise.all([...held].map((lock) => lock.blank()));
}

const { O_RDWR, O_CREAT, O_NOFOLLOW } = constants;

/**
 * Takes the lock at `path`, creating the file (0600). While it is ours, a file that somebody removes is put back, locked:
 * a second process must not find the path free. Throws `config-invalid` if what lies there is a link, not a regular
 * file, another user's, or writable by others.
 */
export function takeLock(path: string): LockTaken {
  const first = lockAt(path);
  if (!('fd' in first)) return { taken: false, holder: first.holder };
  const lock = new HeldLock(path, first.fd);
  return {
    taken: true,
    release: () => {
      lock.release();
    },
  };
}

class HeldLock {
  readonly #path: string;
  readonly #timer: NodeJS.Timeout;
  #fd: number;

  constructor(path: string, fd: number) {
    this.#path = path;
    this.#fd = fd;
    this.#timer = setInterval(() => {
      this.#keep();
    }, LOCK_LOOK_MS).unref();
    held.add(this);
  }

  async blank(): Promise<void> {
    clearInterval(this.#timer);
    await ftruncate(this.#fd);
  }

  release(): void {
    clearInterval(this.#timer);
    held.delete(this);
    ftruncateSync(this.#fd);
    closeSync(this.#fd);
  }

  /** What hinders it, such as a directory that has gone, is tried again at the next look. */
  #keep(): void {
    try {
      if (lstatSync(this.#path, { throwIfNoEntry: false })?.ino === fstatSync(this.#fd).ino) return;
      const next = lockAt(this.#path);
      if (!('fd' in next)) return;
      closeSync(this.#fd);
      this.#fd = next.fd;
    } catch (error) {
      if (!(error instanceof FairleadError) && errnoOf(error) === null) throw error;
    }
  }
}

/** The descriptor of a file at the path, locked, with our number in it; or who has the lock. */
function lockAt(path: string): { readonly fd: number } | { readonly holder: number | null } {
  const fd = open(path);
  try {
    const facts = fstatSync(fd);
    if (!facts.isFile() || facts.uid !== process.geteuid?.() || (facts.mode & 0o022) !== 0) throw unsound();
    if (lockWhole(fd)) {
      ftruncateSync(fd);
      writeSync(fd, `${process.pid}\n`, 0);
      return { fd };
    }
    const holder = readHolder(fd);
    closeSync(fd);
    return { holder };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function open(path: string): number {
  try {
    // Node opens with O_CLOEXEC, so no child inherits the lock. O_NONBLOCK keeps a planted FIFO from holding us up.
    return openSync(path, O_RDWR | O_CREAT | O_NOFOLLOW | constants.O_NONBLOCK, 0o600);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ELOOP' || errno === 'EISDIR' || errno === 'ENXIO') throw unsound(error);
    throw error;
  }
}

function readHolder(fd: number): number | null {
  const into = Buffer.alloc(16);
  const text = into.toString('latin1', 0, readSync(fd, into, 0, into.length, 0));
  return /^[1-9][0-9]{0,9}\n$/.test(text) ? Number(text) : null;
}

function unsound(cause?: unknown): FairleadError {
  return new FairleadError(
    'config-invalid',
    'A lock file in the run directory is not a regular file of this user alone; remove it.',
    { field: 'run_dir', cause },
  );
}
