// A helper that hangs is ended only where nothing can be served by what it left. Mounts whose table entry says something
// else than was asked for, and parts of a mount that somebody binds elsewhere while the helper is at work, are served by
// it all the same.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Host } from '../../rig/host.js';
import { STRANGER } from '../../rig/identity.js';
import { must, run } from '../../rig/programs.js';
import { User } from '../../rig/user.js';
import { until } from '../../rig/until.js';
import { VolumeInUse } from '../../rig/volumes.js';

const ALICE = 'cli:alice';
/** Seconds that a connect gets whose helper hangs after it has mounted. */
const CONNECT_S = '6';

let host: Host;
let count = 0;
beforeAll(async () => {
  host = await Host.boot();
});
afterAll(() => host.shutDown());

/** A volume with a directory `sub` and a file in it, whose next mount has a client of its own. */
async function served(): Promise<VolumeInUse> {
  const volume = await VolumeInUse.served(host, `strange-${count++}`);
  const sub = join(host.dir, 'volumes', volume.name, 'sub');
  mkdirSync(sub);
  writeFileSync(join(sub, 'file'), 'there');
  return volume;
}

describe('a mount that its helper made for another user', () => {
  it.each([
    ['whose helper has ended', [], '30'],
    ['whose helper hangs', [['helper-hangs', 'after']], CONNECT_S],
  ] as const)('%s is foreign, and its client goes on', async (_, faults, seconds) => {
    const volume = await served();
    await host.sandbox('fault', volume.name, 'mounted-by', String(STRANGER.uid));
    for (const fault of faults) await host.sandbox('fault', volume.name, ...fault);
    expect(await volume.connect(ALICE, '--timeout', seconds)).toMatchObject({ error: { code: 'foreign' } });
    expect([volume.mounts(), volume.clients().length]).toEqual([1, 1]);
    await host.sandbox('heal', volume.name);
    await using user = await User.start();
    expect(await user.readPath(volume.at('sub/file'))).toBe('there');
    await must('/bin/umount', volume.mountpoint);
    await until('its client has ended by itself', () => volume.clients().length === 0);
  });
});

describe('a part of a mount that somebody takes elsewhere while its helper still hangs', () => {
  it.each(['here', 'private'] as const)('goes on, in our namespace or in another (%s)', async (where) => {
    const volume = await served();
    const to = host.place();
    await using user = await User.start();
    const taken = user.snatch(volume.mountpoint, 'sub', to, where);
    await host.sandbox('fault', volume.name, 'helper-hangs', 'after');
    expect((await volume.connect(ALICE, '--timeout', CONNECT_S)).error?.code).toBeDefined();
    await taken;
    expect(await user.readPath(join(to, 'file'))).toBe('there');
    expect(volume.clients()).toHaveLength(1);
    await run('/bin/umount', ['-q', to]);
  });
});
