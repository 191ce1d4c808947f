// The life of a ledger whose run_dir fills up and becomes read-only, run with a small tmpfs on that directory in a
// mount namespace of its own. Prints what it saw as JSON.

import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { dirname, join } from 'node:path';
import { startLedgerThread } from '../../../src/ledger/client.js';
import { attachment, opening, witnessOf } from '../../unit/ledger/samples.js';

const directory = process.argv[2] ?? '';
const run = dirname(witnessOf(directory));
const filler = join(run, 'filler');
let next = 1;
let setAside: readonly unknown[] = [];

/** Opens the ledger, commits a little, and tells how that went and what an operator was told. */
async function live(): Promise<readonly unknown[]> {
  const told: string[] = [];
  const thread = await startLedgerThread();
  const ledger = await thread.open({ ...opening(directory), warn: (event) => told.push(event) });
  const { origin, setAside: aside } = await ledger.load();
  setAside = aside;
  const commits = [next++, next++, next++].map((n) =>
    ledger.commit([{ kind: 'put-attachment', attachment: attachment(n) }]),
  );
  const ends = await Promise.allSettled(commits);
  await ledger.close();
  return [origin, ends.every(({ status }) => status === 'fulfilled') ? 'ok' : 'refused', told];
}

function fill(): void {
  const descriptor = fs.openSync(filler, 'a', 0o600);
  const block = Buffer.alloc(4096, 1);
  try {
    for (;;) fs.writeSync(descriptor, block);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
  }
  fs.closeSync(descriptor);
}

function remount(how: 'ro' | 'rw'): void {
  const { status, stderr } = spawnSync('mount', ['-o', `remount,${how}`, run], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`remount failed: ${stderr}`);
}

const sequenceIn = (path: string): string => /sequence (\d+)/.exec(fs.readFileSync(path, 'utf8'))?.[1] ?? '';
const isExact = (): boolean => sequenceIn(witnessOf(directory)) === sequenceIn(join(directory, 'ledger.mark'));
const seen: Record<string, unknown> = {};

fill();
seen['fullAtFirst'] = await live();
fs.rmSync(filler);
seen['withRoom'] = await live();
fill();
seen['fullLater'] = await live();
seen['exact'] = isExact();
remount('ro');
seen['readOnly'] = await live();
seen['behind'] = !isExact();
remount('rw');
seen['writableAgain'] = await live();
seen['setAside'] = setAside;
process.stdout.write(`${JSON.stringify(seen)}\n`);
