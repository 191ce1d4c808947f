// Clients that need long to end. A client writes back after its mount and its connection are gone; it ends by itself, in its
// own time. It is shown as `ending` meanwhile and stands in nobody's way.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Host } from '../../rig/host.js';
import { run } from '../../rig/programs.js';
import { User } from '../../rig/user.js';
import { until } from '../../rig/until.js';
import { VolumeInUse } from '../../rig/volumes.js';

const ALICE = 'cli:alice';
const BOB = 'cli:bob';
/** Milliseconds that a client lives on after its connection is gone, where nothing else is said. */
const WRITES_BACK_MS = 4000;
/** Milliseconds within which it has ended, on a busy machine too. */
const ENDED_MS = 30_000;

let host: Host;
let count = 0;
beforeAll(async () => {
  host = await Host.boot();
});
afterAll(() => host.shutDown());

/** A volume whose clients take their time to write back, connected by Alice, with a file that is not stored yet. */
async function written(text: string, writesBackMs = WRITES_BACK_MS): Promise<VolumeInUse> {
  const volume = await VolumeInUse.served(host, `slow-${count++}`);
  await host.sandbox('fault', volume.name, 'slow-end', String(writesBackMs));
  expect(await volume.connect(ALICE)).toMatchObject({ status: 0 });
  writeFileSync(volume.at('file'), text);
  expect(volume.stored('file')).toBe('');
  return volume;
}

const ended = (volume: VolumeInUse): Promise<unknown> =>
  until('the client has ended', () => volume.clients().length === 0, ENDED_MS);
const forgotten = (volume: VolumeInUse): Promise<unknown> =>
  until('ls forgets it', async () => (await volume.listed()) === undefined);

describe('a client that writes back after its unmount', () => {
  it('for six seconds loses nothing', async () => {
    const volume = await written('alice', 6000);
    expect((await volume.disconnect(ALICE)).body).toMatchObject({ outcome: 'released', mounted: false });
    expect(volume.mounts()).toBe(0);
    await ended(volume);
    expect(volume.stored('file')).toBe('alice');
    await forgotten(volume);
  });

  it('is shown as ending until it has ended, and then the leaf is gone from ls', async () => {
    const volume = await written('alice', 300_000);
    await volume.disconnect(ALICE);
    expect(await volume.listed()).toMatchObject({ state: 'ending', attachments: [] });
    await host.sandbox('heal', volume.name);
    await ended(volume);
    await forgotten(volume);
    expect(volume.stored('file')).toBe('alice');
  });

  it('is not taken for one that serves because another mount has its superblock’s number now', async () => {
    const volume = await written('alice', 300_000);
    await volume.disconnect(ALICE);
    // The kernel gives the next mount the lowest number that is free.
    const others = [0, 1, 2, 3].map((number) => join(host.dir, `other-${number}`));
    await host.volume('other');
    try {
      for (const other of others) {
        mkdirSync(other);
        expect((await run(`${host.dir}/bin/mount.quobyte`, ['reg1:7861/other', other])).status).toBe(0);
      }
      expect(await volume.disconnect(ALICE)).toMatchObject({ body: { mounted: false } });
      expect(await volume.listed()).toMatchObject({ state: 'ending', attachments: [] });
      await host.sandbox('heal', volume.name);
      await ended(volume);
      await forgotten(volume);
    } finally {
      for (const other of others) await run('/bin/umount', ['-q', other]);
    }
  });

  it('keeps no connect waiting beyond its deadline; who connects meanwhile reads what was written', async () => {
    const volume = await written('alice');
    await volume.disconnect(ALICE);
    expect(await volume.connect(BOB, '--timeout', '20')).toMatchObject({ status: 0, body: { verdict: 'healthy' } });
    expect(volume.mounts()).toBe(1);
    await using bob = await User.start();
    await bob.open('file', volume.at('file'));
    await until('Bob reads it', async () => (await bob.read('file')) === 'alice', ENDED_MS);
    await bob.close('file');
    expect((await volume.disconnect(BOB)).body).toMatchObject({ outcome: 'released', mounted: false });
    await ended(volume);
    expect(volume.stored('file')).toBe('alice');
    await forgotten(volume);
  });

  it('loses nothing when connects and disconnects follow each other meanwhile', async () => {
    const volume = await written('alice');
    await volume.disconnect(ALICE);
    for (let round = 0; round < 3; round++) {
      expect(await volume.connect(BOB, '--timeout', '20')).toMatchObject({ status: 0 });
      writeFileSync(volume.at(`round-${round}`), String(round));
      expect((await volume.disconnect(BOB)).body).toMatchObject({ outcome: 'released', mounted: false });
    }
    await ended(volume);
    expect(['file', 'round-0', 'round-1', 'round-2'].map((file) => volume.stored(file))).toEqual([
      'alice',
      '0',
      '1',
      '2',
    ]);
    await forgotten(volume);
  });

  it.each(['agent', 'broker'] as const)('loses nothing when the %s is killed meanwhile', async (who) => {
    const volume = await written('alice');
    await volume.disconnect(ALICE);
    await host.kill(who);
    await ended(volume);
    expect(volume.stored('file')).toBe('alice');
    await forgotten(volume);
  });
});

describe('a client that writes back, which nobody has unmounted properly,', () => {
  it('loses nothing when somebody else unmounted the volume and the next consumer connects', async () => {
    const volume = await written('alice');
    expect((await run('/bin/umount', [volume.mountpoint])).status).toBe(0);
    expect(await volume.connect(BOB, '--timeout', '20')).toMatchObject({ status: 0, body: { verdict: 'healthy' } });
    await until('it is stored', () => volume.stored('file') === 'alice', ENDED_MS);
    await volume.disconnect(ALICE);
    expect((await volume.disconnect(BOB)).body['outcome']).toBe('released');
    await ended(volume);
    await forgotten(volume);
  });

  it('loses nothing when its connection is cut and the dead mount is taken away', async () => {
    const volume = await written('alice');
    await host.sandbox('fault', volume.name, 'server-dies');
    expect((await volume.disconnect(ALICE)).body).toMatchObject({ outcome: 'released', mounted: false });
    await ended(volume);
    expect(volume.stored('file')).toBe('alice');
    await forgotten(volume);
  });

  it('loses nothing when its connection is cut and the dead mount is replaced', async () => {
    const volume = await written('alice');
    await host.sandbox('fault', volume.name, 'server-dies');
    expect(await volume.connect(BOB, '--timeout', '20')).toMatchObject({ status: 0, body: { verdict: 'healthy' } });
    await until('it is stored', () => volume.stored('file') === 'alice', ENDED_MS);
    await volume.disconnect(ALICE);
    expect((await volume.disconnect(BOB)).body['outcome']).toBe('released');
    await ended(volume);
    await forgotten(volume);
  });
});
