// Evidence from a real libvirt: domains whose disks other tools have renamed or moved keep their volumes, and whoever
// lifts a hold is told who uses the mount. Domains sit in their BIOS; a stopped one has nothing open, so that only
// its description tells of it.

import { chmodSync, closeSync, existsSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Host, leafOfUrl, type Answer } from '../../rig/host.js';
import { lacksLibvirt, Libvirtd } from '../../rig/libvirt.js';
import { run } from '../../rig/programs.js';
import { until } from '../../rig/until.js';

/** Evidence soon and often, and everything is done that it permits, except that holds are for the operator. */
const EVIDENCE = `
[libvirt]
survey_interval = "1s"
evidence_age = "2s"
orphans = "release"
lift_holds = "operator"
`;
/** Milliseconds for what comes by itself, on a busy machine. */
const SOON_MS = 60_000;
const NOBODY = 'vm:00000000-1111-2222-3333-444444444444';

interface Mount {
  readonly url: string | null;
  readonly hold: string | null;
  readonly attachments: readonly { readonly consumer: string; readonly disk: string; readonly orphan: string | null }[];
}

const why = lacksLibvirt();
describe.skipIf(why !== null)(`evidence${why === null ? '' : ` (skipped: ${why})`}`, () => {
  let libvirtd: Libvirtd;
  let host: Host;
  let made = 0;
  beforeAll(async () => {
    libvirtd = await Libvirtd.start();
    host = await Host.boot({ configure: (toml) => `${toml}${EVIDENCE}` });
    chmodSync(host.dir, 0o755);
  });
  afterAll(async () => {
    await libvirtd.shutDown();
    await host.shutDown();
  });

  const mountOf = async (url: string): Promise<Mount | undefined> =>
    ((await host.ask('ls')).body['mounts'] as readonly Mount[]).find((mount) => mount.url === url);
  const mounted = (url: string): boolean => host.mounts().some(({ mountPoint }) => mountPoint.endsWith(leafOfUrl(url)));
  const inLeaf = (url: string, file: string): string => join(host.quobyteBase, leafOfUrl(url), file);

  /** Waits until evidence that begins now has had all the consequences that it can: the orphan of nobody is gone. */
  async function evidenceIsDrawn(): Promise<void> {
    const url = await host.volume(`of-nobody-${(made += 1)}`);
    expect((await host.ask('connect', url, '--disk', 'x', '--consumer', NOBODY)).status).toBe(0);
    await until('the attachment of nobody is released', async () => (await mountOf(url)) === undefined, SOON_MS);
  }

  /** A domain with a qcow2 of a volume of its own, attached by Fairlead, at its next start too. */
  async function withDisk(name: string, life: 'running' | 'stopped'): Promise<{ url: string; uuid: string }> {
    const uuid = life === 'running' ? await libvirtd.boot({ name }) : await libvirtd.define({ name });
    const url = await host.volume(name);
    const words = ['--disk', 'disk', '--create', '4M', '--format', 'qcow2', '--bus', 'scsi', '--persistent'];
    const attached = await host.ask('vm', 'attach', name, url, ...words);
    expect(attached).toMatchObject({ status: 0, body: { created: true, target: 'sdb' } });
    return { url, uuid };
  }

  /** The volume is still the domain's, and nobody calls it an orphan. */
  async function isKept(url: string, uuid: string): Promise<void> {
    expect(mounted(url)).toBe(true);
    expect((await mountOf(url))?.attachments).toMatchObject([{ consumer: `vm:${uuid}`, disk: 'disk', orphan: null }]);
    const { body } = await host.ask('vm', 'ls');
    expect((body['orphans'] as readonly { url: string }[]).filter((one) => one.url === url)).toEqual([]);
  }

  test('a stopped guest keeps its volume after a snapshot and a block pull have renamed its disk', async () => {
    const { url, uuid } = await withDisk('renamed', 'running');
    const renamed = inLeaf(url, 'disk.snap');
    const snapshot = ['--disk-only', '--no-metadata', '--diskspec', `sdb,file=${renamed}`];
    await libvirtd.virsh('snapshot-create-as', 'renamed', 's', ...snapshot);
    await libvirtd.virsh('blockpull', 'renamed', 'sdb', '--wait');
    await libvirtd.virsh('destroy', 'renamed');
    const xml = await libvirtd.virsh('dumpxml', 'renamed');
    expect([xml.includes(renamed), xml.includes(`'${inLeaf(url, 'disk')}'`)]).toEqual([true, false]);
    await evidenceIsDrawn();
    await isKept(url, uuid);
    // Nor does an operator end it by mistake.
    const detached = await host.ask('vm', 'detach', 'renamed', url, '--disk', 'disk');
    expect([detached.error?.code, detached.error?.message]).toEqual([
      'busy',
      expect.stringContaining('disk.snap') as string,
    ]);
    await isKept(url, uuid);
    await libvirtd.virsh('start', 'renamed');
    expect(await libvirtd.virsh('domblklist', 'renamed')).toContain(renamed);
    await libvirtd.virsh('destroy', 'renamed');

    // What it does not name any more, it loses.
    await libvirtd.virsh('detach-disk', 'renamed', 'sdb', '--config');
    await until('its attachment is released', async () => (await mountOf(url)) === undefined, SOON_MS);
    expect(mounted(url)).toBe(false);
  });

  test.each([
    ['and libvirt remembers it', []],
    ['and nobody wrote that down', ['snapshot-delete', '--snapshotname', 's', '--metadata', '--domain']],
  ])('a stopped guest keeps the volume that its overlay elsewhere rests on, %s', async (_, forget) => {
    const name = `overlaid-${(made += 1)}`;
    const uuid = `00000000-0000-4000-8000-00000000000${made}`;
    const url = await host.volume(name);
    expect((await host.ask('connect', url, '--disk', 'disk', '--consumer', `vm:${uuid}`)).status).toBe(0);
    const image = inLeaf(url, 'disk');
    expect((await run('/usr/bin/qemu-img', ['create', '-q', '-f', 'qcow2', image, '4M'])).stderr).toBe('');
    chmodSync(image, 0o666);
    const source = `<driver name='qemu' type='qcow2'/><source file='${image}'/>`;
    await libvirtd.define({ name, uuid, devices: `<disk type='file'>${source}<target dev='sda' bus='scsi'/></disk>` });
    const overlay = `/var/lib/libvirt/${name}.overlay`;
    await libvirtd.virsh('snapshot-create-as', name, 's', '--disk-only', '--diskspec', `sda,file=${overlay}`);
    if (forget.length > 0) await libvirtd.virsh(...forget, name);
    const xml = await libvirtd.virsh('dumpxml', name);
    expect([xml.includes(overlay), xml.includes(leafOfUrl(url))]).toEqual([true, false]);
    await evidenceIsDrawn();
    await isKept(url, uuid);
  });

  describe('the hold of a mount that was found without a record', () => {
    let url: string;
    let leaf: string;
    beforeAll(async () => {
      ({ url } = await withDisk('forgotten', 'stopped'));
      leaf = leafOfUrl(url);
      await host.down();
      rmSync(join(host.dir, 'fairlead/state'), { recursive: true });
      await host.up();
    });
    const lift = (...more: string[]): Promise<Answer> => host.ask('lift-hold', leaf, ...more);
    const isHeld = async (): Promise<boolean> => (await mountOf(url))?.hold === 'inherited';
    const said = async (): Promise<{ message: string; mend: string } | undefined> => {
      const { body } = await host.ask('doctor');
      return (body['findings'] as { subject: string; message: string; mend: string }[]).find(({ subject }) =>
        subject.includes(leaf),
      );
    };

    test('is not lifted while a stopped domain names a file there, from the first moment on', async () => {
      expect(await lift()).toMatchObject({
        status: 6,
        error: { code: 'busy', message: expect.stringContaining('the stopped domain forgotten (disk)') as string },
      });
      expect([await isHeld(), mounted(url)]).toEqual([true, true]);
      const finding = await said();
      expect(finding?.message).toContain('the stopped domain forgotten (disk)');
      expect(finding?.mend).toContain('Leave the hold');
    });

    test('is not lifted when libvirt cannot be read any more, for all that is known', async () => {
      await libvirtd.down();
      await until('nothing is known', async () => (await host.ask('ls')).body['domains'] === 'unknown', SOON_MS);
      expect((await lift()).error).toMatchObject({ code: 'busy' });
      await libvirtd.up();
      await until('all is known', async () => (await host.ask('ls')).body['domains'] === 'complete', SOON_MS);
    });

    test('is not lifted while a process has a file open there, and is when nobody uses the mount', async () => {
      await libvirtd.virsh('undefine', 'forgotten');
      const open = openSync(inLeaf(url, 'disk'), 'r');
      await until(
        'the domain is forgotten',
        async () => !((await said())?.message.includes('domain') ?? true),
        SOON_MS,
      );
      expect((await said())?.message).toMatch(/In use: .*\(pid \d+, descriptor\)/);
      expect((await lift()).error).toMatchObject({
        code: 'busy',
        message: expect.stringContaining('descriptor') as string,
      });
      closeSync(open);
      expect(await said()).toMatchObject({ mend: `fairlead lift-hold ${leaf}` });
      expect((await lift()).body).toEqual({ lifted: true });
      await until('the mount is gone', () => !mounted(url));
    });

    test('is lifted whoever uses the mount if that is forced', async () => {
      await until('the mount is forgotten', async () => (await mountOf(url)) === undefined, SOON_MS);
      mkdirSync(join(host.quobyteBase, leaf), { mode: 0o700 });
      const helper = join(host.dir, 'bin/mount.quobyte');
      const words = [url.replace('quobyte://', ''), join(host.quobyteBase, leaf)];
      expect(await run(helper, words)).toMatchObject({ status: 0, stderr: '' });
      expect(existsSync(inLeaf(url, 'disk'))).toBe(true);
      await host.down();
      await host.up();
      expect(await isHeld()).toBe(true);
      const devices = `<disk type='file'><source file='${inLeaf(url, 'disk')}'/><target dev='sda' bus='scsi'/></disk>`;
      await libvirtd.define({ name: 'forced', devices });
      await until('it is known', async () => (await said())?.message.includes('domain forced') === true, SOON_MS);
      expect((await lift()).error?.code).toBe('busy');
      expect((await lift('--force')).body).toEqual({ lifted: true });
      await until('the mount is gone', () => !mounted(url));
    });
  });
});
