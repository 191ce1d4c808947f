// A signal interrupts system calls, even those that do not wait. Seen first as a failed connect: a helper's end (SIGCHLD)
// had met the question whether the mount table has changed.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, it } from 'vitest';
import { BUFFER, foreign, foreignAsync, INT, SIZE } from '../../../../src/sys/libc/foreign.js';

/** Milliseconds that poll(2) waits; the signal comes in between. */
const POLL_MS = 400;

it.each([
  ['waited for', foreign('poll', [BUFFER, SIZE, INT])],
  ['on a thread of the pool', foreignAsync('poll', [BUFFER, SIZE, INT])],
])('a call that a signal interrupts is made again: %s', async (_, poll) => {
  let signals = 0;
  const count = (): void => {
    signals += 1;
  };
  process.on('SIGUSR2', count);
  const sender = spawn('/bin/sh', ['-c', 'sleep 0.1; kill -USR2 "$0"', String(process.pid)]);
  expect(await poll(Buffer.alloc(0), 0, POLL_MS)).toBe(0);
  if (sender.exitCode === null) await once(sender, 'exit');
  process.off('SIGUSR2', count);
  expect(signals).toBe(1);
});
