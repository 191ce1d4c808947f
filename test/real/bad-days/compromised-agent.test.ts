// The agent has been taken over: somebody with its user speaks to the broker by himself and says whatever he likes. He may
// do what the agent may (SECURITY.md): mount and let go of volumes that the configuration allows. He gets nothing else, and
// the broker goes on serving.

import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Client } from '../../rig/client.js';
import { Host, leafOfUrl, mountTable, WITHOUT_LIBVIRT } from '../../rig/host.js';
import { AGENT, STRANGER } from '../../rig/identity.js';
import { frame, Peer } from '../../rig/peer.js';
import { descendants, memory, running } from '../../rig/processes.js';
import { launch, run } from '../../rig/programs.js';
import { until } from '../../rig/until.js';

/** As the broker has it (src/core/limits.ts). */
const CONNECTIONS = 8;
const FRAME_BYTES = 1_048_576;
const HELPERS = 128;
const SEARCHES = 4;
const UNUSED_LEAVES = 1024;
/** Milliseconds until an unused leaf is removed, and all of them. */
const UNUSED_MS = 60_000;

let host: Host;
let client: Client;
let broker: number;
let peers: Peer[] = [];

beforeAll(async () => {
  host = await Host.boot({
    configure: (toml) => {
      const allowed = toml.replace('registries = []', 'registries = ["reg1:7861", "reg2:7861"]');
      return WITHOUT_LIBVIRT.configure?.(allowed) ?? allowed;
    },
  });
  client = new Client(host.socket);
  broker = host.pid('broker') ?? 0;
  await host.volume('real');
});
afterAll(async () => {
  client.close();
  await host.shutDown();
});

const REAL = 'quobyte://reg1:7861,reg2:7861/real';
const at = (url: string): string => join(host.quobyteBase, leafOfUrl(url));
const places = (): readonly string[] => mountTable().map(({ mountPoint, source }) => `${source} ${mountPoint}`);
const dialBroker = (who = AGENT): Peer => {
  const peer = new Peer(join(host.dir, 'fairlead/run/broker.sock'), who);
  peers.push(peer);
  return peer;
};

let mounts: readonly string[];
beforeEach(() => {
  mounts = places();
});
afterEach(async () => {
  for (const peer of peers) peer.close();
  peers = [];
  // Whatever he said: the same broker serves the real agent, and nothing is where it was not.
  expect(host.pid('broker')).toBe(broker);
  expect(places()).toEqual(mounts);
  await until('the real agent is served', async () => (await client.connect(REAL, 'cli:alice')).status === 200);
  expect((await client.disconnect(REAL, 'cli:alice')).body['outcome']).toBe('released');
  expect(readdirSync(host.quobyteBase)).toEqual([]);
  expect(readdirSync(host.localBase)).toEqual([]);
});

describe('whoever is not the agent', () => {
  it('is cut off before he is heard, even with the agent’s group', async () => {
    for (const uid of [STRANGER.uid, 65_534, 1]) {
      const peer = dialBroker({ uid, gid: AGENT.gid });
      peer.send(frame('{"id":1,"verb":"hello","budgetMs":1000,"version":1}'));
      await peer.hungUp();
      expect(peer.received).toBe(0);
    }
  });

  it('without the agent’s group does not even get that far', async () => {
    const peer = dialBroker(STRANGER);
    await peer.hungUp();
    expect(peer.received).toBe(0);
  });
});

describe('words that are not in the protocol end the connection without an answer:', () => {
  const hello = '{"id":1,"verb":"hello","budgetMs":1000,"version":1}';
  const request = (more: object): string => JSON.stringify({ id: 2, budgetMs: 1000, ...more });
  const volume = REAL;
  const noise = Buffer.from(Array.from({ length: 8192 }, (_, n) => (n * n * 31 + n * 7) % 251));

  it.each<readonly [string, Buffer]>([
    ['noise', noise],
    ['a frame of no length', Buffer.alloc(4)],
    ['a frame of one byte', Buffer.from([0, 0, 0, 1, 0x7b])],
    ['a frame of four gigabytes', Buffer.concat([Buffer.from([0xff, 0xff, 0xff, 0xff]), noise])],
    ['a frame one byte too long', Buffer.concat([Buffer.from([0, 0x10, 0, 1]), noise])],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['no JSON', frame('{"id":1,')],
    ['no UTF-8', frame('{"id":1}').fill(0xff, 6)],
    ['a byte order mark', frame(`\ufeff${hello}`)],
    ['a list', frame(`[${hello}]`)],
    ['a deep list', frame('['.repeat(500_000))],
    ['another verb first', frame('{"id":1,"verb":"inventory","budgetMs":1000}')],
    ['a greeting with something in its hand', frame('{"id":1,"verb":"hello","budgetMs":1000,"version":1,"as":"root"}')],
    ['a greeting without a number', frame('{"verb":"hello","budgetMs":1000,"version":1}')],
  ])('%s', async (_, bytes) => {
    const peer = dialBroker();
    peer.send(bytes);
    await peer.hungUp();
    expect(peer.received).toBe(0);
  });

  it.each<readonly [string, string]>([
    ['a second greeting', hello.replace('1', '2')],
    ['an unknown verb', request({ verb: 'exec', command: 'id' })],
    ['a verb of everybody’s prototype', request({ verb: 'constructor' })],
    ['another one', request({ verb: '__proto__' })],
    ['no verb', request({ volume })],
    ['a verb that is a list', request({ verb: ['step'], volume, kind: 'mount' })],
    ['a step of no kind', request({ verb: 'step', volume })],
    ['a step of another kind', request({ verb: 'step', volume, kind: 'format' })],
    ['a forced step', request({ verb: 'step', volume, kind: 'unmount', force: true })],
    ['a step with options', request({ verb: 'step', volume, kind: 'mount', options: ['-o', 'suid'] })],
    ['a step with a program', request({ verb: 'step', volume, kind: 'mount', program: '/bin/sh' })],
    ['a step at a place of its own', request({ verb: 'step', volume, kind: 'mount', mountpoint: '/etc' })],
    ['a step on a leaf', request({ verb: 'step', leaf: '0'.repeat(32), kind: 'remove-leaf' })],
    ['a step on a list', request({ verb: 'step', volume: [volume], kind: 'mount' })],
    ['a probe of another kind', request({ verb: 'observe', volume, probe: 'execute' })],
    ['a probe of a path', request({ verb: 'observe', path: '/etc/shadow', probe: null })],
    ['a disk of no name', request({ verb: 'disk', volume, name: '' })],
    ['a disk of too long a name', request({ verb: 'disk', volume, name: 'x'.repeat(256) })],
    ['a volume of a megabyte', request({ verb: 'settle', volume: 'x'.repeat(1_000_000) })],
    ['an empty volume', request({ verb: 'settle', volume: '' })],
    ['a budget of nothing', request({ verb: 'examine', budgetMs: 0 })],
    ['a budget of for ever', request({ verb: 'examine', budgetMs: 1e12 })],
    ['a budget that is no number', request({ verb: 'examine', budgetMs: '1000' })],
    ['a number below one', request({ verb: 'examine', id: 0 })],
    ['a number beyond all numbers', request({ verb: 'examine', id: 2 ** 60 })],
    ['a reply', JSON.stringify({ id: 2, ok: {} })],
  ])('%s', async (_, text) => {
    const peer = await dialBroker().greet();
    const before = peer.received;
    peer.send(frame(text));
    await peer.hungUp();
    expect(peer.received).toBe(before);
  });
});

describe('volumes', () => {
  it.each([
    '../../../etc',
    'quobyte://reg1:7861/..',
    'quobyte://reg1:7861/../../etc',
    'quobyte://reg1:7861/a/b',
    'quobyte://reg1:7861/-o',
    'quobyte://-o,suid/v',
    'quobyte://reg1:7861/v\0x',
    'quobyte://reg1:7861/v -o suid',
    'quobyte://reg1:7861/v\n/etc',
    'quobyte://user:secret@reg1:7861/v',
    'local:///srv/../etc',
    'local://etc',
    'local:////etc',
    'file:///etc',
    'nfs://server/export',
    'x'.repeat(4100),
  ])('named %j are no volumes to any verb', async (volume) => {
    const peer = await dialBroker().greet();
    for (const [verb, more] of [
      ['observe', { probe: null }],
      ['settle', {}],
      ['disk', { name: 'd' }],
      ['holders', {}],
      ...['make-leaf', 'mount', 'harden', 'unmount', 'detach-dead', 'remove-leaf'].map(
        (kind) => ['step', { kind }] as const,
      ),
    ] as const) {
      const { error } = await peer.ask(verb, { volume, ...more });
      expect([verb, error?.code]).toEqual([verb, 'invalid-argument']);
      expect(error?.message).not.toContain('etc');
    }
  });

  it('that the configuration does not allow are neither made nor mounted nor looked into', async () => {
    mkdirSync(join(host.dir, 'outside'), { recursive: true });
    symlinkSync(join(host.dir, 'outside'), join(host.localRoot, 'way-out'));
    const peer = await dialBroker().greet();
    for (const volume of [
      'quobyte://evil.example.org:7861/v',
      'quobyte://reg1:7861,evil.example.org/v',
      'quobyte://reg1:7862/v',
      'local:///etc',
      'local:///root',
      `local://${host.localRoot}`,
      `local://${host.localRoot}-beside`,
      `local://${host.dir}/fairlead/state/ledger`,
    ]) {
      for (const kind of ['make-leaf', 'mount', 'harden']) {
        expect([volume, kind, await peer.step(volume, kind)]).toEqual([volume, kind, 'permission-denied']);
      }
      expect((await peer.ask('disk', { volume, name: 'shadow' })).error?.code).toBe('permission-denied');
      expect(await peer.step(volume, 'unmount')).toBe('done');
    }
    const link = `local://${host.localRoot}/way-out`;
    expect(await peer.step(link, 'make-leaf')).toBe('done');
    expect(await peer.step(link, 'mount')).toBe('permission-denied');
    expect(await peer.step(link, 'remove-leaf')).toBe('done');
  });

  it('have disks of one name each, and tell nothing of what lies elsewhere', async () => {
    await client.connect(REAL, 'cli:alice');
    symlinkSync('/etc/shadow', join(host.dir, 'volumes/real/link'));
    const peer = await dialBroker().greet();
    for (const name of ['..', '.', '../../etc/shadow', '/etc/shadow', 'a/b', 'a\0b', '-o']) {
      expect([name, (await peer.ask('disk', { volume: REAL, name })).error?.code]).toEqual([name, 'invalid-argument']);
    }
    expect((await peer.ask('disk', { volume: REAL, name: 'link' })).ok).toEqual({ state: 'link' });
    await client.disconnect(REAL, 'cli:alice');
  });
});

describe('steps in an order of his own', () => {
  it('do nothing that the world does not call for', async () => {
    const peer = await dialBroker().greet();
    const told = async (...kinds: readonly string[]): Promise<string[]> => {
      const ends = [];
      for (const kind of kinds) ends.push(await peer.step(REAL, kind));
      return ends;
    };
    expect(await told('mount', 'harden', 'unmount', 'detach-dead', 'remove-leaf')).toEqual([
      'not-found',
      'not-found',
      'done',
      'done',
      'done',
    ]);
    expect(existsSync(at(REAL))).toBe(false);
    expect(await told('make-leaf', 'make-leaf', 'harden', 'mount', 'mount')).toEqual([
      'done',
      'done',
      'not-found',
      'done',
      'done',
    ]);
    expect(host.mounts()).toHaveLength(1);
    expect(await told('make-leaf', 'remove-leaf', 'detach-dead')).toEqual(['done', 'busy', 'permission-denied']);
    expect((await peer.ask('settle', { volume: REAL })).ok).toBe('settled');
    expect(host.mounts()).toHaveLength(1);
    expect(await told('unmount', 'remove-leaf')).toEqual(['done', 'done']);
  });

  it('never take away a mount that somebody has a file open in, nor detach one that lives or hangs', async () => {
    const { body } = await client.connect(REAL, 'cli:alice');
    const file = join(String(body['path']), 'open');
    writeFileSync(file, 'in use');
    // Not this process: whoever forks while it holds a file on a hung mount waits for that mount until the child has let go.
    const user = launch('/bin/sh', ['-c', 'exec /bin/sleep 600 < "$0"', file]);
    await until('the file is open', () => readlinkSync(`/proc/${user.child.pid ?? 0}/fd/0`) === file);
    const peer = await dialBroker().greet();
    expect(await peer.step(REAL, 'unmount')).toBe('busy');
    expect(await peer.step(REAL, 'detach-dead')).toBe('permission-denied');
    expect(await peer.step(REAL, 'remove-leaf')).toBe('busy');
    expect((await peer.ask('settle', { volume: REAL })).ok).toBe('settled');
    expect(readFileSync(file, 'utf8')).toBe('in use');
    await host.sandbox('fault', 'real', 'hang-unread');
    expect(await peer.step(REAL, 'detach-dead')).not.toBe('done');
    expect(host.mounts()).toHaveLength(1);
    await host.sandbox('heal', 'real');
    await until('it answers again', async () => {
      const answer = await client.ask('POST', '/v1/validate', { url: REAL });
      return answer.body['verdict'] === 'healthy';
    });
    user.child.kill('SIGKILL');
    await user.ended;
    expect((await client.disconnect(REAL, 'cli:alice')).body['outcome']).toBe('released');
  });

  // The broker does not know attachments: they are the agent's. So this is what a taken-over agent can do to a volume that
  // is attached and that nobody has open; the real one finds out and the next connect mends it.
  it('can let go of an attached volume that nobody has open; it is then reported, and mounted again by connect', async () => {
    await client.connect(REAL, 'cli:alice');
    const peer = await dialBroker().greet();
    expect(await peer.step(REAL, 'unmount')).toBe('done');
    expect((await client.ask('POST', '/v1/validate', { url: REAL })).body['verdict']).toBe('absent');
    expect((await client.list()).body['mounts']).toMatchObject([{ state: 'vanished' }]);
    expect((await client.connect(REAL, 'cli:alice')).body).toMatchObject({ verdict: 'healthy', changed: true });
    expect((await client.disconnect(REAL, 'cli:alice')).body['outcome']).toBe('released');
  });

  it('leave alone what is somebody else’s: a mount, a link, a file, a full directory at the leaf', async () => {
    const peer = await dialBroker().greet();
    const kinds = ['make-leaf', 'mount', 'harden', 'unmount', 'detach-dead', 'remove-leaf'];
    const victim = mkdtempSync(join(host.dir, 'victim-'));
    const plants: readonly (readonly [string, () => unknown, () => unknown])[] = [
      [
        'mount',
        async () => {
          mkdirSync(at(REAL));
          await run('/bin/mount', ['-t', 'tmpfs', 'stranger', at(REAL)]);
        },
        async () => {
          await run('/bin/umount', [at(REAL)]);
          await run('/bin/rmdir', [at(REAL)]);
        },
      ],
      ['link', () => symlinkSync(victim, at(REAL)), () => run('/bin/rm', [at(REAL)])],
      ['file', () => writeFileSync(at(REAL), 'x'), () => run('/bin/rm', [at(REAL)])],
      [
        'full directory',
        () => mkdirSync(join(at(REAL), 'full'), { recursive: true }),
        () => run('/bin/rm', ['-r', at(REAL)]),
      ],
    ];
    for (const [what, plant, remove] of plants) {
      await plant();
      const before = [places(), statSync(victim).mode, readdirSync(host.quobyteBase)];
      for (const kind of kinds) {
        const end = await peer.step(REAL, kind);
        expect([what, kind, ['foreign', 'busy', 'not-found', 'done'].includes(end)]).toEqual([what, kind, true]);
        if (['make-leaf', 'mount', 'remove-leaf'].includes(kind)) expect([what, kind, end]).not.toContain('done');
        expect([places(), statSync(victim).mode, readdirSync(host.quobyteBase)]).toEqual(before);
      }
      await peer.ask('settle', { volume: REAL });
      expect([places(), statSync(victim).mode, readdirSync(host.quobyteBase)]).toEqual(before);
      await remove();
    }
  });
});

describe('too much', () => {
  it('at once, unanswered, ends the connection; in good order it is answered, and costs no memory', async () => {
    const greedy = await dialBroker().greet();
    const requests = Array.from({ length: 3000 }, (_, n) =>
      frame(JSON.stringify({ id: n + 10, verb: 'examine', budgetMs: 5000 })),
    );
    greedy.send(Buffer.concat(requests));
    await greedy.hungUp();
    const twice = await dialBroker().greet();
    const same = frame(JSON.stringify({ id: 7, verb: 'examine', budgetMs: 5000 }));
    twice.send(Buffer.concat([same, same]));
    await twice.hungUp();

    const before = memory(broker);
    const patient = await dialBroker().greet();
    for (let rounds = 0; rounds < 20; rounds++) {
      const answers = await Promise.all(
        Array.from({ length: 200 }, () => patient.ask('observe', { volume: REAL, probe: null })),
      );
      expect(answers.filter(({ ok }) => ok === undefined)).toEqual([]);
    }
    expect(memory(broker) - before).toBeLessThan(100);
  });

  it('of connections, half said or silent, is cut off at the limit, and the agent keeps its own', async () => {
    const many = Array.from({ length: 40 }, () => dialBroker());
    await until(
      'those beyond the limit are cut off',
      () => many.filter(({ closed }) => closed).length >= 40 - CONNECTIONS,
    );
    for (const peer of many) peer.send(Buffer.concat([Buffer.from([0, 0x10, 0, 0]), Buffer.alloc(100)]));
    expect((await client.ask('POST', '/v1/validate', { url: REAL })).status).toBe(200);
    const before = memory(broker);
    for (const peer of many) peer.send(Buffer.alloc(FRAME_BYTES - 200, 0x20));
    expect((await client.ask('POST', '/v1/validate', { url: REAL })).status).toBe(200);
    expect(memory(broker) - before).toBeLessThan(100);
  });

  it('of helpers is refused at the limit, and their places are free again when they have ended', async () => {
    const helper = join(host.dir, 'bin/mount.quobyte');
    renameSync(helper, `${helper}.sound`);
    writeFileSync(helper, '#!/bin/sh\nexec /bin/sleep 600\n', { mode: 0o755 });
    try {
      const urls = Array.from({ length: HELPERS + 10 }, (_, n) => `quobyte://reg1:7861,reg2:7861/flood-${n}`);
      const peer = await dialBroker().greet();
      await Promise.all(urls.map((url) => peer.step(url, 'make-leaf', 20_000)));
      const codes: string[] = [];
      const ends = urls.map(async (url) => codes.push(await peer.step(url, 'mount', 60_000)));
      const helpers = (): readonly number[] => running('/bin/sleep 600').map(({ pid }) => pid);
      await until('those beyond the limit are refused', () => codes.length >= 10, 30_000);
      await until('the others are at work', () => helpers().length >= HELPERS, 30_000);
      expect(codes).toEqual(Array.from({ length: 10 }, () => 'resource-exhausted'));
      expect(helpers()).toHaveLength(HELPERS);
      for (const pid of helpers()) process.kill(pid, 'SIGKILL');
      await Promise.all(ends);
      expect(codes.filter((code) => code === 'helper-failed')).toHaveLength(HELPERS);
      for (const end of await Promise.all(urls.map((url) => peer.step(url, 'remove-leaf', 20_000))))
        expect(end).toBe('done');
    } finally {
      renameSync(`${helper}.sound`, helper);
    }
  });
});

describe('four hundred questions for holders at once', () => {
  it('are answered by a few processes, whatever they are about', async () => {
    const names = Array.from({ length: 3 * SEARCHES }, (_, n) => `asked-${n}`);
    const urls = await Promise.all(names.map((name) => host.volume(name)));
    for (const url of urls) expect((await client.connect(url, 'cli:alice')).status).toBe(200);
    const peer = await dialBroker().greet();
    let answers = 0;
    const codes: (string | undefined)[] = [];
    const asked = Array.from({ length: 400 }, async (_, n) => {
      codes.push((await peer.ask('holders', { volume: urls[n % urls.length] }, 60_000)).error?.code);
      answers += 1;
    });
    let most = 0;
    await until(
      'all are answered',
      () => {
        const searching = descendants(broker).filter(({ command }) => command.includes('holders-main'));
        most = Math.max(most, searching.length);
        return answers === asked.length;
      },
      60_000,
    );
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThanOrEqual(SEARCHES);
    expect(new Set(codes)).toEqual(new Set([undefined]));
    for (const url of urls) expect((await client.disconnect(url, 'cli:alice')).body['outcome']).toBe('released');
  }, 120_000);
});

describe('leaf directories without end', () => {
  it('are refused at the limit, and those that nothing was mounted on go away by themselves', async () => {
    const peer = await dialBroker().greet();
    const codes = new Map<string, number>();
    for (let rounds = 0; rounds < 10; rounds++) {
      const urls = Array.from({ length: 300 }, (_, n) => `quobyte://reg1:7861,reg2:7861/vain-${rounds}-${n}`);
      for (const code of await Promise.all(urls.map((url) => peer.step(url, 'make-leaf', 20_000))))
        codes.set(code, (codes.get(code) ?? 0) + 1);
      expect(readdirSync(host.quobyteBase).length).toBeLessThanOrEqual(UNUSED_LEAVES);
    }
    expect([...codes.keys()].sort()).toEqual(['done', 'resource-exhausted']);
    await until('they are gone', () => readdirSync(host.quobyteBase).length === 0, UNUSED_MS);
  }, 120_000);
});

describe('what he began', () => {
  it('and left is carried to its end without him', async () => {
    await host.volume('left');
    await host.sandbox('fault', 'left', 'slow-mount', '700');
    const url = 'quobyte://reg1:7861,reg2:7861/left';
    const peer = await dialBroker().greet();
    expect(await peer.step(url, 'make-leaf')).toBe('done');
    peer.send(frame(JSON.stringify({ id: 100, verb: 'step', volume: url, kind: 'mount', budgetMs: 20_000 })));
    const helpers = (): number => running(join(host.dir, 'bin/mount.quobyte')).length;
    await until('the helper is at work', () => helpers() > 0);
    peer.close();
    await until('what was begun is over', () => helpers() === 0 && host.mounts().length === 1);
    // Found without a record by the next who wants it, it is adopted and held.
    expect((await client.connect(url, 'cli:alice')).body['verdict']).toBe('healthy');
    expect((await client.disconnect(url, 'cli:alice')).body).toMatchObject({ outcome: 'still-used', mounted: true });
    await client.ask('DELETE', `/v1/mounts/${leafOfUrl(url)}/hold`);
    await until('it is let go of', () => host.mounts().length === 0 && !existsSync(at(url)));
    expect(descendants(broker).length).toBeLessThan(10);
  });
});
