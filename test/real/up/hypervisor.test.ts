// The hypervisor process under `fairlead up`: root's, ended with the others, and never missed by them.

import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { alive, Host } from '../../rig/host.js';
import { until } from '../../rig/until.js';

const lockOf = (host: Host): Promise<number> =>
  until('a hypervisor process', () => host.pid('hypervisor') ?? undefined, 20_000);

test('it is root’s, and ends with the others', async () => {
  await using host = await Host.boot();
  const pid = await lockOf(host);
  expect(readFileSync(`/proc/${pid}/status`, 'utf8')).toMatch(/^Uid:\t0\t/m);
  const began = Date.now();
  expect(await host.down()).toBe(0);
  expect(Date.now() - began).toBeLessThan(10_000);
  expect(alive(pid)).toBe(false);
});

test('killed again and again, it is started again, and nobody else is', async () => {
  await using host = await Host.boot();
  const url = await host.volume('used');
  const others = [host.pid('agent'), host.pid('broker')];
  for (let round = 0; round < 7; round += 1) {
    const pid = await lockOf(host);
    process.kill(pid, 'SIGKILL');
    await until('another one', () => ![null, pid].includes(host.pid('hypervisor')), 20_000);
    expect((await host.ask('ls')).status).toBe(0);
  }
  expect((await host.ask('connect', url, '--consumer', 'cli:a')).status).toBe(0);
  expect([host.pid('agent'), host.pid('broker')]).toEqual(others);
});

test('one that cannot start is missed by nobody', async () => {
  await using host = await Host.prepare();
  // What lies at its lock is no file.
  mkdirSync(join(host.dir, 'fairlead/run/hypervisor.lock'), { recursive: true });
  await host.up();
  const url = await host.volume('used');
  expect((await host.ask('connect', url, '--consumer', 'cli:a')).status).toBe(0);
  await until('it is tried again', () => host.log().split('hypervisor-died').length > 3, 20_000);
  expect(await host.down()).toBe(0);
});

test('it is not started where guests are not served', async () => {
  await using host = await Host.boot({ configure: (toml) => `${toml}\n[libvirt]\nenabled = "no"\n` });
  expect((await host.ask('ls')).status).toBe(0);
  expect(existsSync(join(host.dir, 'fairlead/run/hypervisor.lock'))).toBe(false);
});

test('one that was killed with everything leaves nothing that keeps the next one out', async () => {
  await using host = await Host.boot();
  const before = await lockOf(host);
  await host.crash();
  await host.up();
  await until('another one', () => ![null, before].includes(host.pid('hypervisor')), 20_000);
});
