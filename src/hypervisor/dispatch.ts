// One connection to the hypervisor process: the serving half of the conversation, with this process's table.

import type { Transport } from '../core/frames.js';
import { type Peer, serve as serveWith } from '../link/session.js';
import type { Context } from './context.js';
import { VERBS } from './verbs.js';

/** Serves a connection until it ends. */
export function serve(context: Context, peer: Peer, transport: Transport): void {
  const { settings, clock, log } = context;
  serveWith({ verbs: VERBS, context, agentUid: settings.agentUid, clock, log }, peer, transport);
}
