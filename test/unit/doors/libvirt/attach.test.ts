// Attach as one operation: what is asked of whom in which order, and, wherever it breaks, that exactly what this request did is undone.

import { beforeEach, describe, expect, test } from 'vitest';
import type { DiskName } from '../../../../src/core/names.js';
import type { VmAttachReply, VmAttachRequest } from '../../../../src/core/vm-requests.js';
import { FairleadError, type ErrorCode } from '../../../../src/core/errors.js';
import { Bench, DISK, error, fails, loses, NOVA, pathOf, refused, VM, VOLUME, type Watched } from './bench.js';

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});

function attach(different: Partial<VmAttachRequest> = {}, signal?: AbortSignal): Promise<Watched<VmAttachReply>> {
  return bench.ask((context) => bench.door.attach(bench.request(different), context), signal);
}
const attachments = (): number => bench.attachments.get(VOLUME.leaf)?.length ?? 0;
const disks = (): readonly (string | null)[] => bench.domains[0]?.disks.map(({ path }) => path) ?? [];

describe('what is done', () => {
  test('the domain is found, the volume connected, the disk plugged at the first free target', async () => {
    const { value } = await attach();
    expect(bench.events).toEqual(['domain', 'connect', 'domain', 'plug vdb']);
    expect(value).toMatchObject({ target: 'vdb', changed: true, created: false, path: pathOf(DISK), notes: [] });
    expect(value?.domain).toMatchObject({ name: 'web' });
    expect(attachments()).toBe(1);
  });
  test('said again it changes nothing, at the target that it has', async () => {
    bench.has({ target: 'vdd' });
    bench.attached(VM);
    expect((await attach()).value).toMatchObject({ target: 'vdd', changed: false });
    expect(attachments()).toBe(1);
  });
  test('an image is made only where there is no file', async () => {
    expect((await attach({ create: 1024 })).value).toMatchObject({
      created: false,
      notes: [expect.stringContaining('was there already')],
    });
    expect(bench.events).not.toContain('create');
    const fresh = 'fresh' as DiskName;
    expect((await attach({ disk: fresh, create: 1024 })).value).toMatchObject({ created: true, changed: true });
    expect(bench.effects().slice(-3)).toEqual(['connect', 'create', 'plug vdc']);
  });
  test.each([
    ['virtio', ['vda', 'vdb', 'vdc'], 'vdd'],
    ['virtio', ['vda', 'sdb'], 'vdb'],
    ['scsi', ['sdb', 'vdb'], 'sdc'],
    ['virtio', Array.from('bcdefghijklmnopqrstuvwxyz', (letter) => `vd${letter}`), 'vdaa'],
  ] as const)('on %s, with %j taken, live or at the next start, it is %s', async (bus, taken, target) => {
    for (const [index, one] of taken.entries()) {
      bench.has({ target: one, path: null, live: index % 2 === 0, persistent: index % 2 === 1 });
    }
    expect((await attach({ bus })).value?.target).toBe(target);
  });
  test('what was asked for reaches the hypervisor process', async () => {
    const options = { serial: 's' };
    await attach({ format: 'qcow2', target: 'sdc', bus: 'scsi', access: 'read-only', scope: 'both', options });
    expect(bench.requests.at(-1)).toMatchObject({
      ...{ format: 'qcow2', target: 'sdc', bus: 'scsi', access: 'read-only', scope: 'both', options },
    });
    expect(bench.requests[1]).toMatchObject({ readOnly: true, consumer: VM });
  });
});

describe('what is refused before anything is done', () => {
  test('a target of another bus', async () => {
    expect(refused(await attach({ target: 'sdb' }), 'invalid-argument')).toContain('vdb');
    expect(bench.events).toEqual([]);
  });
  test('a target that another disk has', async () => {
    bench.has({ target: 'vdc', path: pathOf('other') });
    expect(refused(await attach({ target: 'vdc' }), 'conflict')).toContain('another disk at vdc');
    expect(bench.effects()).toEqual([]);
    expect((await attach({ target: 'vdb' })).state).toBe('kept');
    expect((await attach({ target: 'vdb' })).value).toMatchObject({ changed: false });
  });
  test('a disk that the domain has with another access', async () => {
    bench.once('connect', () => {
      throw new FairleadError('conflict', 'This consumer …', { field: 'readOnly' });
    });
    expect(refused(await attach({ access: 'read-only' }), 'conflict')).toContain('already, read-write');
  });
  test('a domain that does not exist, or cannot be asked for', async () => {
    bench.once('domain', fails('not-found'), fails('unavailable'));
    refused(await attach(), 'not-found');
    refused(await attach(), 'unavailable');
    expect(bench.effects()).toEqual([]);
  });
  test('a stopped domain, unless its next start is meant', async () => {
    bench.domains = bench.domains.map((domain) => ({ ...domain, running: false }));
    expect(refused(await attach(), 'invalid-argument')).toContain('not running');
    expect(bench.effects()).toEqual([]);
    expect((await attach({ scope: 'both' })).state).toBe('kept');
  });
});

describe('what breaks is undone, in reverse, and nothing else', () => {
  const MISSING = { disk: 'missing' as DiskName };
  const cases: readonly [string, Partial<VmAttachRequest>, (b: Bench) => void, ErrorCode, readonly string[]][] = [
    ['connect', {}, (b) => b.once('connect', fails('hung')), 'hung', ['connect']],
    ['no file and no size', MISSING, () => undefined, 'not-found', ['connect', 'disconnect']],
    [
      'create',
      { ...MISSING, create: 512 },
      (b) => b.once('create', fails('permission-denied')),
      'permission-denied',
      ['connect', 'create', 'disconnect'],
    ],
    [
      'the second look at the domain',
      {},
      (b) => b.once('domain', (go) => go(), fails('unavailable')),
      'unavailable',
      ['connect', 'disconnect'],
    ],
    ...(['conflict', 'permission-denied', 'not-found', 'invalid-argument'] as const).map(
      (code): [string, object, (b: Bench) => void, ErrorCode, readonly string[]] => [
        `plug, refused as ${code}`,
        {},
        (b) => b.once('plug', fails(code)),
        code,
        ['connect', 'plug vdb', 'disconnect'],
      ],
    ),
    ...(['unavailable', 'deadline-exceeded', 'internal', 'helper-failed', 'hung', 'busy'] as const).map(
      (code): [string, object, (b: Bench) => void, ErrorCode, readonly string[]] => [
        `plug, with an end that is not known (${code}): the disk is not there`,
        {},
        (b) => b.once('plug', fails(code)),
        code,
        ['connect', 'plug vdb', 'unplug', 'disconnect'],
      ],
    ),
  ];
  test.each(cases)('%s', async (_, different, prepare, code, effects) => {
    prepare(bench);
    refused(await attach(different), code);
    expect(bench.effects()).toEqual(effects);
    expect([attachments(), disks()]).toEqual([0, []]);
  });
  test.each(cases.filter(([name]) => name !== 'connect'))(
    '%s: an attachment that was there before stays',
    async (_, different, prepare, code, effects) => {
      bench.attached(VM, different.disk ?? DISK);
      prepare(bench);
      refused(await attach(different), code);
      expect(bench.effects()).toEqual(effects.filter((effect) => effect !== 'disconnect'));
      expect(attachments()).toBe(1);
    },
  );
  test('a disk that the domain had before is not taken from it', async () => {
    bench.has({});
    bench.once('plug', fails('internal'));
    refused(await attach({ scope: 'both' }), 'internal');
    expect(bench.effects()).toEqual(['connect', 'plug vdb', 'disconnect']);
    expect(disks()).toEqual([pathOf(DISK)]);
  });
  test('the image that was made stays, and the error says so', async () => {
    const fresh = { disk: 'fresh' as DiskName, create: 512 };
    bench.once('plug', fails('conflict'));
    expect(refused(await attach(fresh), 'conflict')).toContain('The image that was made for it stays');
    bench.once('create', loses('deadline-exceeded'));
    bench.files.delete(pathOf('fresh'));
    expect(refused(await attach(fresh), 'deadline-exceeded')).toContain('may have been made');
    expect(attachments()).toBe(0);
  });
  test('undoing that fails is told, and keeps the attachment of a disk that may be there', async () => {
    bench.once('plug', fails('internal'));
    bench.once('unplug', fails('busy'));
    expect(refused(await attach(), 'internal')).toContain('fairlead vm detach');
    expect(attachments()).toBe(1);
    bench = new Bench();
    bench.once('plug', fails('conflict'));
    bench.once('disconnect', fails('unavailable'));
    expect(refused(await attach(), 'conflict')).toContain('fairlead vm ls');
    expect(bench.logged).toContain('warn vm-attach-not-undone');
  });
  test('what Nova attached is left to Nova', async () => {
    bench.attached(NOVA);
    expect(refused(await attach(), 'conflict')).toContain('openstack server add volume');
    expect(bench.effects()).toEqual(['connect']);
    expect(attachments()).toBe(1);
  });
});

describe('when the end of the plug is not known', () => {
  test('and the disk is there as it was wanted: done', async () => {
    bench.once('plug', loses('unavailable'));
    expect((await attach()).value).toMatchObject({ target: 'vdb', changed: true });
    expect([attachments(), disks()]).toEqual([1, [pathOf(DISK)]]);
  });
  test.each([
    ['another target', { target: 'vdx' }],
    ['another access', { readOnly: true }],
    ['the running domain only', { persistent: false }],
    ['the next start only', { live: false, persistent: true }],
  ])('and it is there in part, or otherwise (%s): taken away', async (_, different) => {
    bench.once('plug', () => {
      bench.has({ live: true, persistent: true, ...different });
      throw error('internal');
    });
    refused(await attach({ scope: 'both' }), 'internal');
    expect(bench.effects()).toEqual(['connect', 'plug vdb', 'unplug', 'disconnect']);
    expect([attachments(), disks()]).toEqual([0, []]);
  });
  test('and the domain is gone: only the attachment is left to end', async () => {
    bench.once('plug', () => {
      bench.domains = [];
      throw error('unavailable');
    });
    refused(await attach(), 'unavailable');
    expect(attachments()).toBe(0);
  });
  test('and nobody can look: nothing is undone, and saying it again is safe', async () => {
    bench.once('plug', loses('unavailable'));
    const away = Array.from({ length: 200 }, () => fails('unavailable'));
    bench.once(
      'domain',
      (go) => go(),
      (go) => go(),
      ...away,
    );
    const asked = await attach();
    expect(asked.state).toBe('open');
    await bench.clock.pass(61_000);
    const message = refused(asked, 'unavailable');
    expect(message).toContain('not known');
    expect(message).toContain('safe');
    expect(bench.effects()).toEqual(['connect', 'plug vdb']);
    expect(attachments()).toBe(1);
  });
  test('and the time is up first: whoever asked is told that it is not known; what is seen there later stays', async () => {
    bench.once('plug', async (proceed) => {
      await proceed();
      await bench.clock.sleep(59_500);
      throw error('deadline-exceeded');
    });
    const away = Array.from({ length: 4 }, () => fails('unavailable'));
    bench.once(
      'domain',
      (go) => go(),
      (go) => go(),
      ...away,
    );
    const asked = await attach();
    await bench.clock.pass(61_000);
    expect(refused(asked, 'unavailable')).toContain('not known');
    await bench.clock.pass(10_000);
    expect(bench.effects()).toEqual(['connect', 'plug vdb']);
    expect([attachments(), disks()]).toEqual([1, [pathOf(DISK)]]);
  });
  test('it is looked for until somebody answers', async () => {
    bench.once('plug', loses('deadline-exceeded'));
    bench.once(
      'domain',
      (go) => go(),
      (go) => go(),
      fails('unavailable'),
      fails('deadline-exceeded'),
    );
    const asked = await attach();
    await bench.clock.pass(2000);
    expect(asked).toMatchObject({ state: 'kept' });
  });
});

describe('time and clients', () => {
  test('the answer comes by the deadline; a plug that succeeds after it is taken back', async () => {
    let finish!: () => void;
    const late = new Promise<void>((resolve) => (finish = resolve));
    bench.once('plug', async (proceed) => {
      await late;
      return proceed();
    });
    const asked = await attach();
    await bench.clock.pass(60_899);
    expect(asked.state).toBe('open');
    await bench.clock.pass(2);
    refused(asked, 'deadline-exceeded');
    finish();
    await bench.clock.pass(1);
    expect(bench.effects()).toEqual(['connect', 'plug vdb', 'unplug', 'disconnect']);
    expect([attachments(), disks()]).toEqual([0, []]);
  });
  test('a client that goes away half-way stops nothing', async () => {
    const client = new AbortController();
    bench.once('connect', (proceed) => {
      client.abort();
      return proceed();
    });
    expect((await attach({}, client.signal)).state).toBe('kept');
    expect([attachments(), disks()]).toEqual([1, [pathOf(DISK)]]);
  });
  test('a client that has gone before anything was begun begins nothing', async () => {
    refused(await attach({}, AbortSignal.abort()), 'deadline-exceeded');
    expect(bench.effects()).toEqual([]);
  });
  test('two equal requests at once: one after the other, and neither undoes the other', async () => {
    bench.once('plug', fails('conflict'));
    const [first, second] = await Promise.all([attach(), attach()]);
    refused(first, 'conflict');
    expect(second.state).toBe('kept');
    expect(bench.effects()).toEqual(['connect', 'plug vdb', 'disconnect', 'connect', 'plug vdb']);
    expect([attachments(), disks()]).toEqual([1, [pathOf(DISK)]]);
  });
  test('two disks for one domain at once get two targets, and one that hangs holds up no other', async () => {
    bench.files.add(pathOf('two'));
    let open!: () => void;
    const hung = new Promise<void>((resolve) => (open = resolve));
    bench.once('connect', async (proceed) => {
      await hung;
      return proceed();
    });
    const first = await attach();
    const second = await attach({ disk: 'two' as DiskName });
    expect([first.state, second.value?.target]).toEqual(['open', 'vdb']);
    open();
    await bench.clock.pass(1);
    expect(first.value?.target).toBe('vdc');
  });
  test('no target is chosen while another disk is on its way to one', async () => {
    bench.files.add(pathOf('two'));
    let open!: () => void;
    const slow = new Promise<void>((resolve) => (open = resolve));
    bench.once('plug', async (proceed) => {
      await slow;
      return await proceed();
    });
    const first = await attach();
    const second = await attach({ disk: 'two' as DiskName });
    open();
    await bench.clock.pass(1);
    expect([first.value?.target, second.value?.target]).toEqual(['vdb', 'vdc']);
  });
  test('who waits in vain for its turn has begun nothing', async () => {
    bench.once('connect', () => new Promise(() => undefined));
    await attach();
    const client = new AbortController();
    const gone = await attach({}, client.signal);
    const late = await attach();
    client.abort();
    await bench.clock.pass(1);
    refused(gone, 'deadline-exceeded');
    await bench.clock.pass(60_000);
    expect(refused(late, 'deadline-exceeded')).toContain('earlier request');
    expect(bench.effects()).toEqual(['connect']);
  });
});
