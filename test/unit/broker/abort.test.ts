// Aborting a connection: only of the right volume, only while it hangs, only a FUSE one of our own making.

import { describe, expect, it } from 'vitest';
import { abort } from '../../../src/broker/handlers/abort.js';
import { Deadline } from '../../../src/core/deadline.js';
import { FairleadError } from '../../../src/core/errors.js';
import type { Judgement } from '../../../src/core/verdict.js';
import { BASE, bench, type Bench, entry, failing, healthy, LEAF, MOUNTPOINT, URL } from './fake-machine.js';

function run({ context }: Bench, url = URL, budgetMs = 2000): Promise<Judgement> {
  const deadline = new Deadline(context.machine.clock, budgetMs);
  const call = { context, deadline, emit: () => undefined };
  return abort(call, { id: 1, verb: 'abort', volume: url, budgetMs });
}

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'done',
    (error: unknown) => (error instanceof FairleadError ? error.code : 'not from the closed list'),
  );
const aborts = ({ machine }: Bench): string[] => machine.effects.filter((effect) => effect.startsWith('abort'));

/** A world with the volume mounted, which hangs until it is aborted. */
function hung(): Bench {
  const world = bench();
  world.machine.mountsNow = [entry()];
  world.machine.answer = () => 'hang';
  world.machine.abortion = () => {
    world.machine.answer = () => failing('ENOTCONN');
    for (const child of world.machine.children) {
      for (const { id } of child.posted) child.reply(id, failing('ENOTCONN'));
    }
    return 'aborted';
  };
  return world;
}

describe('a mount that hangs', () => {
  it('is aborted, and proven dead before the answer', async () => {
    const world = hung();
    expect(await run(world)).toMatchObject({ verdict: 'stale', dead: true, errno: 'ENOTCONN' });
    expect(aborts(world)).toEqual([`abort ${BASE}/${LEAF}`]);
  });

  it('is said to hang still if it does so after the abort', async () => {
    const world = hung();
    world.machine.abortion = () => 'aborted';
    expect(await codeOf(run(world, URL, 600))).toMatch(/^(?:hung|deadline-exceeded)$/);
  });

  it('that was replaced since the look is left alone', async () => {
    const world = hung();
    world.machine.abortion = () => 'other';
    expect(await codeOf(run(world))).toBe('unavailable');
  });
});

describe('nothing is aborted', () => {
  it('where the volume answers', async () => {
    const world = hung();
    world.machine.answer = () => healthy();
    expect(await codeOf(run(world))).toBe('conflict');
    expect(aborts(world)).toEqual([]);
  });

  it('where it is dead already', async () => {
    const world = hung();
    world.machine.answer = () => failing('ENOTCONN');
    expect(await codeOf(run(world))).toBe('conflict');
    expect(aborts(world)).toEqual([]);
  });

  it('where nothing is mounted, or something else', async () => {
    const world = hung();
    world.machine.mountsNow = [];
    expect(await codeOf(run(world))).toBe('not-found');
    world.machine.mountsNow = [entry({ source: 'quobyte@elsewhere/other' })];
    expect(await codeOf(run(world))).toBe('foreign');
    world.machine.mountsNow = [entry(), entry({ fsType: 'tmpfs', source: 'tmpfs' })];
    expect(await codeOf(run(world))).toBe('foreign');
    expect(aborts(world)).toEqual([]);
  });

  it('of a directory that was bound: its filesystem is somebody else’s', async () => {
    const world = hung();
    expect(await codeOf(run(world, 'local:///srv/pool/a'))).toBe('invalid-argument');
    expect([aborts(world), world.machine.effects]).toEqual([[], []]);
  });
});

it('the mount point is what is pinned', async () => {
  const world = hung();
  world.machine.mountsNow = [entry({ mountPoint: `${MOUNTPOINT}x` })];
  expect(await codeOf(run(world))).toBe('not-found');
});
