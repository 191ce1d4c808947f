import * as fs from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { LEDGER_CLOSE_MS, MAX_LEDGER_QUEUE } from '../../../src/core/limits.js';
import type { Change, LedgerSnapshot } from '../../../src/core/records.js';
import type * as Client from '../../../src/ledger/client.js';
import { attachment, ATTACHMENT, contents, HOLD, MOUNT, opening, OPERATION, VOLUME } from './samples.js';
import { buildLedger, clientIn, stateDirectory, withLedger } from './thread.js';

let client: typeof Client;
beforeAll(async () => {
  client = await clientIn(await buildLedger());
});

const ALL: readonly Change[] = [
  { kind: 'put-mount', mount: MOUNT },
  { kind: 'put-attachment', attachment: ATTACHMENT },
  { kind: 'put-hold', hold: HOLD },
  { kind: 'put-operation', operation: OPERATION },
];
const put = (n: number): Change => ({ kind: 'put-attachment', attachment: attachment(n) });
const sequenceIn = (directory: string): number =>
  Number(/sequence (\d+)/.exec(fs.readFileSync(join(directory, 'ledger.mark'), 'utf8'))?.[1]);

describe('the thread', () => {
  test('what was acknowledged is there at the next start, and nothing but the owner may read it', async () => {
    const directory = stateDirectory();
    const first = await withLedger(client, directory, async (ledger) => {
      const found = await ledger.load();
      await ledger.commit(ALL);
      return found;
    });
    expect(first).toEqual({
      origin: 'created',
      mounts: [],
      attachments: [],
      holds: [],
      operations: [],
      setAside: [],
    } satisfies LedgerSnapshot);
    const second = await withLedger(client, directory, async (ledger) => {
      await ledger.commit([put(2)]);
      for (const name of fs.readdirSync(directory)) {
        expect([name, fs.statSync(join(directory, name)).mode & 0o777]).toEqual([name, 0o600]);
      }
      return ledger.load();
    });
    expect(second.origin).toBe('existing');
    expect(contents(second)).toEqual(
      contents({
        ...second,
        mounts: [MOUNT],
        attachments: [ATTACHMENT, attachment(2)],
        holds: [HOLD],
        operations: [OPERATION],
      }),
    );
  });

  test('commits that wait share a transaction, and a refused one does not fail the others', async () => {
    const directory = stateDirectory();
    await withLedger(client, directory, async (ledger) => {
      const before = sequenceIn(directory);
      const consumer = attachment(1).consumer;
      const commits = Array.from({ length: 200 }, (_, n) =>
        ledger.commit(n === 7 ? [{ kind: 'put-attachment', attachment: attachment(999, { consumer }) }] : [put(n)]),
      );
      const settled = await Promise.allSettled(commits);
      expect(settled.filter(({ status }) => status === 'rejected')).toEqual([
        { status: 'rejected', reason: expect.objectContaining({ code: 'conflict' }) as unknown },
      ]);
      expect(sequenceIn(directory) - before).toBe(1);
      expect((await ledger.load()).attachments).toHaveLength(199);
    });
  });

  test('commits take effect in the order in which they were asked for', async () => {
    await withLedger(client, stateDirectory(), async (ledger) => {
      const commits = [];
      for (let n = 0; n < 50; n++) {
        commits.push(ledger.commit([{ kind: 'put-mount', mount: MOUNT }]));
        commits.push(ledger.commit([{ kind: 'forget-mount', leaf: VOLUME.leaf }]));
        if (n % 10 === 0) await commits[n];
      }
      await Promise.all(commits);
      expect((await ledger.load()).mounts).toEqual([]);
    });
  });

  test('more commits than may wait are refused, and those that wait are made', async () => {
    await withLedger(client, stateDirectory(), async (ledger) => {
      const waiting = Array.from({ length: MAX_LEDGER_QUEUE }, () => ledger.commit([put(1)]));
      await expect(ledger.commit([put(2)])).rejects.toMatchObject({ code: 'resource-exhausted', retryable: true });
      await Promise.all(waiting);
      expect((await ledger.load()).attachments).toEqual([attachment(1)]);
    });
  });

  test('closing finishes what waits, then refuses as unavailable, and may be asked for twice', async () => {
    const directory = stateDirectory();
    const thread = await client.startLedgerThread();
    const ledger = await thread.open(opening(directory));
    const waiting = ledger.commit([put(1)]);
    const closing = [ledger.close(), ledger.close()];
    await expect(ledger.commit([put(2)])).rejects.toMatchObject({ code: 'unavailable' });
    await Promise.all([waiting, ...closing]);
    expect(await ledger.ended).toBeNull();
    expect(fs.readdirSync(directory).sort()).toEqual(['ledger.db', 'ledger.mark', 'ledger.reserve']);
    const { attachments } = await withLedger(client, directory, (again) => again.load());
    expect(attachments).toEqual([attachment(1)]);
  });

  test('a second agent on the same directory is refused', async () => {
    const directory = stateDirectory();
    await withLedger(client, directory, async (ledger) => {
      const thread = await client.startLedgerThread();
      await expect(thread.open(opening(directory))).rejects.toMatchObject({ code: 'unavailable' });
      await ledger.commit(ALL);
    });
  });
});

describe('a thread that goes wrong', () => {
  /** The real client beside a thread that does `atCommit` when it is given something to write. */
  async function openBeside(atCommit: string): Promise<Client.OpenLedger> {
    const directory = await buildLedger();
    fs.writeFileSync(
      join(directory, 'worker.js'),
      `import { parentPort } from 'node:worker_threads';
      parentPort.on('message', ({ kind }) => {
        if (kind === 'commit') ${atCommit};
        else parentPort.postMessage({ kind: kind === 'open' ? 'opened' : 'closed' });
        if (kind === 'close') parentPort.close();
      });
      parentPort.postMessage({ kind: 'ready' });`,
    );
    const thread = await (await clientIn(directory)).startLedgerThread();
    return thread.open(opening(stateDirectory()));
  }

  test.each([
    ['dies of an error', `throw new Error('defect')`, { message: 'defect' }],
    ['ends without a word', `process.exit(0)`, null],
    [
      'finds the disk broken',
      `parentPort.postMessage({ kind: 'failed', failure: { body: { code: 'unavailable', message: '', retryable: true }, cause: 'fsync' } })`,
      { message: 'fsync' },
    ],
  ])('%s: whoever waits is told, so is whoever comes later, and closing ends', async (_, atCommit, cause) => {
    const ledger = await openBeside(atCommit);
    const first = ledger.commit([put(1)]);
    const refusals = [first, first.catch(() => ledger.commit([put(2)])), ledger.commit([put(3)])];
    for (const { status, ...rest } of await Promise.allSettled(refusals)) {
      expect([status, rest]).toEqual([
        'rejected',
        { reason: expect.objectContaining({ code: 'unavailable' }) as unknown },
      ]);
    }
    expect(await ledger.ended).toMatchObject({ code: 'unavailable', cause });
    await ledger.close();
  });

  test('does not answer: closing gives up in time and says so', { timeout: LEDGER_CLOSE_MS + 5000 }, async () => {
    const ledger = await openBeside('undefined');
    const waiting = ledger.commit([put(1)]);
    await expect(Promise.all([ledger.close(), waiting])).rejects.toMatchObject({ code: 'unavailable' });
    await expect(waiting).rejects.toMatchObject({ code: 'unavailable' });
  });
});
