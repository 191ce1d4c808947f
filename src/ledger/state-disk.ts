// Whether the disk of state_dir takes anything: asked by writing a small file, on a thread of libuv's pool, since a disk that
// stands still never answers. A full disk is none of this: the ledger has a reserve for it.

import { constants } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { FairleadError } from '../core/errors.js';
import { LEDGER_STALL_MS } from '../core/limits.js';
import { hasErrno } from './files.js';

const { O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_WRONLY } = constants;
/** Milliseconds between two attempts to write to a disk that refuses it. */
const ATTEMPT_PAUSE_MS = 2000;

/** Why nothing can be written in the directory, or null. It takes at most {@link LEDGER_STALL_MS}. */
export async function stateDiskFault(directory: string): Promise<FairleadError | null> {
  try {
    return await unlessItStands(attempt(directory), directory);
  } catch (error) {
    if (error instanceof FairleadError) return error;
    throw error;
  }
}

/** What the disk answers. Throws `unavailable` if that takes longer than {@link LEDGER_STALL_MS}. */
export async function unlessItStands<T>(wanted: Promise<T>, directory: string): Promise<T> {
  let timer;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(diskStands(directory));
    }, LEDGER_STALL_MS);
  });
  try {
    return await Promise.race([wanted, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Resolves when something could be written in the directory again: at the earliest after a pause. Never rejects. */
export async function whenWritable(directory: string): Promise<void> {
  do {
    await new Promise((resolve) => setTimeout(resolve, ATTEMPT_PAUSE_MS).unref());
  } while ((await attempt(directory)) !== null);
}

/** The refusal of whoever would write while the disk does not answer. */
export function diskStands(directory: string): FairleadError {
  return unwritable(`The disk of ${directory} (state_dir) does not answer`);
}

/** The refusal of whoever would write; `what` is the matter with the disk. */
export function unwritable(what: string, cause?: unknown): FairleadError {
  return new FairleadError(
    'unavailable',
    `${what}: look at it (findmnt and the kernel log tell). Until it can be written to, nothing is connected or disconnected; what only reads goes on.`,
    { field: 'state_dir', cause },
  );
}

async function attempt(directory: string): Promise<FairleadError | null> {
  const path = join(directory, 'ledger.probe');
  try {
    const file = await open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o600);
    try {
      await file.sync();
    } finally {
      await file.close();
    }
    await rm(path, { force: true });
    return null;
  } catch (error) {
    if (hasErrno(error, 'EROFS')) return unwritable(`The disk of ${directory} (state_dir) is read-only`, error);
    if (hasErrno(error, 'EIO')) return unwritable(`The disk of ${directory} (state_dir) fails`, error);
    // The rest is for the ledger to find, which names what to do.
    if (error instanceof Error && 'code' in error) return null;
    throw error;
  }
}
