// A process of ours that is stopped (SIGSTOP) and goes on later: doctor says what it is, its advice ends it, and what an
// outsider did meanwhile is seen as soon as it goes on.

import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Host, WITHOUT_LIBVIRT } from '../../rig/host.js';
import { run } from '../../rig/programs.js';
import { until } from '../../rig/until.js';
import { adviceOf, VolumeInUse, type Finding } from '../../rig/volumes.js';

const ALICE = 'cli:alice';
/** Milliseconds for which a process is stopped: longer than the agent's question for changes waits for its answer. */
const STOPPED_MS = 22_000;
/** Milliseconds within which what happened meanwhile is seen; far less than health_interval here. */
const SEEN_MS = 5000;
const SELDOM = 'health_interval = "10m"\n';

let host: Host;
beforeEach(async () => {
  host = await Host.boot({ configure: (toml) => SELDOM + (WITHOUT_LIBVIRT.configure?.(toml) ?? toml) });
});
afterEach(async () => {
  for (const who of ['broker', 'agent'] as const) tell(who, 'SIGCONT');
  await host.shutDown();
});

function tell(who: 'broker' | 'agent', signal: NodeJS.Signals): void {
  const pid = host.pid(who);
  if (pid !== null) process.kill(pid, signal);
}

async function brokerFinding(): Promise<Finding | undefined> {
  const { body } = await host.ask('doctor');
  return (body['findings'] as readonly Finding[]).find(({ subject }) => subject === 'broker');
}

describe('a broker that is stopped', () => {
  it('is called so by doctor, and goes on by what doctor advises', async () => {
    tell('broker', 'SIGSTOP');
    const finding = await brokerFinding();
    expect(finding?.message).toContain('does not answer');
    expect(adviceOf(finding!)).not.toContain('restarts it');
    const command = /pkill -CONT -f '[^']+'/.exec(adviceOf(finding!))?.[0] ?? 'false';
    // In the process namespace of this test run there is no other.
    expect((await run('/bin/sh', ['-c', command])).status).toBe(0);
    expect(await brokerFinding()).toBeUndefined();
  });

  it.each(['broker', 'agent'] as const)(
    'or an agent: a mount that an outsider took away is missed at once (%s)',
    async (who) => {
      const volume = await VolumeInUse.served(host, 'v');
      expect((await volume.connect(ALICE)).status).toBe(0);
      tell(who, 'SIGSTOP');
      await pause(STOPPED_MS);
      await run('/bin/umount', ['-l', volume.mountpoint]);
      tell(who, 'SIGCONT');
      await until('ls shows it', async () => (await volume.listed())?.state === 'vanished', SEEN_MS);
    },
  );
});
