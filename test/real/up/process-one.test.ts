// `fairlead up` as process 1 of a process namespace, as in a container without an init: what mount helpers leave behind
// becomes its child, and no zombie stays.

import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Host } from '../../rig/host.js';
import { descendants } from '../../rig/processes.js';
import { FAIRLEAD, launch, run } from '../../rig/programs.js';
import { until } from '../../rig/until.js';

/** The children, zombies among them, that are none of our programs. */
function orphansOf(parent: number): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const status = readFileSync(`/proc/${name}/status`, 'utf8');
        const [, called = ''] = /^Name:\s+(.*)$/m.exec(status) ?? [];
        return status.includes(`\nPPid:\t${parent}\n`) && !called.startsWith('fairlead-') ? [Number(name)] : [];
      } catch (error) {
        if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return [];
        throw error;
      }
    });
}

test('it takes the orphans that have ended, and still learns of the end of its own children', async () => {
  await using host = await Host.prepare();
  const up = launch('/usr/bin/unshare', [
    ...['--pid', '--fork', '--kill-child', '--mount-proc', '--'],
    ...[FAIRLEAD, 'up', '--config', host.configFile],
  ]);
  try {
    await host.ready(up);
    const one = descendants(Number(up.child.pid))[0]?.pid ?? 0;
    expect(readFileSync(`/proc/${one}/status`, 'utf8')).toMatch(/^NSpid:\s+.*\b1$/m);
    // As clients that a mount helper starts in the background; their own parent ends before them.
    const script = 'sleep 1000 >/dev/null 2>&1 & sleep 1000 >/dev/null 2>&1 &';
    const inside = ['--target', String(one), '--pid', '--mount', '--', '/bin/sh', '-c', script];
    expect((await run('/usr/bin/nsenter', inside)).status).toBe(0);
    const orphans = orphansOf(one);
    expect(orphans).toHaveLength(2);
    for (const orphan of orphans) process.kill(orphan, 'SIGKILL');
    await until('the orphans are gone, and are no zombies', () => orphansOf(one).length === 0);
    const agent = descendants(one).find(({ command }) => command.startsWith('fairlead-agent'))?.pid ?? 0;
    process.kill(agent, 'SIGKILL');
    await until('another agent', () => {
      const next = descendants(one).find(({ command }) => command.startsWith('fairlead-agent'))?.pid;
      return next !== undefined && next !== agent;
    });
    await host.ready(up);
    expect(up.output()).toContain('"event":"agent-died"');
    process.kill(one, 'SIGTERM');
    expect((await up.ended).status).toBe(0);
  } finally {
    up.child.kill('SIGKILL');
    await up.ended;
  }
});
