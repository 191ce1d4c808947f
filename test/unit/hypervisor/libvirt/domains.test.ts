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

/** A domain of the scripted libvirt. */
interface Known {
  readonly name: string;
  readonly uuid: string;
  /** Disks: file names in /v. */
  readonly live?: readonly string[];
  readonly config?: readonly string[];
  readonly asleep?: readonly string[];
  readonly pool?: string;
  /** What its description's call answers instead. */
  readonly instead?: (call: Call) => Buffer | undefined;
}

const uuidOf = (index: number): string => `00000000-0000-0000-0000-${String(index).padStart(12, '0')}`;
const raw = (uuid: string): Buffer => Buffer.from(uuid.replaceAll('-', ''), 'hex');
const wire = ({ name, uuid, live }: Known): Buffer =>
  Buffer.concat([string(name), raw(uuid), words(live === undefined ? -1 : 7)]);

function xmlOf({ name, uuid, pool }: Known, files: readonly string[], id: string): string {
  const disks = files.map(
    (file) => `<disk type='file'><source file='/v/${file}'/><target dev='${file}' bus='virtio'/></disk>`,
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
    if (![XML, 151, 183, 388].includes(call.procedure)) return undefined;
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
      case LIST:
        return reply(call, Buffer.concat([words(domains.length), ...domains.map(wire), words(domains.length)]));
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
