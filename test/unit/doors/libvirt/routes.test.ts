// The HTTP forms of guests' disks: what a request comes to, and which field a wrong one is told of.

import { beforeEach, describe, expect, test } from 'vitest';
import { parseVolume } from '../../../../src/backends/registry.js';
import type { FairleadError } from '../../../../src/core/errors.js';
import type { Engine, RequestContext } from '../../../../src/core/requests.js';
import type { VmDoor } from '../../../../src/core/vm-requests.js';
import { checkBody } from '../../../../src/doors/http/body.js';
import type { House } from '../../../../src/doors/route.js';
import { ROUTES } from '../../../../src/doors/routes.js';

const URL_ = 'quobyte://reg/vol';
const UUID = '11111111-2222-4333-8444-555555555555';
const FINDING = { subject: 's', severity: 'error', message: 'm', mend: 'do it' } as const;

let asked: unknown[];
beforeEach(() => {
  asked = [];
});

const record = (request: unknown): Promise<never> => {
  asked.push(request);
  return Promise.resolve({} as never);
};
const vm: VmDoor = {
  attach: record,
  detach: record,
  extend: record,
  list: () => record('list'),
  findings: () => Promise.resolve([FINDING]),
};

async function ask(name: string, body?: object, door: VmDoor | null = vm): Promise<unknown> {
  const route = ROUTES.find((one) => one.name === name);
  if (route === undefined) throw new Error(`no route ${name}`);
  const house: House = {
    engine: { examine: () => Promise.resolve([FINDING]) } as unknown as Engine,
    volumes: { parseVolume, mountBaseOf: () => '/mnt', driverOf: () => ({ cache: 'none', io: 'native' }) },
    vm: door,
    version: '0',
  };
  const context: RequestContext = { deadlineMs: 1000, signal: new AbortController().signal };
  return await route.answer(
    { body: route.body === null ? undefined : checkBody(route.body, body), leaf: '', flags: new Set() },
    context,
    house,
  );
}

const ATTACH = { domain: 'web', url: URL_, disk: 'd' };

describe('attach', () => {
  test('with nothing but what it needs', async () => {
    await ask('vmAttach', ATTACH);
    expect(asked).toEqual([
      {
        ...{ domain: 'web', volume: parseVolume(URL_), disk: 'd', format: 'raw', target: null, bus: 'virtio' },
        ...{ access: 'read-write', options: {}, scope: 'running', create: null },
      },
    ]);
  });
  test('with everything', async () => {
    await ask('vmAttach', {
      ...{ domain: UUID.toUpperCase(), url: URL_, disk: 'd', format: 'qcow2', target: 'sdc', bus: 'scsi' },
      ...{
        readOnly: true,
        persistent: true,
        createBytes: 1024,
        options: { serial: 'x', shareable: true },
        timeoutMs: 9,
      },
    });
    expect(asked).toEqual([
      {
        ...{ domain: UUID, volume: parseVolume(URL_), disk: 'd', format: 'qcow2', target: 'sdc', bus: 'scsi' },
        ...{ access: 'read-only', options: { serial: 'x', shareable: true }, scope: 'both', create: 1024 },
      },
    ]);
  });
});

test('detach by target, and by volume and file', async () => {
  await ask('vmDetach', { domain: 'web', target: 'vdb' });
  await ask('vmDetach', ATTACH);
  expect(asked).toEqual([
    { domain: 'web', choice: { by: 'target', target: 'vdb' } },
    { domain: 'web', choice: { by: 'disk', volume: parseVolume(URL_), disk: 'd' } },
  ]);
});

test('extend and the list', async () => {
  await ask('vmExtend', { domain: 'web', target: 'vdb', bytes: 1024 });
  await ask('vmDisks');
  expect(asked).toEqual([{ domain: 'web', target: 'vdb', bytes: 1024 }, 'list']);
});

describe('what is wrong is refused by its field, and reaches nobody', () => {
  const EXTEND = { domain: 'web', target: 'vdb', bytes: 512 };
  const cases: readonly [string, object, string][] = [
    ['vmAttach', { ...ATTACH, domain: 'a/b' }, 'domain'],
    ['vmAttach', { ...ATTACH, domain: 'a\u202eb' }, 'domain'],
    ['vmAttach', { ...ATTACH, domain: 7 }, 'domain'],
    ['vmAttach', { ...ATTACH, url: 'nfs://x/y' }, 'url'],
    ['vmAttach', { ...ATTACH, disk: '../d' }, 'disk'],
    ['vmAttach', { ...ATTACH, disk: undefined }, 'disk'],
    ['vmAttach', { ...ATTACH, format: 'vmdk' }, 'format'],
    ['vmAttach', { ...ATTACH, target: 'vdb"/>' }, 'target'],
    ['vmAttach', { ...ATTACH, bus: 'ide' }, 'bus'],
    ['vmAttach', { ...ATTACH, readOnly: 'yes' }, 'readOnly'],
    ['vmAttach', { ...ATTACH, createBytes: 513 }, 'createBytes'],
    ['vmAttach', { ...ATTACH, createBytes: 1e300 }, 'createBytes'],
    ['vmAttach', { ...ATTACH, createBytes: '10G' }, 'createBytes'],
    ['vmAttach', { ...ATTACH, options: { unit: -1 } }, 'options.unit'],
    ['vmAttach', { ...ATTACH, xml: '<disk/>' }, 'xml'],
    ['vmDetach', { domain: 'web' }, 'target'],
    ['vmDetach', { domain: 'web', url: URL_ }, 'disk'],
    ['vmDetach', { domain: 'web', disk: 'd' }, 'url'],
    ['vmDetach', { domain: 'web', target: 'vdb', url: URL_, disk: 'd' }, 'target'],
    ['vmDetach', { domain: 'web', target: URL_ }, 'target'],
    ['vmExtend', { ...EXTEND, bytes: 0 }, 'bytes'],
    ['vmExtend', { ...EXTEND, bytes: 0.5 }, 'bytes'],
    ['vmExtend', { ...EXTEND, target: undefined }, 'target'],
  ];
  test.each(cases)('%s %j: %s', async (name, body, field) => {
    const failure = (await ask(name, body).catch((error: unknown) => error)) as FairleadError;
    expect([failure.code, failure.field]).toEqual(['invalid-argument', field]);
    expect(asked).toEqual([]);
  });
});

test.each(['sata', 'scssi'])('the bus %s is refused with those that there are, and no others', async (bus) => {
  const failure = (await ask('vmAttach', { ...ATTACH, bus }).catch((error: unknown) => error)) as FairleadError;
  expect(failure.message).toBe('bus must be virtio or scsi.');
});

test.each([
  ['vmAttach', ATTACH],
  ['vmDetach', { domain: 'web', target: 'vdb' }],
  ['vmExtend', { domain: 'web', target: 'vdb', bytes: 512 }],
  ['vmDisks', undefined],
])('%s where guests are switched off: unavailable, with the setting that mends it', async (name, body) => {
  const failure = (await ask(name, body, null).catch((error: unknown) => error)) as FairleadError;
  expect(failure.code).toBe('unavailable');
  expect(failure.message).toContain('[libvirt] enabled');
});

test('doctor puts the findings about volumes and about guests together', async () => {
  expect(await ask('doctor')).toEqual({ findings: [FINDING, FINDING] });
  expect(await ask('doctor', undefined, null)).toEqual({ findings: [FINDING] });
});
