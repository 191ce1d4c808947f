// Mounts that appear at leaves without Fairlead while it runs. `ls` and `doctor` tell of them within seconds, long before the next
// look of health_interval, and what they advise takes no mount from its users.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Host, WITHOUT_LIBVIRT } from '../../rig/host.js';
import { run } from '../../rig/programs.js';
import { until } from '../../rig/until.js';
import { adviceOf, VolumeInUse } from '../../rig/volumes.js';

const ALICE = 'cli:alice';
const BOB = 'cli:bob';
/** Milliseconds within which what has changed is seen; health_interval is 30 s by default. */
const SEEN_MS = 10_000;

let host: Host;
beforeAll(async () => {
  host = await Host.boot(WITHOUT_LIBVIRT);
});
afterAll(() => host.shutDown());

describe('a volume that somebody mounts at its leaf by hand', () => {
  it('is held within seconds, and shared with whoever connects', async () => {
    const url = await host.volume('by-hand');
    const volume = new VolumeInUse(host, url);
    mkdirSync(volume.mountpoint, { mode: 0o700 });
    const mounted = await run(`${host.dir}/bin/mount.quobyte`, [url.replace('quobyte://', ''), volume.mountpoint]);
    expect(mounted.status).toBe(0);
    await until('ls shows the hold', async () => (await volume.listed())?.hold === 'inherited', SEEN_MS);
    expect(await volume.listed()).toMatchObject({ url, attachments: [] });
    for (const finding of await volume.findings()) expect(adviceOf(finding)).not.toMatch(/umount/);
    expect((await volume.connect(ALICE)).status).toBe(0);
    expect((await volume.disconnect(ALICE)).body).toMatchObject({ outcome: 'still-used', mounted: true });
    expect((await host.ask('lift-hold', volume.leaf)).status).toBe(0);
    await until('it goes', () => volume.mounts() === 0, 30_000);
  });

  it('right after its release is held within seconds, however often', async () => {
    const url = await host.volume('again');
    const volume = new VolumeInUse(host, url);
    for (let round = 0; round < 6; round += 1) {
      expect((await volume.connect(ALICE)).status).toBe(0);
      expect((await volume.disconnect(ALICE)).body['outcome']).toBe('released');
      mkdirSync(volume.mountpoint, { mode: 0o700 });
      const mounted = await run(`${host.dir}/bin/mount.quobyte`, [url.replace('quobyte://', ''), volume.mountpoint]);
      expect(mounted.status).toBe(0);
      await until('ls shows the hold', async () => (await volume.listed())?.hold === 'inherited', SEEN_MS);
      expect((await host.ask('lift-hold', volume.leaf)).status).toBe(0);
      await until('it goes', () => volume.mounts() === 0 && !existsSync(volume.mountpoint), 30_000);
    }
  });

  it('and takes away again is forgotten within seconds', async () => {
    const url = await host.volume('come-and-gone');
    const volume = new VolumeInUse(host, url);
    mkdirSync(volume.mountpoint, { mode: 0o700 });
    await run(`${host.dir}/bin/mount.quobyte`, [url.replace('quobyte://', ''), volume.mountpoint]);
    await until('ls shows the hold', async () => (await volume.listed())?.hold === 'inherited', SEEN_MS);
    expect((await run('/bin/umount', [volume.mountpoint])).status).toBe(0);
    const gone = async (): Promise<boolean> => {
      const listed = await volume.listed();
      return listed === undefined || listed.state === 'vanished';
    };
    await until('ls shows that it has gone', gone, SEEN_MS);
    expect((await volume.connect(ALICE)).status).toBe(0);
    await volume.disconnect(ALICE);
    await host.ask('lift-hold', volume.leaf);
    await until('nothing is left', () => volume.mounts() === 0 && !existsSync(volume.mountpoint), 30_000);
  });
});

describe('a mount that somebody puts over a leaf', () => {
  it.each(['quobyte', 'local'])(
    'of a %s volume in use is told of within seconds, and so is its end',
    async (backend) => {
      const volume =
        backend === 'local'
          ? new VolumeInUse(host, host.localVolume('covered'))
          : await VolumeInUse.served(host, 'covered');
      expect((await volume.connect(ALICE)).status).toBe(0);
      writeFileSync(volume.at('file'), 'alice’s');
      expect((await volume.listed())?.verdict).toBe('healthy');

      expect((await run('/bin/mount', ['-t', 'tmpfs', 'stranger', volume.mountpoint])).status).toBe(0);
      await until('ls calls it foreign', async () => (await volume.listed())?.verdict === 'foreign', SEEN_MS);
      expect(await volume.listed()).toMatchObject({ url: volume.url, attachments: [{ consumer: ALICE }] });
      const findings = await volume.findings();
      expect(findings.map(({ message }) => message).join('\n')).toMatch(/over it/i);
      for (const finding of findings) {
        expect(adviceOf(finding)).not.toMatch(/lift-hold|abort|disconnect|umount\s+(-\w*l|--lazy)/);
      }
      expect(await volume.connect(BOB)).toMatchObject({ status: 7, error: { code: 'foreign' } });

      expect((await run('/bin/umount', [volume.mountpoint])).status).toBe(0);
      await until('ls calls it healthy', async () => (await volume.listed())?.verdict === 'healthy', SEEN_MS);
      expect(await volume.findings()).toEqual([]);
      expect(readFileSync(volume.at('file'), 'utf8')).toBe('alice’s');
      expect((await volume.disconnect(ALICE)).body).toMatchObject({ outcome: 'released', mounted: false });
    },
  );

  it('where nothing of ours is, is told of within seconds, and so is its end', async () => {
    const volume = new VolumeInUse(host, await host.volume('stranger-only'));
    mkdirSync(volume.mountpoint, { mode: 0o700 });
    expect((await run('/bin/mount', ['-t', 'tmpfs', 'stranger', volume.mountpoint])).status).toBe(0);
    await until('ls shows it', async () => (await volume.listed())?.state === 'foreign', SEEN_MS);
    expect((await run('/bin/umount', [volume.mountpoint])).status).toBe(0);
    await until('ls has forgotten it', async () => (await volume.listed()) === undefined, SEEN_MS);
  });
});
