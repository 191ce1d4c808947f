// After a step that ended `unknown` nobody may touch the leaf until it is certain that nothing acts there any more. The
// lock is kept meanwhile; the leaf is shown as stuck; whoever asks for it is told so.

import { FairleadError } from '../core/errors.js';
import { RETRY_FIRST_MS, RETRY_LAST_MS } from '../core/limits.js';
import type { Volume } from '../core/volume.js';
import type { Context } from './context.js';

/** Milliseconds for one attempt to settle a leaf. */
const SETTLE_BUDGET_MS = 5000;

/** Resolves when nothing acts on the leaf any more; rejects only when the engine stops. The caller holds the lock. */
export async function settle(context: Context, volume: Volume): Promise<void> {
  const { leaf } = volume;
  for (let pause = RETRY_FIRST_MS; ; pause = Math.min(pause * 2, RETRY_LAST_MS)) {
    context.checkRunning();
    const obstacle = await attempt(context, volume);
    if (obstacle === null) break;
    context.setStuck(leaf, obstacle);
    context.ports.log.warn('stuck', { leaf, error: obstacle });
    await context.pause(pause);
  }
  context.clearStuck(leaf);
}

async function attempt(context: Context, volume: Volume): Promise<FairleadError | null> {
  try {
    if ((await context.ports.broker.settle(volume, SETTLE_BUDGET_MS)) === 'settled') return null;
    return new FairleadError(
      'stuck',
      'An earlier operation on this volume is not over: its helper or its unmount may still act. `fairlead ls` shows it; it is worked off.',
      { leaf: volume.leaf },
    );
  } catch (error) {
    if (error instanceof FairleadError) return error;
    // Whatever it was, nobody knows that the leaf is at rest.
    return new FairleadError('internal', 'Looking after an earlier operation failed; the log of the agent says why.', {
      leaf: volume.leaf,
      cause: error,
    });
  }
}
