// For `--show-helper-output`: root asks the broker itself, past the agent, which never sees what is withheld.

import { dirname, join } from 'node:path';
import { BrokerClient } from './broker/client.js';
import { SOCKET } from './broker/protocol.js';
import { DEFAULT_SHORT_DEADLINE_MS } from './core/limits.js';
import type { Leaf } from './core/volume.js';
import { dialSocket } from './link/socket-transport.js';
import { systemClock } from './sys/clock.js';

/** All that the latest helper of the leaf said; null: the broker has nothing of it. The broker's socket is beside the agent's. */
export async function wholeHelperOutput(agentSocket: string, leaf: string): Promise<string | null> {
  const socket = join(dirname(agentSocket), SOCKET);
  const broker = new BrokerClient({ clock: systemClock, dial: () => dialSocket(socket) });
  try {
    return await broker.helperOutput(leaf as Leaf, DEFAULT_SHORT_DEADLINE_MS);
  } finally {
    broker.close();
  }
}
