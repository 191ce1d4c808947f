// Mounts that somebody else has copied, moved or taken away from the leaf while they are used. As long as the kernel has the
// superblock, the client that serves it is not ended: the answer is `releasing`, a new mount is made beside the old one, and
// what is left goes by itself when the last user has gone.

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Host } from '../../rig/host.js';
import { must, run } from '../../rig/programs.js';
import { User } from '../../rig/user.js';
import { until } from '../../rig/until.js';
import { VolumeInUse } from '../../rig/volumes.js';

const ALICE = 'cli:alice';
const BOB = 'cli:bob';
/** Milliseconds within which something goes by itself after its last user. */
const BY_ITSELF_MS = 60_000;

let host: Host;
let count = 0;
beforeAll(async () => {
  host = await Host.boot();
});
afterAll(() => host.shutDown());

/** A volume with a client of its own, connected by Alice, with a file in it. */
async function connected(on = host): Promise<VolumeInUse> {
  const volume = await VolumeInUse.served(on, `copied-${count++}`);
  expect(await volume.connect(ALICE)).toMatchObject({ status: 0 });
  writeFileSync(volume.at('file'), 'before');
  return volume;
}

/** An open file, opened at `path`, still does what it is there for. */
async function works(user: User, name: string): Promise<void> {
  const text = `written ${count++}`;
  await user.write(name, text);
  expect(await user.read(name)).toBe(text);
}

/** So does a directory to which the volume's root is copied. */
async function worksBelow(user: User, directory: string): Promise<void> {
  const text = `written ${count++}`;
  await user.writePath(join(directory, 'file'), text);
  expect(await user.readPath(join(directory, 'file'))).toBe(text);
}

const FORMER = { state: 'releasing' };

/** Nobody has anything any more: the record goes, and so do mounts, leaf and clients, without anybody's help. */
async function allGone(volume: VolumeInUse): Promise<void> {
  await until('the client has ended', () => volume.clients().length === 0, BY_ITSELF_MS);
  await until('ls forgets it', async () => (await volume.listed()) === undefined, BY_ITSELF_MS);
  expect(volume.mounts()).toBe(0);
  expect(existsSync(volume.mountpoint)).toBe(false);
}

describe('a mount with an open file that somebody else detaches (umount -l)', () => {
  it('goes on for who has the file while the next consumer gets a mount beside it', async () => {
    const volume = await connected();
    await using user = await User.start();
    await user.open('file', volume.at('file'));
    await must('/bin/umount', '-l', volume.mountpoint);
    expect(await volume.connect(BOB)).toMatchObject({ status: 0, body: { verdict: 'healthy' } });
    expect(volume.mounts()).toBe(1);
    await works(user, 'file');
    await worksBelow(user, volume.mountpoint);
    expect(volume.clients()).toHaveLength(2);
    const listed = await volume.listed();
    expect(listed).toMatchObject({ state: 'mounted', former: [FORMER] });
    expect(listed?.attachments.map(({ consumer }) => consumer).sort()).toEqual([ALICE, BOB]);
    await user.close('file');
    await until(
      'the former mount is forgotten',
      async () => ((await volume.listed())?.former ?? []).length === 0,
      BY_ITSELF_MS,
    );
    await until('its client has ended', () => volume.clients().length === 1, BY_ITSELF_MS);
    await volume.disconnect(ALICE);
    expect((await volume.disconnect(BOB)).body).toMatchObject({ outcome: 'released', mounted: false });
    await allGone(volume);
  });

  it('goes on after the last disconnect too, which answers releasing', async () => {
    const volume = await connected();
    await using user = await User.start();
    await user.open('file', volume.at('file'));
    await must('/bin/umount', '-l', volume.mountpoint);
    const { body } = await volume.disconnect(ALICE);
    await works(user, 'file');
    expect(body).toMatchObject({ outcome: 'releasing', mounted: false });
    expect(await volume.listed()).toMatchObject({ state: 'releasing', attachments: [] });
    await user.close('file');
    await allGone(volume);
  });

  it('goes on when agent and broker start anew and the next consumer connects', async () => {
    const volume = await connected();
    await using user = await User.start();
    await user.open('file', volume.at('file'));
    await must('/bin/umount', '-l', volume.mountpoint);
    await host.crash();
    await host.up();
    expect(await volume.connect(BOB)).toMatchObject({ status: 0, body: { verdict: 'healthy' } });
    await works(user, 'file');
    expect(await volume.listed()).toMatchObject({ former: [FORMER] });
    await volume.disconnect(ALICE);
    expect((await volume.disconnect(BOB)).body).toMatchObject({ outcome: 'releasing', mounted: false });
    await works(user, 'file');
    await user.end();
    await allGone(volume);
  });

  it('goes on when the volume is mounted again unasked (on_vanish = "remount")', async () => {
    await using eager = await Host.boot({
      configure: (toml) => `on_vanish = "remount"\nhealth_interval = "1s"\n${toml}`,
    });
    const volume = await connected(eager);
    await using user = await User.start();
    await user.open('file', volume.at('file'));
    await must('/bin/umount', '-l', volume.mountpoint);
    await until('it is mounted again', () => volume.mounts() === 1, BY_ITSELF_MS);
    await until('and healthy', async () => (await volume.validate()).verdict === 'healthy');
    await works(user, 'file');
    await worksBelow(user, volume.mountpoint);
    expect(await volume.listed()).toMatchObject({ former: [FORMER] });
    await user.end();
    expect((await volume.disconnect(ALICE)).body['mounted']).toBe(false);
    await allGone(volume);
  });
});

describe('a mount that somebody else moves elsewhere', () => {
  it('goes on at its new place while the next consumer gets one at the leaf', async () => {
    const volume = await connected();
    const elsewhere = host.place();
    await using user = await User.start();
    await user.open('file', volume.at('file'));
    await must('/bin/mount', '--move', volume.mountpoint, elsewhere);
    expect(await volume.connect(BOB)).toMatchObject({ status: 0, body: { verdict: 'healthy' } });
    expect(volume.mounts()).toBe(1);
    await works(user, 'file');
    await worksBelow(user, elsewhere);
    await worksBelow(user, volume.mountpoint);
    expect(await volume.listed()).toMatchObject({ former: [FORMER] });
    await volume.disconnect(ALICE);
    expect((await volume.disconnect(BOB)).body).toMatchObject({ outcome: 'releasing', mounted: false });
    expect(volume.mounts()).toBe(0);
    await works(user, 'file');
    await worksBelow(user, elsewhere);
    await user.end();
    await must('/bin/umount', elsewhere);
    await allGone(volume);
  });
});

describe('a mount that somebody else has bound to another place', () => {
  it('is taken from the leaf by the last disconnect, and works on there until it is unmounted', async () => {
    const volume = await connected();
    const copy = host.place();
    await must('/bin/mount', '--bind', volume.mountpoint, copy);
    await using user = await User.start();
    const { body } = await volume.disconnect(ALICE);
    await worksBelow(user, copy);
    expect(body).toMatchObject({ outcome: 'releasing', mounted: false });
    expect((body['holders'] as readonly unknown[]).length).toBeGreaterThan(0);
    expect(volume.mounts()).toBe(0);
    expect(await volume.listed()).toMatchObject({ state: 'releasing', attachments: [] });
    expect((await volume.disconnect(ALICE)).body).toMatchObject({ mounted: false });
    await worksBelow(user, copy);
    await must('/bin/umount', copy);
    await allGone(volume);
  });

  it('works on there when agent and broker start anew', async () => {
    const volume = await connected();
    const copy = host.place();
    await must('/bin/mount', '--bind', volume.mountpoint, copy);
    const { body } = await volume.disconnect(ALICE);
    await host.crash();
    await host.up();
    await using user = await User.start();
    await worksBelow(user, copy);
    expect(body).toMatchObject({ outcome: 'releasing', mounted: false });
    expect(await volume.listed()).toMatchObject({ state: 'releasing', attachments: [] });
    await must('/bin/umount', copy);
    await allGone(volume);
  });
});

describe('a mount that a private mount namespace has a copy of', () => {
  it.each(['with', 'without'])(
    'works on there, %s an open file, by its path too, whoever comes and goes here',
    async (way) => {
      const volume = await connected();
      await using contained = await User.start('private');
      if (way === 'with') await contained.open('file', volume.at('file'));
      const first = await volume.disconnect(ALICE);
      expect(volume.mounts()).toBe(0);
      await worksBelow(contained, volume.mountpoint);
      if (way === 'with') await works(contained, 'file');

      expect(await volume.connect(BOB)).toMatchObject({ status: 0, body: { verdict: 'healthy' } });
      expect(volume.mounts()).toBe(1);
      await worksBelow(contained, volume.mountpoint);
      if (way === 'with') await works(contained, 'file');
      expect(readFileSync(volume.at('file'), 'utf8')).toMatch(/^written /);

      const last = await volume.disconnect(BOB);
      await worksBelow(contained, volume.mountpoint);
      for (const { body } of [first, last]) expect(body).toMatchObject({ outcome: 'releasing', mounted: false });
      expect(await volume.listed()).toMatchObject({ state: 'releasing', attachments: [] });
      await contained.end();
      await allGone(volume);
    },
  );
});

describe('a local volume that a private mount namespace has a copy of', () => {
  it('works on there by its path, whoever comes and goes here', async () => {
    const volume = new VolumeInUse(host, host.localVolume(`copied-${count++}`));
    expect((await volume.connect(ALICE)).status).toBe(0);
    writeFileSync(volume.at('file'), 'before');
    await using contained = await User.start('private');
    expect((await volume.disconnect(ALICE)).body['mounted']).toBe(false);
    await worksBelow(contained, volume.mountpoint);
    expect((await volume.connect(BOB)).status).toBe(0);
    expect((await volume.disconnect(BOB)).body['mounted']).toBe(false);
    await worksBelow(contained, volume.mountpoint);
    expect(volume.mounts()).toBe(0);
    await contained.end();
    await until('the leaf is gone', () => !existsSync(volume.mountpoint), BY_ITSELF_MS);
    await until('ls forgets it', async () => (await volume.listed()) === undefined, BY_ITSELF_MS);
  });
});

describe('a mount that nothing in /proc shows anybody to use', () => {
  it('is not ended while an open file of it is on its way through a socket', async () => {
    const volume = await connected();
    await using user = await User.start();
    await user.open('file', volume.at('file'));
    await user.send('file');
    // Busy, with nobody to name; detached by somebody else, it is not even that.
    expect((await volume.disconnect(ALICE)).body).toMatchObject({ outcome: 'busy', mounted: true });
    await must('/bin/umount', '-l', volume.mountpoint);
    const outcome = (await volume.disconnect(ALICE)).body['outcome'];
    expect(await volume.connect(BOB)).toMatchObject({ status: 0, body: { verdict: 'healthy' } });
    const { body } = await volume.disconnect(BOB);
    await user.receive('file');
    await works(user, 'file');
    expect(outcome).not.toBe('released');
    expect(body).toMatchObject({ outcome: 'releasing', mounted: false });
    await user.close('file');
    await allGone(volume);
  });

  it.skipIf(!existsSync('/dev/loop-control'))('is not ended while a loop device reads from a file of it', async () => {
    const volume = await connected();
    writeFileSync(volume.at('image'), Buffer.alloc(1 << 20, 'image '));
    const device = (await run('/sbin/losetup', ['--find', '--show', volume.at('image')])).stdout.trim();
    expect(device).toMatch(/^\/dev\/loop/);
    try {
      await must('/bin/umount', '-l', volume.mountpoint);
      expect(await volume.connect(BOB)).toMatchObject({ status: 0, body: { verdict: 'healthy' } });
      const read = await run('/bin/dd', [
        `if=${device}`,
        'iflag=direct',
        'bs=4096',
        'count=1',
        'skip=7',
        'status=none',
      ]);
      expect([read.status, read.stderr]).toEqual([0, '']);
      expect(read.stdout).toContain('image image ');
      expect(await volume.listed()).toMatchObject({ former: [FORMER] });
    } finally {
      await run('/sbin/losetup', ['--detach', device]);
    }
    await volume.disconnect(ALICE);
    expect((await volume.disconnect(BOB)).body['mounted']).toBe(false);
    await allGone(volume);
  });

  it('is not ended while a process has a clone of it that is attached nowhere', async () => {
    const volume = await connected();
    await using user = await User.start();
    await user.tree('clone', volume.mountpoint);
    const { body } = await volume.disconnect(ALICE);
    await user.writeIn('clone', 'file', 'through the clone');
    expect(await user.readIn('clone', 'file')).toBe('through the clone');
    expect(body).toMatchObject({ outcome: 'releasing', mounted: false });
    expect(await volume.connect(BOB)).toMatchObject({ status: 0, body: { verdict: 'healthy' } });
    expect(await user.readIn('clone', 'file')).toBe('through the clone');
    expect((await volume.disconnect(BOB)).body).toMatchObject({ outcome: 'releasing', mounted: false });
    expect(await user.readIn('clone', 'file')).toBe('through the clone');
    await user.close('clone');
    await allGone(volume);
  });
});

describe('a mount whose open file is only mapped', () => {
  it('is not ended when somebody else detaches it and the next consumer connects', async () => {
    const volume = await connected();
    writeFileSync(volume.at('mapped'), 'mapped'.padEnd(8192, '.'));
    await using user = await User.start();
    await user.map('memory', volume.at('mapped'));
    await must('/bin/umount', '-l', volume.mountpoint);
    expect(await volume.connect(BOB)).toMatchObject({ status: 0, body: { verdict: 'healthy' } });
    expect(await user.readMapped('memory')).toMatch(/^mapped\.+$/);
    await user.end();
    await volume.disconnect(ALICE);
    expect((await volume.disconnect(BOB)).body['mounted']).toBe(false);
    await allGone(volume);
  });
});
