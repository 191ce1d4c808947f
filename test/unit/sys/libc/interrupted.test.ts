// A signal interrupts system calls, even those that do not wait. Seen first as a failed connect: a helper's end (SIGCHLD)
// had met the question whether the mount table has changed.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, it } from 'vitest';
import { BUFFER, foreign, foreignAsync, INT, SIZE } from '../../../../src/sys/libc/foreign.js';

/** Milliseconds that poll(2) waits; the signal should come in between. */
const POLL_MS = 400;
/** Milliseconds that a call certainly takes longer when it was interrupted and made again. */
const LONGER_MS = 50;
/** Rounds within which a signal must have come while a call waited, however busy the machine is. */
const ROUNDS = 20;

it.each([
  ['waited for', foreign('poll', [BUFFER, SIZE, INT]), ROUNDS],
  // The kernel gives a process's signal to its main thread first, which waits for nothing here: one round.
  ['on a thread of the pool', foreignAsync('poll', [BUFFER, SIZE, INT]), 1],
])('a call that a signal interrupts is made again: %s', async (_, poll, rounds) => {
  let signals = 0;
  const count = (): void => {
    signals += 1;
  };
  process.on('SIGUSR2', count);
  let interrupted = false;
  for (let round = 1; !interrupted && round <= rounds; round += 1) {
    const sender = spawn('/bin/sh', ['-c', 'sleep 0.1; kill -USR2 "$0"', String(process.pid)]);
    const began = performance.now();
    expect(await poll(Buffer.alloc(0), 0, POLL_MS)).toBe(0);
    interrupted = performance.now() - began > POLL_MS + LONGER_MS;
    if (sender.exitCode === null) await once(sender, 'exit');
    await expect.poll(() => signals, { timeout: 10_000 }).toBe(round);
  }
  process.off('SIGUSR2', count);
  if (rounds > 1) expect(interrupted).toBe(true);
});
