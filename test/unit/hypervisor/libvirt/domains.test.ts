import { afterEach, describe, expect, it } from 'vitest';
import { type DomainName, type DomainUuid, parseDomainName, type Survey } from '../../../../src/core/domains.js';
import { libvirtOver } from '../../../../src/hypervisor/libvirt/domains.js';
import type { Libvirt } from '../../../../src/hypervisor/libvirt/libvirt.js';
import { systemClock } from '../../../../src/sys/clock.js';
import { until } from '../../../rig/until.js';
import { type Call, failure, reply, Scripted, string, words } from './scripted.js';

/** Procedures of libvirt, and errors. */
const XML = 14;
const BY_NAME = 23;
const BY_UUID = 24;
const LIST = 273;
const NO_DOMAIN = 42;
const NO_SUPPORT = 3;
const NO_SNAPSHOT = 72;
const NO_BACKUP = 104;
const SNAPSHOTS = 274;
const SNAPSHOT = 186;
const CHECKPOINTS = 413;
const CHECKPOINT = 412;
const BACKUP = 422;
/** Procedures whose arguments begin with a domain. */
const OF_A_DOMAIN = [XML, 151, 183, 388, SNAPSHOTS, CHECKPOINTS, BACKUP];

/** A domain of the scripted libvirt. */
interface Known {
  readonly name: string;
  readonly uuid: string;
  /** Disks: file names in /v. */
  readonly live?: readonly string[];
  readonly config?: readonly string[];
  readonly asleep?: readonly string[];
  readonly pool?: string;
  /** The format of all its disks. */
  readonly format?: string;
  /** Whether what its disks rest on is told: where it runs, and where it does not. */
  readonly chain?: readonly ('live' | 'config')[];
  /** Its snapshots and checkpoints, by name, as libvirt describes them; null: gone since they were listed. */
  readonly snapshots?: Readonly<Record<string, string | null>>;
  readonly checkpoints?: Readonly<Record<string, string | null>>;
  readonly backup?: string;
  /** What its description's call answers instead. */
  readonly instead?: (call: Call) => Buffer | undefined;
}

const uuidOf = (index: number): string => `00000000-0000-0000-0000-${String(index).padStart(12, '0')}`;
const raw = (uuid: string): Buffer => Buffer.from(uuid.replaceAll('-', ''), 'hex');
const wire = ({ name, uuid, live }: Known): Buffer =>
  Buffer.concat([string(name), raw(uuid), words(live === undefined ? -1 : 7)]);

function xmlOf({ name, uuid, pool, format, chain = ['live'] }: Known, files: readonly string[], id: string): string {
  const driver = format === undefined ? '' : `<driver type='${format}'/>`;
  const end = chain.includes(id === '' ? 'config' : 'live') ? '<backingStore/>' : '';
  const disks = files.map(
    (file) => `<disk type='file'>${driver}<source file='/v/${file}'/>${end}<target dev='${file}' bus='virtio'/></disk>`,
  );
  const volume =
    pool === undefined ? '' : `<disk type='volume'><source pool='${pool}' volume='w'/><target dev='vdz'/></disk>`;
  return `<domain${id}><name>${name}</name><uuid>${uuid}</uuid><devices>${disks.join('')}${volume}</devices></domain>`;
}

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one[Symbol.asyncDispose]();
});

/** libvirt with these domains. */
async function knowing(
  domains: readonly Known[],
  more: (call: Call) => Buffer | undefined = () => undefined,
): Promise<Libvirt> {
  const named = (call: Call): Known | undefined => {
    if (!OF_A_DOMAIN.includes(call.procedure)) return undefined;
    const length = call.payload.readUInt32BE(0);
    const at = 4 + length + ((4 - (length % 4)) % 4);
    return domains.find(({ uuid }) => raw(uuid).equals(call.payload.subarray(at, at + 16)));
  };
  const server = await Scripted.listen((call) => {
    const special = more(call);
    if (special !== undefined) return special;
    const one = named(call);
    const flags = call.payload.length >= 4 ? call.payload.readUInt32BE(call.payload.length - 4) : 0;
    switch (call.procedure) {
      case LIST: {
        const listed = domains.filter((each) => isListed(each, flags));
        return reply(call, Buffer.concat([words(listed.length), ...listed.map(wire), words(listed.length)]));
      }
      case BY_UUID: {
        const found = domains.find(({ uuid }) => raw(uuid).equals(call.payload));
        return found === undefined ? failure(call, NO_DOMAIN, 'none') : reply(call, wire(found));
      }
      case BY_NAME: {
        const found = domains.find(({ name }) => string(name).equals(call.payload));
        return found === undefined ? failure(call, NO_DOMAIN, 'none') : reply(call, wire(found));
      }
      case XML: {
        if (one?.instead !== undefined) return one.instead(call);
        if (one === undefined) return failure(call, NO_DOMAIN, 'none');
        // What a transient domain has no next start for, libvirt describes as it is now.
        const [live, config] = [one.live ?? one.config ?? [], one.config ?? one.live ?? []];
        const running = one.live !== undefined && flags === 0;
        return reply(call, string(xmlOf(one, running ? live : config, running ? " id='7'" : '')));
      }
      case 151:
        return reply(call, words(one?.config === undefined ? 0 : 1));
      case 183:
        return reply(call, words(one?.asleep === undefined ? 0 : 1));
      case 388:
        return one?.asleep === undefined ? failure(call, 55, 'no') : reply(call, string(xmlOf(one, one.asleep, '')));
      case SNAPSHOTS:
        return reply(call, snapshotsOf(one, one?.snapshots));
      case CHECKPOINTS:
        return reply(call, snapshotsOf(one, one?.checkpoints));
      case SNAPSHOT:
      case CHECKPOINT: {
        const [name, of] = [textAt(call, 0), domains.find(({ uuid }) => call.payload.includes(raw(uuid)))];
        const xml = (call.procedure === SNAPSHOT ? of?.snapshots : of?.checkpoints)?.[name] ?? null;
        return xml === null
          ? failure(call, call.procedure === SNAPSHOT ? NO_SNAPSHOT : 103, 'gone')
          : reply(call, string(xml));
      }
      case BACKUP:
        return one?.backup === undefined ? failure(call, NO_BACKUP, 'none') : reply(call, string(one.backup));
      case 84:
        return call.payload.equals(string('p'))
          ? reply(call, Buffer.concat([string('p'), raw(uuidOf(9))]))
          : failure(call, 49, 'no pool');
      case 95:
        return reply(call, Buffer.concat([string('p'), string('w'), string('key')]));
      case 100:
        return reply(call, string('/v/pool/w'));
      default:
        return undefined;
    }
  });
  open.push(server);
  const libvirt = libvirtOver({ clock: systemClock, uri: 'qemu:///system', dial: server.dial });
  open.push({
    [Symbol.asyncDispose]: () => {
      libvirt.close();
      return Promise.resolve();
    },
  });
  return libvirt;
}

/** Whether a list with these flags has the domain. */
function isListed({ snapshots = {}, checkpoints = {} }: Known, flags: number): boolean {
  if (flags === 4096) return Object.keys(snapshots).length > 0;
  if (flags === 16_384) return Object.keys(checkpoints).length > 0;
  return flags === 0;
}

function snapshotsOf(domain: Known | undefined, all: Known['snapshots'] = {}): Buffer {
  const names = Object.keys(all);
  const listed = names.map((name) => Buffer.concat([string(name), wire(domain ?? two)]));
  return Buffer.concat([words(names.length), ...listed, words(names.length)]);
}

/** The string that begins there in a call's payload. */
function textAt({ payload }: Call, at: number): string {
  return payload.toString('utf8', at + 4, at + 4 + payload.readUInt32BE(at));
}

const one = (more: Partial<Known> = {}): Known => ({ name: 'one', uuid: uuidOf(1), ...more });
const two: Known = { name: 'two', uuid: uuidOf(2), config: ['vda'] };

/** Each domain's disks, as `target` with `l` for live and `p` for persistent. */
function shown({ domains }: Survey): Readonly<Record<string, readonly string[]>> {
  return Object.fromEntries(
    domains.map(({ name, disks }) => [
      name,
      disks.map(({ target, live, persistent }) => `${target}:${live ? 'l' : ''}${persistent ? 'p' : ''}`),
    ]),
  );
}

describe('a survey', () => {
  it('puts what a domain has and what it will have into one list', async () => {
    const libvirt = await knowing([one({ live: ['vda', 'vdb'], config: ['vda', 'vdc'] }), two]);
    const survey = await libvirt.survey(5000);
    expect(shown(survey)).toEqual({ one: ['vda:lp', 'vdb:l', 'vdc:p'], two: ['vda:p'] });
    expect(survey.complete).toBe(true);
    expect(survey.domains.map(({ name, running }) => [name, running]).sort()).toEqual([
      ['one', true],
      ['two', false],
    ]);
  });

  it('takes nothing of a transient domain for its next start: there is none', async () => {
    expect(shown(await (await knowing([one({ live: ['vda'] })])).survey(5000))).toEqual({ one: ['vda:l'] });
  });

  it('knows the disks with which a domain that was put to sleep will wake up', async () => {
    const survey = await (await knowing([one({ config: ['vda'], asleep: ['vda', 'vdb'] })])).survey(5000);
    expect(shown(survey)).toEqual({ one: ['vda:p', 'vdb:p'] });
  });

  it('does without sleep where a driver has none', async () => {
    const libvirt = await knowing([two], (call) =>
      call.procedure === 183 ? failure(call, NO_SUPPORT, 'no') : undefined,
    );
    expect(await libvirt.survey(5000)).toMatchObject({ complete: true, domains: [{ name: 'two' }] });
  });

  it('leaves out a domain that is gone when it is read, and is complete all the same', async () => {
    const gone = one({ instead: (call) => failure(call, NO_DOMAIN, 'Domain not found') });
    const survey = await (await knowing([gone, two])).survey(5000);
    expect(survey.complete).toBe(true);
    expect(Object.keys(shown(survey))).toEqual(['two']);
  });

  it.each<[string, NonNullable<Known['instead']>]>([
    ['libvirt fails', (call) => failure(call, 1, 'internal error')],
    ['libvirt says that something else does not exist', (call) => failure(call, 99, 'no device')],
    ['is described in a way that cannot be read', (call) => reply(call, string('<domain/>'))],
    ['is described with a broken packet', (call) => reply(call, words(9))],
    ['is never described', () => undefined],
  ])('is incomplete when of one domain it %s', async (_, instead) => {
    const survey = await (await knowing([one({ instead }), two])).survey(700);
    expect(survey.complete).toBe(false);
    expect(Object.keys(shown(survey))).toContain('two');
  });

  it('is incomplete when libvirt lists fewer domains than it counts', async () => {
    const libvirt = await knowing([two], (call) =>
      call.procedure === LIST ? reply(call, Buffer.concat([words(1), wire(two), words(2)])) : undefined,
    );
    expect((await libvirt.survey(5000)).complete).toBe(false);
  });

  it('asks libvirt where the volumes of its pools lie', async () => {
    const survey = await (await knowing([one({ config: [], pool: 'p' })])).survey(5000);
    expect(survey.complete).toBe(true);
    expect(survey.domains[0]).toMatchObject({ disks: [{ target: 'vdz', path: null }], otherFiles: ['/v/pool/w'] });
  });

  it('is incomplete when libvirt does not know that', async () => {
    expect((await (await knowing([one({ config: [], pool: 'unknown' })])).survey(5000)).complete).toBe(false);
  });

  const snapshot = (file: string): string =>
    `<domainsnapshot><name>s</name><memory snapshot='external' file='/v/memory'/><domain><uuid>${uuidOf(1)}</uuid>` +
    `<name>one</name><devices><disk><source file='${file}'/></disk></devices></domain></domainsnapshot>`;
  const checkpoint = (file: string): string =>
    snapshot(file).replaceAll('domainsnapshot', 'domaincheckpoint').replace("file='/v/memory'", '');

  it('tells what snapshots and checkpoints name, apart from what the domain has', async () => {
    const known = one({
      config: ['vda'],
      snapshots: { first: snapshot('/v/before'), second: snapshot('/v/after') },
      checkpoints: { only: checkpoint('/v/checked') },
    });
    const { domains, complete } = await (await knowing([known])).survey(5000);
    expect(complete).toBe(true);
    expect(domains[0]?.otherFiles).toEqual([]);
    expect(domains[0]?.remembered).toEqual(['/v/memory', '/v/before', '/v/after', '/v/checked']);
  });

  it.each<[string, Partial<Known>, 'backing' | undefined]>([
    ['a domain that does not run, with a qcow2', { config: ['vda'], format: 'qcow2' }, 'backing'],
    ['the same, whose chain somebody wrote down', { config: ['vda'], format: 'qcow2', chain: ['config'] }, undefined],
    ['one with raw disks only', { config: ['vda'], format: 'raw' }, undefined],
    ['one without disks', { config: [], format: 'qcow2' }, undefined],
    ['a running one', { live: ['vda'], config: ['vda'], format: 'qcow2' }, undefined],
    [
      'a running one that has another at its next start',
      { live: ['vda'], config: ['vdb'], format: 'qcow2' },
      'backing',
    ],
    ['a running one of which libvirt tells no chain', { live: ['vda'], format: 'qcow2', chain: [] }, 'backing'],
    ['one that sleeps', { config: [], asleep: ['vda'], format: 'qcow2' }, 'backing'],
  ])('says of %s whether what its images rest on is known, and is complete all the same', async (_, known, unknown) => {
    const { domains, complete } = await (await knowing([one(known)])).survey(5000);
    expect([domains[0]?.unknown, complete]).toEqual([unknown, true]);
  });

  it('asks each domain where libvirt cannot list those that have snapshots', async () => {
    const known = one({ config: ['vda'], snapshots: { s: snapshot('/v/before') } });
    const libvirt = await knowing([known], (call) =>
      call.procedure === LIST && call.payload.readUInt32BE(4) !== 0 ? failure(call, 8, 'unsupported flags') : undefined,
    );
    expect((await libvirt.survey(5000)).domains[0]?.remembered).toEqual(['/v/memory', '/v/before']);
    expect((await libvirt.domain('one' as DomainName, 5000)).remembered).toEqual(['/v/memory', '/v/before']);
  });

  it('tells where a backup goes that is being made', async () => {
    const backup = "<domainbackup><disks><disk name='vda'><scratch file='/v/scratch'/></disk></disks></domainbackup>";
    const { domains } = await (await knowing([one({ live: ['vda'], config: ['vda'], backup })])).survey(5000);
    expect(domains[0]?.otherFiles).toEqual(['/v/scratch']);
  });

  it('does without a snapshot that is gone when it is read, and without what a driver cannot do', async () => {
    const gone = await knowing([one({ config: ['vda'], snapshots: { s: null }, checkpoints: { c: null } })]);
    expect(await gone.survey(5000)).toMatchObject({ complete: true, domains: [{ remembered: [] }] });
    const libvirt = await knowing([one({ live: ['vda'], config: ['vda'] })], (call) =>
      [SNAPSHOTS, CHECKPOINTS, BACKUP].includes(call.procedure) ? failure(call, NO_SUPPORT, 'no') : undefined,
    );
    expect(await libvirt.survey(5000)).toMatchObject({ complete: true, domains: [{ remembered: [] }] });
  });

  it.each<[string, Partial<Known>, ((call: Call) => Buffer | undefined)?]>([
    ['a snapshot is described in a way that cannot be read', { snapshots: { s: '<domain/>' } }],
    ['a checkpoint is described as a snapshot', { checkpoints: { c: snapshot('/v/x') } }],
    [
      'snapshots cannot be listed',
      { snapshots: { s: '' } },
      (call) => (call.procedure === SNAPSHOTS ? failure(call, 38, 'no') : undefined),
    ],
    ['a backup cannot be described', {}, (call) => (call.procedure === BACKUP ? failure(call, 38, 'no') : undefined)],
    [
      'more snapshots are counted than listed',
      { snapshots: { s: '' } },
      (call) => (call.procedure === SNAPSHOTS ? reply(call, words(0, 1)) : undefined),
    ],
    [
      'there are more snapshots than are read',
      { snapshots: Object.fromEntries(Array.from({ length: 257 }, (_, index) => [`s${index}`, snapshot('/v/x')])) },
    ],
  ])('is incomplete when %s', async (_, more, instead) => {
    const known = one({ live: ['vda'], config: ['vda'], ...more });
    const survey = await (await knowing([known], instead)).survey(5000);
    expect(survey.complete).toBe(false);
    // What the domain has is known all the same.
    expect(shown(survey)).toEqual({ one: ['vda:lp'] });
    expect(survey.domains[0]?.unknown).toBe('files');
  });

  it('fails when the domains cannot be listed', async () => {
    const libvirt = await knowing([], (call) => (call.procedure === LIST ? failure(call, 38, 'no') : undefined));
    await expect(libvirt.survey(5000)).rejects.toMatchObject({ code: 'helper-failed' });
  });

  it('reads a thousand domains, a few at a time', async () => {
    const domains = Array.from({ length: 1000 }, (_, index) => ({
      name: `domain-${index}`,
      uuid: uuidOf(index),
      config: [`f${index}`],
      ...(index % 2 === 0 ? { live: [`f${index}`] } : {}),
    }));
    let under = 0;
    let most = 0;
    const libvirt = await knowing(domains, (call) => {
      if (call.procedure !== XML) return undefined;
      most = Math.max(most, ++under);
      setImmediate(() => under--);
      return undefined;
    });
    const survey = await libvirt.survey(20_000);
    expect(survey.complete).toBe(true);
    expect(survey.domains).toHaveLength(1000);
    expect(new Set(survey.domains.map(({ uuid }) => uuid)).size).toBe(1000);
    expect(most).toBeLessThanOrEqual(8);
  });
});

describe('one domain', () => {
  const find = async (libvirt: Libvirt, name: string): Promise<string> =>
    (await libvirt.domain(parseDomainName(name, 'domain'), 5000)).name;

  it('is found by its name and by its UUID in any case', async () => {
    const libvirt = await knowing([
      one({ config: [] }),
      { name: 'A', uuid: '0000000a-0000-0000-0000-00000000000b', config: [] },
    ]);
    expect(await find(libvirt, 'one')).toBe('one');
    expect(await find(libvirt, '0000000A-0000-0000-0000-00000000000B')).toBe('A');
  });

  it('is found by its name even when that has the form of a UUID', async () => {
    expect(await find(await knowing([{ ...two, name: uuidOf(77) }]), uuidOf(77))).toBe(uuidOf(77));
  });

  it('is not-found when there is none, or when it goes meanwhile', async () => {
    const libvirt = await knowing([one({ instead: (call) => failure(call, NO_DOMAIN, 'gone') })]);
    for (const name of ['none', uuidOf(5), 'one']) {
      await expect(libvirt.domain(name as DomainName, 5000)).rejects.toMatchObject({
        code: 'not-found',
        field: 'domain',
      });
    }
  });
});

describe('what is done to a domain', () => {
  const uuid = uuidOf(1) as DomainUuid;
  it.each<[string, number, (libvirt: Libvirt) => Promise<unknown>, Buffer, Buffer?]>([
    [
      'attach to the running one',
      160,
      (libvirt) => libvirt.attachDevice(uuid, '<x/>', 'live', 5000),
      Buffer.concat([string('<x/>'), words(1)]),
    ],
    [
      'attach to the next start',
      160,
      (libvirt) => libvirt.attachDevice(uuid, '<x/>', 'config', 5000),
      Buffer.concat([string('<x/>'), words(2)]),
    ],
    [
      'detach from both',
      161,
      (libvirt) => libvirt.detachDevice(uuid, '<x/>', 'both', 5000),
      Buffer.concat([string('<x/>'), words(3)]),
    ],
    [
      'resize, in bytes',
      251,
      (libvirt) => libvirt.blockResize(uuid, 'vdb', 2 ** 33 + 512, 5000),
      Buffer.concat([string('vdb'), words(2, 512, 1)]),
    ],
    [
      'ask for sizes',
      194,
      (libvirt) => libvirt.blockInfo(uuid, 'vdb', 5000),
      Buffer.concat([string('vdb'), words(0)]),
      words(0, 1, 1, 2, 0, 3),
    ],
  ])('%s', async (_, procedure, act, rest, answer) => {
    const said: Call[] = [];
    const libvirt = await knowing([], (call) => {
      if (call.procedure !== procedure) return undefined;
      said.push(call);
      return reply(call, answer);
    });
    const result = await act(libvirt);
    expect(said.map(({ payload }) => payload)).toEqual([Buffer.concat([string(uuid), raw(uuid), words(-1), rest])]);
    if (answer !== undefined) expect(result).toEqual({ allocation: 1, capacity: 2 ** 32 + 2, physical: 3 });
  });
});

describe('a domain that hangs', () => {
  const hanging = uuidOf(1) as DomainUuid;
  const other = uuidOf(2) as DomainUuid;
  const sizes = words(0, 1, 0, 2, 0, 3);
  const BLOCK_INFO = 194;

  /** libvirt, and the calls about disks that it does not answer by itself. */
  async function stuck(): Promise<{ libvirt: Libvirt; asked: Call[] }> {
    const asked: Call[] = [];
    const libvirt = await knowing([one({ live: ['vda'], config: [] }), two], (call) => {
      if (call.procedure !== BLOCK_INFO) return undefined;
      if (!call.payload.includes(raw(hanging))) return reply(call, sizes);
      asked.push(call);
      return undefined;
    });
    return { libvirt, asked };
  }
  const refusal = (answer: Promise<unknown>): Promise<string> =>
    answer.then(
      () => 'answered',
      (error: unknown) => (error as { code: string }).code,
    );

  it('is asked one thing at a time, and holds up neither surveys nor other domains', async () => {
    const { libvirt, asked } = await stuck();
    const waiting = Array.from({ length: 50 }, () => refusal(libvirt.blockInfo(hanging, 'vda', 2500)));
    expect(await libvirt.blockInfo(other, 'vda', 2000)).toMatchObject({ capacity: 2 });
    expect((await libvirt.survey(2000)).complete).toBe(true);
    const ends = await Promise.all(waiting);
    expect(asked).toHaveLength(1);
    expect(ends.filter((end) => end === 'deadline-exceeded')).toHaveLength(1);
    expect(ends.filter((end) => end === 'busy')).toHaveLength(49);
  });

  it('is asked nothing more until libvirt is done with the call that was given up', async () => {
    const { libvirt, asked } = await stuck();
    expect(await refusal(libvirt.blockInfo(hanging, 'vda', 100))).toBe('deadline-exceeded');
    expect(await refusal(libvirt.attachDevice(hanging, '<x/>', 'live', 100))).toBe('busy');
    const next = libvirt.blockInfo(hanging, 'vda', 5000);
    expect(asked).toHaveLength(1);
    for (const call of asked) call.socket.write(reply(call, sizes));
    await until('the next call', () => asked.length === 2);
    for (const call of asked.slice(1)) call.socket.write(reply(call, sizes));
    expect(await next).toMatchObject({ capacity: 2 });
  });

  it('is asked again after libvirt died over it', async () => {
    const { libvirt, asked } = await stuck();
    const first = refusal(libvirt.blockInfo(hanging, 'vda', 5000));
    await until('the call', () => asked.length === 1);
    const second = refusal(libvirt.blockInfo(hanging, 'vda', 1000));
    asked[0]?.socket.destroy();
    expect(await first).toBe('unavailable');
    expect(await second).toBe('deadline-exceeded');
    expect(asked).toHaveLength(2);
  });

  it('leaves places to others up to a number of hanging domains, and then is told apart from them no more', async () => {
    const asked: Call[] = [];
    const libvirt = await knowing([two], (call) => {
      if (call.procedure !== BLOCK_INFO) return undefined;
      asked.push(call);
      return undefined;
    });
    const ends = await Promise.all(
      Array.from({ length: 12 }, (_, index) => refusal(libvirt.blockInfo(uuidOf(index) as DomainUuid, 'vda', 1500))),
    );
    expect(asked).toHaveLength(8);
    expect(ends.filter((end) => end === 'unavailable')).toHaveLength(4);
    expect((await libvirt.survey(1000)).complete).toBe(true);
  });
});
