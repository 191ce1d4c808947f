// R10 and R12 on real mounts: each way of failing has one typed answer, a mount that its server disowns is replaced, and
// nothing is ever mounted over a mount that is merely in trouble.

import { chmodSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Host, leafOfUrl, type Answer } from '../rig/host.js';
import { SANDBOX } from '../rig/programs.js';

const ALICE = 'cli:alice';
const BOB = 'cli:bob';

let host: Host;
beforeAll(async () => {
  host = await Host.boot({ configure: (toml) => toml.replace(/mount_timeout = .*/, 'mount_timeout = "3s"') });
});
afterAll(() => host.shutDown());

const connect = (url: string, consumer: string): Promise<Answer> => host.ask('connect', url, '--consumer', consumer);
const disconnect = (url: string, consumer: string): Promise<Answer> =>
  host.ask('disconnect', url, '--consumer', consumer);
const mountsAt = (url: string): number =>
  host.mounts().filter(({ mountPoint }) => mountPoint.endsWith(leafOfUrl(url))).length;

/** For one connect the helper first does this. */
async function withHelper<T>(text: string, work: () => Promise<T>): Promise<T> {
  const path = join(host.dir, 'bin/mount.quobyte');
  renameSync(path, `${path}.real`);
  writeFileSync(path, `#!/bin/sh\n${text}\n`);
  chmodSync(path, 0o755);
  try {
    return await work();
  } finally {
    rmSync(path);
    renameSync(`${path}.real`, path);
  }
}

describe('a mount on which everything fails with', () => {
  it.each([
    ['EIO', 8, 'unhealthy', 'stale'],
    ['ETIMEDOUT', 8, 'unhealthy', 'stale'],
    ['EACCES', 8, 'unhealthy', 'denied'],
  ])('%s is left alone, and connect says so', async (errno, status, code, verdict) => {
    const name = `failing-${errno.toLowerCase()}`;
    const url = await host.volume(name);
    await connect(url, ALICE);
    await host.sandbox('fault', name, 'errno', errno);
    const refused = await connect(url, BOB);
    expect(refused).toMatchObject({ status, error: { code } });
    expect(refused.error?.message).toContain(errno);
    expect((await host.ask('validate', url)).body['verdict']).toBe(verdict);
    expect(mountsAt(url)).toBe(1);
    await host.sandbox('heal', name);
    expect((await connect(url, BOB)).status).toBe(0);
    await disconnect(url, BOB);
    expect((await disconnect(url, ALICE)).body['outcome']).toBe('released');
  });
});

it('a mount that its server disowns (ESTALE) is unmounted and mounted again, once, for all its users', async () => {
  const url = await host.volume('disowned');
  await connect(url, ALICE);
  await host.sandbox('fault', 'disowned', 'errno', 'ESTALE');
  // The new mount is served again: the helper mends the server first.
  const heals = `${process.execPath} ${SANDBOX} heal ${host.dir} disowned && exec "$0.real" "$@"`;
  expect(await withHelper(heals, () => connect(url, BOB))).toMatchObject({
    status: 0,
    body: { changed: true, verdict: 'healthy' },
  });
  expect(mountsAt(url)).toBe(1);
  expect(await disconnect(url, ALICE)).toMatchObject({ body: { outcome: 'still-used', usedBy: [BOB] } });
  expect((await disconnect(url, BOB)).body['outcome']).toBe('released');
});

describe('a mount helper that mounts nothing and', () => {
  it.each([
    ['ends with status 1', 'exit 1'],
    ['ends with status 4', 'exit 4'],
    ['dies by a signal', 'kill -SEGV $$'],
    ['cannot be executed: its interpreter is missing', '\n'],
  ])('%s is helper-failed, and leaves nothing', async (what, text) => {
    const url = await host.volume(`none-${Math.random().toString(36).slice(2, 8)}`);
    const work = (): Promise<Answer> => {
      if (text === '\n') writeFileSync(join(host.dir, 'bin/mount.quobyte'), '#!/nonexistent/interpreter\n');
      return connect(url, ALICE);
    };
    const { error } = await withHelper(text, work);
    expect(error?.code, what).toMatch(/^helper-(failed|untrusted)$/);
    expect([mountsAt(url), host.mounts()]).toEqual([0, []]);
    expect((await connect(url, ALICE)).status).toBe(0);
    await disconnect(url, ALICE);
  });

  it('ends with status 4 after it has mounted has mounted', async () => {
    const url = await host.volume('four');
    expect(await withHelper('"$0.real" "$@"; exit 4', () => connect(url, ALICE))).toMatchObject({ status: 0 });
    expect((await disconnect(url, ALICE)).body['outcome']).toBe('released');
  });
});
