// A FUSE mount says in the kernel's table which user made it. Whoever is not root can give it any source; so a mount of
// theirs at a leaf is foreign, whatever it calls itself, also where their own user is trusted with the base.

import { chmodSync, chownSync, mkdirSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { Host } from '../../rig/host.js';
import { STRANGER } from '../../rig/identity.js';
import { run } from '../../rig/programs.js';
import { VolumeInUse } from '../../rig/volumes.js';

const ALICE = 'cli:alice';

let host: Host;
afterEach(() => host.shutDown());

describe.each([
  ['root', 0],
  ['a trusted owner', STRANGER.uid],
])('in a base of %s', (_, owner) => {
  it('a mount of another user at a leaf is foreign, with the right source too, before a start and after it', async () => {
    host = await Host.prepare({
      configure: (toml) => (owner === 0 ? toml : `trusted_base_owners = [${owner}]\n${toml}`),
    });
    mkdirSync(host.quobyteBase, { recursive: true });
    chmodSync(host.quobyteBase, 0o711);
    chownSync(host.quobyteBase, owner, owner);
    await host.up();
    const url = await host.volume('claimed');
    const volume = new VolumeInUse(host, url);
    await host.sandbox('fault', volume.name, 'mounted-by', String(STRANGER.uid));
    mkdirSync(volume.mountpoint, { mode: 0o700 });
    chownSync(volume.mountpoint, owner, owner);
    const mounted = await run(`${host.dir}/bin/mount.quobyte`, [url.replace('quobyte://', ''), volume.mountpoint]);
    expect([mounted.status, volume.mounts()]).toEqual([0, 1]);
    await host.sandbox('heal', volume.name);

    const refused = async (): Promise<void> => {
      expect(await volume.connect(ALICE)).toMatchObject({ status: 7, error: { code: 'foreign', leaf: volume.leaf } });
      expect((await volume.validate()).verdict).toBe('foreign');
      const listed = await volume.listed();
      expect([listed?.hold ?? null, listed?.attachments ?? []]).toEqual([null, []]);
      expect(volume.mounts()).toBe(1);
    };
    await refused();
    await host.down();
    await host.up();
    await refused();
    expect(await volume.listed()).toMatchObject({ state: 'foreign' });

    expect((await run('/bin/umount', [volume.mountpoint])).status).toBe(0);
    expect(await volume.connect(ALICE)).toMatchObject({ status: 0, body: { verdict: 'healthy' } });
    expect((await volume.disconnect(ALICE)).body['outcome']).toBe('released');
  });
});
