import { describe, expect, it } from 'vitest';
import { serve } from '../../../src/broker/dispatch.js';
import { placeOf } from '../../../src/broker/place.js';
import { PROTOCOL_VERSION, REQUESTS } from '../../../src/broker/protocol.js';
import { VERBS } from '../../../src/broker/verbs.js';
import { encodeFrame, FrameDecoder } from '../../../src/core/frames.js';
import {
  MAX_DEADLINE_MS,
  MAX_FINDINGS_OF_A_KIND,
  MAX_FRAME_BYTES,
  MAX_LINK_REQUESTS,
} from '../../../src/core/limits.js';
import { AGENT_UID, bench, type Bench, BASE, entry, LEAF, MOUNTPOINT, URL } from './fake-machine.js';
import { pipe } from './pipe.js';

interface Talk extends Bench {
  readonly replies: Record<string, unknown>[];
  say(frame: object): void;
  raw(bytes: Uint8Array): void;
  open(): boolean;
  /** Until a reply with that number is there, or the connection has ended. */
  reply(id: number): Promise<Record<string, unknown> | undefined>;
}

function talk(uid = AGENT_UID): Talk {
  const world = bench();
  const [mine, theirs] = pipe();
  const replies: Record<string, unknown>[] = [];
  const decoder = new FrameDecoder();
  mine.onData((bytes) => replies.push(...(decoder.push(bytes).values as Record<string, unknown>[])));
  serve(world.context, { uid, pid: 1 }, theirs);
  const find = (id: number): Record<string, unknown> | undefined =>
    replies.find((one) => one['id'] === id && !('part' in one));
  return {
    ...world,
    replies,
    say: (frame) => mine.send(encodeFrame(frame)),
    raw: (bytes) => mine.send(bytes),
    open: mine.open,
    reply: async (id) => {
      await expect.poll(() => find(id) !== undefined || !mine.open(), { timeout: 3000, interval: 2 }).toBe(true);
      return find(id);
    },
  };
}

async function greeted(uid = AGENT_UID): Promise<Talk> {
  const peer = talk(uid);
  peer.say({ id: 1, verb: 'hello', version: PROTOCOL_VERSION, budgetMs: 1000 });
  expect(await peer.reply(1)).toMatchObject({ ok: { version: PROTOCOL_VERSION } });
  return peer;
}

async function endsWithoutEffect(peer: Talk): Promise<void> {
  await expect.poll(() => peer.open(), { timeout: 2000, interval: 2 }).toBe(false);
  expect(peer.machine.effects).toEqual([]);
  expect(peer.replies.filter((one) => one['id'] !== 1)).toEqual([]);
}

const SOUND: Record<string, Record<string, unknown>> = {
  hello: { id: 2, verb: 'hello', version: 1, budgetMs: 100 },
  observe: { id: 2, verb: 'observe', volume: URL, probe: null, budgetMs: 100 },
  step: { id: 2, verb: 'step', volume: URL, kind: 'mount', budgetMs: 100 },
  settle: { id: 2, verb: 'settle', volume: URL, budgetMs: 100 },
  disk: { id: 2, verb: 'disk', volume: URL, name: 'disk', budgetMs: 100 },
  holders: { id: 2, verb: 'holders', volume: URL, budgetMs: 100 },
  abort: { id: 2, verb: 'abort', volume: URL, budgetMs: 100 },
  inventory: { id: 2, verb: 'inventory', leaves: 'all', budgetMs: 100 },
  watch: { id: 2, verb: 'watch', seen: null, budgetMs: 100 },
  'helper-output': { id: 2, verb: 'helper-output', leaf: LEAF, budgetMs: 100 },
  examine: { id: 2, verb: 'examine', budgetMs: 100 },
};

describe('who may speak', () => {
  it.each([
    ['another user', 1000],
    ['nobody, as users of another user namespace appear', 65534],
  ])('%s is cut off before a byte is read', async (_, uid) => {
    const peer = talk(uid);
    peer.say({ id: 1, verb: 'hello', version: PROTOCOL_VERSION, budgetMs: 1000 });
    await endsWithoutEffect(peer);
    expect(peer.warnings).toContain('peer-refused');
  });

  it.each([
    ['the agent', AGENT_UID],
    ['root', 0],
  ])('%s is answered', async (_, uid) => {
    const peer = await greeted(uid);
    peer.say({ ...SOUND['observe'], id: 7 });
    expect(await peer.reply(7)).toMatchObject({ ok: { leaf: LEAF, mountpoint: MOUNTPOINT, directory: 'absent' } });
  });

  it('root alone is told all that a helper said; the agent is cut off', async () => {
    const root = await greeted(0);
    root.context.helperOutputs.keep(placeOf(root.context, URL), 'with password hunter2\nno such volume');
    root.say({ ...SOUND['helper-output'], id: 7 });
    expect(await root.reply(7)).toMatchObject({ ok: 'with password hunter2\\nno such volume' });
    const agent = await greeted();
    agent.say({ ...SOUND['helper-output'] });
    await endsWithoutEffect(agent);
  });

  it('whoever does not say hello first is cut off', async () => {
    const peer = talk();
    peer.say(SOUND['settle'] as object);
    await endsWithoutEffect(peer);
  });

  it('whoever says hello twice is cut off', async () => {
    const peer = await greeted();
    peer.say({ ...SOUND['hello'] });
    await endsWithoutEffect(peer);
  });
});

describe('requests that are not exactly as the protocol has them end the connection', () => {
  const names = Object.keys(REQUESTS).filter((name) => name !== 'hello');

  it.each(names)('%s with hostile arguments', async (name) => {
    const sound = SOUND[name] as Record<string, unknown>;
    const hostile: object[] = [
      { ...sound, extra: 1 },
      { ...sound, leaf: LEAF },
      { ...sound, path: '/' },
      { ...sound, program: '/bin/sh' },
      { ...sound, base: '/etc' },
      { ...sound, options: ['-o', 'suid'] },
      JSON.parse(`{"__proto__":{"admin":true},${JSON.stringify(sound).slice(1)}`) as object,
      { ...sound, constructor: 1 },
    ];
    for (const key of Object.keys(sound)) {
      hostile.push(Object.fromEntries(Object.entries(sound).filter(([other]) => other !== key)));
      for (const value of [null, [], {}, true, '', 'x'.repeat(10_000), -1, 0, 0.5, 1e21, '1', [sound[key]]]) {
        if ((key === 'probe' || key === 'seen') && value === null) continue;
        if (key === 'seen' && value === 0) continue;
        if (key === 'leaves' && Array.isArray(value) && value.length === 0) continue;
        if (value === sound[key]) continue;
        // Any short text may be a volume or a disk; what it says is looked at further down.
        if (value === '1' && (key === 'volume' || key === 'name')) continue;
        hostile.push({ ...sound, [key]: value });
      }
    }
    for (const frame of hostile) {
      const peer = await greeted();
      peer.say(frame);
      await endsWithoutEffect(peer);
    }
  });

  it.each(['shell', 'umount', 'constructor', '__proto__', 'toString', 'hasOwnProperty', 'Hello', 'mount ', ''])(
    'the verb %j',
    async (verb) => {
      const peer = await greeted();
      peer.say({ id: 2, verb, budgetMs: 100 });
      await endsWithoutEffect(peer);
    },
  );

  it.each([[], [[]], null, 1, 'x', true].map((value) => ({ value })))('the frame $value', async ({ value }) => {
    const peer = await greeted();
    const body = new TextEncoder().encode(JSON.stringify(value).padEnd(2));
    const frame = new Uint8Array(4 + body.length);
    new DataView(frame.buffer).setUint32(0, body.length);
    frame.set(body, 4);
    peer.raw(frame);
    await endsWithoutEffect(peer);
  });

  it('a length beyond the limit, before its body has come', async () => {
    const peer = await greeted();
    const header = new Uint8Array(4);
    new DataView(header.buffer).setUint32(0, MAX_FRAME_BYTES + 1);
    peer.raw(header);
    await endsWithoutEffect(peer);
  });

  it('a budget beyond the longest deadline', async () => {
    const peer = await greeted();
    peer.say({ ...SOUND['settle'], budgetMs: MAX_DEADLINE_MS + 1 });
    await endsWithoutEffect(peer);
  });

  it('a number that is in use', async () => {
    const peer = await greeted();
    peer.machine.mountsNow = [entry()];
    peer.machine.answer = () => 'hang';
    peer.say({ ...SOUND['observe'], probe: 'read-only', id: 5 });
    peer.say({ ...SOUND['settle'], id: 5 });
    await expect.poll(() => peer.open()).toBe(false);
  });

  it('one request more than may be in flight', async () => {
    const peer = await greeted();
    peer.machine.mountsNow = [entry()];
    peer.machine.answer = () => 'hang';
    for (let id = 2; id < MAX_LINK_REQUESTS + 2; id += 1) {
      peer.say({ ...SOUND['observe'], probe: 'read-only', id, budgetMs: 5000 });
    }
    await Promise.resolve();
    expect(peer.open()).toBe(true);
    peer.say({ ...SOUND['observe'], id: MAX_LINK_REQUESTS + 2 });
    await expect.poll(() => peer.open()).toBe(false);
  });
});

describe('volumes are parsed again and placed by the broker alone', () => {
  it.each([
    '/etc/shadow',
    'quobyte://r/../v',
    'quobyte://r/v/../../etc',
    'quobyte:///v',
    'quobyte://quobyte://r/v',
    '-o suid,dev',
    'quobyte://-o,suid,dev',
    'http://r/v',
    'local:///srv/pool/../../etc',
    'local://srv/pool/x',
    'quobyte://r/v\nquobyte://r/w',
    'quobyte://r/v\u202e',
    'quobyte://admin:pw@r/v',
  ])('%j is refused before anything is done', async (volume) => {
    const peer = await greeted();
    let id = 10;
    for (const kind of ['make-leaf', 'mount', 'harden', 'unmount', 'detach-dead', 'remove-leaf']) {
      peer.say({ id, verb: 'step', volume, kind, budgetMs: 100 });
      expect(await peer.reply(id)).toMatchObject({ error: { code: 'invalid-argument', field: 'volume' } });
      id += 1;
    }
    expect(peer.machine.effects).toEqual([]);
    expect(JSON.stringify(peer.replies)).not.toContain('pw@');
  });

  it.each(['make-leaf', 'mount', 'harden'])('%s of a local directory outside the roots is refused', async (kind) => {
    const peer = await greeted();
    peer.say({ id: 2, verb: 'step', volume: 'local:///etc/ssh', kind, budgetMs: 100 });
    expect(await peer.reply(2)).toMatchObject({ ok: { end: 'refused', error: { code: 'permission-denied' } } });
    expect(peer.machine.effects).toEqual([]);
  });

  it.each(['../x', 'a/b', '/etc/shadow', '.', '..', '-x', 'a\nb', 'a\u0000b'])(
    'the disk %j is refused',
    async (name) => {
      const peer = await greeted();
      peer.machine.mountsNow = [entry()];
      peer.say({ ...SOUND['disk'], name });
      expect(await peer.reply(2)).toMatchObject({ error: { code: 'invalid-argument', field: 'name' } });
      peer.say({ ...SOUND['observe'], id: 3, probe: 'read-only', disk: name });
      expect(await peer.reply(3)).toMatchObject({ error: { code: 'invalid-argument', field: 'disk' } });
      expect(peer.machine.effects).toEqual([]);
    },
  );

  it('a disk is looked for only in a volume that is allowed', async () => {
    const peer = await greeted();
    peer.machine.mountsNow = [entry()];
    peer.say({ ...SOUND['observe'], probe: 'read-only', disk: 'one' });
    expect(await peer.reply(2)).toMatchObject({ ok: { disk: { state: 'regular' } } });
    peer.say({ ...SOUND['observe'], id: 3, volume: 'local:///etc/ssh', probe: 'read-only', disk: 'one' });
    expect(await peer.reply(3)).toMatchObject({ error: { code: 'permission-denied' } });
  });

  it('the helper is started with exactly the arguments of the configuration', async () => {
    const peer = await greeted();
    peer.machine.leaves.set(MOUNTPOINT, 'empty');
    peer.machine.helper = () => {
      peer.machine.mountsNow = [entry()];
      return Promise.resolve({ end: 'exited', status: 0, output: '' });
    };
    peer.say({ ...SOUND['step'], budgetMs: 5000 });
    expect(await peer.reply(2)).toMatchObject({ ok: { end: 'done', changed: true } });
    expect(peer.machine.effects).toEqual([
      `start /usr/sbin/mount.quobyte --disable-xattrs 192.168.1.1/volume-00001 ${BASE}/${LEAF}`,
    ]);
  });
});

describe('replies', () => {
  it('an inventory of thousands of leaves comes in parts that fit into frames', async () => {
    const peer = await greeted();
    const total = 6000;
    for (let n = 0; n < total; n += 1) {
      peer.machine.leaves.set(`${BASE}/${n.toString(16).padStart(32, '0')}`, 'empty');
    }
    peer.say({ ...SOUND['inventory'], budgetMs: 10_000 });
    expect(await peer.reply(2)).toMatchObject({ ok: { bootId: peer.machine.bootId } });
    const parts = peer.replies.flatMap((one) => ('part' in one ? [one['part'] as { items: unknown[] }] : []));
    expect(parts.length).toBeGreaterThan(1);
    expect(parts.reduce((sum, part) => sum + part.items.length, 0)).toBe(total);
  });

  it('what is found of thousands of occupied leaves is told in a few words', async () => {
    const peer = await greeted();
    for (let n = 0; n < 6000; n += 1) {
      peer.machine.leaves.set(`${BASE}/${n.toString(16).padStart(32, '0')}`, 'occupied');
    }
    peer.say({ ...SOUND['examine'], budgetMs: 10_000 });
    const { ok } = (await peer.reply(2)) as { ok: { subject: string; message: string }[] };
    const occupied = ok.filter(({ subject }) => subject === 'occupied leaf');
    expect(occupied).toHaveLength(MAX_FINDINGS_OF_A_KIND + 1);
    expect(occupied.at(-1)?.message).toContain(`${6000 - MAX_FINDINGS_OF_A_KIND} more`);
  });

  it('one that is larger than a frame is an error for who has asked, and for nobody else', async () => {
    const peer = await greeted();
    peer.machine.directories.leafState = () => 'x'.repeat(MAX_FRAME_BYTES) as 'empty';
    peer.say(SOUND['observe'] as object);
    expect(await peer.reply(2)).toMatchObject({ error: { code: 'resource-exhausted' } });
    expect(peer.open()).toBe(true);
    // The same of one that comes in parts.
    peer.machine.leaves.set(`${BASE}/${'0'.repeat(32)}`, 'empty');
    peer.say({ ...SOUND['inventory'], id: 3 });
    expect(await peer.reply(3)).toMatchObject({ error: { code: 'resource-exhausted' } });
    expect(peer.open()).toBe(true);
  });

  it('an error that nobody foresaw says nothing of its text', async () => {
    const peer = await greeted();
    peer.machine.directories.leafState = () => {
      throw new RangeError('secret 4711');
    };
    peer.say(SOUND['observe'] as object);
    expect(await peer.reply(2)).toMatchObject({ error: { code: 'internal' } });
    expect(JSON.stringify(peer.replies)).not.toContain('4711');
    expect(peer.open()).toBe(true);
  });

  it('every verb of the protocol has a line in the table, with a reason', () => {
    expect(Object.keys(VERBS)).toEqual(Object.keys(REQUESTS));
    for (const verb of Object.values(VERBS)) expect(verb.reason.length).toBeGreaterThan(40);
  });
});
