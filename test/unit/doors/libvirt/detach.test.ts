// Detach: the guest lets go first, then the attachment ends; whoever else attached the disk is not robbed of it.

import { beforeEach, describe, expect, test } from 'vitest';
import type { DiskName } from '../../../../src/core/names.js';
import type { DomainName } from '../../../../src/core/domains.js';
import type { VmDetachReply, VmDiskChoice } from '../../../../src/core/vm-requests.js';
import {
  Bench,
  DISK,
  fails,
  loses,
  NOVA,
  pathOf,
  refused,
  UUID,
  VM,
  VOLUME,
  volumeOf,
  WEB,
  type Watched,
} from './bench.js';

const TARGET: VmDiskChoice = { by: 'target', target: 'vdb' };
const FILE: VmDiskChoice = { by: 'disk', volume: VOLUME, disk: DISK };
const BOTH: readonly [string, VmDiskChoice][] = [
  ['by its target', TARGET],
  ['by volume and file', FILE],
];

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
  bench.has({});
  bench.attached(VM);
});

function detach(choice: VmDiskChoice, domain: DomainName = WEB, signal?: AbortSignal): Promise<Watched<VmDetachReply>> {
  return bench.ask((context) => bench.door.detach({ domain, choice }, context), signal);
}
const attachments = (): number => bench.attachments.get(VOLUME.leaf)?.length ?? 0;
const disks = (): number => bench.domains[0]?.disks.length ?? 0;

describe.each(BOTH)('a disk named %s', (_, choice) => {
  test('is taken from the guest, then its attachment ends', async () => {
    const { value } = await detach(choice);
    expect(bench.effects()).toEqual(['unplug', 'disconnect']);
    expect(value).toMatchObject({
      outcome: 'released',
      target: 'vdb',
      changed: true,
      domain: { uuid: UUID, name: 'web' },
    });
    expect([attachments(), disks()]).toEqual([0, 0]);
  });
  test('stays while its volume hangs, and QEMU is not even asked: it would stand still, and the whole guest with it', async () => {
    bench.verdict = 'hung';
    expect(refused(await detach(choice), 'hung')).toContain(`fairlead abort ${VOLUME.leaf}`);
    expect(bench.effects()).toEqual([]);
    expect([attachments(), disks()]).toEqual([1, 1]);
    bench.domains = bench.domains.map((one) => ({
      ...{ ...one, running: false },
      disks: one.disks.map((disk) => ({ ...disk, live: false, persistent: true })),
    }));
    expect((await detach(choice)).value).toMatchObject({ changed: true });
  });
  test.each(['stale', 'absent', 'foreign', 'denied', 'read-only'] as const)(
    'is taken away from a volume that is %s',
    async (verdict) => {
      bench.verdict = verdict;
      expect((await detach(choice)).value).toMatchObject({ changed: true });
    },
  );
  test('is taken away from a volume that is not allowed any more', async () => {
    bench.once('validate', fails('permission-denied'));
    expect((await detach(choice)).value).toMatchObject({ changed: true });
  });
  test('stays when nobody can look at its volume', async () => {
    bench.once('validate', fails('unavailable'));
    refused(await detach(choice), 'unavailable');
    expect(bench.effects()).toEqual([]);
  });
  test('stays, with its attachment, when the guest refuses', async () => {
    bench.once('unplug', fails('busy'));
    refused(await detach(choice), 'busy');
    expect(bench.effects()).toEqual(['unplug']);
    expect([attachments(), disks()]).toEqual([1, 1]);
  });
  test.each(['unavailable', 'deadline-exceeded', 'internal', 'not-found'] as const)(
    'ends its attachment when unplug answered %s and the disk is seen to be gone',
    async (code) => {
      bench.once('unplug', loses(code));
      expect((await detach(choice)).value).toMatchObject({ outcome: 'released', changed: true });
    },
  );
  test.each(['unavailable', 'deadline-exceeded', 'internal', 'permission-denied'] as const)(
    'stays, with its attachment, when unplug answered %s and it is there',
    async (code) => {
      bench.once('unplug', fails(code));
      refused(await detach(choice), code);
      expect([attachments(), disks()]).toEqual([1, 1]);
    },
  );
  test('keeps its attachment while nobody can say whether the guest has it', async () => {
    bench.once('unplug', loses('unavailable'));
    const away = Array.from({ length: 200 }, () => fails('unavailable'));
    bench.once(
      'domain',
      (go) => go(),
      (go) => go(),
      ...away,
    );
    const asked = await detach(choice);
    await bench.clock.pass(61_000);
    expect(refused(asked, 'unavailable')).toContain('safe');
    expect(attachments()).toBe(1);
  });
  test('ends its attachment when the guest has let go in the very moment in which it was said to be busy', async () => {
    bench.once('unplug', loses('busy'));
    expect((await detach(choice)).value).toMatchObject({ outcome: 'released', changed: true });
  });
  test('keeps its attachment while another disk of the domain rests on it', async () => {
    bench.once('unplug', async (proceed) => {
      await proceed();
      bench.domains = bench.domains.map((domain) => ({ ...domain, otherFiles: [pathOf(DISK)] }));
      return await fails('internal')(proceed);
    });
    refused(await detach(choice), 'internal');
    expect(attachments()).toBe(1);
  });
  test('is left to Nova when Nova attached it', async () => {
    bench.attachments.set(VOLUME.leaf, []);
    bench.attached(NOVA);
    expect(refused(await detach(choice), 'conflict')).toContain('openstack server remove volume');
    expect([bench.effects(), disks()]).toEqual([[], 1]);
  });
  test('is left alone when somebody gave it to the domain without Fairlead', async () => {
    bench.attachments.set(VOLUME.leaf, []);
    expect(refused(await detach(choice), 'conflict')).toContain('virsh detach-disk');
    expect([bench.effects(), disks()]).toEqual([[], 1]);
  });
  test('whose attachment does not end is told how to end it', async () => {
    bench.once('disconnect', fails('unavailable'));
    expect(refused(await detach(choice), 'unavailable')).toContain('no longer has the disk');
    expect([attachments(), disks()]).toEqual([1, 0]);
    expect((await detach(FILE)).value).toMatchObject({ outcome: 'released', changed: false, target: null });
  });
  test('is taken away to the end, whoever stops listening', async () => {
    const client = new AbortController();
    bench.once('unplug', (proceed) => {
      client.abort();
      return proceed();
    });
    expect((await detach(choice, WEB, client.signal)).state).toBe('kept');
    expect([attachments(), disks()]).toEqual([0, 0]);
  });
  test('of a stopped domain is taken from its next start', async () => {
    bench.domains = bench.domains.map((domain) => ({ ...domain, running: false }));
    expect((await detach(choice)).value).toMatchObject({ outcome: 'released', changed: true });
  });
});

describe('an attachment is kept when its domain', () => {
  test.each([
    ['has its disk under the name that a snapshot gave it', { path: pathOf('disk.snap') }, []],
    ['has an overlay elsewhere that rests on the disk', { path: '/images/overlay' }, [pathOf(DISK)]],
    ['has something else on the volume', { path: null }, [pathOf('nvram')]],
  ])('%s', async (_, disk, otherFiles) => {
    bench.domains = bench.domains.map((one) => ({ ...one, running: false, disks: [], otherFiles }));
    bench.has(disk);
    const message = refused(await detach(FILE), 'busy');
    expect(message).toContain('Its attachment is kept.');
    expect([attachments(), disks()]).toEqual([1, 1]);
  });
  test('rests on the disk although it lost it itself', async () => {
    bench.domains = bench.domains.map((one) => ({ ...one, otherFiles: [pathOf(DISK)] }));
    refused(await detach(FILE), 'busy');
    expect([attachments(), disks()]).toEqual([1, 0]);
  });
  test.each(['files', 'backing'] as const)('is known in part only (%s), and has not the disk', async (unknown) => {
    bench.domains = bench.domains.map((one) => ({ ...one, disks: [], unknown }));
    expect(refused(await detach(FILE), 'unavailable')).toContain('fairlead disconnect URL');
    expect(attachments()).toBe(1);
  });
  test('is known in part only, unless the disk was its own until now', async () => {
    bench.domains = bench.domains.map((one) => ({ ...one, unknown: 'files' }));
    refused(await detach(FILE), 'unavailable');
    bench.domains = bench.domains.map((one) => ({ ...one, disks: [], unknown: 'backing' }));
    bench.has({});
    expect((await detach(FILE)).value).toMatchObject({ outcome: 'released', changed: true });
  });
  test('cannot be looked at afterwards', async () => {
    const away = Array.from({ length: 200 }, () => fails('unavailable'));
    bench.once(
      'domain',
      (go) => go(),
      (go) => go(),
      ...away,
    );
    const asked = await detach(FILE);
    await bench.clock.pass(61_000);
    refused(asked, 'unavailable');
    expect(attachments()).toBe(1);
  });
  test('has another file there, unless another attachment of it keeps the mount', async () => {
    bench.has({ target: 'vdc', path: pathOf('other') });
    bench.attached(VM, 'other' as DiskName);
    expect((await detach(FILE)).value).toMatchObject({ outcome: 'released', changed: true });
    expect(attachments()).toBe(1);
  });
});

describe('a detach by target that was begun and did not end', () => {
  /** The guest lets go by itself, later. */
  const letGo = (): void => {
    bench.domains = bench.domains.map((domain) => ({ ...domain, disks: [] }));
  };
  test('is finished by saying it again after the guest has let go', async () => {
    bench.once('unplug', fails('busy'));
    refused(await detach(TARGET), 'busy');
    letGo();
    expect((await detach(TARGET)).value).toMatchObject({ outcome: 'released', changed: false, target: null });
    expect(attachments()).toBe(0);
    // Once: after that the name leads nowhere.
    expect(refused(await detach(TARGET), 'not-found')).toContain('URL and --disk');
  });
  test('is finished by saying it again when only the attachment was left', async () => {
    bench.once('disconnect', fails('unavailable'));
    refused(await detach(TARGET), 'unavailable');
    expect((await detach(TARGET)).value).toMatchObject({ outcome: 'released' });
  });
  test('means nothing any more when the disk is at another target, or another disk there', async () => {
    bench.once('unplug', fails('busy'));
    await detach(TARGET);
    letGo();
    bench.has({ target: 'vdc' });
    refused(await detach(TARGET), 'not-found');
    expect([attachments(), disks()]).toEqual([1, 1]);
    bench.has({ path: pathOf('other') });
    refused(await detach(TARGET), 'conflict');
    expect([attachments(), disks()]).toEqual([1, 2]);
  });
  test('of another domain or target is not meant', async () => {
    bench.once('unplug', fails('busy'));
    await detach(TARGET);
    letGo();
    refused(await detach({ by: 'target', target: 'vdc' }), 'not-found');
    expect(attachments()).toBe(1);
  });
});

test.each(BOTH)('two at once, %s: the second finds nothing left to do', async (_, choice) => {
  const [first, second] = await Promise.all([detach(choice), detach(choice)]);
  expect(first.value?.outcome).toBe('released');
  expect(second.value).toMatchObject({ outcome: 'not-connected', changed: false });
});

test('a disk that came to another target while it was waited for is not touched', async () => {
  bench.once(
    'domain',
    (go) => go(),
    (go) => {
      bench.domains = bench.domains.map((domain) => ({ ...domain, disks: [] }));
      bench.has({ target: 'vdc' });
      return go();
    },
  );
  refused(await detach(TARGET), 'conflict');
  expect(bench.effects()).toEqual([]);
});

test('a target whose disk was changed while it was waited for is not touched', async () => {
  bench.once(
    'domain',
    (go) => go(),
    (go) => {
      bench.domains = bench.domains.map((domain) => ({ ...domain, disks: [] }));
      bench.has({ path: pathOf('other') });
      bench.attached(VM, 'other' as DiskName);
      return go();
    },
  );
  refused(await detach(TARGET), 'conflict');
  expect(bench.effects()).toEqual([]);
});

test('the disk that the running domain has at a target wins over the one of its next start', async () => {
  bench.domains = bench.domains.map((domain) => ({ ...domain, disks: [] }));
  bench.has({ path: pathOf('next'), live: false, persistent: true });
  bench.attached(VM, 'next' as DiskName);
  bench.has({});
  expect((await detach(TARGET)).value).toMatchObject({ outcome: 'released' });
  expect(bench.requests.find((request) => (request as { disk?: string } | null)?.disk === DISK)).toBeDefined();
});

describe('a domain that is gone', () => {
  beforeEach(() => {
    bench.domains = [];
  });
  test('loses its attachment by UUID, volume and file', async () => {
    const { value } = await detach(FILE, UUID as string as DomainName);
    expect(value).toMatchObject({ outcome: 'released', changed: false, target: null, domain: { uuid: UUID } });
    expect(bench.effects()).toEqual(['disconnect']);
  });
  test.each([
    ['web', TARGET, /its UUID .*URL and --disk/],
    ['web', FILE, /name it by its UUID \(fairlead ls shows it\)\.$/],
    [UUID, TARGET, /name it by URL and --disk\.$/],
  ] as const)('named %s: the message says what is missing', async (name, choice, message) => {
    expect(refused(await detach(choice, name as string as DomainName), 'not-found')).toMatch(message);
    expect(attachments()).toBe(1);
  });
  test("keeps Nova's attachment", async () => {
    bench.attachments.set(VOLUME.leaf, []);
    bench.attached(NOVA);
    refused(await detach(FILE, UUID as string as DomainName), 'conflict');
    expect(attachments()).toBe(1);
  });
  test('is not concluded from an answer that is none', async () => {
    bench.once('domain', fails('unavailable'));
    refused(await detach(FILE, UUID as string as DomainName), 'unavailable');
    expect(attachments()).toBe(1);
  });
});

describe('a target that is no disk of ours', () => {
  test.each([
    ['nothing is there', 'vdz', null],
    ['a block device', 'vdc', null],
    ['a file elsewhere', 'vdc', '/var/lib/libvirt/images/a.img'],
    ['a file below a directory of the volume', 'vdc', pathOf('dir/file')],
    ['a volume that is not recorded', 'vdc', pathOf('disk', volumeOf('unknown'))],
    ['the mount base itself', 'vdc', '/mnt/base/disk'],
  ])('%s', async (_, target, path) => {
    bench.has({ target: 'vdc', path });
    refused(await detach({ by: 'target', target }), 'not-found');
    expect(bench.effects()).toEqual([]);
  });
});
