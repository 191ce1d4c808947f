import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { LedgerSnapshot } from '../../../src/core/records.js';
import type * as Client from '../../../src/ledger/client.js';
import { openDatabase } from '../../../src/ledger/sqlite.js';
import { attachment, ATTACHMENT, HOLD, MOUNT, OPERATION } from './samples.js';
import { buildLedger, clientIn, stateDirectory, withLedger } from './thread.js';

let client: typeof Client;
let directory: string;
beforeAll(async () => {
  client = await clientIn(await buildLedger());
});
beforeEach(() => {
  directory = stateDirectory();
});

const at = (name: string): string => join(directory, name);
const load = (): Promise<LedgerSnapshot> => withLedger(client, directory, (ledger) => ledger.load());

/** A ledger that was closed in order, with a record of each kind. */
async function closedLedger(): Promise<void> {
  await withLedger(client, directory, async (ledger) => {
    await ledger.commit([
      { kind: 'put-mount', mount: MOUNT },
      { kind: 'put-attachment', attachment: ATTACHMENT },
      { kind: 'put-hold', hold: HOLD },
      { kind: 'put-operation', operation: OPERATION },
    ]);
  });
}

/** The files as a crash would leave them: five commits, all of them only in the write-ahead log. */
async function crashedLedger(): Promise<void> {
  const elsewhere = stateDirectory();
  await withLedger(client, elsewhere, async (ledger) => {
    await ledger.load();
    for (let n = 1; n <= 5; n++) await ledger.commit([{ kind: 'put-attachment', attachment: attachment(n) }]);
    for (const name of ['ledger.db', 'ledger.db-wal', 'ledger.mark']) fs.copyFileSync(join(elsewhere, name), at(name));
  });
}

function overwrite(name: string, position: number, length: number): void {
  const descriptor = fs.openSync(at(name), 'r+');
  fs.writeSync(descriptor, Buffer.alloc(length, 0x5a), 0, length, position);
  fs.closeSync(descriptor);
}

function runSql(sql: string): void {
  const database = openDatabase(at('ledger.db'));
  database.exec(sql);
  database.close();
}

/** Every file with a digest of what it holds. */
function picture(): Record<string, string> {
  return Object.fromEntries(
    fs.readdirSync(directory).map((name) => [
      name,
      createHash('sha256')
        .update(fs.readFileSync(at(name)))
        .digest('hex'),
    ]),
  );
}

const EMPTY = { mounts: [], attachments: [], holds: [], operations: [] };
const lost = (reason: RegExp): unknown => ({
  ...EMPTY,
  origin: 'damaged',
  setAside: [
    {
      table: 'ledger',
      key: expect.stringMatching(/^ledger\.damaged-\d{8}T\d{6}Z$/) as string,
      reason: expect.stringMatching(reason) as string,
    },
  ],
});

describe('a ledger that can be trusted', () => {
  test('none at all: one is created', async () => {
    expect(await load()).toEqual({ ...EMPTY, origin: 'created', setAside: [] });
  });

  test('after a crash everything acknowledged is there', async () => {
    await crashedLedger();
    const { origin, attachments } = await load();
    expect(origin).toBe('existing');
    expect(attachments).toEqual([1, 2, 3, 4, 5].map((n) => attachment(n)));
  });

  test.each([
    ['missing', () => fs.rmSync(at('ledger.mark'))],
    ['unreadable', () => overwrite('ledger.mark', 0, 20)],
    [
      'behind, as after a power cut',
      () => {
        const text = fs.readFileSync(at('ledger.mark'), 'utf8');
        fs.writeFileSync(at('ledger.mark'), text.replace(/sequence \d+/, 'sequence 0000000000000001'));
      },
    ],
  ])('its mark is %s: no alarm, and the mark is right again', async (_, change) => {
    await crashedLedger();
    const before = fs.readFileSync(at('ledger.mark'), 'utf8');
    change();
    expect((await load()).origin).toBe('existing');
    expect(fs.readFileSync(at('ledger.mark'), 'utf8')).toBe(before);
  });

  test('a half-made new ledger is started afresh', async () => {
    fs.writeFileSync(at('ledger.new'), 'half', { mode: 0o600 });
    fs.writeFileSync(at('ledger.new-wal'), 'half', { mode: 0o600 });
    expect((await load()).origin).toBe('created');
    expect(fs.readdirSync(directory).sort()).toEqual(['ledger.db', 'ledger.mark', 'ledger.reserve']);
  });
});

describe('a ledger that cannot be trusted is kept aside and a new one begun', () => {
  test.each<[string, RegExp, () => void]>([
    ['garbage for a header', /no ledger/, () => overwrite('ledger.db', 0, 100)],
    ['an empty file', /empty/, () => fs.truncateSync(at('ledger.db'), 0)],
    ['a file cut within a page', /damaged|integrity/, () => fs.truncateSync(at('ledger.db'), 3 * 4096 + 100)],
    ['a file cut between pages', /damaged|integrity/, () => fs.truncateSync(at('ledger.db'), 4 * 4096)],
    ['a file cut to less than a header', /empty/, () => fs.truncateSync(at('ledger.db'), 50)],
    ['a damaged first page', /damaged|integrity/, () => overwrite('ledger.db', 100, 3000)],
    ['a damaged inner page', /damaged|integrity/, () => overwrite('ledger.db', 3 * 4096, 4096)],
    [
      'a damaged last page',
      /damaged|integrity/,
      () => {
        overwrite('ledger.db', fs.statSync(at('ledger.db')).size - 4096, 4096);
      },
    ],
    [
      'a row and an index that disagree',
      /integrity/,
      () => {
        const bytes = fs.readFileSync(at('ledger.db'));
        bytes.write('7', bytes.indexOf(ATTACHMENT.consumer) + ATTACHMENT.consumer.length - 1, 'latin1');
        fs.writeFileSync(at('ledger.db'), bytes);
      },
    ],
    [
      'a missing table',
      /table/,
      () => {
        runSql('DROP TABLE holds');
      },
    ],
    [
      'a missing index',
      /table/,
      () => {
        runSql('DROP INDEX attachment_key');
      },
    ],
    [
      'another database in its place',
      /table/,
      () => {
        runSql('DROP TABLE ledger');
      },
    ],
    [
      'no sentinel',
      /sentinel/,
      () => {
        runSql('DELETE FROM ledger');
      },
    ],
    [
      'a strange sentinel',
      /sentinel/,
      () => {
        runSql(`UPDATE ledger SET format = 'other'`);
      },
    ],
    ['no file, though its mark is there', /gone/, () => fs.rmSync(at('ledger.db'))],
  ])('%s', async (_, reason, damage) => {
    await closedLedger();
    damage();
    const before = picture();
    const snapshot = await load();
    expect(snapshot).toEqual(lost(reason));
    const aside = at(snapshot.setAside[0]?.key ?? '');
    expect(fs.statSync(aside).mode & 0o777).toBe(0o700);
    // The old one is whole, and the new one is a ledger like any other.
    const kept = Object.keys(before).filter((name) => name !== 'ledger.reserve');
    directory = aside;
    expect(picture()).toMatchObject(Object.fromEntries(kept.map((name) => [name, before[name]])));
  });

  test('the new one works, and goes on saying where the old one is', async () => {
    await closedLedger();
    overwrite('ledger.db', 0, 100);
    const first = await withLedger(client, directory, async (ledger) => {
      const snapshot = await ledger.load();
      await ledger.commit([{ kind: 'put-hold', hold: HOLD }]);
      return snapshot;
    });
    expect(await load()).toEqual({ ...EMPTY, origin: 'existing', holds: [HOLD], setAside: first.setAside });
  });

  test('twice in one second: both are kept', async () => {
    for (let n = 0; n < 3; n++) {
      await closedLedger();
      fs.truncateSync(at('ledger.db'), 0);
    }
    await load();
    expect(fs.readdirSync(directory).filter((name) => name.startsWith('ledger.damaged-'))).toHaveLength(3);
  });
});

describe('lost commits are noticed', () => {
  test.each<[string, () => void]>([
    ['the write-ahead log is damaged at its beginning', () => overwrite('ledger.db-wal', 40, 200)],
    [
      'the write-ahead log is damaged in its last commit',
      () => {
        overwrite('ledger.db-wal', fs.statSync(at('ledger.db-wal')).size - 2000, 1000);
      },
    ],
    [
      'the write-ahead log is cut',
      () => {
        fs.truncateSync(at('ledger.db-wal'), fs.statSync(at('ledger.db-wal')).size - 100);
      },
    ],
    ['the write-ahead log is gone', () => fs.rmSync(at('ledger.db-wal'))],
  ])('%s', async (_, damage) => {
    await crashedLedger();
    damage();
    const before = picture();
    const snapshot = await load();
    expect(snapshot).toEqual(lost(/last commits are missing/));
    const wal = join(at(snapshot.setAside[0]?.key ?? ''), 'ledger.db-wal');
    if (before['ledger.db-wal'] !== undefined) {
      expect(createHash('sha256').update(fs.readFileSync(wal)).digest('hex')).toBe(before['ledger.db-wal']);
    }
  });

  test('an old backup was put in its place', async () => {
    await closedLedger();
    const backup = fs.readFileSync(at('ledger.db'));
    await withLedger(client, directory, (ledger) => ledger.commit([{ kind: 'lift-hold', leaf: HOLD.leaf }]));
    fs.writeFileSync(at('ledger.db'), backup);
    expect(await load()).toEqual(lost(/last commits are missing/));
  });
});

describe('a ledger that is not ours to open', () => {
  /** A ledger that was cut off while `sql` was only in its write-ahead log; `folded` is in the database itself. */
  async function newerLedger(folded: string, sql: string): Promise<void> {
    const elsewhere = stateDirectory();
    await withLedger(client, elsewhere, () => Promise.resolve(), '7.1.0');
    const database = openDatabase(join(elsewhere, 'ledger.db'));
    database.exec(`${folded}; PRAGMA wal_checkpoint(TRUNCATE); ${sql}`);
    for (const name of ['ledger.db', 'ledger.db-wal', 'ledger.mark']) fs.copyFileSync(join(elsewhere, name), at(name));
    database.close();
  }
  const refusal = {
    code: 'config-invalid',
    field: 'state_dir',
    message: expect.stringContaining('Fairlead 7.1.0 (ledger version 99)') as string,
  };

  test('of a newer version: refused with its writer, and nothing is touched', async () => {
    await newerLedger('PRAGMA user_version = 99', 'CREATE TABLE later (x)');
    const before = picture();
    await expect(load()).rejects.toMatchObject(refusal);
    expect(picture()).toEqual(before);
  });

  test('of a newer version that is only in the write-ahead log: refused all the same', async () => {
    await newerLedger('CREATE TABLE later (x)', 'PRAGMA user_version = 99');
    await expect(load()).rejects.toMatchObject(refusal);
  });

  test.each<[string, RegExp, () => void]>([
    [
      'a ledger others may read',
      /open to other users.*chmod 0600/,
      () => {
        fs.chmodSync(at('ledger.db'), 0o640);
      },
    ],
    [
      'a log others may write',
      /open to other users.*chmod 0600/,
      () => {
        fs.writeFileSync(at('ledger.db-wal'), '');
        fs.chmodSync(at('ledger.db-wal'), 0o606);
      },
    ],
    [
      'a link for a ledger',
      /is a link/,
      () => {
        fs.renameSync(at('ledger.db'), at('real'));
        fs.symlinkSync('real', at('ledger.db'));
      },
    ],
    [
      'a link for a reserve',
      /is a link/,
      () => {
        fs.rmSync(at('ledger.reserve'));
        fs.symlinkSync('/etc/passwd', at('ledger.reserve'));
      },
    ],
    [
      'a directory for a mark',
      /not a regular file/,
      () => {
        fs.rmSync(at('ledger.mark'));
        fs.mkdirSync(at('ledger.mark'));
      },
    ],
    [
      'a directory others may write to',
      /written by other users.*chmod 0700/,
      () => {
        fs.chmodSync(directory, 0o770);
      },
    ],
    [
      'a link for a directory',
      /is a link/,
      () => {
        const real = directory;
        directory = join(stateDirectory(), 'link');
        fs.symlinkSync(real, directory);
      },
    ],
    [
      'no directory',
      /does not exist.*install -d/,
      () => {
        fs.rmSync(directory, { recursive: true });
      },
    ],
  ])('%s: refused with the mend', async (_, message, change) => {
    await closedLedger();
    change();
    await expect(load()).rejects.toMatchObject({
      code: 'config-invalid',
      field: 'state_dir',
      message: expect.stringMatching(message) as string,
    });
  });
});
