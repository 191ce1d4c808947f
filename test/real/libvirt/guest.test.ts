// A real Linux guest in a real QEMU of a real libvirtd, and disks of a sandbox volume: what the guest itself sees and does, while
// Fairlead, the hypervisor process and the volumes have their good and bad days.

import { closeSync, openSync, readFileSync, readSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BLOCK, digestOf, filling, Guest } from '../../rig/guest/guest.js';
import { makeGuestImage, whyNoGuest } from '../../rig/guest/image.js';
import { Host, leafOfUrl, type Answer } from '../../rig/host.js';
import { Libvirtd } from '../../rig/libvirt.js';
import { until } from '../../rig/until.js';

const why = whyNoGuest();
/** Milliseconds for what comes by itself, on a busy machine. */
const SOON_MS = 30_000;
/** Blocks of a disk when it is made. */
const SIZE = 256;
/** Bytes of a disk that was grown. */
const GROWN = 2 * SIZE * BLOCK;
/** Evidence soon and often. */
const EVIDENCE = `
[libvirt]
survey_interval = "1s"
evidence_age = "2s"
`;

describe.skipIf(why !== null)(`a guest${why === null ? '' : ` (skipped: ${why})`}`, () => {
  let libvirtd: Libvirtd;
  let host: Host;
  let one: Guest;
  /** A guest whose kernel does not know PCI hot-plug: it never lets go of a virtio disk, and finds a new one only when it boots. */
  let stubborn: Guest;

  beforeAll(async () => {
    libvirtd = await Libvirtd.start();
    host = await Host.boot({ configure: (toml) => `${toml}${EVIDENCE}` });
    const image = makeGuestImage(host.dir);
    const parts = { libvirtd, image, directory: host.dir };
    one = await Guest.define({ ...parts, name: 'one', uuid: '7c9e6679-7425-40de-944b-e07fc1f90ae7' });
    stubborn = await Guest.define({
      ...parts,
      name: 'stubborn',
      uuid: '550e8400-e29b-41d4-a716-446655440000',
      kernelWords: 'acpiphp.disable=1',
    });
    await one.start();
  });
  afterAll(async () => {
    await libvirtd.shutDown();
    await host.shutDown();
  });

  /** The digest of blocks of a file as the host reads them now. */
  const onHost = (path: string, block: number, count: number): string => {
    const bytes = Buffer.alloc(count * BLOCK);
    const file = openSync(path, 'r');
    try {
      expect(readSync(file, bytes, 0, bytes.length, block * BLOCK)).toBe(bytes.length);
    } finally {
      closeSync(file);
    }
    return digestOf(bytes);
  };

  describe.each([
    { bus: 'virtio', target: 'vdb' },
    { bus: 'scsi', target: 'sdb' },
  ])('without the vm commands, on the bus $bus', ({ bus, target }) => {
    it('gets a disk that disk-config described, reads what the host wrote, writes, grows it and loses it', async () => {
      const url = await host.volume(`by-hand-${bus}`);
      const consumer = `vm:${one.uuid}`;
      const connected = await host.ask('connect', url, '--disk', 'disk', '--consumer', consumer);
      expect(connected).toMatchObject({ status: 0, body: { verdict: 'healthy' } });
      const path = String(connected.body['path']);
      writeFileSync(path, filling(SIZE, 'written-by-the-host'));
      const words = ['disk-config', url, '--disk', 'disk', '--target', target, '--bus', bus, '--xml'];
      const xml = join(host.dir, `${target}.xml`);
      writeFileSync(xml, (await host.fairlead(words)).stdout);

      const before = await one.disks();
      await libvirtd.virsh('attach-device', one.name, xml, '--live');
      const disk = await one.newDisk(before);
      expect(disk).toMatchObject({ bytes: SIZE * BLOCK, readOnly: false });
      expect(await one.digest(disk.name, 0, SIZE)).toBe(digestOf(filling(SIZE, 'written-by-the-host')));
      await one.fill(disk.name, 3, 5, 'written-by-the-guest');
      expect(onHost(path, 3, 5)).toBe(digestOf(filling(5, 'written-by-the-guest')));
      expect(onHost(path, 0, 1)).toBe(digestOf(filling(1, 'written-by-the-host')));

      await libvirtd.virsh('blockresize', one.name, target, `${GROWN}b`);
      if (bus === 'scsi') await one.rescan(disk.name);
      await until('the guest sees the new size', async () =>
        (await one.disks()).some(({ name, bytes }) => name === disk.name && bytes === GROWN),
      );
      await libvirtd.virsh('detach-device', one.name, xml, '--live');
      await until('the disk is gone', async () => (await one.disks()).length === before.length);
      expect(await one.complaints()).toBe(0);
      expect(await host.ask('disconnect', url, '--disk', 'disk', '--consumer', consumer)).toMatchObject({
        status: 0,
        body: { outcome: 'released', mounted: false },
      });
    });
  });

  const vm = (...words: string[]): Promise<Answer> => host.ask('vm', ...words);
  const attach = (guest: Guest, url: string, disk: string, ...more: string[]): Promise<Answer> =>
    vm('attach', guest.name, url, '--disk', disk, ...more);
  const detach = (guest: Guest, url: string, disk: string, ...more: string[]): Promise<Answer> =>
    vm('detach', guest.name, url, '--disk', disk, ...more);

  interface Listed {
    readonly url: string | null;
    readonly attachments: readonly { consumer: string; disk: string | null; orphan: string | null }[];
  }
  /** Who uses a volume, as `ls` shows it. */
  const usersOf = async (url: string): Promise<Listed['attachments']> => {
    const { body } = await host.ask('ls');
    return (body['mounts'] as readonly Listed[]).find((mount) => mount.url === url)?.attachments ?? [];
  };
  /** The guest's disks in a volume, as `vm ls` shows them. */
  const listed = async (url: string): Promise<readonly Record<string, unknown>[]> => {
    const { body } = await vm('ls');
    return (body['disks'] as readonly Record<string, unknown>[]).filter((disk) => disk['url'] === url);
  };
  /** A volume with one file that the host wrote, by an attachment of the host's own. */
  const written = async (name: string, disk: string, word: string): Promise<string> => {
    const url = await host.volume(name);
    const { body } = await host.ask('connect', url, '--disk', disk, '--consumer', 'cli:host');
    writeFileSync(String(body['path']), filling(SIZE, word));
    return url;
  };
  const letGo = (url: string, disk: string): Promise<Answer> =>
    host.ask('disconnect', url, '--disk', disk, '--consumer', 'cli:host');
  /** The guest has a disk of this size. */
  const sees = (guest: Guest, disk: string, bytes: number): Promise<unknown> =>
    until(
      `${guest.name} sees ${bytes} bytes`,
      async () => (await guest.disks()).some((now) => now.name === disk && now.bytes === bytes),
      SOON_MS,
    );
  /** The guest's writes go on: more of them have succeeded than had, and none has failed. */
  const writesGoOn = async (guest: Guest): Promise<void> => {
    const { good } = await guest.churned();
    await until('the guest writes on', async () => (await guest.churned()).good > good + 3, SOON_MS);
    expect((await guest.churned()).bad).toBe(0);
  };

  it('reads what the host wrote, writes what the host reads, grows, and loses its disk, by one command each', async () => {
    const url = await written('plain', 'disk', 'from-the-host');
    const before = await one.disks();
    const attached = await attach(one, url, 'disk');
    expect(attached).toMatchObject({ status: 0, body: { changed: true, created: false, domain: { uuid: one.uuid } } });
    const { path, target } = attached.body as { path: string; target: string };
    const disk = await one.newDisk(before);
    expect(await one.digest(disk.name, 0, SIZE)).toBe(digestOf(filling(SIZE, 'from-the-host')));
    await one.fill(disk.name, 7, 3, 'from-the-guest');
    expect(onHost(path, 7, 3)).toBe(digestOf(filling(3, 'from-the-guest')));

    expect(await attach(one, url, 'disk')).toMatchObject({ status: 0, body: { changed: false, target } });
    expect(await vm('extend', one.name, target, String(GROWN))).toMatchObject({
      status: 0,
      body: { bytes: GROWN, changed: true, by: 'hypervisor' },
    });
    await sees(one, disk.name, GROWN);
    await one.fill(disk.name, 2 * SIZE - 1, 1, 'at-the-new-end');
    expect(onHost(path, 2 * SIZE - 1, 1)).toBe(digestOf(filling(1, 'at-the-new-end')));

    expect(await listed(url)).toMatchObject([{ disk: 'disk', target, live: true, persistent: false }]);
    expect(await vm('detach', one.name, target)).toMatchObject({ status: 0, body: { changed: true, target } });
    expect(await one.disks()).toEqual(before);
    expect(await detach(one, url, 'disk')).toMatchObject({
      status: 0,
      body: { outcome: 'not-connected', changed: false },
    });
    expect(await letGo(url, 'disk')).toMatchObject({ body: { outcome: 'released', mounted: false } });
  });

  it('never notices that agent, broker and hypervisor process are killed, and its disk is known afterwards', async () => {
    const url = await host.volume('killed');
    const before = await one.disks();
    expect(await attach(one, url, 'disk', '--create', '1M')).toMatchObject({ status: 0, body: { created: true } });
    const disk = await one.newDisk(before);
    await one.churn(disk.name, 5);
    await writesGoOn(one);
    for (const who of ['agent', 'broker', 'hypervisor'] as const) {
      await host.kill(who);
      await writesGoOn(one);
    }
    await host.crash();
    await writesGoOn(one);
    await host.up();
    await until(
      'its disk is known',
      async () => (await listed(url)).some(({ attachment }) => attachment !== null),
      SOON_MS,
    );
    expect(await usersOf(url)).toMatchObject([{ consumer: `vm:${one.uuid}`, disk: 'disk' }]);
    await writesGoOn(one);
    const { good, bad } = await one.calm();
    expect(bad).toBe(0);
    expect(await one.digest(disk.name, 5, 1)).toBe(digestOf(Buffer.from(`${`churn ${good}`.padEnd(BLOCK - 1)}\n`)));
    expect(await detach(one, url, 'disk')).toMatchObject({ status: 0, body: { outcome: 'released', mounted: false } });
    expect(await one.disks()).toEqual(before);
  });

  it('gets a disk that it can only read', async () => {
    const url = await written('read-only', 'disk', 'only-to-read');
    const before = await one.disks();
    expect(await attach(one, url, 'disk', '--read-only')).toMatchObject({ status: 0 });
    const disk = await one.newDisk(before);
    expect(disk.readOnly).toBe(true);
    expect(await one.digest(disk.name, 0, SIZE)).toBe(digestOf(filling(SIZE, 'only-to-read')));
    await expect(one.fill(disk.name, 0, 1, 'no')).rejects.toThrow('the guest says no');
    await detach(one, url, 'disk');
    await letGo(url, 'disk');
  });

  it.each([
    { format: 'qcow2', bus: 'virtio' },
    { format: 'raw', bus: 'scsi' },
  ])('gets a new $format disk on the bus $bus, writes it, and sees it grow', async ({ format, bus }) => {
    const url = await host.volume(`made-${format}`);
    const before = await one.disks();
    const words = ['--create', '1M', '--format', format, '--bus', bus];
    const attached = await attach(one, url, 'disk', ...words);
    expect(attached).toMatchObject({ status: 0, body: { created: true } });
    const disk = await one.newDisk(before);
    expect(disk.bytes).toBe(SIZE * BLOCK);
    await one.fill(disk.name, 1, 9, 'remembered');
    expect(await vm('extend', one.name, String(attached.body['target']), String(GROWN))).toMatchObject({ status: 0 });
    if (bus === 'scsi') await one.rescan(disk.name);
    await sees(one, disk.name, GROWN);
    expect(await one.digest(disk.name, 1, 9)).toBe(digestOf(filling(9, 'remembered')));
    expect(await detach(one, url, 'disk')).toMatchObject({ status: 0, body: { outcome: 'released', mounted: false } });
    expect(await one.disks()).toEqual(before);
  });

  it('keeps a disk that it was given for good over its own end; one that cannot let go of it is not made to', async () => {
    const url = await host.volume('for-good');
    expect(await attach(stubborn, url, 'disk', '--create', '1M')).toMatchObject({
      status: 2,
      error: { code: 'invalid-argument', field: 'persistent' },
    });
    const attached = await attach(stubborn, url, 'disk', '--create', '1M', '--persistent');
    expect(attached).toMatchObject({ status: 0, body: { changed: true } });
    await stubborn.start();
    const [disk] = await stubborn.disks();
    expect(disk?.bytes).toBe(SIZE * BLOCK);
    await stubborn.fill(disk?.name ?? '', 0, 2, 'kept');
    await stubborn.destroy();
    await stubborn.start();
    expect(await stubborn.digest(disk?.name ?? '', 0, 2)).toBe(digestOf(filling(2, 'kept')));

    // What it refuses answers so, and the attachment stays.
    expect(await detach(stubborn, url, 'disk', '--timeout', '8')).toMatchObject({ status: 6, error: { code: 'busy' } });
    expect(await usersOf(url)).toMatchObject([{ consumer: `vm:${stubborn.uuid}`, disk: 'disk' }]);
    await stubborn.fill(disk?.name ?? '', 0, 2, 'still-kept');
    await stubborn.powerOff();
    const { target, path } = attached.body as { target: string; path: string };
    expect(await vm('extend', stubborn.name, target, String(GROWN))).toMatchObject({
      status: 0,
      body: { by: 'image' },
    });
    expect(statSync(path).size).toBe(GROWN);
    expect(await detach(stubborn, url, 'disk')).toMatchObject({ status: 0, body: { outcome: 'released' } });
    expect(await listed(url)).toEqual([]);
  });

  it('lets go late when it was suspended: the detach is busy at first and done when it is said again', async () => {
    const url = await host.volume('late');
    const before = await one.disks();
    expect(await attach(one, url, 'disk', '--create', '1M')).toMatchObject({ status: 0 });
    await one.newDisk(before);
    await libvirtd.virsh('suspend', one.name);
    expect(await detach(one, url, 'disk', '--timeout', '8')).toMatchObject({ status: 6, error: { code: 'busy' } });
    await libvirtd.virsh('resume', one.name);
    await until('the guest has let go', async () => (await one.disks()).length === before.length, SOON_MS);
    expect(await detach(one, url, 'disk')).toMatchObject({ status: 0, body: { outcome: 'released', mounted: false } });
  });

  it('keeps reading its disk when another guest of the same volume loses its own', async () => {
    const url = await host.volume('common');
    await stubborn.start();
    // On the SCSI bus, which needs no hot-plug of PCI.
    for (const guest of [one, stubborn]) {
      const before = await guest.disks();
      expect(await attach(guest, url, guest.name, '--create', '1M', '--bus', 'scsi')).toMatchObject({ status: 0 });
      const disk = await guest.newDisk(before);
      await guest.fill(disk.name, 0, 4, guest.name);
    }
    expect(await detach(one, url, 'one')).toMatchObject({ body: { outcome: 'still-used', mounted: true } });
    const [disk] = await stubborn.disks();
    expect(await stubborn.digest(disk?.name ?? '', 0, 4)).toBe(digestOf(filling(4, 'stubborn')));
    expect(await detach(stubborn, url, 'stubborn')).toMatchObject({ body: { outcome: 'released', mounted: false } });
    await stubborn.powerOff();
  });

  it('waits while its volume hangs, with its other disks at work, and goes on when the volume does', async () => {
    const [hanging, sound] = [await host.volume('hanging'), await host.volume('sound')];
    const before = await one.disks();
    expect(await attach(one, hanging, 'disk', '--create', '1M')).toMatchObject({ status: 0 });
    const slow = await one.newDisk(before);
    const beforeIdle = await one.disks();
    expect(await attach(one, hanging, 'idle', '--create', '1M')).toMatchObject({ status: 0 });
    await one.newDisk(beforeIdle);
    await one.churn(slow.name, 0);
    await writesGoOn(one);
    await host.sandbox('fault', 'hanging', 'hang-unanswered');
    // A guest lets go of an idle disk at once, and then QEMU would wait for the volume, and with it everything in the guest.
    expect(await detach(one, hanging, 'idle')).toMatchObject({ error: { code: 'hung' } });
    const atFirst = await one.disks();
    const attached = await attach(one, sound, 'disk', '--create', '1M');
    expect(attached).toMatchObject({ status: 0 });
    const quick = await one.newDisk(atFirst);
    await one.fill(quick.name, 0, 4, 'meanwhile');
    expect(await vm('extend', one.name, String(attached.body['target']), String(GROWN))).toMatchObject({ status: 0 });
    await sees(one, quick.name, GROWN);
    expect(await host.ask('validate', hanging)).toMatchObject({ body: { verdict: 'hung' } });
    expect((await vm('ls')).status).toBe(0);
    expect(await detach(one, sound, 'disk')).toMatchObject({ status: 0, body: { outcome: 'released' } });
    await host.sandbox('heal', 'hanging');
    await writesGoOn(one);
    expect((await one.calm()).bad).toBe(0);
    expect(await detach(one, hanging, 'idle')).toMatchObject({ status: 0, body: { outcome: 'still-used' } });
    expect(await detach(one, hanging, 'disk')).toMatchObject({ status: 0, body: { outcome: 'released' } });
    expect(await one.disks()).toEqual(before);
    expect(await one.complaints()).toBe(0);
  });

  it('gets errors instead of waiting when the operator aborts a hung mount, and a sound disk by detach and attach', async () => {
    const url = await host.volume('aborted');
    const before = await one.disks();
    expect(await attach(one, url, 'disk', '--create', '1M')).toMatchObject({ status: 0 });
    const lost = await one.newDisk(before);
    await one.churn(lost.name, 0);
    await writesGoOn(one);
    await host.sandbox('fault', 'aborted', 'hang-unanswered');
    expect(await host.ask('validate', url)).toMatchObject({ body: { verdict: 'hung' } });
    expect(await host.ask('abort', leafOfUrl(url))).toMatchObject({ status: 0 });
    await until('the guest gets errors', async () => (await one.churned()).bad > 0, SOON_MS);
    await one.calm();
    await host.sandbox('heal', 'aborted');
    expect(await detach(one, url, 'disk')).toMatchObject({ status: 0, body: { changed: true } });
    expect(await one.disks()).toEqual(before);
    expect(await attach(one, url, 'disk')).toMatchObject({ status: 0 });
    const sound = await one.newDisk(before);
    await one.fill(sound.name, 0, 4, 'again');
    expect(await detach(one, url, 'disk')).toMatchObject({ status: 0, body: { outcome: 'released', mounted: false } });
  });

  it('leaves an orphan when it vanishes with its disk, which ls and doctor show and the policy releases', async () => {
    const url = await host.volume('orphaned');
    expect(await attach(stubborn, url, 'disk', '--create', '1M', '--persistent')).toMatchObject({ status: 0 });
    await libvirtd.virsh('undefine', stubborn.name);
    await until(
      'the orphan is shown',
      async () => (await usersOf(url)).some(({ orphan }) => orphan === 'no-domain'),
      SOON_MS,
    );
    const doctor = await host.fairlead(['doctor']);
    expect(doctor.stdout).toMatch(/orphan|no such domain/i);
    await host.down();
    writeFileSync(host.configFile, `${readFileSync(host.configFile, 'utf8')}orphans = "release"\n`);
    await host.up();
    await until('the policy has released it', async () => (await usersOf(url)).length === 0, SOON_MS);
    await until('its volume is unmounted', () => host.mounts().length === 0, SOON_MS);
  });

  it('leaves nothing behind: no disk, no mount, no attachment', async () => {
    expect(await one.disks()).toEqual([]);
    expect((await host.ask('ls')).body['mounts']).toEqual([]);
    expect((await vm('ls')).body['disks']).toEqual([]);
    expect(host.mounts()).toEqual([]);
    await one.powerOff();
  });
});
