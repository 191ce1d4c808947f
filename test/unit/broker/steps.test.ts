import { afterEach, describe, expect, it, vi } from 'vitest';
import { Deadline } from '../../../src/core/deadline.js';
import { settle, step } from '../../../src/broker/handlers/step.js';
import { unitName } from '../../../src/broker/unit-names.js';
import { MAX_HELPERS, UNUSED_LEAF_MS } from '../../../src/core/limits.js';
import type { LeafState } from '../../../src/core/observation.js';
import { STEP_KINDS, type StepEnd, type StepKind } from '../../../src/core/steps.js';
import type { Leaf } from '../../../src/core/volume.js';
import type { HelperEnd } from '../../../src/sys/ports.js';
import {
  BASE,
  bench,
  type Bench,
  entry,
  failing,
  healthy,
  LEAF,
  MOUNTPOINT,
  SETTINGS,
  soundChain,
  URL,
} from './fake-machine.js';

const UNIT = unitName('mount', BASE, LEAF as Leaf);

function run({ context }: Bench, kind: StepKind, budgetMs = 2000): Promise<StepEnd> {
  const deadline = new Deadline(context.machine.clock, budgetMs);
  const call = { context, deadline, emit: () => undefined };
  return step(call, { id: 1, verb: 'step', volume: URL, kind, budgetMs });
}

const refusal = (code: string): object => ({ end: 'refused', error: { code, leaf: LEAF } });

describe('a base that somebody else could change is refused, whatever the step', () => {
  const faults: [string, Partial<ReturnType<typeof soundChain>[number]>][] = [
    ['belongs to another user', { uid: 1000 }],
    ['is writable by its group', { mode: 0o775 }],
    ['is writable by everybody', { mode: 0o757 }],
    ['is sticky and writable by everybody', { mode: 0o1777 }],
    ['is a link', { kind: 'link' }],
    ['is a file', { kind: 'other' }],
    ['is absent', { kind: 'absent' }],
  ];
  for (const kind of STEP_KINDS) {
    it.each(faults)(`${kind}: the base %s`, async (_, fault) => {
      const world = bench();
      world.machine.leaves.set(MOUNTPOINT, 'empty');
      world.machine.chains.set(
        BASE,
        soundChain(BASE).map((one) => (one.path === BASE ? { ...one, ...fault } : one)),
      );
      expect(await run(world, kind)).toMatchObject(refusal('permission-denied'));
      expect(world.machine.effects).toEqual([]);
    });
  }

  it('a parent that everybody can write is refused, unless it is sticky', async () => {
    const world = bench();
    const chain = (mode: number): void =>
      void world.machine.chains.set(
        BASE,
        soundChain(BASE).map((one) => (one.path === '/srv' ? { ...one, mode } : one)),
      );
    chain(0o777);
    expect(await run(world, 'make-leaf')).toMatchObject(refusal('permission-denied'));
    chain(0o1777);
    expect(await run(world, 'make-leaf')).toEqual({ end: 'done', changed: true });
  });

  it('a trusted owner may own it', async () => {
    const world = bench({ trustedBaseOwners: [64055] });
    world.machine.chains.set(
      BASE,
      soundChain(BASE).map((one) => (one.path === BASE ? { ...one, uid: 64055 } : one)),
    );
    expect(await run(world, 'make-leaf')).toEqual({ end: 'done', changed: true });
  });
});

describe('steps out of order, and steps on what is not ours', () => {
  it.each<[StepKind, string]>([
    ['mount', 'foreign'],
    ['harden', 'foreign'],
    ['unmount', 'foreign'],
    ['detach-dead', 'foreign'],
    ['remove-leaf', 'busy'],
    ['make-leaf', 'foreign'],
  ])('%s over a foreign mount is refused and the mount left alone', async (kind, code) => {
    for (const foreign of [
      entry({ fsType: 'ext4', source: '/dev/vdb' }),
      entry({ fsType: 'tmpfs' }),
      entry({ source: 'quobyte@192.168.1.1/volume-2' }),
      entry({ root: '/sub' }),
    ]) {
      const world = bench();
      world.machine.mountsNow = [foreign];
      expect(await run(world, kind)).toMatchObject(refusal(code));
      expect(world.machine.effects).toEqual([]);
    }
  });

  it.each<StepKind>(['unmount', 'detach-dead', 'harden', 'mount'])(
    '%s of ours below a foreign mount is refused',
    async (kind) => {
      const world = bench();
      world.machine.mountsNow = [entry(), entry({ fsType: 'tmpfs', source: 'none' })];
      expect(await run(world, kind)).toMatchObject(refusal('foreign'));
      expect(world.machine.effects).toEqual([]);
    },
  );

  it.each<[LeafState, string]>([
    ['absent', 'not-found'],
    ['occupied', 'foreign'],
    ['link', 'foreign'],
    ['not-a-directory', 'foreign'],
  ])('mount onto a leaf that is %s is refused, and no helper starts', async (state, code) => {
    const world = bench();
    world.machine.leaves.set(MOUNTPOINT, state);
    if (state === 'absent') world.machine.leaves.delete(MOUNTPOINT);
    expect(await run(world, 'mount')).toMatchObject(refusal(code));
    expect(world.machine.effects).toEqual([]);
  });

  it.each<LeafState>(['occupied', 'link', 'not-a-directory'])('make-leaf where %s lies is refused', async (state) => {
    const world = bench();
    world.machine.leaves.set(MOUNTPOINT, state);
    expect(await run(world, 'make-leaf')).toMatchObject(refusal('foreign'));
    expect(world.machine.effects).toEqual([]);
  });

  it('remove-leaf of an occupied leaf removes nothing', async () => {
    const world = bench();
    world.machine.leaves.set(MOUNTPOINT, 'occupied');
    expect(await run(world, 'remove-leaf')).toMatchObject(refusal('foreign'));
    expect(world.machine.leaves.get(MOUNTPOINT)).toBe('occupied');
  });

  it('remove-leaf of a mounted leaf is refused', async () => {
    const world = bench();
    world.machine.mountsNow = [entry()];
    expect(await run(world, 'remove-leaf')).toMatchObject(refusal('busy'));
    expect(world.machine.effects).toEqual([]);
  });

  it('harden of nothing is refused', async () => {
    expect(await run(bench(), 'harden')).toMatchObject(refusal('not-found'));
  });

  it.each<StepKind>(['unmount', 'detach-dead', 'remove-leaf'])('%s of nothing is done already', async (kind) => {
    expect(await run(bench(), kind)).toEqual({ end: 'done', changed: false });
  });

  it('mount of what is mounted is done already, and no helper starts', async () => {
    const world = bench();
    world.machine.mountsNow = [entry()];
    expect(await run(world, 'mount')).toEqual({ end: 'done', changed: false });
    expect(world.machine.effects).toEqual([]);
  });
});

describe('a lazy detach needs a proof of death', () => {
  it.each([
    ['healthy', healthy(), 'permission-denied'],
    ['EIO', failing('EIO'), 'permission-denied'],
    ['EACCES', failing('EACCES'), 'permission-denied'],
    ['ETIMEDOUT', failing('ETIMEDOUT'), 'permission-denied'],
    ['hung', 'hang' as const, 'hung'],
  ])('%s is not death', async (_, answer, code) => {
    const world = bench();
    world.machine.mountsNow = [entry()];
    world.machine.answer = (job) => (job.kind === 'probe' ? answer : { kind: 'unmount', errno: null });
    expect(await run(world, 'detach-dead', 3000)).toMatchObject(refusal(code));
    expect(world.machine.effects).toEqual(['probe']);
  });

  it('ENOTCONN is: the dead mount is detached, and its client is left to end by itself', async () => {
    const world = bench();
    world.machine.mountsNow = [entry()];
    const unmounts = world.machine.answer;
    world.machine.answer = (job) => (job.kind === 'probe' ? failing('ENOTCONN') : unmounts(job));
    expect(await run(world, 'detach-dead')).toEqual({ end: 'done', changed: true });
    expect(world.machine.effects).toEqual(['probe', `umount detach ${MOUNTPOINT}`]);
  });

  it('ESTALE permits a plain unmount, and no lazy one', async () => {
    const world = bench();
    world.machine.mountsNow = [entry()];
    const unmounts = world.machine.answer;
    world.machine.answer = (job) => (job.kind === 'probe' ? failing('ESTALE') : unmounts(job));
    expect(await run(world, 'detach-dead')).toEqual({ end: 'done', changed: true });
    expect(world.machine.effects).toEqual(['probe', `umount plain ${MOUNTPOINT}`]);
  });

  it('a mount that was replaced while the dead one was probed is not detached', async () => {
    const world = bench();
    world.machine.mountsNow = [entry()];
    world.machine.answer = (job) => {
      if (job.kind !== 'probe') return { kind: 'unmount', errno: null };
      world.machine.mountsNow = [entry()];
      return failing('ENOTCONN');
    };
    expect(await run(world, 'detach-dead')).toMatchObject(refusal('unavailable'));
    expect(world.machine.effects).toEqual(['probe']);
  });

  it('no other step detaches', async () => {
    const world = bench();
    world.machine.mountsNow = [entry()];
    await run(world, 'unmount');
    expect(world.machine.effects).toContain(`umount plain ${MOUNTPOINT}`);
    expect(world.machine.effects.join()).not.toContain('detach');
  });
});

describe('the table, not the exit status, says what an unmount did', () => {
  it('success with the mount still there is a refusal', async () => {
    const world = bench();
    world.machine.mountsNow = [entry()];
    world.machine.answer = () => ({ kind: 'unmount', errno: null });
    expect(await run(world, 'unmount')).toMatchObject(refusal('unhealthy'));
  });

  it.each(['EINVAL', 'EPERM', 'EBUSY'])('%s with the mount gone is done', async (errno) => {
    const world = bench();
    world.machine.mountsNow = [entry()];
    world.machine.answer = () => {
      world.machine.mountsNow = [];
      return { kind: 'unmount', errno };
    };
    expect(await run(world, 'unmount')).toEqual({ end: 'done', changed: true });
  });

  it('EBUSY is busy', async () => {
    const world = bench();
    world.machine.mountsNow = [entry()];
    world.machine.answer = () => ({ kind: 'unmount', errno: 'EBUSY' });
    expect(await run(world, 'unmount')).toMatchObject(refusal('busy'));
  });

  it('no answer in time is unknown, and the leaf is refused until it has ended', async () => {
    const world = bench();
    world.machine.mountsNow = [entry()];
    world.machine.childrenAreStuck = true;
    world.machine.answer = () => 'hang';
    const end = await run(world, 'unmount', 400);
    expect(end).toMatchObject({ end: 'unknown', error: { code: 'hung' } });
    expect(await run(world, 'unmount', 400)).toMatchObject(refusal('hung'));
    const call = { context: world.context, deadline: new Deadline(world.machine.clock, 300), emit: () => undefined };
    const request = { id: 1, verb: 'settle', volume: URL, budgetMs: 300 } as const;
    expect(await settle(call, request)).toBe('acting');
    world.machine.children[0]?.die();
    await expect
      .poll(() => settle({ ...call, deadline: new Deadline(world.machine.clock, 300) }, request))
      .toBe('settled');
  });

  it('a helper that fails over a busy mount is busy whatever it prints, and no output is shown', async () => {
    for (const output of ['Device or resource busy', 'target is busy', 'Gerät ist beschäftigt', '']) {
      const { quobyte } = SETTINGS.backends;
      const backends = { ...SETTINGS.backends, quobyte: { ...quobyte, unmountHelper: '/usr/sbin/umount.quobyte' } };
      const world = bench({ backends });
      world.machine.mountsNow = [entry()];
      world.machine.helper = () => Promise.resolve({ end: 'exited', status: 32, output });
      world.machine.processes.holding = () =>
        Promise.resolve({ holders: [{ pid: 7, command: 'cat', by: 'descriptor' }], complete: true });
      expect(await run(world, 'unmount')).toMatchObject(refusal('busy'));
    }
  });
});

describe('unmount helpers', () => {
  it('are refused at their limit, and their places are free again when they have ended', async () => {
    const { quobyte } = SETTINGS.backends;
    const backends = { ...SETTINGS.backends, quobyte: { ...quobyte, unmountHelper: '/usr/sbin/umount.quobyte' } };
    const world = bench({ backends });
    world.machine.mountsNow = [entry()];
    world.context.unmountHelpers.count = MAX_HELPERS - 1;
    let end: (end: HelperEnd) => void = () => undefined;
    world.machine.helper = () => new Promise((resolve) => (end = resolve));
    expect(await run(world, 'unmount', 2000)).toMatchObject({ end: 'unknown', error: { code: 'hung' } });
    expect(await run(world, 'unmount')).toMatchObject(refusal('resource-exhausted'));
    end({ end: 'exited', status: 32, output: '' });
    await expect.poll(() => world.context.unmountHelpers.count).toBe(MAX_HELPERS - 1);
  });
});

describe('a leaf that is made', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  it('and not used is removed after a while, one that was mounted is not', async () => {
    vi.useFakeTimers();
    const world = bench();
    expect(await run(world, 'make-leaf')).toEqual({ end: 'done', changed: true });
    await vi.advanceTimersByTimeAsync(UNUSED_LEAF_MS - 1000);
    expect(world.machine.leaves.get(MOUNTPOINT)).toBe('empty');
    await vi.advanceTimersByTimeAsync(2000);
    expect(world.machine.leaves.get(MOUNTPOINT)).toBeUndefined();

    expect(await run(world, 'make-leaf')).toEqual({ end: 'done', changed: true });
    world.machine.helper = () => {
      world.machine.mountsNow = [entry()];
      return Promise.resolve({ end: 'exited', status: 0, output: '' });
    };
    expect(world.context.unusedLeaves.count).toBe(1);
    expect(await run(world, 'mount')).toEqual({ end: 'done', changed: true });
    expect(world.context.unusedLeaves.count).toBe(0);
    world.machine.mountsNow = [];
    await vi.advanceTimersByTimeAsync(3 * UNUSED_LEAF_MS);
    expect(world.machine.leaves.get(MOUNTPOINT)).toBe('empty');
  });

  it('stays while something is done there', async () => {
    vi.useFakeTimers();
    const world = bench();
    expect(await run(world, 'make-leaf')).toEqual({ end: 'done', changed: true });
    const unlock = await world.context.locks.take(MOUNTPOINT, 0);
    await vi.advanceTimersByTimeAsync(UNUSED_LEAF_MS + 1000);
    expect(world.machine.leaves.get(MOUNTPOINT)).toBe('empty');
    unlock?.();
    await vi.advanceTimersByTimeAsync(UNUSED_LEAF_MS + 1000);
    expect(world.machine.leaves.get(MOUNTPOINT)).toBeUndefined();
  });
});

describe('a leaf that cannot be made', () => {
  it.each([
    ['ENOSPC', 'resource-exhausted', /disk of the mount base is full/],
    ['EDQUOT', 'resource-exhausted', /disk of the mount base is full/],
    ['EROFS', 'unavailable', /disk of the mount base is read-only/],
  ] as const)(
    'for %s is refused with the disk as the reason, and no helper is blamed',
    async (code, refusedAs, words) => {
      const world = bench();
      world.machine.directories.makeLeaf = () => {
        throw Object.assign(new Error('mkdirat'), { code });
      };
      const end = await run(world, 'make-leaf');
      expect(end).toMatchObject(refusal(refusedAs));
      expect(end).toMatchObject({ error: { message: expect.stringMatching(words) as string } });
    },
  );
});

describe('a mount helper', () => {
  function ready(): Bench {
    const world = bench();
    world.machine.leaves.set(MOUNTPOINT, 'empty');
    return world;
  }

  /** A helper that does not end, and mounts nothing. */
  function late(world: Bench): Bench {
    world.machine.helper = () => {
      world.machine.unitStates.set(UNIT, 'starting');
      return Promise.resolve({ end: 'late', isKnown: true, output: '' });
    };
    return world;
  }

  it('that exits 4 and mounts nothing has failed, and its output is redacted', async () => {
    const world = ready();
    const output = 'cannot mount volume-00001: password=hunter2 at 192.168.1.1/volume-00001\u001b[31m';
    world.machine.helper = () => Promise.resolve({ end: 'exited', status: 4, output });
    const end = await run(world, 'mount');
    expect(end).toMatchObject({ end: 'refused', error: { leaf: LEAF } });
    expect(JSON.stringify(end)).not.toMatch(/hunter2|volume-00001|\u001b/);
  });

  it('that says a secret in no known form: only a count leaves the broker; known lines are shown, the rest is kept for root', async () => {
    const world = ready();
    const output = `mount.quobyte: no such volume\nlogged in with password hunter2\ncannot mount at ${MOUNTPOINT}: Permission denied\n`;
    world.machine.helper = () => Promise.resolve({ end: 'exited', status: 4, output });
    const end = await run(world, 'mount');
    expect(end).toMatchObject({
      error: {
        helperOutput:
          'mount.quobyte: no such volume; cannot mount at [hidden]: Permission denied; 1 line withheld; --show-helper-output as root shows it',
      },
    });
    expect(world.context.helperOutputs.of(LEAF as Leaf)).toContain('hunter2');
  });

  it('that mounts another volume is undone', async () => {
    const world = ready();
    world.machine.helper = () => {
      world.machine.mountsNow = [entry({ source: 'quobyte@192.168.1.1/other' })];
      return Promise.resolve({ end: 'exited', status: 0, output: '' });
    };
    expect(await run(world, 'mount')).toMatchObject(refusal('helper-failed'));
    expect(world.machine.mountsNow).toEqual([]);
  });

  it('during which somebody else mounts at the leaf: that mount is left alone', async () => {
    const world = ready();
    world.machine.helper = () => {
      world.machine.mountsNow = [entry({ fsType: 'tmpfs', source: 'none' })];
      return Promise.resolve({ end: 'exited', status: 0, output: '' });
    };
    expect(await run(world, 'mount')).toMatchObject(refusal('foreign'));
    expect(world.machine.mountsNow).toHaveLength(1);
  });

  it('that a swapped leaf sent astray is undone where it landed', async () => {
    const world = ready();
    world.machine.helper = () => {
      world.machine.leaves.set(MOUNTPOINT, 'link');
      world.machine.mountsNow = [entry({ mountPoint: '/etc' })];
      return Promise.resolve({ end: 'exited', status: 0, output: '' });
    };
    expect(await run(world, 'mount')).toMatchObject(refusal('permission-denied'));
    expect(world.machine.effects).toContain('umount plain /etc');
    expect(world.machine.mountsNow).toEqual([]);
  });

  it('of another one, at the same time and elsewhere, is never undone', async () => {
    const world = ready();
    world.machine.helper = () => {
      world.machine.mountsNow = [entry({ mountPoint: '/mnt/by-hand' })];
      return Promise.resolve({ end: 'exited', status: 1, output: '' });
    };
    expect(await run(world, 'mount')).toMatchObject({ end: 'refused' });
    expect(world.machine.mountsNow).toHaveLength(1);
  });

  it('whose mount appears late is waited for', async () => {
    const world = ready();
    world.machine.helper = () => {
      setTimeout(() => (world.machine.mountsNow = [entry()]), 60);
      return Promise.resolve({ end: 'exited', status: 0, output: '' });
    };
    expect(await run(world, 'mount')).toEqual({ end: 'done', changed: true });
  });

  it('whose mount never appears is ended with what it left, within the budget', async () => {
    const world = ready();
    world.machine.helper = () => {
      world.machine.unitStates.set(UNIT, 'serving');
      return Promise.resolve({ end: 'exited', status: 0, output: '' });
    };
    const began = performance.now();
    expect(await run(world, 'mount', 1200)).toMatchObject(refusal('deadline-exceeded'));
    expect(performance.now() - began).toBeLessThan(1400);
    expect(world.machine.effects).toContain(`kill ${UNIT}`);
  });

  it('that cannot be ended leaves the step unknown and stuck', async () => {
    const world = late(ready());
    world.machine.unitsAreStuck = true;
    expect(await run(world, 'mount')).toMatchObject({ end: 'unknown', error: { code: 'stuck' } });
  });

  it('of which nobody knows whether its unit is still to come leaves the step unknown and stuck', async () => {
    const world = ready();
    world.machine.helper = () => Promise.resolve({ end: 'late', isKnown: false, output: '' });
    expect(await run(world, 'mount')).toMatchObject({ end: 'unknown', error: { code: 'stuck' } });
  });

  it('of an earlier attempt that cannot be ended: no second one starts', async () => {
    const world = late(ready());
    world.machine.unitsAreStuck = true;
    await run(world, 'mount');
    world.machine.effects.length = 0;
    expect(await run(world, 'mount')).toMatchObject(refusal('stuck'));
    expect(world.machine.effects).toEqual([`kill ${UNIT}`]);
  });

  it('of an earlier attempt is ended before a new one starts', async () => {
    const world = late(ready());
    world.machine.unitsAreStuck = true;
    await run(world, 'mount');
    world.machine.unitsAreStuck = false;
    world.machine.effects.length = 0;
    world.machine.helper = () => {
      world.machine.mountsNow = [entry()];
      return Promise.resolve({ end: 'exited', status: 0, output: '' });
    };
    expect(await run(world, 'mount')).toEqual({ end: 'done', changed: true });
    expect(world.machine.effects[0]).toBe(`kill ${UNIT}`);
  });

  it('never runs twice on one leaf, whoever asks', async () => {
    const world = ready();
    let [running, most] = [0, 0];
    world.machine.helper = async () => {
      running += 1;
      most = Math.max(most, running);
      await world.machine.clock.sleep(20);
      running -= 1;
      world.machine.mountsNow = [entry()];
      return { end: 'exited', status: 0, output: '' };
    };
    const ends = await Promise.all([1, 2, 3, 4].map(() => run(world, 'mount')));
    expect(most).toBe(1);
    expect(ends.filter((end) => end.end === 'done' && end.changed)).toHaveLength(1);
    expect(ends.every((end) => end.end === 'done')).toBe(true);
  });

  it.each(['missing', 'untrusted', 'not-executable'] as const)('that is %s is helper-untrusted', async (why) => {
    const world = ready();
    world.machine.helper = () => Promise.resolve({ end: 'not-started', why, detail: 'It is not as it should be.' });
    expect(await run(world, 'mount')).toMatchObject(refusal('helper-untrusted'));
  });

  it('with a client configuration that others can write is not started', async () => {
    const { quobyte } = SETTINGS.backends;
    const world = bench({ backends: { ...SETTINGS.backends, quobyte: { ...quobyte, clientConfig: '/etc/q.cfg' } } });
    world.machine.leaves.set(MOUNTPOINT, 'empty');
    const chain = soundChain('/etc/q.cfg');
    for (const over of [
      { mode: 0o666 },
      { uid: 5 },
      { kind: 'link' },
      { kind: 'absent' },
      { kind: 'other' },
    ] as const) {
      const last = { ...chain[2], kind: 'regular', mode: 0o600, uid: 0, gid: 0, path: '/etc/q.cfg', ...over } as const;
      world.machine.chains.set('/etc/q.cfg', [...chain.slice(0, 2), last]);
      const end = await run(world, 'mount');
      expect(end).toMatchObject(refusal('helper-untrusted'));
      expect(JSON.stringify(end)).not.toContain('q.cfg');
    }
    expect(world.machine.effects).toEqual([]);
  });
});

describe('a failure that nobody foresaw', () => {
  it('is refused before the first effect and unknown after it', async () => {
    const before = bench();
    before.machine.directories.leafState = () => {
      throw new RangeError('odd');
    };
    expect(await run(before, 'make-leaf')).toMatchObject({ end: 'refused', error: { code: 'internal' } });
    const after = bench();
    after.machine.directories.makeLeaf = () => {
      throw new RangeError('odd');
    };
    expect(await run(after, 'make-leaf')).toMatchObject({ end: 'unknown', error: { code: 'internal' } });
    expect(after.warnings).toEqual(['step-failed']);
  });
});
