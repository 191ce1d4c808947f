// A process that commits without end and says so: a line `+N` once attachment N is acknowledged, `?N` before its end is
// asked for, `-N` once that is acknowledged. Written to be killed.

import * as fs from 'node:fs';
import { startLedgerThread } from '../../../src/ledger/client.js';
import { attachment, MOUNT, opening, volumeOf } from '../../unit/ledger/samples.js';

const [directory = '', start = ''] = process.argv.slice(2);
/** Commits in flight at the same time. */
const WRITERS = 24;

const thread = await startLedgerThread();
const ledger = await thread.open(opening(directory));
const say = (line: string): void => void fs.writeSync(1, `${line}\n`);
let next = Number(start);

async function write(): Promise<never> {
  for (;;) {
    const n = next++;
    const volume = volumeOf(`reg/vol-${n}`);
    await ledger.commit([
      { kind: 'put-mount', mount: { ...MOUNT, volume } },
      { kind: 'put-attachment', attachment: attachment(n, { leaf: volume.leaf }) },
    ]);
    say(`+${n}`);
    if (n % 3 === 0) continue;
    say(`?${n}`);
    await ledger.commit([
      { kind: 'end-attachment', id: attachment(n).id },
      { kind: 'forget-mount', leaf: volume.leaf },
    ]);
    say(`-${n}`);
  }
}

await Promise.all(Array.from({ length: WRITERS }, write));
