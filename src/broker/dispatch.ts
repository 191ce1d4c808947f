// One connection to the broker: the serving half of the conversation, with the broker's table.

import type { Transport } from '../core/frames.js';
import { type Peer, serve as serveWith } from '../link/session.js';
import type { Context } from './context.js';
import { VERBS } from './verbs.js';

/** Serves a connection until it ends. */
export function serve(context: Context, peer: Peer, transport: Transport): void {
  const { settings, machine, log } = context;
  serveWith({ verbs: VERBS, context, agentUid: settings.agentUid, clock: machine.clock, log }, peer, transport);
}
