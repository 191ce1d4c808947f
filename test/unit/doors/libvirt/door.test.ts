// Growing, listing, surveying and what doctor is told.

import { beforeEach, describe, expect, test } from 'vitest';
import type { DomainName } from '../../../../src/core/domains.js';
import type { Consumer, DiskName } from '../../../../src/core/names.js';
import type { VmExtendReply, VmListReply } from '../../../../src/core/vm-requests.js';
import {
  Bench,
  DISK,
  error,
  fails,
  NOVA,
  OTHER_UUID,
  pathOf,
  refused,
  UUID,
  VM,
  VOLUME,
  WEB,
  type Watched,
} from './bench.js';
import { quiet } from '../../engine/virtual-clock.js';

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});

describe('extend', () => {
  const extend = (target = 'vdb'): Promise<Watched<VmExtendReply>> =>
    bench.ask((context) => bench.door.extend({ domain: WEB, target, bytes: 1024 }, context));

  test('grows the file at the target, in the format that the domain says', async () => {
    bench.has({ format: 'qcow2' });
    expect((await extend()).value).toEqual({
      ...{ domain: { uuid: UUID, name: 'web' }, target: 'vdb', leaf: VOLUME.leaf, path: pathOf(DISK) },
      ...{ bytes: 1024, changed: true, by: 'hypervisor' },
    });
    expect(bench.requests.at(-1)).toMatchObject({ domain: UUID, disk: DISK, format: 'qcow2', bytes: 1024 });
  });
  test('never guesses a format', async () => {
    bench.has({ format: null });
    expect(refused(await extend(), 'conflict')).toContain('never guessed');
    expect(bench.effects()).toEqual([]);
  });
  test('touches no disk that is not ours', async () => {
    bench.has({ path: '/var/lib/libvirt/images/a.img' });
    refused(await extend(), 'not-found');
    refused(await extend('vdx'), 'not-found');
    expect(bench.effects()).toEqual([]);
  });
  test('passes on what the hypervisor process says', async () => {
    bench.has({});
    bench.once('grow', fails('invalid-argument'));
    refused(await extend(), 'invalid-argument');
  });
});

describe('the list', () => {
  const list = (): Promise<Watched<VmListReply>> => bench.ask((context) => bench.door.list(context));

  test('shows disks in our volumes, and whose they are', async () => {
    bench.domains.push({ uuid: OTHER_UUID, name: 'db', running: false, disks: [], otherFiles: [], remembered: [] });
    bench.has({ target: 'vdc', path: pathOf('second') });
    bench.has({});
    bench.has({ target: 'vda', path: '/var/lib/libvirt/images/root.img' });
    bench.has({ target: 'sda', path: null });
    bench.has({ target: 'sdb', path: '/mnt/base/no-leaf/file' });
    bench.has({ target: 'vdd', path: `/mnt/local/${'0'.repeat(32)}/dir/file` });
    bench.has({ path: pathOf('theirs') }, 1);
    const ours = bench.attached(VM);
    const novas = bench.attached(`nova:${OTHER_UUID}` as Consumer, 'theirs' as DiskName);
    const { value } = await list();
    expect(value?.disks.map(({ domain, target, disk, attachment }) => [domain.name, target, disk, attachment])).toEqual(
      [
        ['db', 'vdb', 'theirs', novas],
        ['web', 'vdb', 'disk', ours],
        ['web', 'vdc', 'second', null],
        ['web', 'vdd', 'dir/file', null],
      ],
    );
    expect(value?.disks[0]).toMatchObject({ live: false, persistent: true, consumer: `nova:${OTHER_UUID}` });
    expect(value?.disks[1]).toMatchObject({ url: VOLUME.url, live: true, persistent: false, consumer: VM });
    expect(value?.disks[3]).toMatchObject({ url: null, leaf: '0'.repeat(32) });
    expect(value).toMatchObject({ orphans: [], complete: true });
  });
  test('shows attachments whose domain or disk is gone, but not those of others', async () => {
    bench.attached(VM);
    bench.attached(`vm:${OTHER_UUID}` as Consumer);
    bench.attached('cli:alice' as Consumer);
    bench.attached(VM, null);
    const [, second] = bench.attachments.get(VOLUME.leaf) ?? [];
    if (second !== undefined) second.orphan = 'no-domain';
    const { value } = await list();
    expect(value?.orphans.map(({ consumer, why, confirmed }) => [consumer, why, confirmed])).toEqual([
      [VM, 'unused', false],
      [`vm:${OTHER_UUID}`, 'no-domain', true],
    ]);
  });
  test('a domain that names another file of the volume uses it', async () => {
    bench.has({ path: pathOf('disk.snap') });
    bench.attached(NOVA);
    expect((await list()).value?.orphans).toEqual([]);
  });
  test('a disk below another one is used', async () => {
    bench.domains = bench.domains.map((domain) => ({ ...domain, otherFiles: [pathOf(DISK)] }));
    bench.attached(NOVA);
    expect((await list()).value?.orphans).toEqual([]);
  });
  test('concludes nothing from a survey that is not complete', async () => {
    bench.attached(`vm:${OTHER_UUID}` as Consumer);
    bench.complete = false;
    expect((await list()).value).toMatchObject({ orphans: [], complete: false });
  });
  test('does not call orphan what is being attached at this moment', async () => {
    let listed: Watched<VmListReply> | undefined;
    bench.once('plug', async (proceed) => {
      listed = bench.watch(bench.door.list({ deadlineMs: 1000, signal: new AbortController().signal }));
      await quiet();
      return await proceed();
    });
    await bench.ask((context) => bench.door.attach(bench.request(), context));
    expect(listed?.value).toMatchObject({ disks: [], orphans: [] });
  });
  test('without libvirt there is none', async () => {
    bench.once('survey', fails('unavailable'));
    refused(await list(), 'unavailable');
  });
});

describe('the surveyor', () => {
  const surveys = (): number => bench.events.filter((event) => event === 'survey').length;

  test('reads domains at start and at every interval, and gives the engine what it read', async () => {
    bench.door.start();
    await bench.clock.pass(1);
    expect(bench.evidence).toEqual([{ domains: bench.domains, complete: true }]);
    await bench.clock.pass(120_000);
    expect(surveys()).toBe(3);
    bench.door.stop();
    await bench.clock.pass(600_000);
    expect([surveys(), bench.clock.sleeping, bench.listeners.size]).toEqual([3, 0, 0]);
  });
  test('reads them again as soon as the hypervisor process is there again, never two at a time', async () => {
    let finish!: () => void;
    const slow = new Promise<void>((resolve) => (finish = resolve));
    bench.once('survey', async (proceed) => {
      await slow;
      return await proceed();
    });
    bench.door.start();
    await bench.clock.pass(1);
    for (const listener of bench.listeners) listener();
    for (const listener of bench.listeners) listener();
    await bench.clock.pass(1);
    expect(surveys()).toBe(1);
    finish();
    await bench.clock.pass(1);
    expect(surveys()).toBe(2);
  });
  test('tells the engine when nobody knows, and the log only when something changes', async () => {
    bench.once('survey', ...Array.from({ length: 3 }, () => fails('unavailable')));
    bench.door.start();
    await bench.clock.pass(120_001);
    expect(bench.evidence).toEqual([null, null, null]);
    expect(bench.logged).toEqual(['info domains-not-read']);
    await bench.clock.pass(120_000);
    expect(bench.logged).toEqual(['info domains-not-read', 'info domains-read']);
    bench.once('survey', fails('unavailable'), fails('unavailable'));
    await bench.clock.pass(180_000);
    expect(bench.logged.slice(2)).toEqual(['warn domains-not-read', 'info domains-read']);
    bench.complete = false;
    await bench.clock.pass(120_000);
    expect(bench.logged.slice(4)).toEqual(['warn domains-read-in-part']);
    expect(bench.evidence.at(-1)).toMatchObject({ complete: false });
  });
  test('goes on after a defect', async () => {
    bench.once('survey', () => {
      throw new Error('a defect');
    });
    bench.door.start();
    await bench.clock.pass(60_001);
    expect(bench.evidence).toEqual([null, { domains: bench.domains, complete: true }]);
  });
  test('says nothing to the engine once it has been stopped', async () => {
    let finish!: () => void;
    const slow = new Promise<void>((resolve) => (finish = resolve));
    bench.once('survey', async (proceed) => {
      await slow;
      return await proceed();
    });
    bench.door.start();
    bench.door.stop();
    finish();
    await bench.clock.pass(1);
    expect(bench.evidence).toEqual([]);
  });
});

describe('what doctor is told', () => {
  const findings = async (): Promise<unknown> => (await bench.ask((context) => bench.door.findings(context))).value;

  test('what the hypervisor process finds', async () => {
    const finding = { subject: 'qemu-img', severity: 'error', message: 'm', mend: 'do it' };
    bench.once('examine', () => [finding]);
    expect(await findings()).toEqual([finding]);
  });
  test('that libvirt has gone while guests have disks, even where a host without libvirt is no fault', async () => {
    bench.known = 'unknown';
    bench.once('survey', fails('unavailable'));
    expect(await findings()).toEqual([]);
    bench.attached(NOVA);
    expect(await findings()).toMatchObject([
      {
        subject: 'libvirt',
        severity: 'error',
        message: expect.stringContaining(error('unavailable').message) as string,
      },
    ]);
    // Not read yet is not gone; and it is not said twice.
    expect(await findings()).toEqual([]);
    const finding = { subject: 'libvirt', severity: 'error', message: 'm', mend: 'do it' };
    bench.once('examine', () => [finding]);
    bench.once('survey', fails('unavailable'));
    expect(await findings()).toEqual([finding]);
  });
  test('that libvirt cannot be read while a mount is held, where the host has one', async () => {
    bench.known = 'unknown';
    bench.isHeld = true;
    bench.once('survey', fails('unavailable'));
    expect(await findings()).toEqual([]);
    bench.isExpected = true;
    expect(await findings()).toMatchObject([
      { subject: 'libvirt', severity: 'error', message: expect.stringContaining('found without a record') as string },
    ]);
  });
  test('or that there is none: an error where guests must be served, a warning where they may be', async () => {
    bench.once('examine', fails('unavailable'));
    expect(await findings()).toMatchObject([{ subject: 'hypervisor process', severity: 'warning' }]);
    bench = new Bench('yes');
    bench.once('examine', fails('unavailable'));
    expect(await findings()).toMatchObject([
      { severity: 'error', message: expect.stringContaining(error('unavailable').message) as string },
    ]);
  });
});

test('a domain may be named by its UUID', async () => {
  bench.has({});
  const domain = UUID as string as DomainName;
  const asked = await bench.ask((context) => bench.door.extend({ domain, target: 'vdb', bytes: 512 }, context));
  expect(asked.state).toBe('kept');
});
