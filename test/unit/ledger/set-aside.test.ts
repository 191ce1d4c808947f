import { describe, expect, test } from 'vitest';
import { migrate } from '../../../src/ledger/schema.js';
import { openDatabase, type Database } from '../../../src/ledger/sqlite.js';
import { LedgerStore } from '../../../src/ledger/store.js';
import { attachment, ATTACHMENT, HOLD, MOUNT, OPERATION, SINCE, VOLUME, volumeOf } from './samples.js';

const OTHER = volumeOf('192.168.1.1/volume-00002');

/** A ledger with two mounts, two attachments and an operation, and `damage` done to its rows by hand. */
function damaged(damage: string): { readonly database: Database; readonly start: () => LedgerStore } {
  const database = openDatabase(':memory:');
  migrate(database);
  const start = (): LedgerStore =>
    new LedgerStore({ database, origin: 'existing', marks: [], home: null, reserve: null, date: () => SINCE });
  start().apply([
    { kind: 'put-mount', mount: MOUNT },
    { kind: 'put-mount', mount: { ...MOUNT, volume: OTHER } },
    { kind: 'put-attachment', attachment: ATTACHMENT },
    { kind: 'put-attachment', attachment: attachment(2, { leaf: OTHER.leaf }) },
    { kind: 'put-operation', operation: OPERATION },
  ]);
  database.exec(damage);
  return { database, start };
}

const first = `WHERE id = '${ATTACHMENT.id}'`;

describe('one bad record is set aside and never blocks the start', () => {
  test.each([
    ['mounts', `UPDATE mounts SET export = 'changed' WHERE leaf = '${VOLUME.leaf}'`, VOLUME.leaf, 'url'],
    [
      'mounts',
      `UPDATE mounts SET export = '', url = 'quobyte://' WHERE leaf = '${VOLUME.leaf}'`,
      VOLUME.leaf,
      'export',
    ],
    ['mounts', `UPDATE mounts SET backend = 'nfs' WHERE leaf = '${VOLUME.leaf}'`, VOLUME.leaf, 'backend'],
    ['mounts', `UPDATE mounts SET state = 'gone' WHERE leaf = '${VOLUME.leaf}'`, VOLUME.leaf, 'state'],
    ['attachments', `UPDATE attachments SET consumer = 'somebody' ${first}`, ATTACHMENT.id, 'consumer'],
    ['attachments', `UPDATE attachments SET disk = '../../etc/shadow' ${first}`, ATTACHMENT.id, 'disk'],
    ['attachments', `UPDATE attachments SET target = char(10) ${first}`, ATTACHMENT.id, 'target'],
    ['attachments', `UPDATE attachments SET read_only = 9007199254740993 ${first}`, ATTACHMENT.id, 'read_only'],
    ['attachments', `UPDATE attachments SET id = cast(x'ff' AS TEXT) ${first}`, 'row 1', 'id'],
    ['attachments', `UPDATE attachments SET since = '' ${first}`, ATTACHMENT.id, 'since'],
    ['operations', `UPDATE operations SET steps = '[{"kind":"format-disk"}]'`, OPERATION.id, 'steps'],
    ['operations', `UPDATE operations SET steps = '{'`, OPERATION.id, 'steps'],
    ['operations', `UPDATE operations SET cursor = -1`, OPERATION.id, 'cursor'],
    ['holds', `INSERT INTO holds VALUES ('${VOLUME.leaf}', 'whim', '${SINCE}')`, VOLUME.leaf, 'reason'],
  ])('%s: %s', (table, damage, key, column) => {
    const { database, start } = damaged(damage);
    const snapshot = start().load();
    expect(snapshot.setAside).toEqual([{ table, key, reason: expect.stringContaining(column) as string }]);
    // The other records are all there, the bad row is kept whole for the operator, and the next start is as clean.
    expect(snapshot.mounts.length + snapshot.attachments.length + snapshot.operations.length).toBe(
      table === 'holds' ? 5 : 4,
    );
    expect(database.prepare('SELECT content FROM set_aside').all()).toEqual([
      { content: expect.stringContaining(`"${column}":`) as string },
    ]);
    expect(start().load()).toEqual(snapshot);
  });

  test('neither reason nor key shows what a row said', () => {
    const { start } = damaged(
      `UPDATE mounts SET leaf = 'volume-secret', export = 'reg/volume-secret' WHERE leaf = '${VOLUME.leaf}'`,
    );
    expect(JSON.stringify(start().load().setAside)).not.toContain('secret');
  });
});

describe('a record that is lost leaves a hold', () => {
  test('an attachment: on the mount it kept', () => {
    const { start } = damaged(`UPDATE attachments SET since = '' ${first}`);
    expect(start().load().holds).toEqual([HOLD]);
    expect(start().load().holds).toEqual([HOLD]);
  });

  test('an operation: on its mount', () => {
    const { start } = damaged(`UPDATE operations SET kind = ''`);
    expect(start().load().holds).toEqual([HOLD]);
  });

  test('an attachment whose leaf is lost too: on every mount', () => {
    const { start } = damaged(`UPDATE attachments SET leaf = '' ${first}`);
    expect(start().load().holds).toEqual([HOLD, { ...HOLD, leaf: OTHER.leaf }]);
  });

  test('a hold that was lifted since does not come back', () => {
    const { start } = damaged(`UPDATE attachments SET since = '' ${first}`);
    start().load();
    start().apply([{ kind: 'lift-hold', leaf: VOLUME.leaf }]);
    expect(start().load().holds).toEqual([]);
  });
});

test('what is settled is not reported again, and kept for the operator', () => {
  const { database, start } = damaged(`UPDATE attachments SET since = '' ${first}`);
  const store = start();
  expect(store.load().setAside).toHaveLength(1);
  store.apply([{ kind: 'settle-doubt' }]);
  expect(start().load().setAside).toEqual([]);
  expect(database.prepare('SELECT content FROM set_aside').all()).toHaveLength(1);
});
