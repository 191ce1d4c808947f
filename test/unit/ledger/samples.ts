// Records for the ledger's tests: one of each by hand, and arbitrary ones for properties.

import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { parseConsumer, parseDiskName } from '../../../src/core/names.js';
import type {
  AttachmentRecord,
  Change,
  HoldRecord,
  LedgerSnapshot,
  MountRecord,
  OperationId,
  OperationRecord,
} from '../../../src/core/records.js';
import type { ThreadOptions } from '../../../src/ledger/client.js';
import { STEP_KINDS } from '../../../src/core/steps.js';
import { leafOf, type BackendName, type Export, type Volume, type VolumeUrl } from '../../../src/core/volume.js';

export const SINCE = '2026-11-05T10:15:30.123Z';
export const BOOT = '2f0f2c5e-3b1d-4f7e-9a55-1d4b3c0e8a77';

/** How a test opens the ledger in `directory`: the witness lies in the directory `run` beside it. */
export function opening(directory: string, version = '0.1.0'): ThreadOptions {
  const witness = { path: witnessOf(directory), bootId: BOOT };
  return { directory, version, witness, warn: () => undefined };
}

/** Where that witness lies. */
export function witnessOf(directory: string): string {
  return join(dirname(directory), 'run/ledger.witness');
}

export function volumeOf(text: string, backend: BackendName = 'quobyte'): Volume {
  const exported = text as Export;
  return { backend, export: exported, url: `${backend}://${text}` as VolumeUrl, leaf: leafOf(exported) };
}

export const VOLUME = volumeOf('192.168.1.1/volume-00001');

export const MOUNT: MountRecord = { volume: VOLUME, state: 'mounted', bootId: BOOT };

export const ATTACHMENT: AttachmentRecord = {
  id: '00000000000000000000000000000001',
  consumer: parseConsumer('nova:6f1c1f2e-8a49-4a2c-9a38-0c2d7f6f7b11', 'consumer'),
  leaf: VOLUME.leaf,
  disk: parseDiskName('volume-00000001', 'disk'),
  target: '/var/lib/kubelet/pods/1/mount point',
  readOnly: true,
  since: SINCE,
};

export const HOLD: HoldRecord = { leaf: VOLUME.leaf, reason: 'inherited', since: SINCE };

export const OPERATION: OperationRecord = {
  id: VOLUME.leaf as string as OperationId,
  kind: 'connect',
  volume: VOLUME,
  steps: STEP_KINDS.map((kind) => ({ kind })),
  cursor: 2,
  mountBegun: true,
  since: SINCE,
};

/** Attachment number `n`, with a key of its own. */
export function attachment(n: number, fields: Partial<AttachmentRecord> = {}): AttachmentRecord {
  const id = n.toString(16).padStart(32, '0');
  return { ...ATTACHMENT, id, consumer: parseConsumer(`cli:user-${n}`, 'consumer'), ...fields };
}

/** What a snapshot says, in an order that does not matter. */
export function contents(snapshot: LedgerSnapshot): Record<string, readonly unknown[]> {
  const sorted = (list: readonly unknown[]) =>
    [...list].sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  return {
    mounts: sorted(snapshot.mounts),
    attachments: sorted(snapshot.attachments),
    holds: sorted(snapshot.holds),
    operations: sorted(snapshot.operations),
  };
}

const volume = fc
  .tuple(fc.constantFrom<BackendName>('quobyte', 'local'), fc.integer({ min: 1, max: 4 }))
  .map(([backend, n]) => volumeOf(backend === 'local' ? `/srv/pool/${n}` : `reg1:7861,reg2:7861/vol-${n}`, backend));
const since = fc.constantFrom(SINCE, '2027-01-01T00:00:00Z');
const id = fc.integer({ min: 1, max: 6 }).map((n) => n.toString(16).padStart(32, '0'));
const consumer = fc.constantFrom(
  ...['cli:alice', 'docker:web@1', 'nova:6f1c1f2e-8a49-4a2c-9a38-0c2d7f6f7b11'].map((text) =>
    parseConsumer(text, 'consumer'),
  ),
);
const disk = fc.constantFrom(
  null,
  ...["it's; DROP TABLE mounts--", 'volume-1', 'é'].map((text) => parseDiskName(text, 'd')),
);

const change: fc.Arbitrary<Change> = fc.oneof(
  fc
    .record({
      volume,
      state: fc.constantFrom('mounting', 'mounted', 'releasing'),
      bootId: fc.constantFrom(BOOT, 'boot-2'),
    })
    .map((mount): Change => ({ kind: 'put-mount', mount })),
  volume.map(({ leaf }): Change => ({ kind: 'forget-mount', leaf })),
  fc
    .record({
      id,
      consumer,
      leaf: volume.map(({ leaf }) => leaf),
      disk,
      target: fc.constantFrom(null, '/a', '/b b'),
      readOnly: fc.boolean(),
      since,
    })
    .map((attachment): Change => ({ kind: 'put-attachment', attachment })),
  id.map((id): Change => ({ kind: 'end-attachment', id })),
  fc.tuple(volume, since).map(([{ leaf }, since]): Change => ({
    kind: 'put-hold',
    hold: { leaf, reason: 'inherited', since },
  })),
  volume.map(({ leaf }): Change => ({ kind: 'lift-hold', leaf })),
  fc
    .record({
      id: id.map((text) => text as OperationId),
      kind: fc.constantFrom('connect', 'release', 'recover'),
      volume,
      steps: fc.array(
        fc.constantFrom(...STEP_KINDS).map((kind) => ({ kind })),
        { maxLength: 6 },
      ),
      mountBegun: fc.boolean(),
      since,
    })
    .chain((operation) =>
      fc.integer({ min: 0, max: operation.steps.length }).map((cursor) => ({ ...operation, cursor })),
    )
    .map((operation): Change => ({ kind: 'put-operation', operation })),
  id.map((id): Change => ({ kind: 'close-operation', id: id as OperationId })),
);

/** Arbitrary lists of changes that meet the same few keys again and again. */
export const changeLists = fc.array(fc.array(change, { maxLength: 6 }), { maxLength: 25 });
