// Evidence from libvirt's domains: what lifts a hold, what makes an orphan, and, more than that, what does neither.

import { beforeEach, describe, expect, it } from 'vitest';
import type { DomainUuid, Survey } from '../../../src/core/domains.js';
import { FairleadError } from '../../../src/core/errors.js';
import type { Consumer } from '../../../src/core/names.js';
import type { Holder } from '../../../src/core/observation.js';
import type { Change } from '../../../src/core/records.js';
import { ALICE, attached, Bench, DISK, held, recorded, VOLUME } from './bench.js';
import { complete, domain, incomplete } from './surveys.js';
import { quiet } from './virtual-clock.js';

const AGE = 60_000;
const SURVEY = 10_000;
const UUID = '0b7d1e4a-6f52-4c3b-9a51-2f1f0c9d8e77' as DomainUuid;
const OTHER = '11111111-2222-4333-8444-555555555555' as DomainUuid;
const VM = `vm:${UUID}` as Consumer;
const NOVA = `nova:${UUID}` as Consumer;
const DISK_PATH = `/mnt/${VOLUME.leaf}/${DISK}`;

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});

/** An agent that begins with these records, and with the volume mounted. */
async function begin(
  records: readonly Change[],
  policy: { liftHolds?: 'evidence' | 'operator'; orphans?: 'report' | 'release' } = {},
): Promise<void> {
  bench.evidence = { liftHolds: 'evidence', orphans: 'report', ageMs: AGE, isExpected: () => true, ...policy };
  bench.mounted(VOLUME);
  bench.remember(recorded('mounted'), ...records);
  bench.crash();
  await bench.start();
}

/** The same survey, again and again for `ms`, the first at once. */
async function surveys(survey: Survey | null, ms: number): Promise<void> {
  for (let at = 0; ; at += SURVEY) {
    bench.engine.takeEvidence(survey);
    if (at >= ms) break;
    await bench.clock.pass(SURVEY);
  }
  await quiet();
}

const isHeld = (): boolean => bench.durable.holds.has(VOLUME.leaf);
const listed = () => bench.engine.list().mounts.find(({ leaf }) => leaf === VOLUME.leaf);
const orphan = (): string | null | undefined => listed()?.attachments[0]?.orphan;

function attachedTo(consumer: Consumer, disk: typeof DISK | null = DISK): Change {
  const change = attached(consumer);
  if (change.kind !== 'put-attachment') throw new Error('an attachment is put');
  return { ...change, attachment: { ...change.attachment, disk } };
}

describe('a hold', () => {
  it('is lifted, and its mount goes, once complete surveys have shown no use for long enough', async () => {
    await begin([held()]);
    await surveys(complete(domain(OTHER, ['/elsewhere/disk'])), AGE - SURVEY);
    expect(isHeld()).toBe(true);
    await bench.clock.pass(SURVEY);
    bench.engine.takeEvidence(complete());
    await bench.clock.pass(SURVEY);
    expect(isHeld()).toBe(false);
    expect(bench.told).toContain('hold-lifted');
    expect(bench.at(VOLUME).mounts).toEqual([]);
    expect(listed()).toBeUndefined();
  });

  it('stays where only the operator may lift it, and where domains are not read', async () => {
    await begin([held()], { liftHolds: 'operator' });
    await surveys(complete(), 3 * AGE);
    expect(isHeld()).toBe(true);
    bench.evidence = null;
    bench.crash();
    await bench.start();
    await surveys(complete(), 3 * AGE);
    expect([isHeld(), bench.engine.list().domains]).toEqual([true, 'off']);
  });

  it.each([
    ['a running one', {}],
    ['a stopped one', { running: false }],
  ])('stays while a domain uses the mount: %s', async (_, rest) => {
    await begin([held()]);
    await surveys(complete(domain(UUID, [DISK_PATH], rest)), 3 * AGE);
    expect(isHeld()).toBe(true);
  });

  it.each([
    ['the mountpoint itself', `/mnt/${VOLUME.leaf}`],
    ['a file deep below it', `/mnt/${VOLUME.leaf}/a/b`],
    ['the mount base spelled in another way', `/var/lib/link//./${VOLUME.leaf}/x`],
    ['a way up again', `/mnt/${VOLUME.leaf}/../x`],
  ])('stays while a domain has %s, as a disk or as a file that a disk rests on', async (_, path) => {
    await begin([held()]);
    await surveys(complete(domain(UUID, [path])), 2 * AGE);
    await surveys(complete(domain(UUID, ['/elsewhere/overlay'], { otherFiles: [path] })), 2 * AGE);
    await surveys(complete(domain(UUID, ['/elsewhere/overlay'], { remembered: [path] })), 2 * AGE);
    expect(isHeld()).toBe(true);
  });

  it('is not lifted by evidence that is incomplete or missing, however long', async () => {
    await begin([held()]);
    await surveys(incomplete(), 3 * AGE);
    expect([isHeld(), bench.engine.list().domains]).toEqual([true, 'incomplete']);
    await surveys(null, 3 * AGE);
    expect([isHeld(), bench.engine.list().domains]).toEqual([true, 'unknown']);
    bench.engine.takeEvidence(complete());
    await quiet();
    expect([isHeld(), bench.engine.list().domains]).toEqual([true, 'complete']);
  });

  it.each([
    ['shows a use', complete(domain(UUID, [DISK_PATH]))],
    ['shows a use, and is incomplete', incomplete(domain(UUID, [DISK_PATH]))],
    ['is incomplete', incomplete()],
    ['is missing', null],
  ])('needs the whole time anew after a survey that %s', async (_, survey) => {
    await begin([held()]);
    await surveys(complete(), AGE - SURVEY);
    bench.engine.takeEvidence(survey);
    await bench.clock.pass(SURVEY);
    await surveys(complete(), AGE - SURVEY);
    expect(isHeld()).toBe(true);
    await bench.clock.pass(SURVEY);
    await surveys(complete(), 0);
    expect(isHeld()).toBe(false);
  });

  it('needs the whole time after the start of this agent, and several surveys however rare', async () => {
    await begin([held()]);
    await surveys(complete(), AGE - SURVEY);
    bench.crash();
    await bench.start();
    await surveys(complete(), AGE - SURVEY);
    expect(isHeld()).toBe(true);
    bench.crash();
    await bench.start();
    bench.engine.takeEvidence(complete());
    await bench.clock.pass(2 * AGE);
    bench.engine.takeEvidence(complete());
    await quiet();
    expect(isHeld()).toBe(true);
    bench.engine.takeEvidence(complete());
    await quiet();
    expect(isHeld()).toBe(false);
  });

  it('needs the whole time after it was set: what domains did before does not count', async () => {
    bench.evidence = { liftHolds: 'evidence', orphans: 'report', ageMs: AGE, isExpected: () => true };
    bench.crash();
    await bench.start();
    await surveys(complete(), AGE);
    bench.mounted(VOLUME);
    const connected = bench.connect();
    await bench.clock.pass(0);
    expect([connected.state, isHeld()]).toEqual(['kept', true]);
    await surveys(complete(), AGE - SURVEY);
    expect(isHeld()).toBe(true);
    await bench.clock.pass(SURVEY);
    await surveys(complete(), 0);
    expect(isHeld()).toBe(false);
    expect(bench.at(VOLUME).mounts).toHaveLength(1);
    expect(listed()?.attachments).toHaveLength(1);
  });

  it('stays while a process holds the mount, and while nobody can tell; a copy in another namespace is no reason', async () => {
    const process: Holder = { pid: 7, command: 'backup', by: 'descriptor' };
    await begin([held()]);
    bench.at(VOLUME).holders = [process];
    await surveys(complete(), 2 * AGE);
    expect(isHeld()).toBe(true);
    bench.at(VOLUME).holders = [{ ...process, by: 'namespace' }];
    const relent = bench.always('holders', () => {
      throw new FairleadError('deadline-exceeded', 'Not looked at in time.');
    });
    await surveys(complete(), SURVEY);
    expect(isHeld()).toBe(true);
    relent();
    await surveys(complete(), 0);
    expect(isHeld()).toBe(false);
  });

  it.each(['mount', 'loop'] as const)('stays while something holds the mount that is no process: a %s', async (by) => {
    await begin([held()]);
    bench.at(VOLUME).holders = [{ pid: 0, command: '/elsewhere', by }];
    await surveys(complete(), 2 * AGE);
    expect(isHeld()).toBe(true);
  });

  it('stays while the search for its holders is cut short', async () => {
    await begin([held()]);
    const cutShort = bench.always('holders', () => ({ holders: [], complete: false }));
    await surveys(complete(), 2 * AGE);
    expect(isHeld()).toBe(true);
    cutShort();
    await surveys(complete(), 0);
    expect(isHeld()).toBe(false);
  });

  it('stays when a use is seen while its holders are looked for', async () => {
    await begin([held()]);
    bench.once('holders', (proceed) => {
      bench.engine.takeEvidence(incomplete(domain(UUID, [DISK_PATH])));
      return proceed();
    });
    await surveys(complete(), AGE);
    expect(isHeld()).toBe(true);
  });

  it('is left alone while somebody is at work on the volume', async () => {
    await begin([held()]);
    bench.once('observe', () => new Promise(() => undefined));
    bench.connect();
    await surveys(complete(), 2 * AGE);
    expect(isHeld()).toBe(true);
  });
});

describe('an attachment of a virtual machine', () => {
  it.each([
    [VM, 'no-domain', complete()],
    [NOVA, 'no-domain', complete()],
    [VM, 'unused', complete(domain(UUID, ['/elsewhere/disk']))],
    [NOVA, 'unused', complete(domain(UUID, ['/elsewhere/disk']), domain(OTHER, [DISK_PATH]))],
  ])('%s is shown as an orphan (%s) after a while, and stays', async (consumer, kind, survey) => {
    await begin([attachedTo(consumer)]);
    await surveys(survey, AGE - SURVEY);
    expect(orphan()).toBeNull();
    await bench.clock.pass(SURVEY);
    await surveys(survey, 0);
    expect(orphan()).toBe(kind);
    await surveys(survey, AGE);
    expect(listed()?.state).toBe('mounted');
    const findings = await bench.engine.examine({ deadlineMs: 1000, signal: new AbortController().signal });
    expect(findings.map(({ mend }) => mend)).toEqual([
      `fairlead disconnect ${VOLUME.url} --disk ${DISK} --consumer ${consumer}`,
    ]);
  });

  it('without a disk only loses its user with its domain; others than virtual machines never do', async () => {
    await begin([attachedTo(VM, null), attachedTo(ALICE)]);
    await surveys(complete(domain(UUID, [])), 2 * AGE);
    expect(listed()?.attachments.map((one) => one.orphan)).toEqual([null, null]);
    await surveys(complete(), 2 * AGE);
    expect(listed()?.attachments.map((one) => one.orphan)).toEqual(['no-domain', null]);
  });

  it.each([
    ['a disk', domain(UUID, [DISK_PATH])],
    ['a disk, stopped', domain(UUID, [DISK_PATH], { running: false })],
    ['its disk under the name that a snapshot gave it', domain(UUID, [`${DISK_PATH}.snap`], { running: false })],
    ['something else on the volume', domain(UUID, ['/elsewhere/disk'], { otherFiles: [`/mnt/${VOLUME.leaf}/nvram`] })],
    ['only in a snapshot', domain(UUID, ['/elsewhere/disk'], { remembered: [DISK_PATH] })],
    [
      'perhaps, below an image that libvirt tells nothing of',
      domain(UUID, ['/elsewhere/disk'], { unknown: 'backing' }),
    ],
    ['what its disk rests on', domain(UUID, ['/elsewhere/overlay'], { otherFiles: [DISK_PATH] })],
    ['a disk by another way', domain(UUID, [`/link/${VOLUME.leaf}//./${DISK}`])],
    ['a path that cannot be told', domain(UUID, [`/mnt/${VOLUME.leaf}/x/../${DISK}`])],
  ])('is no orphan while its domain has it: %s', async (_, user) => {
    await begin([attachedTo(NOVA)]);
    await surveys(complete(user), 2 * AGE);
    expect(orphan()).toBeNull();
  });

  it('is no orphan on evidence that is incomplete; one that is stays shown until it is seen to be used', async () => {
    await begin([attachedTo(VM)]);
    await surveys(incomplete(), 2 * AGE);
    await surveys(null, 2 * AGE);
    expect(orphan()).toBeNull();
    await surveys(complete(), AGE);
    expect(orphan()).toBe('no-domain');
    await surveys(null, AGE);
    await surveys(incomplete(), AGE);
    expect(orphan()).toBe('no-domain');
    await surveys(incomplete(domain(UUID, [DISK_PATH])), 0);
    expect(orphan()).toBeNull();
  });

  it('is wanted again, for the whole time, when it is connected again', async () => {
    await begin([attachedTo(NOVA)]);
    await surveys(complete(), AGE);
    expect(orphan()).toBe('no-domain');
    const again = bench.connect(VOLUME, NOVA, { disk: DISK });
    await bench.clock.pass(0);
    expect(again.value?.isNew).toBe(false);
    expect(orphan()).toBeNull();
    await surveys(complete(), AGE - SURVEY);
    expect(orphan()).toBeNull();
  });
});

describe('an orphan that the policy releases', () => {
  it('is disconnected, and its mount goes with it', async () => {
    await begin([attachedTo(VM)], { orphans: 'release' });
    await surveys(complete(), AGE - SURVEY);
    expect(listed()?.attachments).toHaveLength(1);
    await bench.clock.pass(SURVEY);
    await surveys(complete(), 0);
    expect(listed()?.attachments).toEqual([]);
    expect(bench.told).toContain('orphan-released');
    await bench.clock.pass(SURVEY);
    expect(bench.at(VOLUME).mounts).toEqual([]);
    expect(bench.takenAway).toEqual([]);
  });

  it('leaves the mount to its other users, whoever holds it open', async () => {
    await begin([attachedTo(VM), attachedTo(ALICE)], { orphans: 'release' });
    bench.at(VOLUME).holders = [{ pid: 7, command: 'qemu', by: 'descriptor' }];
    await surveys(complete(), AGE + SURVEY);
    expect(listed()?.attachments.map(({ consumer }) => consumer)).toEqual([ALICE]);
    expect(bench.at(VOLUME).mounts).toHaveLength(1);
  });

  it('leaves the mount to its hold', async () => {
    await begin([attachedTo(VM), held()], { orphans: 'release', liftHolds: 'operator' });
    await surveys(complete(), AGE);
    expect([listed()?.attachments, listed()?.hold, listed()?.state]).toEqual([[], 'inherited', 'mounted']);
  });

  it('stays while the evidence that there is now is incomplete', async () => {
    await begin([attachedTo(VM)], { orphans: 'release' });
    const holds = bench.always('holders', () => ({
      holders: [{ pid: 7, command: 'qemu', by: 'descriptor' }],
      complete: true,
    }));
    await surveys(complete(), AGE + SURVEY);
    holds();
    await surveys(incomplete(), AGE);
    expect([orphan(), listed()?.attachments.length]).toEqual(['no-domain', 1]);
    await surveys(complete(), 0);
    expect(listed()?.attachments).toEqual([]);
  });

  it('stays while a process holds the mount that would go with it', async () => {
    await begin([attachedTo(VM)], { orphans: 'release' });
    bench.at(VOLUME).holders = [{ pid: 7, command: 'qemu', by: 'descriptor' }];
    await surveys(complete(), 2 * AGE);
    expect(listed()?.attachments).toHaveLength(1);
  });

  it('stays when it is connected again while its holders are looked for', async () => {
    await begin([attachedTo(NOVA)], { orphans: 'release' });
    bench.once('holders', async (proceed) => {
      await bench.connect(VOLUME, NOVA, { disk: DISK }).promise;
      return proceed();
    });
    await surveys(complete(), AGE);
    await bench.clock.pass(0);
    expect(listed()?.attachments).toHaveLength(1);
  });
});

it('records that could not be read back keep every hold for the operator', async () => {
  await begin([held()]);
  bench.setAside = [{ table: 'attachments', key: 'x', reason: 'It makes no sense.' }];
  bench.crash();
  await bench.start();
  await surveys(complete(), 3 * AGE);
  expect(isHeld()).toBe(true);
});
