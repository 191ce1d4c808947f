// Calls on processes: the end of our own, and of children that nobody else waits for. No policy here.

import { errnoOf } from './errors.js';
import { BUFFER, foreign, INT } from './foreign.js';

const exitCall = foreign('_exit', [INT]);

/**
 * Ends this process with all of its threads (_exit(2)). `process.exit` waits for threads that are in a system call, and
 * so for ever for one that writes to a pipe that nobody reads.
 */
export function exitNow(status: number): never {
  exitCall(status);
  throw new Error('_exit(2) returned');
}

const waitCall = foreign('waitpid', [INT, BUFFER, INT]);
const WNOHANG = 1;

/** Takes the exit status of a child that has ended, so that it is no zombie any more (waitpid(2)). One that is not there is nothing. */
export function reap(pid: number): void {
  try {
    waitCall(pid, null, WNOHANG);
  } catch (error) {
    if (errnoOf(error) !== 'ECHILD') throw error;
  }
}
