// Failures of system calls, with the kernel's own names. Private to nothing: every room may ask what an error was, none
// needs to read its message.

import { constants } from 'node:os';

/** A system call that failed. Shaped like Node's own errors (`code`, `syscall`), and without any path: paths may name volumes. */
export class SystemCallError extends Error {
  /** `ENOENT`, `EBUSY` … */
  readonly code: string;
  readonly syscall: string;

  constructor(syscall: string, errno: number) {
    const code = errnoName(errno);
    super(`${syscall} failed: ${code}`);
    this.name = 'SystemCallError';
    this.code = code;
    this.syscall = syscall;
  }
}

/** The symbol of an errno (errno(3)); `E<number>` for one that Node does not know. */
export function errnoName(errno: number): string {
  return NAMES.get(errno) ?? MORE_NAMES.get(errno) ?? `E${errno}`;
}

/** The errno of a failed call, Node's or ours (`ENOENT` …); null for every other value. */
export function errnoOf(error: unknown): string | null {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return null;
  if (/^E[A-Z0-9]+$/.test(error.code)) return error.code;
  // What libuv has no name for, ESTALE among it, Node gives as a text with the number.
  const unnamed = /^Unknown system error -([1-9][0-9]{0,3})$/.exec(error.code);
  return unnamed === null ? null : errnoName(Number(unnamed[1]));
}

// EWOULDBLOCK is EAGAIN and EOPNOTSUPP is ENOTSUP on Linux: the first name of a number wins, in an order of our own.
const PREFERRED = ['EAGAIN', 'EOPNOTSUPP'];
const NAMES = new Map<number, string>();
for (const name of [...PREFERRED, ...Object.keys(constants.errno)]) {
  const number = (constants.errno as Record<string, number | undefined>)[name];
  if (number !== undefined && !NAMES.has(number)) NAMES.set(number, name);
}

// The same numbers on every architecture that Node supports on Linux (asm-generic/errno.h).
const MORE_NAMES = new Map([
  [107, 'ENOTCONN'],
  [108, 'ESHUTDOWN'],
  [112, 'EHOSTDOWN'],
  [116, 'ESTALE'],
  [117, 'EUCLEAN'],
  [121, 'EREMOTEIO'],
  [123, 'ENOMEDIUM'],
  [126, 'ENOKEY'],
  [127, 'EKEYEXPIRED'],
  [128, 'EKEYREVOKED'],
  [129, 'EKEYREJECTED'],
]);

/** The name of a signal's number: `SIGKILL` for 9 (signal(7)). */
export function signalName(number: number): string {
  const found = Object.entries(constants.signals).find(([, value]) => value === number);
  return found?.[0] ?? `SIG${number}`;
}
