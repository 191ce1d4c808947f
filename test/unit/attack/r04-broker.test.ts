// R4: the privileged side answers a closed list of requests, parsed again by itself, and nothing else. The attacker here
// speaks the protocol's framing perfectly, as a taken-over agent would.

import { describe, expect, it } from 'vitest';
import { VERBS } from '../../../src/broker/verbs.js';
import { REQUESTS } from '../../../src/broker/protocol.js';
import { STEP_KINDS } from '../../../src/core/steps.js';
import { AGENT_UID, VOLUME, World } from './broker-bench.js';

const HELLO = { id: 1, verb: 'hello', budgetMs: 1000, version: 1 };
const step = (more: object): object => ({
  id: 2,
  verb: 'step',
  budgetMs: 1000,
  volume: VOLUME.url,
  kind: 'unmount',
  ...more,
});

/** Says hello and one frame as the agent would; the broker must end the connection and do nothing. */
async function endsOn(frame: object | Uint8Array): Promise<void> {
  const world = new World();
  const { replies, closed } = await world.say(AGENT_UID, HELLO, frame);
  expect(replies).toMatchObject([{ id: 1, ok: { version: 1 } }]);
  expect([closed, world.effects]).toEqual([true, []]);
}

describe('the broker ends the connection on', () => {
  it.each([
    ['a verb that is not in the table', { id: 2, verb: 'exec', budgetMs: 1, program: '/bin/sh' }],
    ['a verb of the prototype', { id: 2, verb: 'constructor', budgetMs: 1 }],
    ['a path to unmount', step({ path: '/' })],
    ['a mountpoint to unmount', step({ mountpoint: '/etc' })],
    ['a leaf of the caller’s choice', step({ leaf: '../..' })],
    ['a program of the caller’s choice', step({ kind: 'mount', program: '/bin/sh' })],
    ['an option for the helper', step({ kind: 'mount', options: ['-o', 'suid,dev'] })],
    ['arguments for the helper', step({ kind: 'mount', args: ['-o', 'suid'] })],
    ['a client configuration of the caller’s choice', step({ kind: 'mount', clientConfig: '/tmp/evil' })],
    ['an effect that is none of the six', step({ kind: 'chmod' })],
    ['force', step({ force: true })],
    ['a volume that is no text', step({ volume: [VOLUME.url] })],
    ['no budget', { id: 2, verb: 'settle', volume: VOLUME.url }],
    ['an endless budget', step({ budgetMs: Number.MAX_SAFE_INTEGER })],
    ['a fractional number', step({ id: 2.5 })],
    ['a list instead of a request', [step({})]],
  ])('%s', async (_, frame) => {
    await endsOn(frame);
  });

  it('a frame that is larger than any', async () => {
    await endsOn(new Uint8Array([0xff, 0xff, 0xff, 0xff, 0x7b]));
  });

  it('anything before hello', async () => {
    const world = new World();
    expect(await world.say(AGENT_UID, step({}))).toEqual({ replies: [], closed: true });
  });

  it.each([1000, 65_534, AGENT_UID + 1])('a stranger (uid %i), whatever he says', async (uid) => {
    const world = new World();
    expect(await world.say(uid, HELLO)).toEqual({ replies: [], closed: true });
  });
});

describe('the broker parses the volume again and refuses, without an effect,', () => {
  it.each([
    '/',
    '/etc',
    '../../etc',
    '-o suid,dev',
    'quobyte://-o,suid,dev',
    '-c',
    '--help/v',
    'quobyte://quobyte://r/v',
    'admin:pw@r/v',
    'r/v?token=x',
    'r/../v',
    'r/v\nforged',
    'file:///etc',
  ])('%j', async (volume) => {
    const world = new World();
    for (const kind of STEP_KINDS) {
      await expect(world.step(kind, volume)).rejects.toMatchObject({ code: 'invalid-argument', field: 'volume' });
    }
    expect([world.effects, world.started]).toEqual([[], []]);
  });

  it('a directory that is below no root', async () => {
    const world = new World();
    for (const kind of ['make-leaf', 'mount', 'harden'] as const) {
      expect(await world.step(kind, 'local:///etc')).toMatchObject({ error: { code: 'permission-denied' } });
    }
    expect(world.effects).toEqual([]);
  });

  it('a registry that this host does not allow, whatever the agent thought', async () => {
    const world = new World({ registries: ['elsewhere'] });
    expect(await world.step('make-leaf')).toMatchObject({ end: 'refused', error: { code: 'permission-denied' } });
    expect(await world.step('mount')).toMatchObject({ end: 'refused', error: { code: 'permission-denied' } });
    expect(world.effects).toEqual([]);
  });
});

describe('the broker, asked for an effect that is not due,', () => {
  it('detaches nothing that answers, however it is asked', async () => {
    const world = new World();
    world.mount();
    expect(await world.step('detach-dead')).toMatchObject({ end: 'refused', error: { code: 'permission-denied' } });
    expect([world.effects, world.mounts.length]).toEqual([[], 1]);
  });

  it.each(['mount', 'unmount', 'detach-dead', 'harden', 'make-leaf'] as const)(
    'leaves a stranger’s mount at the leaf alone: %s',
    async (kind) => {
      const world = new World();
      world.mount({ fsType: 'tmpfs', source: 'stranger' });
      expect(await world.step(kind)).toMatchObject({ end: 'refused', error: { code: 'foreign' } });
      expect([world.effects, world.mounts.length]).toEqual([[], 1]);
    },
  );

  it.each([
    ['a link', { kind: 'link' }],
    ['writable by all', { mode: 0o777 }],
    ['somebody else’s', { uid: 1000 }],
  ] as const)('does nothing in a base that is %s', async (_, fault) => {
    const world = new World();
    world.base = { ...world.base, ...fault };
    for (const kind of STEP_KINDS) {
      expect(await world.step(kind)).toMatchObject({ end: 'refused', error: { code: 'permission-denied' } });
    }
    expect(world.effects).toEqual([]);
  });
});

it('every verb says why the privileged side has to do it', () => {
  expect(Object.keys(VERBS).sort()).toEqual(Object.keys(REQUESTS).sort());
  for (const { reason, callers } of Object.values(VERBS)) {
    expect(reason.length).toBeGreaterThan(40);
    expect(callers).not.toContain('anybody');
  }
});
