// What lies in run_dir and is removed under running processes, as cleaners of temporary files do: it is put back.

import { mkdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Host } from '../../rig/host.js';
import { until } from '../../rig/until.js';

const inRunDir = (host: Host, name: string): string => join(host.dir, 'fairlead/run', name);

/** One question on a connection that is kept. */
function ls(socketPath: string, agent: Agent): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    request({ socketPath, path: '/v1/mounts', agent }, (reply) => {
      reply.resume();
      reply.once('end', () => resolve(reply.statusCode));
    })
      .once('error', reject)
      .end();
  });
}

function connects(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

test('the agent’s socket is put back, and whoever is connected stays so', async () => {
  await using host = await Host.boot();
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  expect(await ls(host.socket, agent)).toBe(200);
  const pid = host.pid('agent');
  for (let round = 0; round < 2; round += 1) {
    rmSync(host.socket);
    await until('it answers again', async () => (await host.ask('ls')).status === 0);
    expect(await ls(host.socket, agent)).toBe(200);
  }
  agent.destroy();
  expect(host.pid('agent')).toBe(pid);
  expect(host.log()).toContain('"event":"socket-put-back"');
});

test.each(['broker', 'hypervisor'] as const)('the socket of the %s is put back', async (who) => {
  await using host = await Host.boot();
  await until('there is one', () => host.pid(who) !== null);
  const pid = host.pid(who);
  rmSync(inRunDir(host, `${who}.sock`));
  // A new agent has no connection yet.
  await host.kill('agent');
  const url = await host.volume('v');
  expect((await host.ask('connect', url, '--consumer', 'cli:a')).status).toBe(0);
  await until('it takes connections', () => connects(inRunDir(host, `${who}.sock`)));
  expect(host.pid(who)).toBe(pid);
});

test('what cannot be put back is named, and nobody is told to start what runs', async () => {
  await using host = await Host.boot();
  rmSync(host.socket);
  // Root's, in a sticky directory: the agent may not take it away.
  mkdirSync(host.socket);
  await until('it is noticed', () => host.log().includes('"event":"socket-missing"'));
  const { error } = await host.ask('ls');
  expect(error).toMatchObject({ code: 'unavailable' });
  expect(error?.message).toMatch(/fairlead up runs already, process \d+/);
  expect(error?.message).not.toContain('Start it');
  rmdirSync(host.socket);
  await until('it answers again', async () => (await host.ask('ls')).status === 0);
});

test('locks are put back, so that there is never a second one', async () => {
  await using host = await Host.boot();
  await until('all are there', () => host.pid('hypervisor') !== null);
  const pids = [host.pid('agent'), host.pid('broker'), host.pid('hypervisor')];
  for (const name of ['up', 'agent', 'broker', 'hypervisor']) rmSync(inRunDir(host, `${name}.lock`));
  await until('the locks are there', () => host.pid('agent') !== null && host.pid('broker') !== null);
  await until('the last lock is there', () => host.pid('hypervisor') !== null);
  expect([host.pid('agent'), host.pid('broker'), host.pid('hypervisor')]).toEqual(pids);
  const second = await host.fairlead(['up', '--config', host.configFile, '--json']);
  expect(JSON.parse(second.stdout)).toMatchObject({ error: { code: 'conflict', field: 'run_dir' } });
});

test('after a clean end no lock names a process', async () => {
  await using host = await Host.boot();
  await until('all are there', () => host.pid('hypervisor') !== null);
  expect(await host.down()).toBe(0);
  for (const name of ['up', 'agent', 'broker', 'hypervisor'] as const) {
    expect([name, readFileSync(inRunDir(host, `${name}.lock`), 'utf8')]).toEqual([name, '']);
  }
});
