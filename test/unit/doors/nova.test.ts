// The door for Nova: its records translated to the engine's questions and back. The engine behind it is a recorder.

import { describe, expect, it } from 'vitest';
import { parseVolume } from '../../../src/backends/registry.js';
import type { Driver } from '../../../src/core/disk.js';
import { FairleadError } from '../../../src/core/errors.js';
import type { Engine, ListedMount, RequestContext } from '../../../src/core/requests.js';
import { checkBody } from '../../../src/doors/http/body.js';
import { NOVA_ROUTES } from '../../../src/doors/nova/routes.js';
import type { House } from '../../../src/doors/route.js';

const INSTANCE = '6E1A2C0E-0000-4000-8000-000000000001';
const CONSUMER = 'nova:6e1a2c0e-0000-4000-8000-000000000001';
const SECRET = 'a0000000-0000-4000-8000-00000000000a';
const SERIAL = 'b1f5f0a6-7c25-4e0c-9a06-1a2b3c4d5e6f';
const volume = parseVolume('192.168.1.1/volume-00001');
const path = `/mnt/${volume.leaf}/volume-1`;
const disk = { dev: 'vdb', bus: 'virtio', type: 'disk' };

function record(data: object = {}, changes: object = {}): Record<string, unknown> {
  return {
    driver_volume_type: 'quobyte',
    data: { export: 'quobyte://192.168.1.1/volume-00001', name: 'volume-1', format: 'raw', ...data },
    serial: SERIAL,
    ...changes,
  };
}

interface Asked {
  readonly name: string;
  readonly request: unknown;
  readonly deadlineMs: number;
}

function house(mounts: readonly ListedMount[] = [], driver: Driver = { cache: 'none', io: 'native' }) {
  const asked: Asked[] = [];
  const noted =
    (name: string, reply: unknown) =>
    (request: unknown, { deadlineMs }: RequestContext) => {
      asked.push({ name, request, deadlineMs });
      return Promise.resolve(reply);
    };
  const engine = {
    connect: noted('connect', { path }),
    disconnect: noted('disconnect', { outcome: 'released' }),
    list: () => ({ mounts }),
  } as unknown as Engine;
  const volumes = { parseVolume, mountBaseOf: () => '/mnt', driverOf: () => driver };
  return { asked, house: { engine, volumes, vm: null, version: '1' } satisfies House };
}

/** Asks as the HTTP door does. */
async function ask(name: string, body: unknown, inside: House = house().house): Promise<unknown> {
  const route = NOVA_ROUTES.find((one) => one.name === name);
  if (route === undefined || route.body === null) throw new Error(`there is no route ${name} with a body`);
  const sound = checkBody(route.body, body);
  const context = { deadlineMs: route.deadlineMs(sound), signal: new AbortController().signal };
  return await route.answer({ body: sound, leaf: '', flags: new Set() }, context, inside);
}

async function fieldOf(name: string, body: unknown, inside?: House): Promise<string | undefined> {
  try {
    await ask(name, body, inside);
  } catch (error) {
    if (error instanceof FairleadError) return `${error.code} ${error.field ?? ''}`;
    throw error;
  }
  return undefined;
}

describe('connect', () => {
  it('makes the attachment of the instance, once parsed', async () => {
    const { asked, house: inside } = house();
    const body = { connectionInfo: record({ access_mode: 'ro' }), instance: INSTANCE, timeoutMs: 7000 };
    expect(await ask('novaConnect', body, inside)).toEqual({ path });
    const request = { volume, disk: 'volume-1', consumer: CONSUMER, readOnly: true };
    expect(asked).toEqual([{ name: 'connect', request, deadlineMs: 7000 }]);
  });

  it.each([
    [{ connectionInfo: record({ name: '../x' }), instance: INSTANCE }, 'invalid-argument connectionInfo.data.name'],
    [
      { connectionInfo: record({ qos_specs: { total_iops_sec: '-1' } }), instance: INSTANCE },
      'invalid-argument connectionInfo.data.qos_specs.total_iops_sec',
    ],
    [{ connectionInfo: record(), instance: 'vm-1' }, 'invalid-argument instance'],
    [{ connectionInfo: record(), instance: 7 }, 'invalid-argument instance'],
    [{ connectionInfo: record() }, 'invalid-argument instance'],
    [{ instance: INSTANCE }, 'invalid-argument connectionInfo'],
    [{ connectionInfo: record(), instance: INSTANCE, readOnly: true }, 'invalid-argument readOnly'],
  ])('refuses %#, and the engine is not asked', async (body, refused) => {
    const { asked, house: inside } = house();
    expect(await fieldOf('novaConnect', body, inside)).toBe(refused);
    expect(asked).toEqual([]);
  });
});

describe('disconnect', () => {
  it('asks for volume, disk and instance, even where the rest of the record would be refused', async () => {
    const { asked, house: inside } = house();
    const body = { connectionInfo: record({ format: 'vmdk', qos_specs: 7 }), instance: INSTANCE };
    expect(await ask('novaDisconnect', body, inside)).toEqual({ outcome: 'released' });
    expect(asked).toEqual([
      { name: 'disconnect', request: { volume, disk: 'volume-1', consumer: CONSUMER }, deadlineMs: 120_000 },
    ]);
  });
});

describe('disk-config', () => {
  it('describes the disk as Nova does, asking nobody', async () => {
    const { asked, house: inside } = house();
    const data = { qos_specs: { read_iops_sec: '5', vendor: 'x' }, discard: true, encrypted: true };
    const body = { connectionInfo: record(data, { multiattach: true }), diskInfo: disk, secret: SECRET };
    const reply = (await ask('novaDiskConfig', body, inside)) as { xml: string; notes: string[] };
    expect(reply).toMatchObject({
      path,
      driver: { name: 'qemu', type: 'raw', cache: 'none', io: 'native', discard: 'unmap' },
      source: { file: path },
      target: { dev: 'vdb', bus: 'virtio' },
      serial: SERIAL,
      alias: `ua-${SERIAL}`,
      iotune: { read_iops_sec: 5 },
      shareable: true,
      encryption: { format: 'luks', secret: { type: 'passphrase', uuid: SECRET } },
    });
    expect(reply.xml).toContain(`<secret type="passphrase" uuid="${SECRET}"/>`);
    expect(reply.notes).toHaveLength(1);
    expect(asked).toEqual([]);
  });

  it('looks at the unit on the bus scsi only, as Nova does', async () => {
    const config = (diskInfo: object): Promise<unknown> =>
      ask('novaDiskConfig', { connectionInfo: record(), diskInfo });
    expect(await config({ dev: 'sda', bus: 'scsi', type: 'disk', unit: 3 })).toMatchObject({ address: { unit: 3 } });
    expect(await config({ ...disk, unit: 3 })).toMatchObject({ address: null });
  });

  const writeback = { cache: 'writeback', io: 'threads' } as const;
  interface Odd {
    readonly driver?: Driver;
    readonly diskInfo?: object;
    readonly connectionInfo?: object;
    readonly secret?: string;
  }
  const odd: readonly [Odd, string][] = [
    [{ diskInfo: { ...disk, type: 'lun' } }, 'diskInfo.type'],
    [{ diskInfo: { ...disk, dev: '/dev/vdb' } }, 'diskInfo.dev'],
    [{ diskInfo: { ...disk, bus: 'xen' } }, 'diskInfo.bus'],
    [{ diskInfo: { ...disk, bus: 'scsi', unit: -1 } }, 'diskInfo.unit'],
    [{ diskInfo: { ...disk, boot: 1 } }, 'diskInfo.boot'],
    [{ diskInfo: disk, secret: 'x' }, 'secret'],
    [{ diskInfo: disk, connectionInfo: record({ encrypted: true }) }, 'secret'],
    [
      { diskInfo: disk, connectionInfo: record({ format: 'qcow2' }, { multiattach: true }) },
      'connectionInfo.multiattach',
    ],
    [
      { diskInfo: disk, connectionInfo: record({}, { multiattach: true }), driver: writeback },
      'connectionInfo.multiattach',
    ],
    [
      { diskInfo: { ...disk, bus: 'sata' }, connectionInfo: record({ access_mode: 'ro' }) },
      'connectionInfo.data.access_mode',
    ],
    [{}, 'diskInfo'],
  ];
  it.each(odd)('refuses %#', async (body, field) => {
    const { driver, ...rest } = body;
    const refused = await fieldOf('novaDiskConfig', { connectionInfo: record(), ...rest }, house([], driver).house);
    expect(refused).toBe(`invalid-argument ${field}`);
  });
});

describe('extend', () => {
  const attached = (consumer: string, readOnly = false, leaf = volume.leaf): readonly ListedMount[] => [
    { leaf, attachments: [{ consumer, disk: 'volume-1', readOnly }] } as unknown as ListedMount,
  ];
  const body = { connectionInfo: record(), instance: INSTANCE, bytes: 2 ** 31 };

  it.each([CONSUMER, CONSUMER.replace('nova:', 'vm:')])(
    'answers the size for an attachment of %s',
    async (consumer) => {
      const reply = await ask('novaExtend', body, house(attached(consumer)).house);
      expect(reply).toEqual({ bytes: 2 ** 31, leaf: volume.leaf, path });
    },
  );

  it.each([
    [body, attached('nova:00000000-0000-4000-8000-000000000001'), 'not-found instance'],
    [body, [], 'not-found instance'],
    [{ ...body, connectionInfo: record({ name: 'other' }) }, attached(CONSUMER), 'not-found instance'],
    [{ ...body, connectionInfo: record({ export: 'r/other' }) }, attached(CONSUMER), 'not-found instance'],
    [body, attached(CONSUMER, true), 'permission-denied instance'],
    [{ ...body, bytes: 1000 }, attached(CONSUMER), 'invalid-argument bytes'],
    [{ ...body, bytes: -512 }, attached(CONSUMER), 'invalid-argument bytes'],
    [{ ...body, bytes: '512' }, attached(CONSUMER), 'invalid-argument bytes'],
  ])('refuses %#', async (asked, mounts, refused) => {
    expect(await fieldOf('novaExtend', asked, house(mounts).house)).toBe(refused);
  });
});

describe('a disk of which a snapshot was made meanwhile', () => {
  const [cinder, other, snapshot, later] = ['1', '2', '3', '4'].map((digit) => `${digit.repeat(8)}${SERIAL.slice(8)}`);
  const listed = (...names: readonly string[]): readonly ListedMount[] => [
    {
      leaf: volume.leaf,
      attachments: names.map((name) => ({ consumer: CONSUMER, disk: name, readOnly: false })),
    } as unknown as ListedMount,
  ];
  const ended = async (name: string, ...names: readonly string[]): Promise<readonly unknown[]> => {
    const { asked, house: inside } = house(listed(...names));
    await ask('novaDisconnect', { connectionInfo: record({ name }), instance: INSTANCE }, inside);
    return asked.map(({ request }) => (request as { readonly disk: string }).disk);
  };

  it.each([
    ['before it', `volume-${cinder}`],
    ['by another', `volume-${cinder}.${later}`],
  ])('is disconnected under the name that it was connected by %s', async (_, name) => {
    const asked = `volume-${cinder}.${snapshot}`;
    expect(await ended(asked, name, `volume-${other}`, `volume-${other}.${snapshot}`)).toEqual([name]);
  });

  it('is disconnected under its first name after the snapshot is gone, and under all that were connected, its own last', async () => {
    const [first, second] = [`volume-${cinder}`, `volume-${cinder}.${snapshot}`];
    expect(await ended(first, second)).toEqual([second]);
    expect(await ended(first, first, second)).toEqual([second, first]);
    expect(await ended(second, first, second)).toEqual([first, second]);
  });

  it('is not taken for another disk whose name begins alike', async () => {
    expect(await ended(`disk.${cinder}`, `disk.${other}`)).toEqual([`disk.${cinder}`]);
    expect(await ended(`volume-${cinder}`, `volume-${cinder}.bak`)).toEqual([`volume-${cinder}`]);
    expect(await ended('volume-1', 'volume-1.x')).toEqual(['volume-1']);
  });

  it('may be extended', async () => {
    const body = {
      connectionInfo: record({ name: `volume-${cinder}.${snapshot}` }),
      instance: INSTANCE,
      bytes: 2 ** 31,
    };
    expect(await ask('novaExtend', body, house(listed(`volume-${cinder}`)).house)).toMatchObject({ bytes: 2 ** 31 });
  });
});
