import { describe, expect, it } from 'vitest';
import { encodeFrame } from '../../../src/core/frames.js';
import { MAX_DEADLINE_MS, MAX_DISK_BYTES } from '../../../src/core/limits.js';
import { PROTOCOL_VERSION, REQUESTS, type VerbName } from '../../../src/hypervisor/protocol.js';
import { VERBS } from '../../../src/hypervisor/verbs.js';
import { AGENT_UID, bench, type Bench, disk, LEAF, OTHER, URL, UUID } from './bench.js';

const which = { domain: UUID, volume: URL, disk: 'disk' };
const SOUND: Readonly<Record<VerbName, object>> = {
  hello: { version: 1 },
  survey: {},
  domain: { name: 'guest' },
  create: { volume: URL, disk: 'disk', format: 'raw', bytes: 512 },
  plug: {
    ...which,
    format: 'raw',
    target: 'vdb',
    bus: 'virtio',
    access: 'read-write',
    options: {},
    scope: 'running',
  },
  unplug: which,
  grow: { ...which, format: 'raw', bytes: 512 },
  examine: {},
};

async function greeted(): Promise<Bench> {
  const peer = bench();
  peer.say({ id: 1, verb: 'hello', version: PROTOCOL_VERSION, budgetMs: 1000 });
  expect(await peer.reply(1)).toEqual({ id: 1, ok: { version: PROTOCOL_VERSION } });
  return peer;
}

async function endsWithoutEffect(peer: Bench): Promise<void> {
  await expect.poll(() => peer.open(), { timeout: 2000, interval: 2 }).toBe(false);
  expect(peer.libvirt.calls).toEqual([]);
  expect(peer.images.done).toEqual([]);
}

it('the table and the protocol have the same verbs', () => {
  expect(Object.keys(VERBS)).toEqual(Object.keys(REQUESTS));
});

describe('who may speak', () => {
  it.each([1000, 64055, 65534])('user %i is cut off before a byte is read', async (uid) => {
    const peer = bench(uid);
    peer.say({ id: 1, verb: 'hello', version: 1, budgetMs: 1000 });
    await endsWithoutEffect(peer);
    expect(peer.warnings).toContain('peer-refused');
  });

  it.each([AGENT_UID, 0])('user %i is answered', async (uid) => {
    expect(await bench(uid).ask('examine', {})).toEqual([]);
  });
});

describe('what is not exactly as the protocol has it ends the connection', () => {
  it.each(Object.keys(SOUND).filter((verb) => verb !== 'hello'))('%s before hello', async (verb) => {
    const peer = bench();
    peer.say({ id: 1, verb, budgetMs: 100, ...SOUND[verb as VerbName] });
    await endsWithoutEffect(peer);
  });

  it.each(['exec', 'define', 'destroy', 'step', 'constructor', '__proto__', 'toString', ''])(
    'verb %j',
    async (verb) => {
      const peer = await greeted();
      peer.say({ id: 2, verb, budgetMs: 100 });
      await endsWithoutEffect(peer);
    },
  );

  it.each(Object.keys(SOUND) as VerbName[])('%s with hostile arguments', async (verb) => {
    const sound = { id: 2, verb, budgetMs: 100, ...SOUND[verb] };
    const hostile: object[] = [
      { ...sound, more: 1 },
      { ...sound, path: '/etc/shadow' },
      { ...sound, xml: '<disk/>' },
      { ...sound, budgetMs: 0 },
      { ...sound, budgetMs: MAX_DEADLINE_MS + 1 },
      { ...sound, budgetMs: '100' },
      ...Object.keys(SOUND[verb]).flatMap((name) => [
        Object.fromEntries(Object.entries(sound).filter(([key]) => key !== name)),
        { ...sound, [name]: null },
        { ...sound, [name]: ['x'] },
        { ...sound, [name]: 'x'.repeat(10_000) },
      ]),
    ];
    for (const request of hostile) {
      const peer = verb === 'hello' ? bench() : await greeted();
      peer.say(request);
      await endsWithoutEffect(peer);
    }
  });

  it.each([0, -512, 1.5, MAX_DISK_BYTES + 512, Number.MAX_SAFE_INTEGER])('a disk of %d bytes', async (bytes) => {
    const peer = await greeted();
    peer.say({ id: 2, verb: 'create', budgetMs: 100, ...SOUND.create, bytes });
    await endsWithoutEffect(peer);
  });

  it('a domain that is not named by its UUID where it has to be', async () => {
    for (const domain of ['guest', UUID.toUpperCase(), `${UUID} `, '../x']) {
      const peer = await greeted();
      peer.say({ id: 2, verb: 'unplug', budgetMs: 100, ...which, domain });
      await endsWithoutEffect(peer);
    }
  });

  it.each(Object.keys(SOUND) as VerbName[])('%s with arguments nested a hundred thousand deep', async (verb) => {
    const depth = 100_000;
    const deep = `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`;
    for (const name of Object.keys(SOUND[verb])) {
      const peer = verb === 'hello' ? bench() : await greeted();
      const sound = JSON.stringify({ id: 2, verb, budgetMs: 100, ...SOUND[verb], [name]: 'HERE' });
      const body = Buffer.from(sound.replace('"HERE"', deep));
      const head = Buffer.alloc(4);
      head.writeUInt32BE(body.length);
      peer.raw(Buffer.concat([head, body]));
      // Options are looked at one by one, and refused by name.
      if (name === 'options') expect(await peer.reply(2)).toMatchObject({ error: { code: 'invalid-argument' } });
      else await endsWithoutEffect(peer);
    }
  });

  it('bytes that are no frames', async () => {
    for (const bytes of [
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      encodeFrame([]),
      Buffer.from([0xff, 0xff, 0xff, 0xff]),
    ]) {
      const peer = await greeted();
      peer.raw(bytes);
      await endsWithoutEffect(peer);
    }
  });
});

describe('what is within the schema and makes no sense is refused', () => {
  it.each([
    ['create', { volume: 'nfs://host/x' }, 'invalid-argument volume'],
    ['create', { volume: 'quobyte://elsewhere/vol' }, 'permission-denied url'],
    ['create', { disk: '../disk' }, 'invalid-argument disk'],
    ['create', { disk: '-disk' }, 'invalid-argument disk'],
    ['create', { format: 'vmdk' }, 'invalid-argument format'],
    ['create', { bytes: 513 }, 'invalid-argument bytes'],
    ['plug', { target: 'vdb"/>' }, 'invalid-argument target'],
    ['plug', { target: 'nvme0' }, 'invalid-argument target'],
    ['plug', { bus: 'floppy' }, 'invalid-argument bus'],
    ['plug', { options: { file: '/etc/shadow' } }, 'invalid-argument options'],
    ['plug', { options: { serial: 'a<b' } }, 'invalid-argument options.serial'],
    ['plug', { options: { unit: 3 } }, 'invalid-argument options.unit'],
    ['plug', { volume: 'quobyte://elsewhere/vol' }, 'permission-denied url'],
    ['grow', { format: 'qed' }, 'invalid-argument format'],
    ['domain', { name: 'a/b' }, 'invalid-argument domain'],
  ] as const)('%s with %j', async (verb, more, answer) => {
    const peer = bench();
    peer.libvirt.define(UUID, true);
    peer.images.files.set(peer.path, { size: 512 });
    expect(await peer.ask(verb, { ...SOUND[verb], ...more })).toBe(answer);
    expect(peer.libvirt.calls.filter((call) => call !== 'domain')).toEqual([]);
  });

  it('a volume that is not mounted, or in whose place another is', async () => {
    const peer = bench();
    for (const verb of ['create', 'plug', 'grow'] as const) {
      peer.mounted = null;
      expect(await peer.ask(verb, SOUND[verb])).toBe('not-found volume');
      peer.mounted = 'quobyte@reg1:7861/other';
      expect(await peer.ask(verb, SOUND[verb])).toBe('foreign volume');
    }
    expect(peer.images.done).toEqual([]);
  });
});

describe('what the agent is told of domains', () => {
  it('is where a file lies only if that is in a volume', async () => {
    const peer = bench();
    peer.libvirt.define(
      UUID,
      true,
      disk('/var/lib/libvirt/images/root.img', { target: 'vda', serial: 'secret' }),
      disk(peer.path),
    );
    peer.libvirt.define(OTHER, false);
    const { domains, ...rest } = peer.libvirt;
    domains.set(UUID, {
      ...(domains.get(UUID) ?? fail()),
      otherFiles: ['/etc/passwd', `${peer.path}-base`, `/alias/${LEAF}/x`],
    });
    expect(rest).toBeDefined();
    expect(await peer.ask('domain', { name: UUID })).toMatchObject({
      disks: [
        { target: 'vda', path: null, serial: null },
        { target: 'vdb', path: peer.path },
      ],
      otherFiles: [`${peer.path}-base`, `/alias/${LEAF}/x`],
    });
    expect(await peer.ask('survey', {})).toEqual({ complete: true });
    const parts = peer.replies.flatMap((one) => ('part' in one ? [JSON.stringify(one['part'])] : []));
    expect(parts.join('')).toContain(OTHER);
    expect(parts.join('')).not.toMatch(/libvirt\/images|passwd|secret/);
  });

  it('names files by their leaf that a domain has through a copy of its mount elsewhere, as far as the table tells', async () => {
    const peer = bench();
    peer.table = [
      '20 1 8:1 / / rw - ext4 /dev/sda1 rw',
      `30 20 0:40 / /mnt/q/${LEAF} rw - fuse.quobyte quobyte@reg1:7861/vol rw`,
      '31 20 0:40 / /vms rw - fuse.quobyte quobyte@reg1:7861/vol rw',
      '32 20 0:40 /sub /part rw - fuse.quobyte quobyte@reg1:7861/vol rw',
      '33 20 0:41 / /else rw - fuse.quobyte quobyte@reg1:7861/else rw',
      '',
    ].join('\n');
    peer.libvirt.define(
      UUID,
      false,
      disk('/vms/disk'),
      disk('/part/x', { target: 'vdc' }),
      disk('/else/y', { target: 'vdd' }),
    );
    expect(await peer.ask('domain', { name: UUID })).toMatchObject({
      disks: [{ path: null }, { path: null }, { path: null }],
      otherFiles: [`/mnt/q/${LEAF}/disk`, `/mnt/q/${LEAF}/sub/x`],
    });
  });

  it('tells no more of a domain than fits, and is incomplete then', async () => {
    const peer = bench();
    const long = '\u00e9'.repeat(2000);
    peer.libvirt.define(UUID, true);
    peer.libvirt.define(OTHER, true, disk(peer.path));
    const { domains } = peer.libvirt;
    const otherFiles = Array.from({ length: 400 }, (_, index) => `${peer.path}-${index}-${long}`);
    domains.set(UUID, { ...(domains.get(UUID) ?? fail()), otherFiles });
    expect(await peer.ask('survey', {}, 5000)).toEqual({ complete: false });
    const shown = peer.replies.flatMap((one) =>
      'part' in one
        ? (one['part'] as { domains: { uuid: string; unknown?: string; otherFiles: string[] }[] }).domains
        : [],
    );
    expect(shown.map(({ uuid, unknown }) => [uuid, unknown])).toEqual([
      [UUID, 'files'],
      [OTHER, undefined],
    ]);
    expect(shown[0]?.otherFiles.length).toBeGreaterThan(50);
  });

  it('comes in parts when there are many', async () => {
    const peer = bench();
    for (let number = 0; number < 3000; number += 1) {
      const uuid = `7d8a2c1e-0b5f-4c3d-9a6e-${String(number).padStart(12, '0')}` as typeof UUID;
      peer.libvirt.define(uuid, true, disk(peer.path), disk(null, { target: 'vdc' }));
    }
    expect(await peer.ask('survey', {}, 5000)).toEqual({ complete: true });
    const parts = peer.replies.filter((one) => 'part' in one);
    expect(parts.length).toBeGreaterThan(3);
    expect(parts.flatMap((one) => (one['part'] as { domains: unknown[] }).domains)).toHaveLength(3000);
  });
});

function fail(): never {
  throw new Error('there is no such domain');
}
