// Who the agent runs as. Pure: the text of /etc/passwd comes in; a user and a group go out, or what is wrong.

import type { Identity } from '../config.js';

/** User and group of an agent whose default user does not exist: a number that systemd's DynamicUser would also pick. */
const FALLBACK: Identity = { uid: 61_786, gid: 61_786 };
/** What the kernel shows for users it cannot map (user_namespaces(7)); trusting it would trust all of them. */
const UNMAPPED = 65_534;
const DEFAULT_USER = 'fairlead';

/**
 * The user that `run_as` names, or the fault as a sentence.
 *
 * @param origin `default`: nobody wrote the setting, so that a missing user has a fallback.
 * @param passwd text of /etc/passwd (passwd(5)).
 */
export function resolveUser(user: string, origin: 'default' | 'given', passwd: string): Identity | string {
  const numbers = /^([0-9]+):([0-9]+)$/.exec(user);
  const entry = passwd.split('\n').find((line) => line.startsWith(`${user}:`));
  const found =
    numbers !== null
      ? { uid: Number(numbers[1]), gid: Number(numbers[2]) }
      : entry !== undefined
        ? { uid: Number(entry.split(':')[2]), gid: Number(entry.split(':')[3]) }
        : user === DEFAULT_USER && origin === 'default'
          ? FALLBACK
          : null;
  if (found === null)
    return 'there is no such user in /etc/passwd; create it (useradd --system), or write "uid:gid" in numbers';
  for (const number of [found.uid, found.gid]) {
    if (number === 0) return 'the agent must not run as root, nor in its group; name an unprivileged user';
    if (number === UNMAPPED) return '65534 stands for every user the kernel cannot map; name a user of its own';
    if (!(number < 4_294_967_295)) return 'user and group numbers go up to 4294967294';
  }
  return found;
}
