// A process that opens a ledger and does nothing else: a line `opening` before, `opened` after. Written to be killed.

import * as fs from 'node:fs';
import { startLedgerThread } from '../../../src/ledger/client.js';
import { opening } from '../../unit/ledger/samples.js';

const directory = process.argv[2] ?? '';
const thread = await startLedgerThread();
fs.writeSync(1, 'opening\n');
await thread.open(opening(directory));
fs.writeSync(1, 'opened\n');
// The thread keeps the process alive only while it works.
setInterval(() => undefined, 1000);
