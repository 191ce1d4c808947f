// Starts the ledger's thread as root, becomes another user, and opens the ledger as that one: what `fairlead up` does.
// Prints the origin or the refusal as JSON.

import { errorBody } from '../../../src/core/errors.js';
import { startLedgerThread } from '../../../src/ledger/client.js';
import { opening } from '../../unit/ledger/samples.js';

const [directory = '', uid = ''] = process.argv.slice(2);
const thread = await startLedgerThread();
if (uid !== '0') {
  process.setgroups?.([]);
  process.setgid?.(Number(uid));
  process.setuid?.(Number(uid));
}
try {
  const ledger = await thread.open(opening(directory));
  process.stdout.write(JSON.stringify({ origin: (await ledger.load()).origin }));
  await ledger.close();
} catch (error) {
  process.stdout.write(JSON.stringify(errorBody(error)));
}
