// Many mounts of somebody else on top of ours. What cannot be recognised for them is not gone: no disconnect says `released`
// while ours is there, and ours goes by itself when theirs have gone.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Host } from '../../rig/host.js';
import { run } from '../../rig/programs.js';
import { until } from '../../rig/until.js';
import { VolumeInUse } from '../../rig/volumes.js';

const ALICE = 'cli:alice';
const BOB = 'cli:bob';

let host: Host;
beforeAll(async () => {
  host = await Host.boot();
});
afterAll(() => host.shutDown());

/** Looks of Fairlead's that may make a mount busy for a moment. */
const LOOKS = 20;

/** Runs one of mount's programs as often as it is said; one that is told `busy` is run again, but not for ever. */
async function times(count: number, command: string): Promise<void> {
  const again = `tries=$((tries+1)); [ $tries -lt ${LOOKS} ] || exit 1; sleep 0.05`;
  const script = `tries=0; i=0; while [ $i -lt ${count} ]; do ${command} && i=$((i+1)) || { ${again}; }; done`;
  const { status, stderr } = await run('/bin/sh', ['-c', script]);
  expect(status, stderr).toBe(0);
}

describe.each(['quobyte', 'local'])('a %s volume', (backend) => {
  it.each([65, 300])('under %i foreign mounts is not released before they are gone', async (count) => {
    const name = `under-${count}`;
    const volume =
      backend === 'local' ? new VolumeInUse(host, host.localVolume(name)) : await VolumeInUse.served(host, name);
    expect((await volume.connect(ALICE)).status).toBe(0);
    await times(count, `mount -t tmpfs stranger ${volume.mountpoint}`);

    expect(await volume.connect(BOB)).toMatchObject({ status: 7, error: { code: 'foreign' } });
    expect((await volume.validate()).verdict).toBe('foreign');
    const { body } = await volume.disconnect(ALICE);
    expect(volume.mounts()).toBe(count + 1);
    expect(body['outcome']).not.toBe('released');
    expect(body['mounted']).toBe(true);
    expect(await volume.listed()).toMatchObject({ state: 'releasing', attachments: [] });

    await times(count, `umount ${volume.mountpoint}`);
    await until('it is released by itself', () => volume.mounts() === 0, 60_000);
    await until('and forgotten', async () => (await volume.listed()) === undefined);
    expect((await volume.connect(BOB)).status).toBe(0);
    expect((await volume.disconnect(BOB)).body).toMatchObject({ outcome: 'released', mounted: false });
  });
});
