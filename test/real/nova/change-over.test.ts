// A host changes over from Nova's own driver to Fairlead's and back again, in place: the same base, the same leaves, no unmount, and a
// process that holds a disk open reads on all the while.

import { chmodSync, chownSync, closeSync, mkdirSync, openSync, readFileSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Host, leafOfUrl, mountTable } from '../../rig/host.js';
import { Compute, instanceOf, recordOf, whyNoNova } from '../../rig/nova/compute.js';
import { until } from '../../rig/until.js';

/** The user of nova-compute on the host that is changed over. */
const NOVA_UID = 4243;
const ALICE = instanceOf(1);
const BOB = instanceOf(2);
const fine = { error: null, text: '' };

describe.each(['26', '34'] as const)('with Nova %s', (version) => {
  const why = whyNoNova(version);
  describe.skipIf(why !== null)(why === null ? 'here' : `(skipped: ${why})`, () => {
    let host: Host;
    let base: string;
    let own: Compute;
    let ours: Compute;

    beforeAll(async () => {
      host = await Host.prepare();
      // As Nova's package leaves it: its own directory, of its own user.
      base = join(host.dir, 'nova/mnt');
      mkdirSync(base, { recursive: true });
      for (const directory of [join(host.dir, 'nova'), base]) {
        chownSync(directory, NOVA_UID, NOVA_UID);
        chmodSync(directory, 0o755);
      }
      const toml = readFileSync(host.configFile, 'utf8');
      const changed = toml.replace(host.quobyteBase, base);
      writeFileSync(host.configFile, `trusted_base_owners = [${NOVA_UID}]\n${changed}`);
      const common = { version, manner: 'threads', lockPath: join(host.dir, 'locks') } as const;
      own = await Compute.start({ ...common, driver: 'nova', mountBase: base, bin: join(host.dir, 'bin') });
      ours = await Compute.start({
        ...common,
        driver: 'fairlead',
        fairlead: { socket: host.socket, connect_timeout: 10, disconnect_timeout: 10 },
      });
    });
    afterAll(async () => {
      await own[Symbol.asyncDispose]();
      await ours[Symbol.asyncDispose]();
      await host.shutDown();
    });

    /** The lines of the mount table at a volume's leaf: a mount that was made again is another device. */
    const mountsAt = (url: string): readonly string[] =>
      mountTable()
        .filter(({ mountPoint }) => mountPoint === join(base, leafOfUrl(url)))
        .map(({ dev, source }) => `${dev} ${source}`);
    const reads = (descriptor: number): string => {
      const bytes = Buffer.alloc(64);
      return bytes.toString('utf8', 0, readSync(descriptor, bytes, 0, 64, 0));
    };

    it('there and back, each disk stays readable and each volume mounted, until the last disconnect', async () => {
      const url = await host.volume('moving');
      const record = recordOf(url, 'disk-1');
      const disk = join(base, leafOfUrl(url), 'disk-1');

      // Nova's own driver has the volume.
      expect(own.facts.driver).toBe('nova.virt.libvirt.volume.quobyte');
      expect(await own.one('connect', record, ALICE)).toMatchObject(fine);
      writeFileSync(disk, 'a guest reads this');
      const guest = openSync(disk, 'r');
      const mounted = mountsAt(url);
      expect(mounted).toHaveLength(1);

      // Fairlead comes, and finds it.
      await host.up();
      expect((await host.ask('ls')).body['mounts']).toMatchObject([
        { leaf: leafOfUrl(url), state: 'mounted', hold: 'inherited', attachments: [] },
      ]);
      // An instance that was running is detached from what it never connected by Fairlead: the hold keeps the mount.
      expect(await ours.one('disconnect', record, BOB)).toMatchObject(fine);
      expect(await ours.one('connect', record, ALICE)).toMatchObject(fine);
      expect(mountsAt(url)).toEqual(mounted);
      expect(reads(guest)).toBe('a guest reads this');
      expect((await ours.one('describe', record, ALICE)).result).toEqual(
        (await own.one('describe', record, ALICE)).result,
      );
      expect(await ours.one('disconnect', record, ALICE)).toMatchObject(fine);
      expect(mountsAt(url)).toEqual(mounted);
      expect(await ours.one('connect', record, ALICE)).toMatchObject(fine);

      // Fairlead goes, and Nova's own driver finds it again.
      expect(await host.down()).toBe(0);
      expect(await own.one('connect', record, ALICE)).toMatchObject(fine);
      expect(mountsAt(url)).toEqual(mounted);
      expect(reads(guest)).toBe('a guest reads this');
      closeSync(guest);
      expect(await own.one('disconnect', record, ALICE)).toMatchObject(fine);
      expect(mountsAt(url)).toEqual([]);

      // What Nova's driver took away meanwhile is no mount any more; the hold is the operator's to lift, or the evidence's.
      await host.up();
      expect(await ours.one('disconnect', record, ALICE)).toMatchObject(fine);
      expect((await host.ask('ls')).body['mounts']).toMatchObject([{ state: 'vanished', attachments: [] }]);
      expect((await host.ask('lift-hold', leafOfUrl(url))).status).toBe(0);
      await until('nothing is left', async () => ((await host.ask('ls')).body['mounts'] as unknown[]).length === 0);
      expect(mountsAt(url)).toEqual([]);
      expect(await host.down()).toBe(0);
    });

    it('a volume of Fairlead’s is Nova’s to unmount when Fairlead is taken out', async () => {
      await host.up();
      const url = await host.volume('leaving');
      const record = recordOf(url, 'disk-1');
      expect(await ours.one('connect', record, ALICE)).toMatchObject(fine);
      writeFileSync(join(base, leafOfUrl(url), 'disk-1'), 'kept');
      expect(await host.down()).toBe(0);
      expect(mountsAt(url)).toHaveLength(1);
      expect(await own.one('connect', record, ALICE)).toMatchObject(fine);
      expect(mountsAt(url)).toHaveLength(1);
      expect(await own.one('disconnect', record, ALICE)).toMatchObject(fine);
      expect(mountsAt(url)).toEqual([]);
      // The empty leaf that stays is no obstacle to either.
      expect(await own.one('connect', record, ALICE)).toMatchObject(fine);
      expect(readFileSync(join(base, leafOfUrl(url), 'disk-1'), 'utf8')).toBe('kept');
      expect(await own.one('disconnect', record, ALICE)).toMatchObject(fine);
      await host.up();
      await ours.one('disconnect', record, ALICE);
      expect(await ours.one('connect', record, BOB)).toMatchObject(fine);
      expect(await ours.one('disconnect', record, BOB)).toMatchObject(fine);
      expect(mountsAt(url)).toEqual([]);
      expect(await host.down()).toBe(0);
    });
  });
});
