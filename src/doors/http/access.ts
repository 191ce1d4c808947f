// Who may use the HTTP door: decided once a connection, from what the kernel says about the process at the other end
// (unix(7), SO_PEERCRED). Nothing that a client writes has a say in it.

import type { PeerCredentials } from '../../sys/sockets.js';

/** Who may, besides root. */
export interface AccessRule {
  /** The agent's own user. */
  readonly agentUid: number;
  readonly allowedUids: readonly number[];
  /** The peer's effective group counts, not its supplementary ones, which SO_PEERCRED does not tell. */
  readonly allowedGids: readonly number[];
}

/** Whether this peer may ask anything. A peer that the kernel does not name may not. */
export function mayUse(peer: PeerCredentials | null, rule: AccessRule): boolean {
  if (peer === null) return false;
  return (
    peer.uid === 0 ||
    peer.uid === rule.agentUid ||
    rule.allowedUids.includes(peer.uid) ||
    rule.allowedGids.includes(peer.gid)
  );
}
