// The ledger is lost while volumes are in use. Mounts are recognised by what they are and held, and nothing that Fairlead advises takes
// one from its users.

import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { Host } from '../../rig/host.js';
import { adviceOf, VolumeInUse } from '../../rig/volumes.js';

const ALICE = 'cli:alice';
const BOB = 'cli:bob';

let host: Host;
afterEach(() => host.shutDown());

async function loseTheLedger(): Promise<void> {
  await host.crash();
  const state = join(host.dir, 'fairlead/state');
  for (const name of readdirSync(state)) rmSync(join(state, name), { recursive: true });
  await host.up();
}

describe('a volume in use when the ledger is lost', () => {
  it.each(['quobyte', 'local'])('is held, and known by its URL, if it is a %s one', async (backend) => {
    host = await Host.boot();
    const volume =
      backend === 'local' ? new VolumeInUse(host, host.localVolume('kept')) : await VolumeInUse.served(host, 'kept');
    expect((await volume.connect(ALICE)).status).toBe(0);
    writeFileSync(volume.at('file'), 'alice’s');
    await loseTheLedger();

    expect(await volume.listed()).toMatchObject({ hold: 'inherited', url: volume.url, state: 'mounted' });
    expect((await volume.listed())?.verdict).not.toBe('foreign');
    for (const finding of await volume.findings()) expect(adviceOf(finding)).not.toMatch(/umount/);
    expect((await volume.validate()).verdict).toBe('healthy');
    expect(readFileSync(volume.at('file'), 'utf8')).toBe('alice’s');

    expect(await volume.connect(BOB)).toMatchObject({ status: 0, body: { verdict: 'healthy' } });
    expect(volume.mounts()).toBe(1);
    expect((await volume.disconnect(BOB)).body).toMatchObject({ outcome: 'still-used', mounted: true });
    expect((await host.ask('lift-hold', volume.leaf)).status).toBe(0);
    await host.ask('disconnect', volume.url, '--consumer', ALICE);
    expect(await volume.connect(BOB)).toMatchObject({ status: 0 });
    expect((await volume.disconnect(BOB)).body).toMatchObject({ outcome: 'released', mounted: false });
  });

  it('is not given out as healthy if it is a local one whose directory was replaced before', async () => {
    host = await Host.boot();
    const volume = new VolumeInUse(host, host.localVolume('moved'));
    expect((await volume.connect(ALICE)).status).toBe(0);
    writeFileSync(volume.at('file'), 'alice’s');
    renameSync(join(host.localRoot, 'moved'), join(host.localRoot, 'away'));
    mkdirSync(join(host.localRoot, 'moved'));
    await loseTheLedger();

    expect((await volume.connect(BOB)).status).not.toBe(0);
    expect(volume.mounts()).toBe(1);
    expect(readFileSync(volume.at('file'), 'utf8')).toBe('alice’s');
    for (const finding of (await host.ask('doctor')).body['findings'] as Parameters<typeof adviceOf>[0][]) {
      expect(adviceOf(finding)).not.toMatch(/umount/);
    }
  });
});
