import { describe, expect, it } from 'vitest';
import { Deadline } from '../../../src/core/deadline.js';
import { observe } from '../../../src/broker/handlers/observe.js';
import { settle, step } from '../../../src/broker/handlers/step.js';
import { disk, holders } from '../../../src/broker/handlers/use.js';
import type { Handler } from '../../../src/broker/handlers/handler.js';
import type { Observation } from '../../../src/core/observation.js';
import { STEP_KINDS, type StepEnd, type StepKind } from '../../../src/core/steps.js';
import { leafOf, type Export } from '../../../src/core/volume.js';
import type { ProbeAnswer, ProbeJob } from '../../../src/sys/ports.js';
import {
  bench,
  type Bench,
  entry,
  healthy,
  identified,
  LOCAL_BASE,
  MOUNTPOINT,
  SETTINGS,
  URL,
} from './fake-machine.js';

const SOURCE = '/srv/pool/hung';
const LOCAL_URL = `local://${SOURCE}`;
const OTHER_URL = 'local:///srv/pool/lively';
const pointOf = (source: string): string => `${LOCAL_BASE}/${leafOf(source as Export)}`;
const LOCAL_POINT = pointOf(SOURCE);
const PROBE_MS = SETTINGS.backends.local.probeTimeoutMs;

const call = ({ context }: Bench, budgetMs: number): Parameters<Handler<'observe'>>[0] => ({
  context,
  deadline: new Deadline(context.machine.clock, budgetMs),
  emit: () => undefined,
});
const see = (world: Bench, probe: 'read-only' | null, budgetMs = 2000, volume = LOCAL_URL): Promise<Observation> =>
  observe(call(world, budgetMs), { id: 1, verb: 'observe', volume, probe, budgetMs });
const run = (world: Bench, kind: StepKind, budgetMs = 2000, volume = LOCAL_URL): Promise<StepEnd> =>
  step(call(world, budgetMs), { id: 1, verb: 'step', volume, kind, budgetMs });
const settled = (world: Bench, budgetMs = 2000): Promise<'settled' | 'acting'> =>
  settle(call(world, budgetMs), { id: 1, verb: 'settle', volume: LOCAL_URL, budgetMs });

/** The world with both local volumes bound; calls on the directory of the first end as `end` says. */
function bound(end: ProbeAnswer | 'hang'): Bench {
  const world = bench();
  for (const source of [SOURCE, '/srv/pool/lively']) {
    world.machine.mountsNow.push(
      entry({ mountPoint: pointOf(source), dev: '8:1', root: source, fsType: 'ext4', source: '/dev/sda1' }),
    );
  }
  world.machine.mountsNow.push(entry());
  world.machine.answer = (job) => {
    if (job.kind === 'identify' && job.source === SOURCE) return end;
    if (job.kind === 'identify') return identified(world.machine, job);
    return healthy();
  };
  return world;
}

/** The world before it is bound; binding of the first hangs. */
function unbound(): Bench {
  const world = bench();
  for (const source of [SOURCE, '/srv/pool/lively']) world.machine.leaves.set(pointOf(source), 'empty');
  world.machine.mountsNow.push(entry());
  world.machine.answer = (job): ProbeAnswer | 'hang' => {
    switch (job.kind) {
      case 'identify':
        return identified(world.machine, job);
      case 'bind':
        return job.source === SOURCE ? 'hang' : bindNow(world, job);
      default:
        return healthy();
    }
  };
  return world;
}

function bindNow({ machine }: Bench, job: Extract<ProbeJob, { readonly kind: 'bind' }>): ProbeAnswer {
  const mountPoint = `${job.base}/${job.leaf}`;
  const bind = entry({ mountPoint, dev: '8:1', root: job.source, fsType: 'ext4', source: '/dev/sda1' });
  machine.mountsNow.push(bind);
  return { kind: 'bind', end: 'bound', mountId: bind.mountId, unique: null };
}

async function timed<T>(work: () => Promise<T>): Promise<readonly [T, number]> {
  const began = performance.now();
  return [await work(), performance.now() - began];
}

describe('a mount whose directory hangs', () => {
  it.each([null, 'read-only'] as const)('is called hung, never foreign or absent (probe %s)', async (probe) => {
    const observation = await see(bound('hang'), probe);
    expect(observation).toMatchObject({ directory: 'mounted', judgement: { verdict: 'hung', dead: false } });
    expect(observation.mounts).toMatchObject([{ recognised: true }]);
  });

  it.each(STEP_KINDS.filter((kind) => kind !== 'remove-leaf'))('is not touched by %s', async (kind) => {
    const world = bound('hang');
    expect(await run(world, kind)).toMatchObject({ end: 'refused', error: { code: 'hung' } });
    expect(world.machine.effects).toEqual(['identify']);
  });

  it('has neither disks nor holders to tell', async () => {
    const world = bound('hang');
    const request = { id: 1, volume: LOCAL_URL, budgetMs: 2000 } as const;
    const asked = disk(call(world, 2000), { ...request, verb: 'disk', name: 'a' });
    await expect(asked).rejects.toMatchObject({ code: 'hung' });
    const listed = holders(call(world, 2000), { ...request, verb: 'holders' });
    await expect(listed).rejects.toMatchObject({ code: 'hung' });
  });

  it('has one call outstanding, however many ask, and other volumes go on', async () => {
    const world = bound('hang');
    const asking = Array.from({ length: 8 }, (_, index) => see(world, index % 2 === 0 ? null : 'read-only'));
    for (const volume of [OTHER_URL, URL]) {
      const [seen, took] = await timed(() => see(world, 'read-only', 2000, volume));
      expect(seen.judgement?.verdict).toBe('healthy');
      expect(took).toBeLessThan(PROBE_MS / 2);
    }
    for (const { judgement } of await Promise.all(asking)) expect(judgement?.verdict).toBe('hung');
    const hung = world.machine.children.flatMap(({ posted }) => posted).filter(({ job }) => isAbout(job));
    expect(hung).toHaveLength(1);
  });

  it('is told from others again when the directory answers', async () => {
    const world = bound('hang');
    expect((await see(world, 'read-only')).judgement?.verdict).toBe('hung');
    const child = world.machine.children.find(({ posted }) => posted.some(({ job }) => isAbout(job)));
    const [asked] = child?.posted ?? [];
    if (asked?.job.kind === 'identify') child?.reply(asked.id, identified(world.machine, asked.job));
    world.machine.answer = (job) => (job.kind === 'identify' ? identified(world.machine, job) : healthy());
    await expect.poll(async () => (await see(world, 'read-only')).judgement?.verdict).toBe('healthy');
  });

  it('keeps nobody longer than the deadline', async () => {
    const [error, took] = await timed(() =>
      see(bound('hang'), null, PROBE_MS / 2).then(
        () => null,
        (reason: unknown) => reason,
      ),
    );
    expect(error).toMatchObject({ code: 'deadline-exceeded' });
    expect(took).toBeLessThan(PROBE_MS);
  });

  it('that answers an error is not called foreign either, nor dead', async () => {
    const world = bound({ kind: 'failed', errno: 'ENOTCONN' });
    expect((await see(world, null)).judgement).toMatchObject({ verdict: 'stale', dead: false });
    expect(await run(world, 'unmount')).toMatchObject({ end: 'refused', error: { code: 'unhealthy' } });
    expect(await run(world, 'detach-dead')).toMatchObject({ end: 'refused', error: { code: 'unhealthy' } });
  });

  it('does not keep a leaf from being settled', async () => {
    const world = bound('hang');
    expect(await settled(world)).toBe('settled');
    expect(world.machine.effects).toEqual([]);
  });
});

function isAbout(job: ProbeJob): boolean {
  return 'source' in job && job.source === SOURCE;
}

describe('binding a directory that hangs', () => {
  it('ends unknown after the probe timeout, and other volumes are mounted meanwhile', async () => {
    const world = unbound();
    const hanging = timed(() => run(world, 'mount'));
    const [other, took] = await timed(() => run(world, 'mount', 2000, OTHER_URL));
    expect(other).toEqual({ end: 'done', changed: true });
    expect(took).toBeLessThan(PROBE_MS / 2);
    expect((await see(world, 'read-only', 2000, URL)).judgement?.verdict).toBe('healthy');
    const [end, waited] = await hanging;
    expect(end).toMatchObject({ end: 'unknown', error: { code: 'hung' } });
    expect(waited).toBeLessThan(PROBE_MS * 3);
  });

  it('counts as acting until it is over, and is not begun twice', async () => {
    const world = unbound();
    world.machine.childrenAreStuck = true;
    expect(await run(world, 'mount')).toMatchObject({ end: 'unknown', error: { code: 'hung' } });
    expect(await settled(world)).toBe('acting');
    expect(await run(world, 'mount')).toMatchObject({ end: 'refused', error: { code: 'stuck' } });
    expect(await run(world, 'remove-leaf')).toMatchObject({ end: 'refused', error: { code: 'stuck' } });
    expect(world.machine.effects.filter((effect) => effect === `bind ${SOURCE}`)).toHaveLength(1);
    world.machine.childrenAreStuck = false;
    expect(await settled(world)).toBe('settled');
  });

  it('whose child dies says what the table shows', async () => {
    const world = unbound();
    world.machine.answer = (job) => {
      if (job.kind === 'identify') return identified(world.machine, job);
      world.machine.children.at(-1)?.die();
      return 'hang';
    };
    expect(await run(world, 'mount')).toMatchObject({ end: 'refused', error: { code: 'unavailable' } });
    const late = unbound();
    late.machine.answer = (job) => {
      if (job.kind === 'identify') return identified(late.machine, job);
      if (job.kind === 'bind') bindNow(late, job);
      late.machine.children.at(-1)?.die();
      return 'hang';
    };
    expect(await run(late, 'mount')).toMatchObject({ end: 'unknown', error: { code: 'unavailable' } });
  });

  it('that answers an error is refused, and what cannot be identified afterwards is unknown', async () => {
    const world = unbound();
    world.machine.answer = (job) =>
      job.kind === 'identify' ? identified(world.machine, job) : { kind: 'failed', errno: 'EIO' };
    expect(await run(world, 'mount')).toMatchObject({ end: 'refused', error: { code: 'unhealthy' } });
    const late = unbound();
    late.machine.answer = (job) => {
      if (job.kind === 'bind') return bindNow(late, job);
      const isAfter = late.machine.table.at(LOCAL_POINT).length > 0;
      return job.kind === 'identify' && !isAfter ? identified(late.machine, job) : 'hang';
    };
    expect(await run(late, 'mount')).toMatchObject({ end: 'unknown', error: { code: 'hung' } });
    expect(late.machine.table.at(LOCAL_POINT)).toHaveLength(1);
  });
});

it('a volume that the table alone tells is recognised without any call', async () => {
  const world = bench();
  world.machine.mountsNow.push(entry());
  expect((await see(world, null, 2000, URL)).mounts).toMatchObject([{ recognised: true }]);
  expect(world.machine.table.at(MOUNTPOINT)).toHaveLength(1);
  expect(world.machine.effects).toEqual([]);
});
