// Files that are believed because of who owns them: the configuration itself, and the client configuration that a mount
// helper is given. What comes in is a path; what goes out is the file's text, or a refusal with the mend.

import { closeSync, constants, fstatSync, lstatSync, openSync, readFileSync, realpathSync, type Stats } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { FairleadError } from '../core/errors.js';
import { escapeForLog } from '../core/text.js';

/** Bytes of a configuration file. */
const MAX_CONFIG_BYTES = 1_048_576;
/** Permission bits that let others than the owner write. */
const OTHERS_WRITE = 0o022;
const STICKY = 0o1000;

/**
 * The text of the configuration file, or null when it is `optional` and does not exist. It must be a regular file, no
 * link, owned by root (or by us, when we are not root) and writable by nobody else, and so must be its directories.
 *
 * @throws FairleadError `config-invalid`.
 */
export function readConfigText(path: string, need: 'optional' | 'required'): string | null {
  let directory: string;
  try {
    directory = realpathSync(dirname(path));
    lstatSync(join(directory, basename(path)));
  } catch (error) {
    if (errno(error) !== 'ENOENT') throw cannot(path, 'cannot be reached', error);
    if (need === 'optional') return null;
    throw new FairleadError(
      'config-invalid',
      `There is no configuration file ${escapeForLog(path)}. Write one, or leave --config out to use /etc/fairlead/fairlead.toml or the defaults.`,
      { cause: error },
    );
  }
  const real = join(directory, basename(path));
  return withTrusted(real, [0, process.geteuid?.() ?? 0], 'sticky', null, (descriptor, stat) => {
    if (stat.size > MAX_CONFIG_BYTES) throw cannot(path, `is larger than ${MAX_CONFIG_BYTES} bytes; make it smaller`);
    return readFileSync(descriptor, 'utf8');
  });
}

/**
 * Checks the client configuration that a helper is given: a regular file, no link, owned by root, writable by
 * nobody else, with no link on the way and no directory on the way that anybody else may write to. What passes stays
 * the same file until root itself changes it.
 *
 * @throws FairleadError `config-invalid` with `field`.
 */
export function checkTrustedFile(path: string, field: string): void {
  withTrusted(path, [0], dirname(path), field, () => undefined);
}

/**
 * Opens a file after looking at every directory on the way and gives it to `use`.
 *
 * @param strict `sticky`: every directory may be writable for others if it is sticky and root's (nobody can then
 *   replace what is not theirs); else the directory that may not.
 */
function withTrusted<T>(
  path: string,
  owners: readonly number[],
  strict: string,
  field: string | null,
  use: (descriptor: number, stat: Stats) => T,
): T {
  const refuse = (where: string, what: string, cause?: unknown): never => {
    throw cannot(where, what, cause, field);
  };
  let directory = '/';
  for (const part of [
    '',
    ...dirname(path)
      .split('/')
      .filter((name) => name !== ''),
  ]) {
    directory = join(directory, part);
    const stat = look(directory, refuse);
    const calm = (stat.mode & STICKY) !== 0 && directory !== strict;
    if (!stat.isDirectory()) refuse(directory, 'is a link or no directory; name the file by its real path');
    if (!owners.includes(stat.uid)) refuse(directory, 'belongs to another user; chown root it');
    if ((stat.mode & OTHERS_WRITE) !== 0 && !calm) refuse(directory, 'can be written to by others; chmod go-w it');
  }
  let descriptor: number;
  try {
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (error) {
    return refuse(
      path,
      errno(error) === 'ELOOP' ? 'is a link; name the file itself' : `cannot be opened (${errno(error)})`,
      error,
    );
  }
  try {
    const stat = fstatSync(descriptor);
    if (!stat.isFile()) refuse(path, 'is no regular file');
    if (!owners.includes(stat.uid)) refuse(path, 'belongs to another user; chown root it');
    if ((stat.mode & OTHERS_WRITE) !== 0) refuse(path, 'can be written to by others; chmod go-w it');
    return use(descriptor, stat);
  } finally {
    closeSync(descriptor);
  }
}

function look(path: string, refuse: (where: string, what: string, cause?: unknown) => never): Stats {
  try {
    return lstatSync(path);
  } catch (error) {
    return refuse(path, errno(error) === 'ENOENT' ? 'does not exist' : `cannot be looked at (${errno(error)})`, error);
  }
}

function cannot(path: string, what: string, cause?: unknown, field: string | null = null): FairleadError {
  const subject = field === null ? escapeForLog(path) : `${field}: ${escapeForLog(path)}`;
  return new FairleadError('config-invalid', `${subject} ${what}.`, {
    ...(field === null ? {} : { field }),
    ...(cause === undefined ? {} : { cause }),
  });
}

function errno(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'unknown';
}
