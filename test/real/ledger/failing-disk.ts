// A ledger whose disk fails under it: writes beyond the first kilobyte of any file are refused by the kernel (EFBIG, set
// by prlimit(1)), which SQLite reports as an input/output error. Prints what it saw as JSON.

import { spawnSync } from 'node:child_process';
import { FairleadError } from '../../../src/core/errors.js';
import { startLedgerThread, type OpenLedger } from '../../../src/ledger/client.js';
import { attachment, opening } from '../../unit/ledger/samples.js';

const directory = process.argv[2] ?? '';

async function end(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return 'ok';
  } catch (error) {
    if (!(error instanceof FairleadError)) throw error;
    return error.code;
  }
}

async function open(): Promise<OpenLedger> {
  const thread = await startLedgerThread();
  return thread.open(opening(directory));
}

const put = (ledger: OpenLedger, n: number): Promise<string> =>
  end(ledger.commit([{ kind: 'put-attachment', attachment: attachment(n) }]));
function limitFiles(size: string): void {
  const { status } = spawnSync('prlimit', ['--pid', String(process.pid), `--fsize=${size}:unlimited`], {
    stdio: 'inherit',
  });
  if (status !== 0) throw new Error('prlimit failed');
}

const ledger = await open();
const before = await put(ledger, 1);
limitFiles('1024');
const after = await put(ledger, 2);
const later = await put(ledger, 3);
const ended = (await ledger.ended)?.code;
limitFiles('unlimited');
const stillLater = await put(ledger, 4);
await ledger.close();
const again = await open();
const { origin, attachments } = await again.load();
process.stdout.write(
  `${JSON.stringify({ before, after, later, ended, stillLater, restart: [origin, attachments.length] })}\n`,
);
await again.close();
