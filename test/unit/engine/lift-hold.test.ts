// Lifting a hold by hand: refused while somebody uses the mount or may use it, and what doctor says of it.

import { beforeEach, describe, expect, it } from 'vitest';
import type { DomainUuid, Survey } from '../../../src/core/domains.js';
import { FairleadError } from '../../../src/core/errors.js';
import type { Consumer } from '../../../src/core/names.js';
import type { Finding } from '../../../src/core/broker-api.js';
import type { Holder } from '../../../src/core/observation.js';
import type { Change } from '../../../src/core/records.js';
import { ALICE, attached, Bench, held, recorded, VOLUME, volumeOf, watch, type Watched } from './bench.js';
import { complete, domain, incomplete } from './surveys.js';
import { quiet } from './virtual-clock.js';

const UUID = '0b7d1e4a-6f52-4c3b-9a51-2f1f0c9d8e77' as DomainUuid;
const DEADLINE_MS = 1000;
const WEB = domain(UUID, [`/mnt/${VOLUME.leaf}/disk-1`, `/mnt/${VOLUME.leaf}/disk-2`], { name: 'web', running: false });
const CAT: Holder = { pid: 7, command: 'cat', by: 'descriptor' };

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});

/** An agent on a host whose libvirt is `expected`, or not, or none of Fairlead's business; with a held mount. */
async function begin(libvirt: 'expected' | 'perhaps' | 'off', ...more: readonly Change[]): Promise<void> {
  bench.evidence =
    libvirt === 'off'
      ? null
      : { liftHolds: 'operator', orphans: 'report', ageMs: 60_000, isExpected: () => libvirt === 'expected' };
  bench.mounted(VOLUME);
  bench.remember(recorded('mounted'), held(), ...more);
  bench.crash();
  await bench.start();
}

const context = (): { deadlineMs: number; signal: AbortSignal } => ({
  deadlineMs: DEADLINE_MS,
  signal: new AbortController().signal,
});
async function lift(force = false): Promise<Watched<{ readonly lifted: boolean }>> {
  const lifting = watch(bench.engine.liftHold({ leaf: VOLUME.leaf, force }, context()));
  await quiet();
  return lifting;
}
const isHeld = (): boolean => bench.durable.holds.has(VOLUME.leaf);

/** The refusal's message; what is forced goes through nevertheless. */
async function refusal(): Promise<string> {
  const { state, error } = await lift();
  if (!(error instanceof FairleadError)) throw new Error(`it was not refused: ${state}`);
  expect([state, error.code, error.leaf, isHeld()]).toEqual(['broken', 'busy', VOLUME.leaf, true]);
  expect(error.message).toContain('--force');
  expect((await lift(true)).value).toEqual({ lifted: true });
  expect(isHeld()).toBe(false);
  return error.message;
}

async function finding(): Promise<Finding | undefined> {
  const found = await bench.engine.examine(context());
  return found.find(({ message }) => message.includes('kept by a hold'));
}

describe('with evidence of use', () => {
  it.each<[string, Survey]>([
    ['a complete survey', complete(WEB)],
    ['an incomplete survey', incomplete(WEB)],
  ])('a hold is not lifted, and doctor advises against it: a domain, in %s', async (_, survey) => {
    await begin('perhaps');
    bench.engine.takeEvidence(survey);
    const { message, mend } = (await finding())!;
    expect(message).toContain('In use: the stopped domain web (disk-1, disk-2).');
    expect(mend).toContain('Leave the hold');
    expect(mend).not.toContain('lift-hold');
    expect(await refusal()).toContain('the stopped domain web (disk-1, disk-2)');
  });

  it('it is what the last survey showed, although libvirt cannot be read now', async () => {
    await begin('perhaps');
    bench.engine.takeEvidence(complete(WEB));
    bench.engine.takeEvidence(null);
    expect(await refusal()).toContain('domain web');
  });

  it.each<[string, Holder]>([
    ['cat (pid 7, descriptor)', CAT],
    ['a mount at /elsewhere', { pid: 0, command: '/elsewhere', by: 'mount' }],
    ['the loop device /dev/loop3', { pid: 0, command: '/dev/loop3', by: 'loop' }],
  ])('a hold is not lifted, and doctor advises against it: %s', async (words, holder) => {
    await begin('off');
    bench.at(VOLUME).holders = [holder];
    expect(await finding()).toMatchObject({
      message: `It was found without a record and is kept by a hold. In use: ${words}.`,
      mend: expect.stringContaining('Leave the hold') as string,
    });
    expect(await refusal()).toContain(words);
  });

  it('names are bounded, and escaped', async () => {
    await begin('perhaps');
    const many = Array.from({ length: 9 }, (_, index) => `/mnt/${VOLUME.leaf}/disk-${index}`);
    bench.engine.takeEvidence(complete(domain(UUID, many, { name: 'a\nb' })));
    expect(await refusal()).toContain('the running domain a\\nb (disk-0, disk-1, disk-2, disk-3, disk-4 and 4 more)');
  });

  it('a domain that is attached keeps its mount without the hold, and so do processes of whoever is', async () => {
    const vm = attached(`vm:${UUID}` as Consumer);
    await begin('perhaps', vm);
    bench.engine.takeEvidence(complete(WEB));
    bench.at(VOLUME).holders = [CAT];
    expect((await lift()).value).toEqual({ lifted: true });
    expect(bench.at(VOLUME).mounts).toHaveLength(1);
  });

  it('a domain that is not attached counts beside others who are', async () => {
    await begin('perhaps', attached(ALICE));
    bench.engine.takeEvidence(complete(WEB));
    expect(await refusal()).toContain('domain web');
  });
});

describe('without evidence of use', () => {
  it.each<['perhaps' | 'off', Survey | null]>([
    ['off', null],
    ['perhaps', complete()],
    ['perhaps', null],
  ])('a hold is lifted, and doctor names the command (libvirt %s, survey %o)', async (libvirt, survey) => {
    await begin(libvirt);
    bench.engine.takeEvidence(survey);
    bench.at(VOLUME).holders = [{ ...CAT, by: 'namespace' }];
    expect(await finding()).toMatchObject({
      message: 'It was found without a record and is kept by a hold.',
      mend: `fairlead lift-hold ${VOLUME.leaf}`,
    });
    expect((await lift()).value).toEqual({ lifted: true });
    expect(isHeld()).toBe(false);
    expect(bench.told).toContain('hold-lifted');
  });

  it.each<[string, 'expected' | 'perhaps', readonly (Survey | null)[], string]>([
    ['domains were read in part only', 'perhaps', [incomplete()], 'Only some of'],
    ['domains could not be read where there is to be a libvirt', 'expected', [null], 'could not be read'],
    ['domains could be read before and cannot now', 'perhaps', [complete(), null], 'could not be read'],
  ])('a hold is not lifted while that proves nothing: %s', async (_, libvirt, surveys, words) => {
    await begin(libvirt);
    for (const survey of surveys) bench.engine.takeEvidence(survey);
    const { message, mend } = (await finding())!;
    expect([message, mend]).toEqual([expect.stringContaining(words), 'Leave the hold until that is known.']);
    expect(await refusal()).toContain(words);
  });

  it('a hold is not lifted when the search for its holders was cut short, or could not be made', async () => {
    await begin('off');
    const cutShort = bench.always('holders', () => ({ holders: [], complete: false }));
    expect((await finding())?.mend).toBe('Leave the hold until that is known.');
    expect((await lift()).error).toMatchObject({ code: 'busy' });
    cutShort();
    const fails = bench.always('holders', () => {
      throw new FairleadError('resource-exhausted', 'Too many.');
    });
    expect((await finding())?.mend).toBe('Leave the hold until that is known.');
    expect((await lift()).error).toMatchObject({ code: 'resource-exhausted' });
    expect(isHeld()).toBe(true);
    fails();
    expect((await lift()).value).toEqual({ lifted: true });
  });

  it('the first survey after a start is waited for, and no longer than the request may take', async () => {
    await begin('perhaps');
    const waiting = await lift();
    expect(waiting.state).toBe('open');
    bench.engine.takeEvidence(complete(WEB));
    await quiet();
    expect(waiting.error).toMatchObject({ code: 'busy' });
    bench.crash();
    await bench.start();
    const again = await lift();
    await bench.clock.pass(DEADLINE_MS);
    expect(again.error).toMatchObject({
      code: 'busy',
      message: expect.stringContaining('not been read yet') as string,
    });
  });

  it('nobody waits for evidence where there is no hold, or where it is forced', async () => {
    await begin('perhaps');
    expect((await lift(true)).value).toEqual({ lifted: true });
    expect((await lift()).value).toEqual({ lifted: false });
  });
});

it('doctor tells of every held mount in time, however slowly their holders are found', async () => {
  const volumes = Array.from({ length: 9 }, (_, index) => volumeOf(`vol-${index}`));
  for (const one of volumes) {
    bench.mounted(one);
    bench.remember(recorded('mounted', 'boot-1', one), held(one));
  }
  await bench.start();
  bench.always('holders', async (proceed) => {
    await bench.clock.sleep(DEADLINE_MS / 4);
    return proceed();
  });
  const examined = watch(bench.engine.examine(context()));
  await bench.clock.pass(DEADLINE_MS);
  const mends = examined.value?.map(({ mend }) => mend) ?? [];
  expect(mends).toHaveLength(volumes.length);
  expect(mends.filter((mend) => mend.startsWith('fairlead lift-hold'))).toHaveLength(4);
});
