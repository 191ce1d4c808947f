// A host on which the broker may start no more processes (pids.max). Nothing is called a hang, a timeout or a missing probe for
// that: the answer names the limit, and everything works again when there is room.

import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Host, type Answer } from '../../rig/host.js';
import { until } from '../../rig/until.js';

const ALICE = 'cli:alice';
/** Milliseconds within which a mount goes by itself. */
const BY_ITSELF_MS = 60_000;
/** Where control groups with a limit on processes can be made: the hierarchy of cgroup v1, or that of v2. */
const HIERARCHY = ['/sys/fs/cgroup/pids', '/sys/fs/cgroup'].find(
  (path) =>
    existsSync(join(path, 'cgroup.procs')) &&
    (path.endsWith('/pids') || readFileSync(join(path, 'cgroup.subtree_control'), 'utf8').includes('pids')),
);

describe.skipIf(HIERARCHY === undefined)('where the broker may start no more processes', () => {
  const group = join(HIERARCHY ?? '/nowhere', `fairlead-test-${process.pid}-${Date.now()}`);
  let host: Host;
  beforeAll(async () => {
    host = await Host.boot();
    mkdirSync(group);
  });
  afterEach(() => {
    writeFileSync(join(group, 'pids.max'), 'max');
  });
  afterAll(async () => {
    await host.shutDown();
    await until('the control group is empty', () => readFileSync(join(group, 'cgroup.procs'), 'utf8') === '');
    rmdirSync(group);
  });

  /** Lets the broker, with whatever it has started, have no more processes and threads than there are; how many. */
  function limit(): number {
    writeFileSync(join(group, 'cgroup.procs'), String(host.pid('broker')));
    const most = Number(readFileSync(join(group, 'pids.current'), 'utf8'));
    writeFileSync(join(group, 'pids.max'), String(most));
    return most;
  }

  function namesTheLimit({ error }: Answer, most: number): void {
    expect(error?.code).toBe('resource-exhausted');
    expect(error?.message).toContain(`pids.max of the control group`);
    expect(error?.message).toContain(String(most));
    expect(error?.message).not.toMatch(/hang|timeout|in time/i);
  }

  it.each(['quobyte', 'local'])(
    'connect and disconnect of a %s volume are told so, and done when there is room',
    async (backend) => {
      const url = backend === 'local' ? host.localVolume('limit') : await host.volume('limit');
      // Whatever children the broker had end with it.
      await host.kill('broker');
      const most = limit();
      namesTheLimit(await host.ask('connect', url, '--consumer', ALICE), most);
      writeFileSync(join(group, 'pids.max'), 'max');
      expect((await host.ask('connect', url, '--consumer', ALICE)).status).toBe(0);

      await host.kill('broker');
      const again = limit();
      namesTheLimit(await host.ask('disconnect', url, '--consumer', ALICE), again);
      writeFileSync(join(group, 'pids.max'), 'max');
      await until('it is released by itself', () => host.mounts().length === 0, BY_ITSELF_MS);
    },
  );
});
