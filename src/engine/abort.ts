// Abort: an operator's way out for a mount that hangs. No lock is taken, since whoever has it may be what hangs. Afterwards the mount is
// dead, and is treated like any other that died: replaced for its users, or taken away.

import { FairleadError } from '../core/errors.js';
import type { AbortReply, RequestContext } from '../core/requests.js';
import type { Leaf } from '../core/volume.js';
import type { Caretaker } from './caretaker.js';
import type { Context } from './context.js';

/** Cuts the connection of a recorded mount that hangs now; `conflict` if it does not. */
export async function abort(
  context: Context,
  caretaker: Caretaker,
  leaf: Leaf,
  { deadlineMs }: RequestContext,
): Promise<AbortReply> {
  const { state, ports } = context;
  context.checkRunning();
  const record = state.mounts.get(leaf);
  if (record === undefined) {
    throw new FairleadError('not-found', 'No mount is recorded under this leaf. `fairlead ls` shows those that are.', {
      leaf,
    });
  }
  const usedBy = state.usersOf(leaf);
  const { verdict, reason } = await ports.broker.abort(record.volume, deadlineMs);
  context.looks.forget(leaf);
  ports.log.warn('aborted', { leaf, usedBy });
  Object.assign(state.sightOf(leaf), { verdict, verdictAt: ports.clock.now() });
  caretaker.schedule(record.volume);
  return { leaf, verdict, reason, usedBy };
}
