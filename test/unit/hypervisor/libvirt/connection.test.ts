import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { FairleadError } from '../../../../src/core/errors.js';
import { Connections } from '../../../../src/hypervisor/libvirt/connection.js';
import { LibvirtError } from '../../../../src/hypervisor/libvirt/errors.js';
import type { DeviceEvent } from '../../../../src/hypervisor/libvirt/libvirt.js';
import { systemClock } from '../../../../src/sys/clock.js';
import { until } from '../../../rig/until.js';
import { type Call, failure, packet, reply, type Script, Scripted, string, words } from './scripted.js';

const LOOKUP = 23;
const KEEPALIVE = 0x6b65_6570;
const UUID = '00112233-4455-6677-8899-aabbccddeeff';
const uuid = Buffer.from(UUID.replaceAll('-', ''), 'hex');
const domain = (name: string, id = -1): Buffer => Buffer.concat([string(name), uuid, words(id)]);

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]();
});

interface Bench {
  readonly server: Scripted;
  readonly connections: Connections;
  readonly events: DeviceEvent[];
  /** Asks for a domain of this name; what libvirt answers is a name again. */
  readonly ask: (name?: string, budgetMs?: number) => Promise<string>;
  /** The code with which the question fails. */
  readonly refusal: (name?: string, budgetMs?: number) => Promise<string>;
}

async function bench(script: Script, maxConnections = 8): Promise<Bench> {
  const server = await Scripted.listen(script);
  open.push(server);
  const events: DeviceEvent[] = [];
  const connections = new Connections({
    clock: systemClock,
    uri: 'qemu:///system',
    dial: server.dial,
    maxConnections,
    late: 'retire',
    onEvent: (event) => events.push(event),
  });
  open.push({
    [Symbol.asyncDispose]: () => {
      connections.close();
      return Promise.resolve();
    },
  });
  const ask = async (name = 'one', budgetMs = 5000): Promise<string> =>
    (await connections.call('domainLookupByName', { name }, systemClock.now() + budgetMs)).domain.name;
  const refusal = async (name?: string, budgetMs?: number): Promise<string> => {
    try {
      return `it answered ${await ask(name, budgetMs)}`;
    } catch (error) {
      if (!(error instanceof FairleadError)) throw error;
      return error.code;
    }
  };
  return { server, connections, events, ask, refusal };
}

const nameIn = ({ procedure, payload }: Call): string | null =>
  procedure === LOOKUP ? payload.subarray(4, 4 + payload.readUInt32BE(0)).toString() : null;
/** Answers every lookup with the name that was asked for. */
const echo: Script = (call) => (call.procedure === LOOKUP ? reply(call, domain(nameIn(call) ?? '')) : undefined);
/** Answers the first lookup in its own way and every later one as it should. */
function first(script: Script): Script {
  let asked = 0;
  return (call) => (call.procedure === LOOKUP && asked++ === 0 ? script(call) : echo(call));
}

describe('a call', () => {
  it('is answered, on one connection that was let in once', async () => {
    const { server, ask } = await bench(echo);
    expect(await ask('one')).toBe('one');
    expect(await ask('two')).toBe('two');
    expect(server.calls.map(({ procedure }) => procedure)).toEqual([66, 1, 316, 316, LOOKUP, LOOKUP]);
    expect(server.calls.every(({ program, type }) => program === 0x2000_8086 && type === 0)).toBe(true);
    expect(new Set(server.calls.map(({ serial }) => serial)).size).toBe(6);
    // REMOTE_PROC_CONNECT_OPEN: a name that is there, no flags.
    expect(server.calls[1]?.payload).toEqual(Buffer.concat([words(1), string('qemu:///system'), words(0)]));
  });

  it('is answered by a reply that comes byte by byte', async () => {
    const { ask } = await bench(
      first((call) => {
        const bytes = [...reply(call, domain('slow'))];
        const send = (): void => {
          const byte = bytes.shift();
          if (byte === undefined) return;
          call.socket.write(Buffer.from([byte]), () => setImmediate(send));
        };
        send();
        return undefined;
      }),
    );
    expect(await ask()).toBe('slow');
  });

  it('is answered by one of several replies that come at once', async () => {
    const waiting: Call[] = [];
    const { ask } = await bench((call) => {
      if (call.procedure !== LOOKUP) return undefined;
      waiting.push(call);
      if (waiting.length < 3) return undefined;
      return Buffer.concat(waiting.reverse().map((one) => reply(one, domain(nameIn(one) ?? ''))));
    });
    expect(await Promise.all([ask('a'), ask('b'), ask('c')])).toEqual(['a', 'b', 'c']);
  });

  it('fails as libvirt says, in words of ours, with its own kept apart', async () => {
    const { ask } = await bench(first((call) => failure(call, 42, "no domain with matching name '/secret\u0007'")));
    const error = await ask('one').catch((thrown: unknown) => thrown as FairleadError);
    if (!(error instanceof FairleadError)) throw new Error('it answered');
    expect(error).toMatchObject({ code: 'not-found', field: 'domain' });
    expect(error.message).not.toContain('secret');
    expect(error.helperOutput).toBe("no domain with matching name '/secret\\u{7}'");
    expect(error.cause).toBeInstanceOf(LibvirtError);
    expect(error.cause).toMatchObject({ code: 42, domain: 10 });
    expect(await ask('two')).toBe('two');
  });

  it.each([
    [29, 'permission-denied'],
    [88, 'permission-denied'],
    [55, 'conflict'],
    [68, 'busy'],
    [83, 'busy'],
    [86, 'busy'],
    [87, 'busy'],
    [99, 'not-found'],
    [8, 'invalid-argument'],
    [27, 'invalid-argument'],
    [67, 'invalid-argument'],
    [84, 'invalid-argument'],
    [2, 'resource-exhausted'],
    [39, 'unavailable'],
    [1, 'helper-failed'],
    [9, 'helper-failed'],
    [38, 'helper-failed'],
    [123_456, 'helper-failed'],
  ])("that libvirt's error %i ends is %s", async (code, ours) => {
    const { refusal } = await bench((call) => (call.procedure === LOOKUP ? failure(call, code, 'no') : undefined));
    expect(await refusal()).toBe(ours);
  });
});

const LOCKED = `internal error: unable to execute QEMU command 'blockdev-add': Failed to get "write" lock`;
describe('what libvirt only calls failed is told by its whole words, of which nobody else writes a part:', () => {
  it.each([
    [1, 'internal error: No more available PCI slots', 'conflict', 'bus'],
    [1, LOCKED, 'conflict', 'disk'],
    [1, LOCKED.replace('"write"', 'shared "write"').replace('blockdev-add', 'device_add'), 'conflict', 'disk'],
    [9, LOCKED, 'conflict', 'disk'],
    [87, "resource busy: Lockspace resource '4fb1' is locked", 'conflict', 'disk'],
    [87, 'resource busy: cannot change persistent config', 'busy', undefined],
    [1, `cannot open '/m/${LOCKED}'`, 'helper-failed', undefined],
    [1, 'internal error: No more available PCI slots: /m/x', 'helper-failed', undefined],
    [38, 'internal error: No more available PCI slots', 'helper-failed', undefined],
  ] as const)('%i, %s', async (code, words, ours, field) => {
    const { ask } = await bench(first((call) => failure(call, code, words)));
    const error = await ask('one').catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: ours, field, retryable: ours !== 'conflict' });
  });
});

describe('what is not the protocol ends the connection, and the next call has a new one:', () => {
  const good = (call: Call): Buffer => domain(nameIn(call) ?? '');
  const table: readonly [string, (call: Call) => Buffer][] = [
    ['a packet that is too long', () => words(8_388_609)],
    ['a packet that is longer than anything', () => words(0xffff_ffff)],
    ['a packet that is shorter than its header', () => words(27)],
    ['a packet of no length', () => words(0)],
    ['another program', (call) => packet({ program: 1, procedure: LOOKUP, serial: call.serial, payload: good(call) })],
    ['another version', (call) => packet({ version: 2, procedure: LOOKUP, serial: call.serial, payload: good(call) })],
    ['a reply to nobody', (call) => packet({ procedure: LOOKUP, serial: call.serial + 1, payload: good(call) })],
    ['a reply to another question', (call) => packet({ procedure: 24, serial: call.serial, payload: good(call) })],
    ['a question', (call) => packet({ procedure: LOOKUP, type: 0, serial: call.serial, payload: good(call) })],
    ['a stream', (call) => packet({ procedure: LOOKUP, type: 3, serial: call.serial, payload: good(call) })],
    ['a reply with descriptors', (call) => packet({ procedure: LOOKUP, type: 5, serial: call.serial })],
    [
      'an unknown status',
      (call) =>
        packet({ procedure: LOOKUP, status: 2, serial: call.serial, payload: failure(call, 42, '').subarray(28) }),
    ],
    ['a result that ends too early', (call) => reply(call, good(call).subarray(0, 20))],
    ['a result with something behind it', (call) => reply(call, Buffer.concat([good(call), words(0)]))],
    [
      'an error that is none',
      (call) => packet({ procedure: LOOKUP, status: 1, serial: call.serial, payload: words(1) }),
    ],
    ['an event that is none', () => packet({ procedure: 333, type: 2, payload: words(1) })],
    ['a keepalive that is none', () => packet({ program: KEEPALIVE, procedure: 3, type: 2 })],
    [
      'half a reply, and the end',
      (call) => (setImmediate(() => call.socket.end()), reply(call, good(call)).subarray(0, 40)),
    ],
  ];
  it.each(table)('%s', async (_, answer) => {
    const { server, ask, refusal } = await bench(first(answer));
    expect(await refusal()).toBe('unavailable');
    expect(await ask('again')).toBe('again');
    expect(server.connections).toBe(2);
  });

  it('whatever comes, a call ends, and with an error of ours', async () => {
    let garbage: Buffer = Buffer.alloc(0);
    const { refusal } = await bench((call) => (call.procedure === LOOKUP ? garbage : undefined));
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 40, maxLength: 200 }), fc.boolean(), async (bytes, headed) => {
        garbage = headed ? packet({ procedure: LOOKUP, serial: 5, payload: Buffer.from(bytes) }) : Buffer.from(bytes);
        expect(['unavailable', 'deadline-exceeded']).toContain(await refusal('one', 40));
      }),
      { numRuns: 50 },
    );
  });
});

describe('a call that takes too long', () => {
  it('ends in time, and its late reply hurts nobody', async () => {
    const late: Call[] = [];
    const { server, ask, refusal } = await bench((call) => {
      if (nameIn(call)?.startsWith('late') !== true) return echo(call);
      late.push(call);
      return undefined;
    });
    const began = systemClock.now();
    const slow = ask('late, but in time');
    expect(await refusal('late', 100)).toBe('deadline-exceeded');
    expect(systemClock.now() - began).toBeLessThan(1000);
    expect(await ask('meanwhile')).toBe('meanwhile');
    expect(server.calls.find((call) => nameIn(call) === 'meanwhile')?.connection).toBe(1);
    // The late reply comes before the one that is still waited for, on the same connection.
    for (const call of late.reverse()) call.socket.write(reply(call, domain(nameIn(call) ?? '')));
    expect(await slow).toBe('late, but in time');
    await until('the connection that was slow ends', () => late[0]?.socket.destroyed === true);
    expect(await ask('next')).toBe('next');
  });

  it('is not even sent when its time is over', async () => {
    const { server, ask, refusal } = await bench(echo);
    await ask('before');
    expect(await refusal('over', 0)).toBe('unavailable');
    expect(await ask('after')).toBe('after');
    expect(server.calls.map(nameIn)).not.toContain('over');
  });

  it('keeps no other from being asked, however many there are', async () => {
    const { server, ask, refusal } = await bench((call) => (nameIn(call) === 'hangs' ? undefined : echo(call)));
    const hanging = Array.from({ length: 28 }, () => refusal('hangs', 1500));
    await until('all of them wait', () => server.calls.filter((call) => nameIn(call) === 'hangs').length === 28);
    expect(await ask('meanwhile', 1000)).toBe('meanwhile');
    expect(new Set(await Promise.all(hanging))).toEqual(new Set(['deadline-exceeded']));
    expect(await ask('afterwards')).toBe('afterwards');
  });

  it('ends in time too where there is no place for it', async () => {
    const { server, refusal, ask } = await bench((call) => (nameIn(call) === 'hangs' ? undefined : echo(call)));
    const asked = (name: string): number => server.calls.filter((call) => nameIn(call) === name).length;
    const hanging = Array.from({ length: 32 }, () => refusal('hangs', 2000));
    await until('all places are taken', () => asked('hangs') === 32);
    const placeless = await Promise.all(Array.from({ length: 8 }, () => refusal('placeless', 200)));
    expect(new Set(placeless)).toEqual(new Set(['unavailable']));
    expect(asked('placeless')).toBe(0);
    expect(new Set(await Promise.all(hanging))).toEqual(new Set(['deadline-exceeded']));
    expect(await ask('afterwards')).toBe('afterwards');
  });
});

describe('being let in', () => {
  it('asks polkit where libvirt wants that', async () => {
    const { server, ask } = await bench((call) => {
      if (call.procedure === 66) return reply(call, words(1, 2));
      if (call.procedure === 70) return reply(call, words(1));
      return echo(call);
    });
    expect(await ask()).toBe('one');
    expect(server.calls.map(({ procedure }) => procedure)).toEqual([66, 70, 1, 316, 316, LOOKUP]);
  });

  it('is refused where libvirt wants a password', async () => {
    const { refusal } = await bench((call) => (call.procedure === 66 ? reply(call, words(1, 1)) : echo(call)));
    expect(await refusal()).toBe('permission-denied');
  });

  it('is refused where polkit refuses', async () => {
    const { refusal } = await bench((call) => {
      if (call.procedure === 66) return reply(call, words(1, 2));
      if (call.procedure === 70) return failure(call, 45, 'authentication failed');
      return echo(call);
    });
    expect(await refusal()).toBe('permission-denied');
  });

  it('does without events that a driver does not have', async () => {
    const { ask } = await bench((call) => (call.procedure === 316 ? failure(call, 3, 'no support') : echo(call)));
    expect(await ask()).toBe('one');
  });

  it('takes no place where the connection ended as it was let in', async () => {
    let spoilt = 0;
    const { server, ask, refusal } = await bench((call) => {
      if (call.procedure !== 316 || call.connection > 0) return echo(call);
      return (spoilt += 1) < 2 ? undefined : Buffer.concat([reply(call, words(2)), words(0)]);
    }, 1);
    expect(await refusal()).toBe('unavailable');
    expect(await ask('again')).toBe('again');
    expect(server.connections).toBe(2);
  });

  it('takes no longer than the call may, when libvirt says nothing', async () => {
    const { refusal } = await bench((call) => (call.procedure === 66 ? Buffer.alloc(0) : echo(call)));
    const began = systemClock.now();
    expect(await refusal('one', 100)).toBe('unavailable');
    expect(systemClock.now() - began).toBeLessThan(1000);
  });

  it('fails at once where there is no libvirt, and succeeds when there is one', async () => {
    const { server, connections } = await bench(echo);
    let there = false;
    const patient = new Connections({
      clock: systemClock,
      uri: 'qemu:///system',
      dial: () => (there ? server.dial() : Promise.reject(new Error('nobody listens'))),
      maxConnections: 8,
      late: 'retire',
      onEvent: () => undefined,
    });
    const ask = (): Promise<unknown> => patient.call('domainLookupByName', { name: 'one' }, systemClock.now() + 5000);
    await expect(ask()).rejects.toMatchObject({ code: 'unavailable' });
    there = true;
    await expect(ask()).resolves.toMatchObject({ domain: { name: 'one' } });
    patient.close();
    connections.close();
  });
});

it('has a hundred calls in flight, a few on each connection, and mixes up none', async () => {
  const waiting: Call[] = [];
  const most = new Map<number, number>();
  const { server, ask } = await bench((call) => {
    if (call.procedure !== LOOKUP) return undefined;
    waiting.push(call);
    const here = waiting.filter(({ connection }) => connection === call.connection).length;
    most.set(call.connection, Math.max(here, most.get(call.connection) ?? 0));
    // Any of them, later.
    setTimeout(() => {
      const [one] = waiting.splice(((waiting.length * 7919) % 13) % waiting.length, 1);
      one?.socket.write(reply(one, domain(nameIn(one) ?? '')));
    }, 2);
    return undefined;
  });
  const names = Array.from({ length: 100 }, (_, index) => `domain-${index}`);
  expect(await Promise.all(names.map((name) => ask(name)))).toEqual(names);
  expect(Math.max(...most.values())).toBe(4);
  expect(server.connections).toBeLessThanOrEqual(8);
});

it('ends what waits when libvirt dies, and connects again for the next call', async () => {
  const { server, ask, refusal } = await bench(first(() => undefined));
  const waiting = refusal();
  await until('it is asked', () => server.calls.some(({ procedure }) => procedure === LOOKUP));
  server.cut();
  expect(await waiting).toBe('unavailable');
  expect(await ask('again')).toBe('again');
});

it('answers when libvirt asks whether it is still there', async () => {
  const { server, ask } = await bench(echo);
  await ask();
  server.calls[0]?.socket.write(packet({ program: KEEPALIVE, procedure: 1, type: 2 }));
  const pong = await until('an answer', () => server.calls.find(({ program }) => program === KEEPALIVE));
  expect(pong).toMatchObject({ procedure: 2, type: 2, serial: 0 });
  server.calls[0]?.socket.write(packet({ program: KEEPALIVE, procedure: 2, type: 2 }));
  expect(await ask('still')).toBe('still');
  expect(server.connections).toBe(1);
});

it('tells of devices that are gone or were kept, and of no other event', async () => {
  const { server, ask, events } = await bench(echo);
  await ask();
  const event = (procedure: number, alias: string): Buffer =>
    packet({ procedure, type: 2, payload: Buffer.concat([words(0), domain('one', 3), string(alias)]) });
  server.calls[0]?.socket.write(
    Buffer.concat([event(318, 'x'), event(333, 'virtio-disk1'), event(367, 'virtio-disk2')]),
  );
  await until('both', () => events.length === 2);
  expect(events).toEqual([
    { domain: UUID, alias: 'virtio-disk1', what: 'removed' },
    { domain: UUID, alias: 'virtio-disk2', what: 'kept' },
  ]);
});

it('asks for both events and takes leave at the end', async () => {
  const { server, ask, connections, refusal } = await bench(echo);
  await ask();
  expect(server.calls.filter(({ procedure }) => procedure === 316).map(({ payload }) => payload)).toEqual([
    words(15, 0),
    words(22, 0),
  ]);
  connections.close();
  await until('leave is taken', () => server.calls.at(-1)?.procedure === 2);
  expect(await refusal()).toBe('unavailable');
});

it('makes no call after it was closed, not even one that had its place', async () => {
  const { connections, ask, refusal } = await bench(echo);
  await ask();
  const began = systemClock.now();
  const asking = refusal();
  connections.close();
  expect(await asking).toBe('unavailable');
  expect(systemClock.now() - began).toBeLessThan(1000);
});

it('ends what waits when it is closed', async () => {
  const { server, connections, refusal } = await bench(first(() => undefined));
  const waiting = refusal();
  await until('it is asked', () => server.calls.some(({ procedure }) => procedure === LOOKUP));
  connections.close();
  expect(await waiting).toBe('unavailable');
});
