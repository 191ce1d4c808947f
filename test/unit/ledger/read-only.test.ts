import { cpSync, mkdtempSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { FairleadError } from '../../../src/core/errors.js';
import type * as Client from '../../../src/ledger/client.js';
import { openReadOnly } from '../../../src/ledger/read-only.js';
import { stateDiskFault } from '../../../src/ledger/state-disk.js';
import { ATTACHMENT, contents, HOLD, MOUNT, OPERATION, witnessOf } from './samples.js';
import { buildLedger, clientIn, stateDirectory, withLedger } from './thread.js';

let client: typeof Client;
beforeAll(async () => {
  client = await clientIn(await buildLedger());
});

const fault = new FairleadError('unavailable', 'The disk is read-only.', { field: 'state_dir' });

/** What a killed agent leaves: its last commits are in the log beside the database. */
async function leftBehind(): Promise<string> {
  const directory = stateDirectory();
  const left = join(dirname(directory), 'left');
  await withLedger(client, directory, async (ledger) => {
    await ledger.load();
    await ledger.commit([
      { kind: 'put-mount', mount: MOUNT },
      { kind: 'put-attachment', attachment: ATTACHMENT },
      { kind: 'put-hold', hold: HOLD },
      { kind: 'put-operation', operation: OPERATION },
    ]);
    cpSync(directory, left, { recursive: true });
  });
  expect(statSync(join(left, 'ledger.db-wal')).size).toBeGreaterThan(0);
  return left;
}

function filesOf(directory: string): readonly (readonly [string, string])[] {
  return readdirSync(directory).map((name) => [name, readFileSync(join(directory, name), 'latin1')]);
}

describe('a ledger on a disk that cannot be written to', () => {
  test('is read with its last commits, is not touched, and refuses every commit', async () => {
    const directory = await leftBehind();
    const scratch = mkdtempSync(join(dirname(directory), 'scratch-'));
    const before = filesOf(directory);
    const ledger = await openReadOnly({ directory, witness: witnessOf(directory), scratch, fault });
    const snapshot = await ledger.load();
    expect(contents(snapshot)).toEqual(
      contents({ ...snapshot, mounts: [MOUNT], attachments: [ATTACHMENT], holds: [HOLD], operations: [OPERATION] }),
    );
    expect(ledger.fault).toBe(fault);
    await expect(ledger.commit([{ kind: 'put-hold', hold: HOLD }])).rejects.toBe(fault);
    expect(filesOf(directory)).toEqual(before);
    expect(readdirSync(scratch)).toEqual([]);
    // It can be written to, so that the agent is to start anew.
    expect(await ledger.ended).toMatchObject({ code: 'unavailable', field: 'state_dir' });
  });

  test('is empty where there has never been one', async () => {
    const directory = stateDirectory();
    const scratch = mkdtempSync(join(dirname(directory), 'scratch-'));
    const ledger = await openReadOnly({ directory, witness: witnessOf(directory), scratch, fault });
    expect(await ledger.load()).toMatchObject({ origin: 'existing', mounts: [], attachments: [] });
    expect(readdirSync(directory)).toEqual([]);
  });
});

test('a disk that can be written to has no fault, and nothing is left on it', async () => {
  const directory = stateDirectory();
  expect(await stateDiskFault(directory)).toBeNull();
  expect(readdirSync(directory)).toEqual([]);
});
