import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { FairleadError } from '../../../src/core/errors.js';
import type { Change, OperationId } from '../../../src/core/records.js';
import type { Leaf } from '../../../src/core/volume.js';
import { openMemoryStore, type LedgerStore } from '../../../src/ledger/store.js';
import { Model } from './model.js';
import {
  attachment,
  ATTACHMENT,
  changeLists,
  contents,
  HOLD,
  MOUNT,
  OPERATION,
  SINCE,
  VOLUME,
  volumeOf,
} from './samples.js';

const store = (): LedgerStore => openMemoryStore(() => SINCE);
const putAttachment = (fields: Parameters<typeof attachment>): Change => ({
  kind: 'put-attachment',
  attachment: attachment(...fields),
});
const codesOf = (failures: readonly (FairleadError | null)[]): readonly unknown[] =>
  failures.map((failure) => failure?.code ?? null);

const ALL: readonly Change[] = [
  { kind: 'put-mount', mount: MOUNT },
  { kind: 'put-attachment', attachment: ATTACHMENT },
  { kind: 'put-hold', hold: HOLD },
  { kind: 'put-operation', operation: OPERATION },
];

describe('what is put is what is read', () => {
  test('one record of each kind comes back as it was', () => {
    const ledger = store();
    ledger.apply(ALL);
    expect(ledger.load()).toEqual({
      origin: 'created',
      mounts: [MOUNT],
      attachments: [ATTACHMENT],
      holds: [HOLD],
      operations: [OPERATION],
      setAside: [],
    });
  });

  test('a later record with the same key takes the place of the earlier', () => {
    const ledger = store();
    ledger.apply(ALL);
    const mount = { ...MOUNT, state: 'releasing', bootId: 'boot-2' } as const;
    const changed = { ...ATTACHMENT, readOnly: false, disk: null, target: null };
    const hold = { ...HOLD, since: '2027-01-01T00:00:00Z' };
    const operation = { ...OPERATION, kind: 'release', steps: [], cursor: 0, mountBegun: false } as const;
    ledger.apply([
      { kind: 'put-mount', mount },
      { kind: 'put-attachment', attachment: changed },
      { kind: 'put-hold', hold },
      { kind: 'put-operation', operation },
    ]);
    expect(contents(ledger.load())).toEqual({
      mounts: [mount],
      attachments: [changed],
      holds: [hold],
      operations: [operation],
    });
  });

  test('what has ended is gone, and ending it again is nothing', () => {
    const ledger = store();
    const ends: readonly Change[] = [
      { kind: 'forget-mount', leaf: VOLUME.leaf },
      { kind: 'end-attachment', id: ATTACHMENT.id },
      { kind: 'lift-hold', leaf: VOLUME.leaf },
      { kind: 'close-operation', id: OPERATION.id },
    ];
    ledger.apply(ALL);
    for (const end of ends) ledger.apply([end]);
    ledger.apply(ends);
    expect(contents(ledger.load())).toEqual({ mounts: [], attachments: [], holds: [], operations: [] });
  });

  test('any list of commits comes to what the model says, and a refused commit leaves no trace', () => {
    fc.assert(
      fc.property(changeLists, fc.boolean(), (commits, grouped) => {
        const ledger = store();
        const model = new Model();
        const expected = commits.map((changes) => model.apply(changes));
        const failures = grouped
          ? ledger.applyGroup(commits)
          : commits.flatMap((changes) => ledger.applyGroup([changes]));
        expect(failures.map((failure) => failure === null)).toEqual(expected);
        expect(contents(ledger.load())).toEqual(contents(model.snapshot()));
        ledger.close();
      }),
      { numRuns: 150 },
    );
  });

  test('a ledger is created once', () => {
    const ledger = store();
    expect([ledger.load().origin, ledger.load().origin]).toEqual(['created', 'existing']);
  });
});

describe('once', () => {
  test.each([
    ['all parts', {}],
    ['no disk', { disk: null }],
    ['no target', { target: null }],
    ['neither', { disk: null, target: null }],
  ])('a second attachment with the same key is a conflict: %s', (_, fields) => {
    const ledger = store();
    const consumer = ATTACHMENT.consumer;
    ledger.apply([putAttachment([1, { ...fields, consumer }])]);
    const [failure] = ledger.applyGroup([[putAttachment([2, { ...fields, consumer }])]]);
    expect(failure).toMatchObject({ code: 'conflict' });
    expect(ledger.load().attachments.map(({ id }) => id)).toEqual([attachment(1).id]);
  });

  test('attachments that differ in one part of the key stand side by side', () => {
    const ledger = store();
    const consumer = ATTACHMENT.consumer;
    ledger.apply([
      putAttachment([1, { consumer }]),
      putAttachment([2, { consumer, disk: null }]),
      putAttachment([3, { consumer, target: null }]),
      putAttachment([4, { consumer, leaf: volumeOf('r/other').leaf }]),
      putAttachment([5]),
    ]);
    expect(ledger.load().attachments).toHaveLength(5);
  });
});

describe('all or none', () => {
  test('a commit whose last change is refused changes nothing, and the others of its group are made', () => {
    const ledger = store();
    const consumer = ATTACHMENT.consumer;
    const failures = ledger.applyGroup([
      [putAttachment([1, { consumer }])],
      [{ kind: 'put-mount', mount: MOUNT }, putAttachment([2, { consumer }])],
      [putAttachment([3])],
    ]);
    expect(codesOf(failures)).toEqual([null, 'conflict', null]);
    const { mounts, attachments } = ledger.load();
    expect(mounts).toEqual([]);
    expect(attachments.map(({ id }) => id)).toEqual([attachment(1).id, attachment(3).id]);
  });

  test.each<[string, Change]>([
    [
      'a leaf that is not the digest of its export',
      { kind: 'put-mount', mount: { ...MOUNT, volume: { ...VOLUME, leaf: volumeOf('r/other').leaf } } },
    ],
    ['a hold on no leaf', { kind: 'put-hold', hold: { ...HOLD, leaf: 'x' as Leaf } }],
    ['a cursor beyond the steps', { kind: 'put-operation', operation: { ...OPERATION, cursor: 7 } }],
    ['a date that is none', { kind: 'put-attachment', attachment: { ...ATTACHMENT, since: 'today' } }],
    ['an empty target', { kind: 'put-attachment', attachment: { ...ATTACHMENT, target: '' } }],
  ])('what the next start could not read is never written: %s', (_, change) => {
    const ledger = store();
    const [failure] = ledger.applyGroup([[change]]);
    expect(failure).toMatchObject({ code: 'internal' });
    expect(contents(ledger.load())).toEqual({ mounts: [], attachments: [], holds: [], operations: [] });
  });

  test('a closed ledger refuses', () => {
    const ledger = store();
    ledger.close();
    expect(() => ledger.applyGroup([[{ kind: 'close-operation', id: 'x' as OperationId }]])).toThrow(
      expect.objectContaining({ code: 'unavailable' }),
    );
  });
});
