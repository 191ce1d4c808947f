// The end of a process of ours, which nothing holds up: no thread in a system call, no reader of the log that stands still.

import { LOG_FLUSH_MS } from '../core/limits.js';
import { exitNow } from './libc/processes.js';
import { blankLocks } from './lock-file.js';
import type { LogSink } from './log-sink.js';
import { within } from './run.js';

/** Ends this process once what was logged is written, or cannot be, and its lock files name it no more. */
export async function leave(status: number, ...sinks: readonly Pick<LogSink, 'flush'>[]): Promise<never> {
  await within(Promise.all([blankLocks(), ...sinks.map((sink) => sink.flush())]), LOG_FLUSH_MS);
  return exitNow(status);
}
