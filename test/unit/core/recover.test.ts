// The state space is small, so it is walked whole: every combination of what the ledger may say and what may be seen.

import { describe, expect, it } from 'vitest';
import { type LeafState, mayBeMounted, type Observation, type ObservedMount } from '../../../src/core/observation.js';
import type { MountRecord, OperationId, OperationRecord } from '../../../src/core/records.js';
import { remedyFor, type Remains, type Remedy } from '../../../src/core/recover.js';
import { isServed } from '../../../src/core/plan.js';
import type { Judgement } from '../../../src/core/verdict.js';
import { leafOf, type Export, type Volume, type VolumeUrl } from '../../../src/core/volume.js';

const exported = 'reg/vol' as Export;
const volume: Volume = {
  backend: 'quobyte',
  export: exported,
  url: 'quobyte://reg/vol' as VolumeUrl,
  leaf: leafOf(exported),
};
const NOW = 'boot-now';

const ours = (hardened = true): ObservedMount => ({
  recognised: true,
  fsType: 'fuse.quobyte',
  dev: '0:7',
  readOnly: false,
  hardened,
});
const foreign: ObservedMount = { ...ours(), recognised: false, fsType: 'tmpfs' };
const healthy: Judgement = { verdict: 'healthy', reason: '', dead: false };
const judgements: readonly (Judgement | undefined)[] = [
  undefined,
  healthy,
  { verdict: 'hung', reason: '', dead: false },
  { verdict: 'stale', reason: '', dead: false, errno: 'EIO' },
  { verdict: 'stale', reason: '', dead: true, errno: 'ESTALE' },
  { verdict: 'stale', reason: '', dead: true, errno: 'ENOTCONN' },
];
const stacks: readonly (readonly ObservedMount[])[] = [
  [],
  [ours()],
  [ours(false)],
  [foreign],
  [ours(), foreign],
  [ours(), { ...foreign, hardened: false }],
  [foreign, ours()],
  [ours(), ours()],
];
const directories: readonly LeafState[] = ['absent', 'empty', 'occupied', 'link', 'not-a-directory'];

function seen(
  mounts: readonly ObservedMount[],
  directory: LeafState,
  judgement?: Judgement,
  mayHideOurs = false,
): Observation {
  const judged = judgement !== undefined && mounts.at(-1)?.recognised === true;
  return {
    leaf: volume.leaf,
    mountpoint: '/mnt/x',
    directory: mounts.length > 0 ? 'mounted' : directory,
    mounts,
    mayHideOurs,
    unit: 'idle',
    former: [],
    ...(judged ? { judgement } : {}),
  };
}

const observations = [
  ...stacks.flatMap((mounts) =>
    mounts.length === 0
      ? directories.map((directory) => seen(mounts, directory))
      : judgements.map((judgement) => seen(mounts, 'mounted', judgement)),
  ),
  seen([foreign, foreign], 'mounted', undefined, true),
  ...(['serving', 'ending'] as const).map((state) => ({ ...seen([], 'absent'), former: [{ state }] })),
];
const records: readonly (MountRecord | undefined)[] = [
  undefined,
  ...(['mounting', 'mounted', 'releasing'] as const).flatMap((state) =>
    [NOW, 'boot-before'].map((bootId) => ({ volume, state, bootId })),
  ),
];
const operations: readonly (OperationRecord | undefined)[] = [
  undefined,
  ...(['connect', 'release', 'recover'] as const).flatMap((kind) =>
    [true, false].map((mountBegun) => ({
      id: volume.leaf as string as OperationId,
      kind,
      volume,
      steps: [],
      cursor: 0,
      mountBegun,
      since: '',
    })),
  ),
];

const everything: readonly Remains[] = records.flatMap((record) =>
  operations.flatMap((operation) =>
    [0, 1, 2].flatMap((attachments) =>
      [true, false].flatMap((held) =>
        observations.flatMap((observation) =>
          (['report', 'remount'] as const).map((onVanish) => ({
            record,
            operation,
            attachments,
            held,
            observation,
            bootId: NOW,
            onVanish,
          })),
        ),
      ),
    ),
  ),
);

const isUsed = ({ attachments, held }: Remains): boolean => attachments > 0 || held;
const isMounted = ({ observation }: Remains): boolean => mayBeMounted(observation);
const isDead = ({ observation }: Remains): boolean => observation.judgement?.dead === true;

/** Checks `holds` for every case that `when` picks, and that there are some. */
function always(when: (remains: Remains) => boolean, holds: (remedy: Remedy, remains: Remains) => boolean): void {
  const picked = everything.filter(when);
  expect(picked.length).toBeGreaterThan(0);
  const broken = picked.filter((remains) => !holds(remedyFor(remains), remains));
  expect(broken.slice(0, 3).map((remains) => ({ remedy: remedyFor(remains), ...remains }))).toEqual([]);
}

describe('what is left of a leaf', () => {
  it('is never released while an attachment or a hold exists', () => {
    always(isUsed, (remedy) => remedy !== 'release');
  });

  it('is never released when it is mounted and no record of this boot speaks of it', () => {
    always(
      (remains) => isMounted(remains) && remains.record?.bootId !== NOW,
      (remedy) => remedy !== 'release',
    );
  });

  it('is never released when it is mounted and the journal does not say that we mounted or were releasing it', () => {
    always(
      (remains) =>
        isMounted(remains) &&
        remains.record?.state === 'mounting' &&
        remains.operation?.mountBegun !== true &&
        remains.operation?.kind !== 'release',
      (remedy) => remedy !== 'release',
    );
  });

  it('gets a hold when it is mounted, unused and not known to be ours', () => {
    always(
      (remains) => isMounted(remains) && !isUsed(remains) && remains.record === undefined,
      (remedy) => remedy === 'hold',
    );
  });

  it('gets a hold only when it is mounted and unused', () => {
    always(
      (remains) => !isMounted(remains) || isUsed(remains),
      (remedy) => remedy !== 'hold',
    );
  });

  it('is released when it was releasing in this boot, whatever was begun since', () => {
    always(
      (remains) => !isUsed(remains) && remains.record?.state === 'releasing' && remains.record.bootId === NOW,
      (remedy) => remedy === 'release',
    );
  });

  it('is released when a connect of this boot mounted it and was never answered', () => {
    always(
      (remains) => !isUsed(remains) && remains.record?.bootId === NOW && remains.operation?.mountBegun === true,
      (remedy) => remedy === 'release',
    );
  });

  it('is released, that is cleared away, when it is unused and not mounted but recorded', () => {
    always(
      (remains) =>
        !isUsed(remains) && !isMounted(remains) && (remains.record !== undefined || remains.operation !== undefined),
      (remedy) => remedy === 'release',
    );
  });

  it('is forgotten only when it has no attachment and is not mounted', () => {
    always(
      (remains) => remains.attachments > 0 || isMounted(remains),
      (remedy) => remedy !== 'forget',
    );
    always(
      (remains) => remains.attachments === 0 && remains.held && !isMounted(remains),
      (remedy, { observation }) => remedy === (isServed(observation) ? 'keep' : 'forget'),
    );
  });

  it('stays as it is when it is used, alive and hardened', () => {
    always(
      (remains) => {
        const top = remains.observation.mounts.at(-1);
        return isUsed(remains) && top?.recognised === true && top.hardened && !isDead(remains);
      },
      (remedy) => remedy === 'keep',
    );
  });

  it('stays as it is when a stranger covers it', () => {
    always(
      (remains) => isUsed(remains) && isMounted(remains) && remains.observation.mounts.at(-1)?.recognised === false,
      (remedy) => remedy === 'keep',
    );
  });

  it('is restored when it is used and its mount is dead', () => {
    always(
      (remains) => isUsed(remains) && isDead(remains),
      (remedy) => remedy === 'restore',
    );
  });

  it('is restored when it is used and its hardening was cut off, and not merely because it is not hardened', () => {
    const soft = (remains: Remains): boolean => {
      const top = remains.observation.mounts.at(-1);
      return isUsed(remains) && top?.recognised === true && !top.hardened && !isDead(remains);
    };
    always(
      (remains) => soft(remains) && (remains.operation?.kind === 'recover' || remains.operation?.kind === 'connect'),
      (remedy) => remedy === 'restore',
    );
    always(
      (remains) => soft(remains) && (remains.operation === undefined || remains.operation.kind === 'release'),
      (remedy) => remedy === 'keep',
    );
  });

  it('is restored after a reboot, after our own half-done work, and where the policy says so; else it is reported', () => {
    always(
      (remains) => remains.attachments > 0 && !isMounted(remains),
      (remedy, { record, operation, onVanish }) => {
        const ourDoing = operation?.kind === 'recover' || operation?.kind === 'connect';
        const restored = ourDoing || record?.bootId !== NOW || onVanish === 'remount';
        return remedy === (restored ? 'restore' : 'report-vanished');
      },
    );
  });
});
