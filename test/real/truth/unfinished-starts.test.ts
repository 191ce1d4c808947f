// Mount helpers whose start nobody saw to its end: the broker died just after the fork, or the helper itself never ends although
// its client serves. What serves is used, and not ended. A helper that hangs beside it may be what serves, so it is left and
// shown until somebody who knows better ends it.

import { afterEach, describe, expect, it } from 'vitest';
import { Host } from '../../rig/host.js';
import { running } from '../../rig/processes.js';
import { User } from '../../rig/user.js';
import { until } from '../../rig/until.js';
import { VolumeInUse } from '../../rig/volumes.js';

const ALICE = 'cli:alice';
const BOB = 'cli:bob';
const CAROL = 'cli:carol';
/** Milliseconds within which something goes by itself after its last user. */
const BY_ITSELF_MS = 60_000;

let host: Host;
afterEach(() => host.shutDown());

/** Opens a file on a mount that has just appeared, and writes it. */
async function useAtOnce(user: User, volume: VolumeInUse): Promise<number> {
  await until('the volume is mounted', () => volume.mounts() === 1, 20_000);
  await user.open('file', volume.at('file'));
  await user.write('file', 'written');
  const [client, ...others] = await until('its client', () => volume.clients().length > 0 && volume.clients());
  expect(others).toEqual([]);
  return client ?? 0;
}

async function allGone(volume: VolumeInUse): Promise<void> {
  for (const consumer of [ALICE, BOB, CAROL]) await volume.disconnect(consumer);
  await until('nothing is mounted', () => volume.mounts() === 0, BY_ITSELF_MS);
  await until('the client has ended', () => volume.clients().length === 0, BY_ITSELF_MS);
  await until('ls forgets it', async () => (await volume.listed()) === undefined, BY_ITSELF_MS);
}

/** A helper that hangs is left over by its client: shown, told of, and forgotten when the operator has ended it. */
async function helperIsLeft(volume: VolumeInUse): Promise<void> {
  for (const consumer of [ALICE, BOB, CAROL]) await volume.disconnect(consumer);
  await until('the client has ended', () => volume.clients().length === 0, BY_ITSELF_MS);
  expect(volume.mounts()).toBe(0);
  expect(await volume.listed()).toMatchObject({ state: 'ending', attachments: [] });
  const [finding] = await volume.findings();
  expect(finding).toMatchObject({ message: expect.stringContaining('has not ended yet') as unknown });
  const helpers = running(volume.mountpoint).map(({ pid }) => pid);
  expect(helpers).not.toEqual([]);
  for (const pid of helpers) process.kill(pid, 'SIGKILL');
  await until('ls forgets it', async () => (await volume.listed()) === undefined, BY_ITSELF_MS);
}

describe('a broker that dies between the fork of a mount helper and the note of it', () => {
  it('leaves a volume that is used and shared as any other, and its client alone', async () => {
    host = await Host.prepare();
    const supervisor = (await host.up({ FAIRLEAD_HALT_AT: 'broker.mount.forked' })).child;
    const volume = await VolumeInUse.served(host, 'forked');
    await using user = await User.start();
    // No other broker comes before the volume is in use.
    supervisor.kill('SIGSTOP');
    const connecting = volume.connect(ALICE, '--timeout', '30');
    let client = 0;
    try {
      await until('the broker has died', () => host.pid('broker') === null);
      client = await useAtOnce(user, volume);
    } finally {
      supervisor.kill('SIGCONT');
    }
    await connecting;
    await host.ready();
    expect(await user.read('file')).toBe('written');
    expect(await volume.connect(BOB, '--timeout', '30')).toMatchObject({ status: 0, body: { verdict: 'healthy' } });
    expect(await volume.listed()).toMatchObject({ state: 'mounted', verdict: 'healthy' });
    expect((await volume.validate()).verdict).toBe('healthy');
    expect([volume.mounts(), volume.clients()]).toEqual([1, [client]]);
    expect(await user.read('file')).toBe('written');
    for (const consumer of [ALICE, BOB]) await volume.disconnect(consumer);
    expect(await user.read('file')).toBe('written');
    expect(volume.clients()).toEqual([client]);
    await user.close('file');
    await allGone(volume);
  });
});

describe('a mount helper that hangs after its client has mounted', () => {
  it('is not waited for beyond its deadline, and left with the client, on which somebody has a file open by then', async () => {
    host = await Host.boot({ configure: (toml) => toml.replace(/mount_timeout = .*/, 'mount_timeout = "3s"') });
    const volume = await VolumeInUse.served(host, 'half-hung');
    await host.sandbox('fault', volume.name, 'helper-hangs', 'after');
    await using user = await User.start();
    const connecting = volume.connect(ALICE);
    const client = await useAtOnce(user, volume);
    await connecting;
    expect(await user.read('file')).toBe('written');
    await user.write('file', 'written again');
    expect(volume.clients()).toEqual([client]);
    await host.sandbox('heal', volume.name);
    expect(await volume.connect(BOB)).toMatchObject({ status: 0, body: { verdict: 'healthy' } });
    expect(await user.read('file')).toBe('written again');
    await user.close('file');
    await helperIsLeft(volume);
  });

  it('is left with the client when the broker dies meanwhile', async () => {
    host = await Host.boot({ configure: (toml) => toml.replace(/mount_timeout = .*/, 'mount_timeout = "3s"') });
    const volume = await VolumeInUse.served(host, 'half-hung');
    await host.sandbox('fault', volume.name, 'helper-hangs', 'after');
    await using user = await User.start();
    const connecting = volume.connect(ALICE, '--timeout', '10');
    const client = await useAtOnce(user, volume);
    await host.kill('broker');
    await connecting;
    expect(await user.read('file')).toBe('written');
    await host.sandbox('heal', volume.name);
    await until(
      'the volume can be connected',
      async () => (await volume.connect(CAROL, '--timeout', '10')).status === 0,
      BY_ITSELF_MS,
    );
    expect(await user.read('file')).toBe('written');
    expect(volume.clients()).toEqual([client]);
    await user.close('file');
    await helperIsLeft(volume);
  });
});
