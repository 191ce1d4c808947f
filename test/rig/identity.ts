// Doing one thing as another user, in this process: enough to reach a socket as somebody else, since the kernel notes who
// a peer is when it connects (unix(7), SO_PEERCRED).

/** User and group of somebody. */
export interface Identity {
  readonly uid: number;
  readonly gid: number;
}

/** The agent's user where no user `fairlead` exists (docs/decisions/0007). */
export const AGENT: Identity = { uid: 61_786, gid: 61_786 };
/** Somebody who has no business here. */
export const STRANGER: Identity = { uid: 12_345, gid: 12_345 };

/** Runs `work`, which must be synchronous, with the effective ids of `who`, and comes back to root. */
export function as<T>({ uid, gid }: Identity, work: () => T): T {
  const { setegid, seteuid, getgroups, setgroups } = process;
  if (!setegid || !seteuid || !getgroups || !setgroups) throw new Error('this is not a POSIX system');
  const groups = getgroups();
  setgroups([]);
  setegid(gid);
  seteuid(uid);
  try {
    return work();
  } finally {
    seteuid(0);
    setegid(0);
    setgroups(groups);
  }
}
