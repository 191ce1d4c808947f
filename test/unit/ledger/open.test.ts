import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { LedgerSnapshot } from '../../../src/core/records.js';
import type * as Client from '../../../src/ledger/client.js';
import { openDatabase } from '../../../src/ledger/sqlite.js';
import { attachment, ATTACHMENT, HOLD, MOUNT, opening, OPERATION, VOLUME, witnessOf } from './samples.js';
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
    fs.copyFileSync(witnessOf(elsewhere), witnessOf(directory));
  });
}

function overwrite(name: string, position: number, length: number): void {
  const descriptor = fs.openSync(at(name), 'r+');
  fs.writeSync(descriptor, Buffer.alloc(length, 0x5a), 0, length, position);
  fs.closeSync(descriptor);
}

/** A mark's text, as it was after another transaction. */
function withSequence(path: string, sequence: number): string {
  const digits = String(sequence).padStart(16, '0');
  return fs.readFileSync(path, 'utf8').replace(/sequence \d+/, `sequence ${digits}`);
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

  const MARKS = { mark: () => at('ledger.mark'), witness: () => witnessOf(directory) };
  const SPOILT: Readonly<Record<string, (path: string) => void>> = {
    missing: (path) => fs.rmSync(path),
    empty: (path) => fs.truncateSync(path),
    'cut short': (path) => fs.truncateSync(path, 60),
    garbage: (path) => fs.writeFileSync(path, Buffer.alloc(100_000, 0x5a)),
    behind: (path) => fs.writeFileSync(path, withSequence(path, 1)),
  };
  test.each(
    Object.keys(SPOILT).flatMap((how) => [
      [how, 'mark'],
      [how, 'witness'],
    ]),
  )('with a %s %s: no alarm, and that is right again', async (how, which) => {
    await crashedLedger();
    const path = MARKS[which as keyof typeof MARKS]();
    const before = fs.readFileSync(path, 'utf8');
    SPOILT[how]?.(path);
    const { origin, setAside, holds } = await load();
    expect([origin, setAside, holds]).toEqual(['existing', [], []]);
    expect(fs.readFileSync(path, 'utf8')).toBe(before);
  });

  test('both marks behind, as a kill between a commit and its marks leaves them', async () => {
    await crashedLedger();
    for (const path of [at('ledger.mark'), witnessOf(directory)]) fs.writeFileSync(path, withSequence(path, 4));
    expect(await load()).toMatchObject({ origin: 'existing', setAside: [] });
  });

  test('just created, and cut off before it had a mark or anything in it', async () => {
    await load();
    for (const path of [at('ledger.mark'), witnessOf(directory)]) fs.rmSync(path);
    expect(await load()).toMatchObject({ origin: 'existing', setAside: [] });
  });

  test('with a witness of another boot, whatever that says', async () => {
    await closedLedger();
    const witness = fs.readFileSync(witnessOf(directory), 'utf8');
    await withLedger(client, directory, (ledger) => ledger.commit([{ kind: 'lift-hold', leaf: HOLD.leaf }]));
    const other = witness.replace(/boot .*/, 'boot another').replace(/ledger [0-9a-f]+/, `ledger ${'0'.repeat(32)}`);
    fs.writeFileSync(witnessOf(directory), other);
    expect(await load()).toMatchObject({ origin: 'existing', setAside: [] });
  });

  test('of the version before, with its mark and no witness', async () => {
    const sql = fs.readFileSync(new URL('version-1.sql', import.meta.url), 'utf8');
    const database = openDatabase(at('ledger.db'));
    database.exec(sql);
    database.close();
    fs.chmodSync(at('ledger.db'), 0o600);
    const mark = 'fairlead ledger mark\nwritten-by 0.0.9\nschema 1\nsequence 0000000000000041\n';
    fs.writeFileSync(at('ledger.mark'), mark, { mode: 0o600 });
    expect(await load()).toMatchObject({ origin: 'existing', attachments: [ATTACHMENT], holds: [HOLD] });
    expect(fs.readFileSync(witnessOf(directory), 'utf8')).toMatch(/^sequence 0000000000000041$/m);
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

/** A ledger whose records were taken over in doubt: `attachments` are those that it had. */
const doubted = (reason: RegExp, attachments: readonly unknown[]): unknown => ({
  origin: 'damaged',
  mounts: expect.any(Array) as unknown,
  operations: expect.any(Array) as unknown,
  attachments,
  holds: attachments.length === 0 ? [] : [{ ...HOLD, since: expect.any(String) as string }],
  setAside: [
    {
      table: 'ledger',
      key: expect.stringMatching(/^ledger\.damaged-\d{8}T\d{6}Z(-\d)?$/) as string,
      reason: expect.stringMatching(reason) as string,
    },
  ],
});

describe('lost commits are noticed, and what is left is kept and held', () => {
  test.each<[string, number, () => void]>([
    ['the write-ahead log is damaged at its beginning', 0, () => overwrite('ledger.db-wal', 40, 200)],
    [
      'the write-ahead log is damaged in its last commit',
      4,
      () => {
        overwrite('ledger.db-wal', fs.statSync(at('ledger.db-wal')).size - 2000, 1000);
      },
    ],
    [
      'the write-ahead log is cut',
      4,
      () => {
        fs.truncateSync(at('ledger.db-wal'), fs.statSync(at('ledger.db-wal')).size - 100);
      },
    ],
    ['the write-ahead log is gone', 0, () => fs.rmSync(at('ledger.db-wal'))],
  ])('%s', async (_, left, damage) => {
    await crashedLedger();
    damage();
    const before = picture();
    const snapshot = await load();
    expect(snapshot).toEqual(
      doubted(
        /last commits are missing/,
        Array.from({ length: left }, (__, n) => attachment(n + 1)),
      ),
    );
    const wal = join(at(snapshot.setAside[0]?.key ?? ''), 'ledger.db-wal');
    if (before['ledger.db-wal'] !== undefined) {
      expect(createHash('sha256').update(fs.readFileSync(wal)).digest('hex')).toBe(before['ledger.db-wal']);
    }
    // Once is enough, and it is a ledger like any other.
    await withLedger(client, directory, (ledger) => ledger.commit([{ kind: 'put-mount', mount: MOUNT }]));
    expect(await load()).toMatchObject({ origin: 'existing', mounts: [MOUNT], setAside: snapshot.setAside });
  });
});

describe('an older copy that is put back is noticed, and what it says is kept and held', () => {
  /** What a backup of state_dir has. */
  type Backup = ReadonlyMap<string, Buffer>;
  const NAMES = ['ledger.db', 'ledger.db-wal', 'ledger.mark'];
  function backUp(): Backup {
    const there = NAMES.filter((name) => fs.existsSync(at(name)));
    return new Map(there.map((name) => [name, fs.readFileSync(at(name))]));
  }
  function putBack(backup: Backup): void {
    for (const name of NAMES) fs.rmSync(at(name), { force: true });
    for (const [name, bytes] of backup) fs.writeFileSync(at(name), bytes, { mode: 0o600 });
  }
  const commit = (n: number): Promise<void> =>
    withLedger(client, directory, (ledger) =>
      ledger.commit([{ kind: 'put-attachment', attachment: attachment(n, { leaf: VOLUME.leaf }) }]),
    );
  const events = async (): Promise<readonly string[]> => {
    const told: string[] = [];
    await withLedger(client, directory, (ledger) => ledger.load(), { warn: (event) => told.push(event) });
    return told;
  };

  test('without its mark', async () => {
    await closedLedger();
    const backup = backUp();
    await withLedger(client, directory, (ledger) => ledger.commit([{ kind: 'lift-hold', leaf: HOLD.leaf }]));
    fs.writeFileSync(at('ledger.db'), backup.get('ledger.db') ?? '');
    fs.rmSync(witnessOf(directory));
    expect(await load()).toEqual(doubted(/last commits are missing/, [ATTACHMENT]));
  });

  test('with its mark: the witness of this boot knows better', async () => {
    await commit(1);
    const backup = backUp();
    await commit(2);
    putBack(backup);
    expect(await load()).toEqual(doubted(/older copy \(it has 1 of 2\)/, [attachment(1)]));
    expect(await load()).toMatchObject({ origin: 'existing', attachments: [attachment(1)] });
  });

  test('and again after it was taken over, and so is the one that was the last', async () => {
    await commit(1);
    const backup = backUp();
    await commit(2);
    await commit(3);
    const last = backUp();
    putBack(backup);
    await load();
    await commit(4);
    putBack(backup);
    expect(await load()).toEqual(doubted(/another ledger/, [attachment(1)]));
    // It has more transactions than the one in use, and lacks some all the same.
    putBack(last);
    expect((await load()).origin).toBe('damaged');
  });

  test('and a start that is cut off before its marks are written says so again, and loses nothing', async () => {
    await commit(1);
    const backup = backUp();
    await commit(2);
    const marks = [at('ledger.mark'), witnessOf(directory)].map((path) => [path, fs.readFileSync(path)] as const);
    putBack(backup);
    await load();
    for (const [path, bytes] of marks) fs.writeFileSync(path, bytes);
    const snapshot = await load();
    expect([snapshot.attachments, snapshot.holds]).toEqual([
      [attachment(1)],
      [expect.objectContaining({ leaf: VOLUME.leaf })],
    ]);
    expect(snapshot.setAside).toHaveLength(2);
    expect((await load()).origin).toBe('existing');
  });

  test('that is put in the place of one that was begun for a lost one', async () => {
    await commit(1);
    const backup = backUp();
    putBack(new Map());
    expect((await load()).origin).toBe('damaged');
    putBack(backup);
    expect(await load()).toEqual(doubted(/another ledger/, [attachment(1)]));
  });

  test('that is another ledger, of another host or of before a loss', async () => {
    await commit(1);
    const other = backUp();
    putBack(new Map());
    fs.rmSync(witnessOf(directory));
    await commit(2);
    putBack(other);
    expect(await load()).toEqual(doubted(/another ledger/, [attachment(1)]));
  });

  test('the ledger is gone with all that belongs to it', async () => {
    await commit(1);
    fs.rmSync(directory, { recursive: true });
    fs.mkdirSync(directory, { mode: 0o700 });
    expect(await load()).toEqual({
      ...EMPTY,
      origin: 'damaged',
      setAside: [{ table: 'ledger', key: 'ledger.db', reason: expect.stringContaining('gone') as string }],
    });
    expect((await load()).origin).toBe('existing');
  });

  test('only its log is left: that is not applied to the new one', async () => {
    await crashedLedger();
    fs.rmSync(at('ledger.db'));
    fs.rmSync(at('ledger.mark'));
    fs.rmSync(witnessOf(directory));
    const before = picture();
    const snapshot = await load();
    expect(snapshot).toEqual(lost(/gone/));
    directory = at(snapshot.setAside[0]?.key ?? '');
    expect(picture()).toEqual(before);
  });

  test('the mark is missing, and the witness knows the ledger: it is made again, and somebody is told', async () => {
    await commit(1);
    fs.rmSync(at('ledger.mark'));
    expect(await events()).toEqual(['ledger-mark-missing']);
    expect(await events()).toEqual([]);
  });

  test.each(['missing', 'empty'])('the mark is %s, and there is no witness yet: nobody knows', async (how) => {
    await commit(1);
    fs.rmSync(witnessOf(directory));
    if (how === 'missing') fs.rmSync(at('ledger.mark'));
    else fs.truncateSync(at('ledger.mark'));
    expect(await load()).toEqual(doubted(/mark is missing/, [attachment(1)]));
    expect(await load()).toMatchObject({ origin: 'existing', attachments: [attachment(1)] });
  });

  test('another run_dir takes nothing from anybody: the mark is enough', async () => {
    await commit(1);
    const elsewhere = { ...opening(directory).witness, path: witnessOf(stateDirectory()) };
    const loadThere = (): Promise<LedgerSnapshot> =>
      withLedger(client, directory, (ledger) => ledger.load(), { witness: elsewhere });
    expect(await loadThere()).toMatchObject({ origin: 'existing', setAside: [] });
    await commit(2);
    // The witness there is behind.
    expect(await loadThere()).toMatchObject({ origin: 'existing', setAside: [] });
  });

  test('another state_dir has lost what this boot knows', async () => {
    await commit(1);
    const witness = { ...opening(directory).witness };
    directory = stateDirectory();
    const { origin, setAside } = await withLedger(client, directory, (ledger) => ledger.load(), { witness });
    expect([origin, setAside]).toEqual(['damaged', [expect.objectContaining({ table: 'ledger' })]]);
  });

  test('a second agent, refused, leaves the marks alone', async () => {
    await withLedger(client, directory, async (ledger) => {
      await ledger.commit([{ kind: 'put-hold', hold: HOLD }]);
      const before = [picture(), fs.readFileSync(witnessOf(directory), 'utf8')];
      await expect(load()).rejects.toMatchObject({ code: 'unavailable' });
      expect([picture(), fs.readFileSync(witnessOf(directory), 'utf8')]).toEqual(before);
    });
  });
});

describe('a ledger that is not ours to open', () => {
  /** A ledger that was cut off while `sql` was only in its write-ahead log; `folded` is in the database itself. */
  async function newerLedger(folded: string, sql: string): Promise<void> {
    const elsewhere = stateDirectory();
    await withLedger(client, elsewhere, () => Promise.resolve(), { version: '7.1.0' });
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
      'a pipe for a mark',
      /not a regular file/,
      () => {
        fs.rmSync(at('ledger.mark'));
        execFileSync('mkfifo', ['-m', '600', at('ledger.mark')]);
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

  test.each<[string, RegExp, (path: string) => void]>([
    [
      'a link',
      /is a link/,
      (path) => {
        fs.symlinkSync('/etc/passwd', path);
      },
    ],
    [
      'a link to nothing',
      /is a link/,
      (path) => {
        fs.symlinkSync(join(directory, 'nothing'), path);
      },
    ],
    ['a pipe', /not a regular file/, (path) => void execFileSync('mkfifo', ['-m', '600', path])],
    [
      'a directory',
      /not a regular file/,
      (path) => {
        fs.mkdirSync(path);
      },
    ],
    [
      'what others may write',
      /open to other users.*chmod 0600/,
      (path) => {
        fs.writeFileSync(path, '');
        fs.chmodSync(path, 0o666);
      },
    ],
  ])('%s for a witness: refused with the mend', async (_, message, plant) => {
    await closedLedger();
    fs.rmSync(witnessOf(directory));
    plant(witnessOf(directory));
    const before = picture();
    await expect(load()).rejects.toMatchObject({
      code: 'config-invalid',
      field: 'run_dir',
      message: expect.stringMatching(message) as string,
    });
    expect(picture()).toEqual(before);
  });
});

describe('a witness that cannot be written', () => {
  test('stops nothing, and somebody is told once', async () => {
    const told: string[] = [];
    const witness = { ...opening(directory).witness, path: join(directory, '../nowhere/ledger.witness') };
    await withLedger(
      client,
      directory,
      async (ledger) => {
        for (let n = 1; n <= 3; n++) await ledger.commit([{ kind: 'put-attachment', attachment: attachment(n) }]);
      },
      { witness, warn: (event) => told.push(event) },
    );
    expect(told).toEqual(['ledger-witness-not-written']);
    expect((await load()).attachments).toHaveLength(3);
  });
});
