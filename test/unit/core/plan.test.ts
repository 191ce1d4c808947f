import { describe, expect, it } from 'vitest';
import type { LeafState, Observation, ObservedMount } from '../../../src/core/observation.js';
import { planConnect, planDead, planRelease, refusalOf, topmost, type ConnectPlan } from '../../../src/core/plan.js';
import { VERDICTS, type Access, type Judgement, type Verdict } from '../../../src/core/verdict.js';
import { leafOf, type Export } from '../../../src/core/volume.js';

const LEAF = leafOf('reg/vol' as Export);
const mount = (different: Partial<ObservedMount> = {}): ObservedMount => ({
  recognised: true,
  fsType: 'fuse.quobyte',
  dev: '0:7',
  readOnly: false,
  hardened: true,
  ...different,
});
const ours = mount();
const foreign = mount({ recognised: false });
const judged = (verdict: Verdict, different: Partial<Judgement> = {}): Judgement => ({
  verdict,
  reason: 'It was looked at.',
  dead: false,
  ...different,
});
const notConnected = judged('stale', { dead: true, errno: 'ENOTCONN' });
const disowned = judged('stale', { dead: true, errno: 'ESTALE' });

function seen(mounts: readonly ObservedMount[], judgement?: Judgement, directory: LeafState = 'empty'): Observation {
  return {
    leaf: LEAF,
    mountpoint: '/mnt/x',
    directory: mounts.length > 0 ? 'mounted' : directory,
    mounts,
    mayHideOurs: false,
    unit: 'idle',
    former: [],
    ...(judgement === undefined ? {} : { judgement }),
  };
}

function kindsOf(plan: ConnectPlan): readonly string[] | string {
  if (plan.kind === 'ready') return 'ready';
  return plan.kind === 'refuse' ? plan.error.code : plan.steps.map(({ kind }) => kind);
}

const ACCESSES: readonly Access[] = ['read-write', 'read-only'];

describe('a connect', () => {
  it.each([
    ['absent', ['make-leaf', 'mount', 'harden']],
    ['empty', ['mount', 'harden']],
    ['mounted', 'unavailable'],
    ['occupied', 'foreign'],
    ['link', 'foreign'],
    ['not-a-directory', 'foreign'],
  ] as const)('where nothing is mounted and the leaf is %s', (directory, expected) => {
    for (const access of ACCESSES) {
      expect(kindsOf(planConnect(seen([], undefined, directory), access))).toEqual(expected);
    }
  });

  it('is refused where something else is mounted, also above the right volume', () => {
    for (const stack of [[foreign], [ours, foreign]]) {
      expect(kindsOf(planConnect(seen(stack, judged('healthy')), 'read-write'))).toBe('foreign');
    }
  });

  it('is refused where the mount was not judged', () => {
    expect(kindsOf(planConnect(seen([ours]), 'read-write'))).toBe('unavailable');
  });

  it('is ready only where the right volume is mounted, hardened and usable', () => {
    const usable: readonly (readonly [Verdict, Access])[] = [
      ['healthy', 'read-write'],
      ['healthy', 'read-only'],
      ['read-only', 'read-only'],
    ];
    const stacks = [[], [ours], [mount({ hardened: false })], [foreign], [ours, foreign], [foreign, ours]];
    for (const verdict of VERDICTS) {
      for (const access of ACCESSES) {
        for (const stack of stacks) {
          const plan = planConnect(seen(stack, judged(verdict)), access);
          const top = stack.at(-1);
          const should =
            top?.recognised === true && top.hardened && usable.some(([v, a]) => v === verdict && a === access);
          expect([verdict, access, plan.kind === 'ready']).toEqual([verdict, access, should]);
        }
      }
    }
  });

  it('only hardens what is mounted and usable', () => {
    expect(kindsOf(planConnect(seen([mount({ hardened: false })], judged('healthy')), 'read-write'))).toEqual([
      'harden',
    ]);
    expect(kindsOf(planConnect(seen([mount({ hardened: false })], judged('denied')), 'read-write'))).toBe('unhealthy');
  });

  it('promises no mount whose helper is still at work', () => {
    const starting = { ...seen([ours], judged('healthy')), unit: 'starting' } as const;
    expect(kindsOf(planConnect(starting, 'read-write'))).toEqual(['mount', 'harden']);
    expect(kindsOf(planConnect({ ...starting, unit: 'serving' }, 'read-write'))).toBe('ready');
  });

  it('takes away what is proven dead by the step that proves it again', () => {
    expect(kindsOf(planConnect(seen([ours], notConnected), 'read-write'))).toEqual(['detach-dead', 'mount', 'harden']);
    expect(kindsOf(planConnect(seen([ours], disowned), 'read-write'))).toEqual(['detach-dead', 'mount', 'harden']);
  });

  it('takes nothing away that is not proven dead', () => {
    for (const verdict of VERDICTS) {
      for (const errno of ['ENOTCONN', 'ESTALE', 'EIO', undefined]) {
        const judgement = judged(verdict, errno === undefined ? {} : { errno });
        const plan = planConnect(seen([ours], judgement), 'read-write');
        const kinds = kindsOf(plan);
        expect(kinds).not.toContain('detach-dead');
        expect(kinds).not.toContain('unmount');
      }
    }
  });

  it('looks again below a dead mount before it mounts anything', () => {
    expect(kindsOf(planConnect(seen([foreign, ours], notConnected), 'read-write'))).toEqual(['detach-dead']);
    expect(kindsOf(planConnect(seen([ours, ours], disowned), 'read-write'))).toEqual(['detach-dead']);
  });
});

describe('the refusal that a verdict means', () => {
  it.each([
    ['healthy', null, null],
    ['read-only', 'unhealthy', null],
    ['denied', 'unhealthy', 'unhealthy'],
    ['stale', 'unhealthy', 'unhealthy'],
    ['hung', 'hung', 'hung'],
    ['foreign', 'foreign', 'foreign'],
    ['absent', 'unhealthy', 'unhealthy'],
  ] as const)('%s', (verdict, readWrite, readOnly) => {
    const observation = seen([ours]);
    const refusal = refusalOf(judged(verdict), observation, 'read-write');
    expect(refusal?.code ?? null).toBe(readWrite);
    expect(refusalOf(judged(verdict), observation, 'read-only')?.code ?? null).toBe(readOnly);
    if (refusal !== null) expect(refusal.leaf).toBe(LEAF);
  });
});

describe('a release', () => {
  const stepsOf = (observation: Observation): unknown => {
    const plan = planRelease(observation);
    return 'steps' in plan ? [plan.kind, ...plan.steps.map(({ kind }) => kind)] : plan.kind;
  };

  it('unmounts the right volume and removes its leaf', () => {
    expect(stepsOf(seen([ours]))).toEqual(['unmount', 'unmount', 'remove-leaf']);
  });

  it('takes one mount of a stack at a time and leaves the leaf of what lies below', () => {
    expect(stepsOf(seen([foreign, ours]))).toEqual(['unmount', 'unmount']);
    expect(stepsOf(seen([ours, ours]))).toEqual(['unmount', 'unmount']);
  });

  it('calls nothing gone that it has not seen: what lies below too many mounts may be ours', () => {
    expect(stepsOf({ ...seen([foreign]), mayHideOurs: true })).toBe('covered');
    expect(stepsOf({ ...seen([foreign, ours]), mayHideOurs: true })).toEqual(['unmount', 'unmount']);
  });

  it('waits while a client still serves somebody elsewhere, and not for one that only ends', () => {
    expect(stepsOf({ ...seen([]), former: [{ state: 'ending' }, { state: 'serving' }] })).toBe('serving');
    expect(stepsOf({ ...seen([]), former: [{ state: 'ending' }] })).toEqual(['gone', 'remove-leaf']);
    expect(stepsOf({ ...seen([ours]), former: [{ state: 'serving' }] })).toEqual(['unmount', 'unmount', 'remove-leaf']);
  });

  it('touches nothing of a stranger', () => {
    expect(stepsOf(seen([ours, foreign]))).toBe('covered');
    expect(stepsOf(seen([foreign]))).toEqual(['gone']);
  });

  it('removes only a directory that is empty', () => {
    expect(stepsOf(seen([], undefined, 'empty'))).toEqual(['gone', 'remove-leaf']);
    for (const directory of ['absent', 'occupied', 'link', 'not-a-directory', 'mounted'] as const) {
      expect(stepsOf(seen([], undefined, directory))).toEqual(['gone']);
    }
  });

  it('never asks for a lazy detach', () => {
    for (const judgement of [undefined, notConnected, disowned, judged('hung')]) {
      for (const stack of [[], [ours], [foreign], [foreign, ours], [ours, foreign]]) {
        expect(stepsOf(seen(stack, judgement))).not.toContain('detach-dead');
      }
    }
  });
});

describe('a lazy detach', () => {
  it('needs the right volume on top, proven dead by the loss of its connection', () => {
    expect(planDead(seen([ours], notConnected))?.map(({ kind }) => kind)).toEqual(['detach-dead', 'remove-leaf']);
    const others = [
      seen([ours]),
      seen([ours], disowned),
      seen([ours], judged('hung')),
      seen([ours], judged('stale', { errno: 'ENOTCONN' })),
      seen([foreign], notConnected),
      seen([ours, foreign], notConnected),
      seen([], notConnected),
    ];
    for (const observation of others) expect(planDead(observation)).toBeNull();
  });
});

describe('the topmost mount', () => {
  it('is the last of the stack', () => {
    expect(topmost(seen([]))).toBeUndefined();
    expect(topmost(seen([ours, foreign]))).toBe(foreign);
  });
});
