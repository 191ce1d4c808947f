// What is said of a leaf that has no mount: what stands there instead and what to do, whether the volume may live on
// elsewhere; and that a watch sees what the kernel tells nobody of.

import { expect, it } from 'vitest';
import { observe } from '../../../src/broker/handlers/observe.js';
import { watch } from '../../../src/broker/handlers/watch.js';
import { Deadline } from '../../../src/core/deadline.js';
import type { LeafState } from '../../../src/core/observation.js';
import { leafOf, type Export } from '../../../src/core/volume.js';
import { bench, type Bench, entry, LOCAL_BASE } from './fake-machine.js';

const SOURCE = '/srv/pool/d' as Export;
const LEAF = leafOf(SOURCE);

const call = ({ context }: Bench): Parameters<typeof observe>[0] => ({
  context,
  deadline: new Deadline(context.machine.clock, 2000),
  emit: () => undefined,
});

async function reason(world: Bench): Promise<string | undefined> {
  const request = { id: 1, verb: 'observe', volume: `local://${SOURCE}`, probe: 'read-only', budgetMs: 2000 } as const;
  return (await observe(call(world), request)).judgement?.reason;
}

it.each<[LeafState, RegExp]>([
  ['absent', /^The volume is not mounted\.$/],
  ['empty', /^The volume is not mounted\.$/],
  ['link', /^A symbolic link lies where the leaf belongs\..* remove it\.$/],
  ['not-a-directory', /^A file lies where the leaf belongs\..* remove it\.$/],
  ['occupied', /^The leaf is a directory with something in it\. Empty or remove it/],
])('where the leaf is %s the reason says so', async (state, words) => {
  const world = bench();
  if (state !== 'absent') world.machine.leaves.set(`${LOCAL_BASE}/${LEAF}`, state);
  expect(await reason(world)).toMatch(words);
});

it('where a mount of the volume is elsewhere the reason says so', async () => {
  const world = bench();
  world.context.bound.begin({ base: LOCAL_BASE, volume: { leaf: LEAF } }, { dev: '8:1', inode: SOURCE });
  world.machine.mountsNow = [entry({ mountPoint: `${LOCAL_BASE}-before/${LEAF}`, dev: '8:1' })];
  expect(await reason(world)).toMatch(/not mounted at its leaf\. .*elsewhere/);
});

it('a watch reads the table anew: a base that was renamed back is heard of without a mount event', async () => {
  const world = bench();
  let shown: ReturnType<typeof entry>[] = [];
  const { table } = world.machine;
  const actual = [entry({ mountPoint: `${LOCAL_BASE}/${LEAF}` })];
  Object.assign(table, { forget: () => (shown = actual), below: () => shown, at: () => shown });
  const { version } = world.context.leafWatch.since(world.context, null);
  shown = [];
  Object.assign(table, { revision: 1 });
  const request = { id: 1, verb: 'watch', seen: version, budgetMs: 2000 } as const;
  const looking = watch(call(world), request);
  expect((await looking).leaves).toEqual([{ backend: 'local', leaf: LEAF }]);
});

it('a watch hears of a base that is covered, and of one that is uncovered', () => {
  const world = bench();
  const { table } = world.machine;
  world.machine.mountsNow = [entry({ mountPoint: `${LOCAL_BASE}/${LEAF}` })];
  let { version } = world.context.leafWatch.since(world.context, null);
  const stack = table.at(`${LOCAL_BASE}/${LEAF}`);
  for (const reached of [[], stack]) {
    Object.assign(table, { revision: table.revision + 1, at: () => reached });
    const changes = world.context.leafWatch.since(world.context, version);
    expect(changes.leaves).toEqual([{ backend: 'local', leaf: LEAF }]);
    ({ version } = changes);
  }
});
