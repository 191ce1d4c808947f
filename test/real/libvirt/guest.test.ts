// A real Linux guest in a real QEMU of a real libvirtd, and disks of a sandbox volume: what the guest itself sees and does, while
// Fairlead, the hypervisor and the volume have their good and bad days.

import { closeSync, openSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BLOCK, digestOf, filling, Guest } from '../../rig/guest/guest.js';
import { makeGuestImage, whyNoGuest, type GuestImage } from '../../rig/guest/image.js';
import { Host } from '../../rig/host.js';
import { Libvirtd } from '../../rig/libvirt.js';
import { until } from '../../rig/until.js';

const why = whyNoGuest();
/** Blocks of a disk when it is made. */
const SIZE = 256;

describe.skipIf(why !== null)(`a guest${why === null ? '' : ` (skipped: ${why})`}`, () => {
  let libvirtd: Libvirtd;
  let host: Host;
  let image: GuestImage;
  let one: Guest;

  beforeAll(async () => {
    libvirtd = await Libvirtd.start();
    host = await Host.boot();
    image = makeGuestImage(host.dir);
    one = await Guest.define({
      name: 'one',
      uuid: '7c9e6679-7425-40de-944b-e07fc1f90ae7',
      libvirtd,
      image,
      directory: host.dir,
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

      await libvirtd.virsh('blockresize', one.name, target, `${2 * SIZE * BLOCK}b`);
      if (bus === 'scsi') await one.rescan(disk.name);
      await until('the guest sees the new size', async () =>
        (await one.disks()).some(({ name, bytes }) => name === disk.name && bytes === 2 * SIZE * BLOCK),
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
});
