// Crowds of clients that mean no good, each crowd a process of somebody: see crowd.py.

import { join } from 'node:path';
import type { Identity } from './identity.js';
import { launch, ROOT } from './programs.js';
import { until } from './until.js';

/** What the clients do; see crowd.py. */
export type Way =
  'idle' | 'knock' | 'header-without-end' | 'body-without-end' | 'pipeline' | 'pipeline-unread' | 'unread' | 'noise';

/** Sends that many clients to the socket, as somebody; does the work while they are at it, and ends them. */
export async function amidCrowd(
  socket: string,
  who: Identity,
  [way, count]: readonly [Way, number],
  work: () => Promise<void>,
): Promise<void> {
  const program = launch('/usr/bin/python3', [join(ROOT, 'test/rig/crowd.py'), socket, way, String(count)], who);
  try {
    await until('the crowd is at it', () => {
      if (program.child.exitCode !== null) throw new Error(`the crowd ended: ${program.output()}`);
      return program.output().includes('begun');
    });
    await work();
  } finally {
    program.child.kill('SIGKILL');
    await program.ended;
  }
}
