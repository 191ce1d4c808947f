// A ledger whose files are moved away while it is open: what is written then would be missed at the next start, so nothing is
// acknowledged until they are back.

import * as fs from 'node:fs';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type * as Client from '../../../src/ledger/client.js';
import { FairleadError } from '../../../src/core/errors.js';
import { migrate } from '../../../src/ledger/schema.js';
import { openDatabase } from '../../../src/ledger/sqlite.js';
import { LedgerStore } from '../../../src/ledger/store.js';
import { until } from '../../rig/until.js';
import { attachment, ATTACHMENT, SINCE } from './samples.js';
import { buildLedger, clientIn, stateDirectory, withLedger } from './thread.js';

let client: typeof Client;
let directory: string;
beforeAll(async () => {
  client = await clientIn(await buildLedger());
});
beforeEach(() => {
  directory = stateDirectory();
});

const second = attachment(2);

describe('a ledger in use', () => {
  test.each<[string, () => void, () => void]>([
    [
      'whose directory is moved away',
      () => fs.renameSync(directory, `${directory}.away`),
      () => fs.renameSync(`${directory}.away`, directory),
    ],
    [
      'whose directory is moved away, and another made in its place',
      () => {
        fs.renameSync(directory, `${directory}.away`);
        fs.mkdirSync(directory, { mode: 0o700 });
      },
      () => {
        fs.rmdirSync(directory);
        fs.renameSync(`${directory}.away`, directory);
      },
    ],
    [
      'whose file is replaced by a copy',
      () => {
        fs.renameSync(join(directory, 'ledger.db'), join(directory, 'old'));
        fs.copyFileSync(join(directory, 'old'), join(directory, 'ledger.db'));
      },
      () => fs.renameSync(join(directory, 'old'), join(directory, 'ledger.db')),
    ],
    [
      'whose log is moved away',
      () => fs.renameSync(join(directory, 'ledger.db-wal'), join(directory, 'old')),
      () => fs.renameSync(join(directory, 'old'), join(directory, 'ledger.db-wal')),
    ],
  ])('%s acknowledges nothing, says so, and goes on when it is back', async (_, takeAway, putBack) => {
    await withLedger(client, directory, async (ledger) => {
      await ledger.commit([{ kind: 'put-attachment', attachment: ATTACHMENT }]);
      takeAway();
      try {
        await expect(ledger.commit([{ kind: 'put-attachment', attachment: second }])).rejects.toMatchObject({
          code: 'unavailable',
          field: 'state_dir',
          message: expect.stringContaining('put it back') as string,
        });
        await until('it is told of', () => ledger.fault !== null);
        expect((await ledger.load()).attachments).toEqual([ATTACHMENT]);
      } finally {
        putBack();
      }
      await until('it is not told of any more', () => ledger.fault === null);
      await ledger.commit([{ kind: 'put-attachment', attachment: second }]);
    });
    await withLedger(client, directory, async (ledger) => {
      expect(await ledger.load()).toMatchObject({ origin: 'existing', attachments: [ATTACHMENT, second], holds: [] });
    });
  });

  test('that goes away during a write acknowledges neither that nor anything after it', () => {
    const database = openDatabase(':memory:');
    migrate(database);
    const away = new FairleadError('unavailable', 'It is away.', { field: 'state_dir' });
    let looks = 0;
    const home = {
      get fault(): FairleadError | null {
        return (looks += 1) === 2 ? away : null;
      },
    };
    const store = new LedgerStore({ database, origin: 'existing', marks: [], home, reserve: null, date: () => SINCE });
    expect(() => store.applyGroup([[{ kind: 'put-attachment', attachment: ATTACHMENT }]])).toThrow(away);
    expect(() => store.applyGroup([[{ kind: 'put-attachment', attachment: second }]])).toThrow(/no longer be written/);
  });
});
