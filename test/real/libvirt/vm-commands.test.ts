// `fairlead vm …` as an operator says it, against a real libvirtd with domains that sit in their BIOS: such a guest gives back a SCSI disk at
// once and never lets go of a virtio one. What it means for a guest with an operating system is in guest.test.ts.

import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Host, leafOfUrl, type Answer } from '../../rig/host.js';
import { Libvirtd } from '../../rig/libvirt.js';
import { until } from '../../rig/until.js';

interface Listed {
  readonly disks: readonly {
    readonly domain: { readonly name: string };
    readonly target: string;
    readonly disk: string;
    readonly live: boolean;
    readonly persistent: boolean;
    readonly attachment: string | null;
    readonly consumer: string | null;
  }[];
  readonly orphans: readonly { readonly consumer: string; readonly disk: string; readonly why: string }[];
}

let libvirtd: Libvirtd;
let host: Host;
let url: string;
let web: string;
let volumes = 0;

beforeAll(async () => {
  libvirtd = await Libvirtd.start();
  host = await Host.boot();
  web = await libvirtd.boot({ name: 'web' });
  await libvirtd.define({ name: 'off' });
});
afterAll(async () => {
  await host.shutDown();
  await libvirtd.shutDown();
});
beforeEach(async () => {
  volumes += 1;
  url = await host.volume(`volume-${volumes}`);
});
afterEach(async () => {
  await libvirtd.up();
  await libvirtd.tryVirsh('destroy', 'web');
  await libvirtd.tryVirsh('start', 'web');
});

const attach = (domain: string, disk: string, ...more: readonly string[]): Promise<Answer> =>
  host.ask('vm', 'attach', domain, url, '--disk', disk, ...more);
const list = async (): Promise<Listed> => (await host.ask('vm', 'ls')).body as unknown as Listed;
/** Files of this test's volume that domains have: `web sdb disk`. */
async function disks(): Promise<readonly string[]> {
  const all = (await list()).disks.filter(({ attachment }) => attachment !== null);
  return all.map(({ domain, target, disk }) => `${domain.name} ${target} ${disk}`);
}
/** Who is recorded as user of this test's volume. */
async function users(): Promise<readonly string[]> {
  const { body } = await host.ask('ls');
  const { mounts } = body as unknown as {
    readonly mounts: readonly {
      readonly url: string;
      readonly attachments: readonly { readonly consumer: string }[];
    }[];
  };
  return mounts
    .filter((mount) => mount.url === url)
    .flatMap((mount) => mount.attachments.map(({ consumer }) => consumer));
}
const mounted = (): boolean => host.mounts().some(({ mountPoint }) => mountPoint.endsWith(leafOfUrl(url)));
const file = (disk: string): string => join(host.quobyteBase, leafOfUrl(url), disk);

function refused({ status, error }: Answer, code: string, exit: number): string {
  expect([error?.code, status]).toEqual([code, exit]);
  return error?.message ?? '';
}

describe('a running domain', () => {
  test('gets a disk that is made for it, once; it grows while it is there; and it goes, with its mount', async () => {
    const made = await attach('web', 'root.img', '--create', '16M', '--bus', 'scsi');
    expect(made).toMatchObject({
      status: 0,
      body: { target: 'sdb', created: true, changed: true, path: file('root.img') },
    });
    expect(statSync(file('root.img')).size).toBe(16 * 1_048_576);
    expect(await libvirtd.virsh('domblklist', 'web')).toContain(`sdb      ${file('root.img')}`);
    expect((await attach('web', 'root.img', '--bus', 'scsi')).body).toMatchObject({ changed: false, target: 'sdb' });
    expect((await list()).disks).toMatchObject([
      { target: 'sdb', live: true, persistent: false, consumer: `vm:${web}`, disk: 'root.img' },
    ]);

    const grown = await host.ask('vm', 'extend', 'web', 'sdb', '32M');
    expect(grown.body).toMatchObject({ changed: true, by: 'hypervisor', bytes: 32 * 1_048_576 });
    expect(await libvirtd.virsh('domblkinfo', 'web', 'sdb')).toMatch(/Capacity: +33554432\n/);
    expect((await host.ask('vm', 'extend', 'web', 'sdb', '32M')).body).toMatchObject({ changed: false });
    refused(await host.ask('vm', 'extend', 'web', 'sdb', '16M'), 'invalid-argument', 2);

    expect(await host.ask('vm', 'detach', 'web', 'sdb')).toMatchObject({
      status: 0,
      body: { outcome: 'released', mounted: false, target: 'sdb', changed: true },
    });
    expect([await disks(), await users(), mounted()]).toEqual([[], [], false]);
    expect(await libvirtd.virsh('domblklist', 'web')).not.toContain('sdb');
  });

  test('has it at its next start too where that is asked, and loses both', async () => {
    await attach('web', 'd', '--create', '1M', '--bus', 'scsi', '--persistent');
    expect(await libvirtd.virsh('domblklist', 'web', '--inactive')).toContain(file('d'));
    await host.ask('vm', 'detach', 'web', url, '--disk', 'd');
    expect(await libvirtd.virsh('domblklist', 'web', '--inactive')).not.toContain(file('d'));
    expect(mounted()).toBe(false);
  });

  test('keeps a disk that it does not let go of, and its attachment: busy', async () => {
    await attach('web', 'd', '--create', '1M', '--target', 'vdb');
    const message = refused(await host.ask('vm', 'detach', 'web', 'vdb', '--timeout', '4'), 'busy', 6);
    expect(message).toContain('did not release');
    expect([await disks(), await users(), mounted()]).toEqual([['web vdb d'], [`vm:${web}`], true]);
    // When the guest has ended it has let go: then the same words finish it, though the name leads nowhere by now.
    await libvirtd.virsh('destroy', 'web');
    expect((await list()).orphans).toMatchObject([{ consumer: `vm:${web}`, disk: 'd', why: 'unused' }]);
    expect((await host.ask('vm', 'detach', 'web', 'vdb')).body).toMatchObject({ outcome: 'released', changed: false });
    expect(refused(await host.ask('vm', 'detach', 'web', 'vdb'), 'not-found', 3)).toContain('URL and --disk');
  });

  test('gets six at once, each at a target of its own, and two equal requests have the effect of one', async () => {
    const names = ['a', 'b', 'c', 'd', 'e', 'f'];
    const both = [...names, ...names];
    const all = await Promise.all(both.map((name) => attach('web', name, '--create', '1M', '--bus', 'scsi')));
    expect(all.map(({ status }) => status)).toEqual(both.map(() => 0));
    expect(new Set(all.map(({ body }) => body['target'])).size).toBe(6);
    expect(all.filter(({ body }) => body['created'] === true)).toHaveLength(6);
    expect(await users()).toHaveLength(6);
    const gone = await Promise.all(both.map((name) => host.ask('vm', 'detach', 'web', url, '--disk', name)));
    expect(gone.filter(({ status }) => status !== 0)).toEqual([]);
    await until('the mount is gone', () => !mounted());
    expect([await disks(), await users()]).toEqual([[], []]);
  });
});

describe('a stopped domain', () => {
  test('gets a disk for its next start, when that is said; it grows by qemu-img; and it goes', async () => {
    expect(refused(await attach('off', 'd', '--create', '1M'), 'invalid-argument', 2)).toContain('--persistent');
    expect(mounted()).toBe(false);
    expect((await attach('off', 'd', '--create', '1M', '--persistent')).body).toMatchObject({ target: 'vdb' });
    expect((await list()).disks).toMatchObject([{ live: false, persistent: true }]);
    expect((await host.ask('vm', 'extend', 'off', 'vdb', '2M')).body).toMatchObject({ by: 'image', changed: true });
    expect(statSync(file('d')).size).toBe(2 * 1_048_576);
    expect((await host.ask('vm', 'detach', 'off', 'vdb')).body).toMatchObject({ outcome: 'released' });
    expect(await libvirtd.virsh('domblklist', 'off', '--inactive')).not.toContain(file('d'));
  });
});

describe('what fails leaves nothing behind', () => {
  test.each([
    ['no such domain', ['nobody', 'd'], 'not-found', 3],
    ['no such file', ['web', 'd'], 'not-found', 3],
    ['a size that is none', ['web', 'd', '--create', '1.5G'], 'invalid-argument', 2],
    ['a target of another bus', ['web', 'd', '--create', '1M', '--target', 'sdb'], 'invalid-argument', 2],
    ['a bus that cannot be plugged', ['web', 'd', '--create', '1M', '--bus', 'ide'], 'invalid-argument', 2],
    ['a file that is no component', ['web', '../d', '--create', '1M'], 'invalid-argument', 2],
  ] as const)('%s', async (_, [domain, disk, ...more], code, exit) => {
    refused(await attach(domain, disk, ...more), code, exit);
    expect([await users(), mounted()]).toEqual([[], false]);
  });

  test('a target that another disk has: refused before the volume is mounted', async () => {
    await attach('web', 'first', '--create', '1M', '--bus', 'scsi', '--target', 'sdb');
    const other = await host.volume(`other-${volumes}`);
    const words = ['--disk', 'x', '--create', '1M', '--bus', 'scsi', '--target', 'sdb'];
    const taken = await host.ask('vm', 'attach', 'web', other, ...words);
    expect(refused(taken, 'conflict', 5)).toContain('another disk at sdb');
    expect(host.mounts().some(({ mountPoint }) => mountPoint.endsWith(leafOfUrl(other)))).toBe(false);
    await host.ask('vm', 'detach', 'web', 'sdb');
  });

  test('a qcow2 that is none: refused, nothing is left attached', async () => {
    await attach('web', 'raw', '--create', '1M', '--bus', 'scsi');
    await host.ask('vm', 'detach', 'web', 'sdb');
    const answer = await attach('web', 'raw', '--format', 'qcow2', '--bus', 'scsi');
    expect(answer.status).not.toBe(0);
    expect([await disks(), await users(), mounted()]).toEqual([[], [], false]);
  });
});

describe('what no retry helps is not called retryable', () => {
  test('a disk that another guest has locked: who has it is asked for', async () => {
    await libvirtd.boot({ name: 'second' });
    await attach('web', 'd', '--create', '1M', '--bus', 'scsi');
    const taken = await attach('second', 'd', '--bus', 'scsi');
    expect(refused(taken, 'conflict', 5)).toContain('locked');
    expect(taken.body['error']).toMatchObject({ field: 'disk', retryable: false });
    expect(await disks()).toEqual(['web sdb d']);
    expect(await users()).toEqual([`vm:${web}`]);
    await host.ask('vm', 'detach', 'web', 'sdb');
    expect(mounted()).toBe(false);
    await libvirtd.virsh('destroy', 'second');
  });

  test('a domain without a free PCI slot: another bus, or more ports, are the way out', async () => {
    let full = await attach('web', 'd0', '--create', '1M');
    let had = 0;
    while (full.status === 0 && had < 32) {
      had += 1;
      full = await attach('web', `d${had}`, '--create', '1M');
    }
    expect(had).toBeGreaterThan(0);
    expect(refused(full, 'conflict', 5)).toContain('PCI');
    expect(full.body['error']).toMatchObject({ field: 'bus', retryable: false });
    expect(await disks()).toHaveLength(had);
    expect((await attach('web', 'd-scsi', '--create', '1M', '--bus', 'scsi')).status).toBe(0);
    await libvirtd.virsh('destroy', 'web');
    for (const disk of [...Array.from({ length: had }, (_, at) => `d${at}`), 'd-scsi']) {
      expect((await host.ask('vm', 'detach', 'web', url, '--disk', disk)).status).toBe(0);
    }
    expect([await disks(), await users(), mounted()]).toEqual([[], [], false]);
  });
});

describe('what others attached is theirs', () => {
  test('a disk that virsh gave to the domain is not taken away', async () => {
    await host.ask('connect', url, '--consumer', 'cli:me');
    await host.ask('vm', 'attach', 'web', url, '--disk', 'd', '--create', '1M', '--bus', 'scsi');
    await host.ask('disconnect', url, '--disk', 'd', '--consumer', `vm:${web}`);
    expect((await list()).disks).toMatchObject([{ target: 'sdb', attachment: null, consumer: null }]);
    expect(refused(await host.ask('vm', 'detach', 'web', 'sdb'), 'conflict', 5)).toContain('virsh detach-disk');
    expect(await libvirtd.virsh('domblklist', 'web')).toContain(file('d'));
    // Attached again it is Fairlead's.
    expect((await attach('web', 'd', '--bus', 'scsi')).status).toBe(0);
    expect((await host.ask('vm', 'detach', 'web', 'sdb')).body).toMatchObject({ outcome: 'still-used' });
    await host.ask('disconnect', url, '--consumer', 'cli:me');
  });
  test("Nova's disk is Nova's, whatever it is called", async () => {
    await attach('web', 'd', '--create', '1M', '--bus', 'scsi');
    await host.ask('connect', url, '--consumer', 'cli:me');
    await host.ask('disconnect', url, '--disk', 'd', '--consumer', `vm:${web}`);
    await host.ask('connect', url, '--disk', 'd', '--consumer', `nova:${web}`);
    expect(refused(await host.ask('vm', 'detach', 'web', 'sdb'), 'conflict', 5)).toContain('openstack server');
    expect(refused(await attach('web', 'd', '--bus', 'scsi'), 'conflict', 5)).toContain('Nova');
    expect((await list()).disks).toMatchObject([{ consumer: `nova:${web}` }]);
    for (const consumer of [`nova:${web}`, 'cli:me']) {
      await host.ask('disconnect', url, ...(consumer === 'cli:me' ? [] : ['--disk', 'd']), '--consumer', consumer);
    }
  });
});

test('of a domain that is gone the attachment ends by UUID, URL and file', async () => {
  const uuid = await libvirtd.boot({ name: 'brief' });
  await attach('brief', 'd', '--create', '1M');
  await libvirtd.virsh('destroy', 'brief');
  await libvirtd.virsh('undefine', 'brief');
  expect((await list()).orphans).toMatchObject([{ consumer: `vm:${uuid}`, why: 'no-domain' }]);
  expect(refused(await host.ask('vm', 'detach', 'brief', url, '--disk', 'd'), 'not-found', 3)).toContain('its UUID');
  const ended = await host.ask('vm', 'detach', uuid, url, '--disk', 'd');
  expect(ended.body).toMatchObject({ outcome: 'released', changed: false, target: null });
  expect(mounted()).toBe(false);
});

describe('libvirt away', () => {
  test('is said at once, changes nothing, and holds up no volume', async () => {
    await libvirtd.down('SIGKILL');
    refused(await attach('web', 'd', '--create', '1M'), 'unavailable', 15);
    refused(await host.ask('vm', 'ls'), 'unavailable', 15);
    expect((await host.ask('connect', url, '--consumer', 'cli:me')).status).toBe(0);
    expect((await host.ask('disconnect', url, '--consumer', 'cli:me')).body).toMatchObject({ outcome: 'released' });
    const doctor = await host.ask('doctor');
    expect(doctor).toMatchObject({ status: 1, body: { findings: [{ subject: 'libvirt', severity: 'error' }] } });
    await libvirtd.up();
    expect((await host.ask('doctor')).body).toEqual({ findings: [] });
  });

  test('or stopped: every request ends in its time', async () => {
    process.kill(libvirtd.pid, 'SIGSTOP');
    const began = Date.now();
    const answers = await Promise.all([
      attach('web', 'd', '--create', '1M', '--timeout', '2'),
      host.ask('vm', 'detach', 'web', url, '--disk', 'd', '--timeout', '2'),
      host.ask('vm', 'ls', '--timeout', '2'),
    ]);
    expect(Date.now() - began).toBeLessThan(5000);
    for (const { error } of answers) expect(['deadline-exceeded', 'unavailable']).toContain(error?.code);
    process.kill(libvirtd.pid, 'SIGCONT');
    expect([await disks(), await users(), mounted()]).toEqual([[], [], false]);
  });
});

describe('a guest that hangs in the middle of an attach', () => {
  let qemu: number;
  beforeEach(() => {
    [qemu = 0] = libvirtd.guests();
    process.kill(qemu, 'SIGSTOP');
  });
  const attached = async (): Promise<boolean> => (await users()).length === 1;
  /** Whatever was answered: no disk without attachment, and saying it again finishes it. */
  async function finishes(): Promise<void> {
    for (const disk of (await list()).disks) expect(disk.attachment).not.toBeNull();
    expect((await attach('web', 'd', '--create', '1M', '--bus', 'scsi')).status).toBe(0);
    expect([await disks(), await users()]).toEqual([['web sdb d'], [`vm:${web}`]]);
    expect((await host.ask('vm', 'detach', 'web', 'sdb')).body).toMatchObject({ outcome: 'released' });
    expect([await disks(), await users(), mounted()]).toEqual([[], [], false]);
  }

  test('the answer comes in time, and saying it again finishes it', async () => {
    const began = Date.now();
    const answer = await attach('web', 'd', '--create', '1M', '--bus', 'scsi', '--timeout', '6');
    expect(Date.now() - began).toBeLessThan(8500);
    expect(['deadline-exceeded', 'unavailable', 'hung', 'busy', 'helper-failed']).toContain(answer.error?.code);
    process.kill(qemu, 'SIGCONT');
    await finishes();
  });
  test.each(['hypervisor', 'libvirtd'] as const)('and %s is killed while it hangs', async (who) => {
    const asked = attach('web', 'd', '--create', '1M', '--bus', 'scsi', '--timeout', '30');
    await until('its attachment is recorded', attached);
    await until('its image is made', () => existsSync(file('d')));
    if (who === 'libvirtd') await libvirtd.down('SIGKILL');
    else await host.kill(who);
    process.kill(qemu, 'SIGCONT');
    await libvirtd.up();
    const answer = await asked;
    if (answer.status !== 0) expect(['unavailable', 'deadline-exceeded', 'hung']).toContain(answer.error?.code);
    await finishes();
  });
});

describe('killed in the middle of an attach', () => {
  /** What is killed, and how many milliseconds after the command was begun: before, while and after it is at work, as it comes. */
  const kills = (['libvirtd', 'hypervisor', 'agent'] as const).flatMap((who) =>
    [60, 160].map((ms) => [who, ms] as const),
  );

  test.each(kills)(
    '%s, after %i ms: no guest has a disk without attachment, and saying it again finishes it',
    async (who, ms) => {
      const asked = attach('web', 'd', '--create', '1M', '--bus', 'scsi', '--timeout', '20');
      await new Promise((resolve) => setTimeout(resolve, 80 + ms));
      if (who === 'libvirtd') {
        await libvirtd.down('SIGKILL');
        await libvirtd.up();
      } else await host.kill(who);
      const answer = await asked;
      const seen = (await list()).disks;
      for (const disk of seen) expect(disk.attachment).not.toBeNull();
      if (answer.status === 0) expect(seen).toHaveLength(1);
      else expect(['unavailable', 'deadline-exceeded', 'stuck', 'helper-failed']).toContain(answer.error?.code);
      expect((await attach('web', 'd', '--create', '1M', '--bus', 'scsi')).status).toBe(0);
      expect(await disks()).toEqual(['web sdb d']);
      expect(existsSync(file('d'))).toBe(true);
      expect((await host.ask('vm', 'detach', 'web', 'sdb')).body).toMatchObject({ outcome: 'released' });
      expect([await disks(), await users(), mounted()]).toEqual([[], [], false]);
    },
  );
});
