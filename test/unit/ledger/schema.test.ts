import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { migrate, MIGRATIONS, refuseNewer, SCHEMA_VERSION } from '../../../src/ledger/schema.js';
import { askDatabase, openDatabase, type Database } from '../../../src/ledger/sqlite.js';
import { LedgerStore } from '../../../src/ledger/store.js';
import { ATTACHMENT, HOLD, MOUNT, OPERATION, SINCE } from './samples.js';

const VERSION_1 = readFileSync(new URL('version-1.sql', import.meta.url), 'utf8');

function fromVersion1(): Database {
  const database = openDatabase(':memory:');
  database.exec(VERSION_1);
  return database;
}

const versionOf = (database: Database): unknown =>
  askDatabase(database, 'SELECT answer(user_version) FROM pragma_user_version')[0];

/** What the next version might do. */
const NEXT = { version: SCHEMA_VERSION + 1, sql: `ALTER TABLE holds ADD COLUMN note TEXT` };

describe('migrations', () => {
  test('are numbered from 1 without a gap, and the program writes the last', () => {
    expect(MIGRATIONS.map(({ version }) => version)).toEqual(MIGRATIONS.map((_, index) => index + 1));
  });

  test('a ledger of version 1 is read as it was written', () => {
    const database = fromVersion1();
    migrate(database);
    expect(versionOf(database)).toBe(SCHEMA_VERSION);
    const parts = { database, origin: 'existing', marks: [], home: null, reserve: null, date: () => SINCE } as const;
    expect(new LedgerStore(parts).load()).toEqual({
      origin: 'existing',
      mounts: [MOUNT],
      attachments: [ATTACHMENT],
      holds: [HOLD],
      operations: [OPERATION],
      setAside: [{ table: 'mounts', key: 'row 7', reason: 'export must be text.' }],
    });
  });

  test('only those beyond the version that is found are run, each once', () => {
    const database = fromVersion1();
    migrate(database, [...MIGRATIONS, NEXT]);
    migrate(database, [...MIGRATIONS, NEXT]);
    expect(versionOf(database)).toBe(NEXT.version);
    expect(askDatabase(database, 'SELECT answer(ifnull(note, leaf)) FROM holds')).toEqual([HOLD.leaf]);
  });

  test('one that fails leaves the version before it, whole', () => {
    const database = fromVersion1();
    const failing = { ...NEXT, sql: `${NEXT.sql}; INSERT INTO nowhere VALUES (1)` };
    expect(() => migrate(database, [...MIGRATIONS, failing])).toThrow(/nowhere/);
    expect(versionOf(database)).toBe(SCHEMA_VERSION);
    expect(askDatabase(database, `SELECT answer(name) FROM pragma_table_info('holds')`)).toEqual([
      'leaf',
      'reason',
      'since',
    ]);
  });

  test('a newer version is refused, and the message names its writer and what to do', () => {
    refuseNewer(SCHEMA_VERSION, '/var/lib/fairlead', '9.9.9');
    expect(() => refuseNewer(SCHEMA_VERSION + 1, '/var/lib/fairlead', '9.9.9')).toThrow(
      expect.objectContaining({
        code: 'config-invalid',
        field: 'state_dir',
        message: expect.stringMatching(
          /written by Fairlead 9\.9\.9 .*Nothing was changed.*Start Fairlead 9\.9\.9 again/,
        ) as string,
      }),
    );
  });
});
