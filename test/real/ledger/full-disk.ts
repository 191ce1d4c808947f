// The life of a ledger on a disk that fills up, run on a small tmpfs in a mount namespace of its own. Prints what it
// saw as JSON.

import * as fs from 'node:fs';
import { join } from 'node:path';
import { FairleadError } from '../../../src/core/errors.js';
import { LEDGER_RESERVE_BYTES } from '../../../src/core/limits.js';
import type { Change, OperationRecord } from '../../../src/core/records.js';
import { startLedgerThread, type OpenLedger } from '../../../src/ledger/client.js';
import { attachment, MOUNT, opening, OPERATION, volumeOf } from '../../unit/ledger/samples.js';

const directory = process.argv[2] ?? '';
const filler = join(directory, 'filler');
/** Attachments that exist when the disk becomes full. */
const EXISTING = 50;
/** Ends written while it is full. Each takes two commits of several pages: far more than the reserve holds at once. */
const ENDS = 1000;

const volume = (n: number) => volumeOf(`reg/vol-${n}`);
const attach = (n: number): readonly Change[] => [
  { kind: 'put-mount', mount: { ...MOUNT, volume: volume(n) } },
  { kind: 'put-attachment', attachment: attachment(n, { leaf: volume(n).leaf }) },
];
const operation = (kind: OperationRecord['kind'], n: number): Change => ({
  kind: 'put-operation',
  operation: { ...OPERATION, id: volume(n).leaf as string as OperationRecord['id'], kind, volume: volume(n) },
});

function fillDisk(): void {
  const descriptor = fs.openSync(filler, 'a', 0o600);
  const block = Buffer.alloc(65_536, 1);
  for (let size = block.length; size >= 1;) {
    try {
      fs.writeSync(descriptor, block, 0, size);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
      size >>= 1;
    }
  }
  fs.closeSync(descriptor);
}

/** `ok`, or the code of the refusal. */
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

const reservePath = join(directory, 'ledger.reserve');
const reserve = (): number => fs.statSync(reservePath).size;
const seen: Record<string, unknown> = {};

let ledger = await open();
for (let n = 0; n < EXISTING; n++) await ledger.commit(attach(n));
await ledger.commit([operation('connect', 0)]);
seen['reserve'] = reserve();

fillDisk();
// The log may have room left in what it has already; then it has not.
let attached = EXISTING;
let refusal = 'ok';
while (attached < 5000 && refusal === 'ok') {
  refusal = await end(ledger.commit(attach(attached)));
  if (refusal === 'ok') attached += 1;
}
seen['refusal'] = refusal;
seen['reserveWhenFull'] = reserve();
seen['newConnect'] = await end(ledger.commit([operation('connect', 9999)]));
seen['openConnect'] = await end(ledger.commit([{ ...operation('connect', 0) }]));

const ends = new Set<string>();
for (let n = 0; n < ENDS; n++) {
  const { leaf } = volume(n % attached);
  ends.add(
    await end(
      ledger.commit([{ kind: 'end-attachment', id: attachment(n % attached).id }, operation('release', n % attached)]),
    ),
  );
  const close = { kind: 'close-operation', id: leaf as string as OperationRecord['id'] } as const;
  ends.add(await end(ledger.commit([{ kind: 'forget-mount', leaf }, { kind: 'lift-hold', leaf }, close])));
}
seen['ends'] = [...ends];
seen['stillRefused'] = await end(ledger.commit(attach(attached)));
const mixed = await Promise.all([
  end(ledger.commit(attach(attached))),
  end(ledger.commit([{ kind: 'end-attachment', id: attachment(attached - 1).id }])),
]);
seen['mixedGroup'] = mixed;
await ledger.close();

// A start on a full disk: what is recorded is there, and ends are still written.
ledger = await open();
const snapshot = await ledger.load();
seen['restart'] = [snapshot.origin, snapshot.attachments.length === Math.max(0, attached - ENDS - 1)];
seen['endAfterRestart'] = await end(ledger.commit([{ kind: 'end-attachment', id: attachment(1).id }]));
seen['attachAfterRestart'] = await end(ledger.commit(attach(attached)));

fs.rmSync(filler);
seen['attachWithRoom'] = await end(ledger.commit(attach(attached)));
seen['reserveAgain'] = reserve();
await ledger.close();

ledger = await open();
seen['last'] = (await ledger.load()).attachments.some(({ id }) => id === attachment(attached).id);
await ledger.close();

// A reserve that is full of holes is none, and one that somebody deletes meanwhile has nothing to give up.
fs.truncateSync(reservePath, 0);
fs.truncateSync(reservePath, LEDGER_RESERVE_BYTES);
ledger = await open();
seen['reserveWithoutHoles'] = fs.statSync(reservePath).blocks * 512;
fs.rmSync(reservePath);
fillDisk();
refusal = 'ok';
for (let n = 6000; n < 11_000 && refusal === 'ok'; n++) refusal = await end(ledger.commit(attach(n)));
seen['refusalWithoutReserve'] = refusal;
process.stdout.write(`${JSON.stringify(seen)}\n`);
await ledger.close();
