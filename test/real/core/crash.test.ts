// SIGKILL at every journal point, on real mounts. For each point one story that passes it is told; the process kills
// itself there, comes back, and nothing that was answered is lost, nothing else is left. A point that no story reached
// fails the run.

import { existsSync, openSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AGENT_POINTS, BROKER_POINTS } from '../../../src/core/journal.js';
import { closeOnDead, Host, leafOfUrl, type Answer } from '../../rig/host.js';
import { until } from '../../rig/until.js';

const ALICE = 'cli:alice';
const BOB = 'cli:bob';

/** What one story has been promised so far: consumers whose last answer was a successful connect, or that they are gone. */
interface Promises {
  readonly attached: Set<string>;
  /** Consumers whose last request got no answer: either way is right. */
  readonly open: Set<string>;
}

/** A story: requests that pass the point. */
type Story = (told: Told) => Promise<void>;

interface Told {
  readonly host: Host;
  readonly url: string;
  readonly name: string;
  readonly mountpoint: string;
  readonly connect: (consumer: string) => Promise<Answer>;
  readonly disconnect: (consumer: string) => Promise<Answer>;
  /** From here on the point may be hit. */
  readonly arm: () => Promise<void>;
}

const connectOnly: Story = async ({ arm, connect }) => {
  await arm();
  await connect(ALICE);
};

const disconnectOnly: Story = async ({ arm, connect, disconnect }) => {
  await connect(ALICE);
  await arm();
  await disconnect(ALICE);
};

/** The server dies under two consumers; one connects again. */
const recovery: Story = async ({ arm, connect, host, url, name }) => {
  await connect(ALICE);
  await connect(BOB);
  await host.sandbox('fault', name, 'server-dies');
  await until('the mount is dead', async () => (await host.ask('validate', url)).body['verdict'] === 'stale');
  await arm();
  await connect(ALICE);
};

/** A connect that fails after its mount: the disk's name leads to a directory. */
const undone: Story = async ({ arm, connect, host, name }) => {
  await host.sandbox('fault', name, 'errno', 'EIO');
  await arm();
  await connect(ALICE);
  await host.sandbox('heal', name);
};

/** A dead mount with an open descriptor is disconnected: only a lazy detach helps. */
const buried: Story = async ({ arm, connect, disconnect, host, name, mountpoint }) => {
  await connect(ALICE);
  writeFileSync(join(mountpoint, 'f'), 'x');
  const descriptor = openSync(join(mountpoint, 'f'), 'r');
  await host.sandbox('fault', name, 'server-dies');
  await arm();
  await disconnect(ALICE);
  closeOnDead(descriptor);
};

/** Which story passes which point. */
const STORIES: Record<string, Story> = {
  'connect.planned': connectOnly,
  'connect.journaled': connectOnly,
  'connect.verified': connectOnly,
  'connect.recorded': connectOnly,
  'undo.begun': undone,
  'disconnect.recorded': disconnectOnly,
  'release.verified': disconnectOnly,
  'release.closed': disconnectOnly,
  'recover.journaled': recovery,
  'recover.verified': recovery,
  'step.make-leaf.before': connectOnly,
  'step.make-leaf.after': connectOnly,
  'step.mount.before': connectOnly,
  'step.mount.after': connectOnly,
  'step.harden.before': connectOnly,
  'step.harden.after': connectOnly,
  'step.unmount.before': disconnectOnly,
  'step.unmount.after': disconnectOnly,
  'step.detach-dead.before': buried,
  'step.detach-dead.after': buried,
  'step.remove-leaf.before': disconnectOnly,
  'step.remove-leaf.after': disconnectOnly,
  'broker.make-leaf.done': connectOnly,
  'broker.mount.starting': connectOnly,
  'broker.mount.forked': connectOnly,
  'broker.mount.helper-ended': connectOnly,
  'broker.mount.done': connectOnly,
  'broker.harden.done': connectOnly,
  'broker.unmount.done': disconnectOnly,
  'broker.detach-dead.done': buried,
  'broker.remove-leaf.done': disconnectOnly,
};

/** Points that several stories pass are stopped at in each. */
const MORE: readonly (readonly [string, string, Story])[] = [
  ['step.mount.before', 'while a dead mount is replaced', recovery],
  ['step.mount.after', 'while a dead mount is replaced', recovery],
  ['step.detach-dead.after', 'while a dead mount is replaced', recovery],
  ['broker.mount.done', 'while a dead mount is replaced', recovery],
  ['step.unmount.before', 'while a failed connect is undone', undone],
  ['step.unmount.after', 'while a failed connect is undone', undone],
];

const POINTS = [...AGENT_POINTS, ...BROKER_POINTS];
const hit = new Set<string>();
let host: Host;
let count = 0;

beforeEach(async () => {
  host = await Host.prepare();
});
afterEach(() => host.shutDown());

async function tell(point: string, story: Story): Promise<void> {
  await host.up();
  const name = `crash-${count++}`;
  const url = await host.volume(name);
  const promises: Promises = { attached: new Set(), open: new Set() };
  const request = async (verb: 'connect' | 'disconnect', consumer: string): Promise<Answer> => {
    const answer = await host.ask(verb, url, '--consumer', consumer, '--timeout', '20');
    const code = answer.error?.code;
    if (code === undefined) {
      promises.open.delete(consumer);
      if (verb === 'connect') promises.attached.add(consumer);
      else promises.attached.delete(consumer);
    } else if (verb === 'disconnect' || code === 'unavailable' || code === 'deadline-exceeded') {
      promises.open.add(consumer);
    }
    return answer;
  };
  await story({
    host,
    url,
    name,
    mountpoint: join(host.quobyteBase, leafOfUrl(url)),
    connect: (consumer) => request('connect', consumer),
    disconnect: (consumer) => request('disconnect', consumer),
    arm: async () => {
      // The point is armed for one incarnation only: fairlead starts anew with it, on the state it has.
      await host.down();
      await host.up({ FAIRLEAD_HALT_AT: point });
    },
  });
  const who = point.startsWith('broker.') ? 'broker' : 'agent';
  // It may have died while it put the leaf in order at its start, so the supervisor's word counts, not the process id.
  await until(`${who} died at ${point}`, () => wasKilled(who), 20_000);
  hit.add(point);
  await host.ready();
  await settled(promises, url);
  for (const consumer of [ALICE, BOB]) await host.ask('disconnect', url, '--consumer', consumer);
  await until('nothing is left mounted', () => host.mounts().length === 0, 20_000);
  await until('no leaf is left', () => readdirSync(host.quobyteBase).length === 0);
  expect(((await host.ask('ls')).body['mounts'] as unknown[]).length).toBe(0);
}

/** Whether the supervisor has seen it die by SIGKILL. */
function wasKilled(who: 'agent' | 'broker'): boolean {
  return host
    .log()
    .split('\n')
    .some((line) => line.includes(`"${who}-died"`) && line.includes('"SIGKILL"'));
}

/** I2 and I3: what was answered with success is there and works; nothing else keeps a mount. */
async function settled(promises: Promises, url: string): Promise<void> {
  const leaf = leafOfUrl(url);
  const { body } = await host.ask('ls');
  const mounts = body['mounts'] as {
    leaf: string;
    attachments: { consumer: string }[];
    hold: string | null;
    state: string;
  }[];
  const mine = mounts.find((mount) => mount.leaf === leaf);
  const attached = new Set((mine?.attachments ?? []).map(({ consumer }) => consumer));
  for (const consumer of [ALICE, BOB]) {
    if (!promises.open.has(consumer))
      expect([consumer, attached.has(consumer)]).toEqual([consumer, promises.attached.has(consumer)]);
  }
  expect(mine?.hold ?? null).toBeNull();
  if (attached.size > 0) {
    await until(
      'the volume is healthy',
      async () => (await host.ask('validate', url)).body['verdict'] === 'healthy',
      20_000,
    );
    expect(existsSync(join(host.quobyteBase, leaf))).toBe(true);
  } else if (mine !== undefined) {
    await until(
      'what nobody uses goes away',
      async () => {
        const now = (await host.ask('ls')).body['mounts'] as { leaf: string }[];
        return now.every((mount) => mount.leaf !== leaf);
      },
      20_000,
    );
  }
}

describe('killed at', () => {
  it.each(POINTS.map((point) => [point]))('%s, everything promised is kept', async (point) => {
    const story = STORIES[point];
    if (story === undefined) throw new Error(`no story passes ${point}`);
    await tell(point, story);
  });

  it.each(MORE)('%s %s, everything promised is kept', async (point, _, story) => {
    await tell(point, story);
  });

  it('every point there is', () => {
    expect(POINTS.filter((point) => !hit.has(point))).toEqual([]);
  });
});
