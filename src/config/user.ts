// Who the agent runs as. Pure: the text of /etc/passwd comes in; a user and a group go out, or what is wrong.

import type { Identity } from '../config.js';

/** User and group of an agent whose default user does not exist: a number that systemd's DynamicUser would also pick. */
export const FALLBACK_AGENT: Identity = { uid: 61_786, gid: 61_786 };
/** What the kernel shows for users it cannot map (user_namespaces(7)); trusting it would trust all of them. */
const UNMAPPED = 65_534;

/**
 * The user that a setting names, or the fault as a sentence.
 *
 * @param fallback who it is when nobody wrote the setting and the default user does not exist; null: somebody wrote it.
 * @param passwd text of /etc/passwd (passwd(5)).
 */
export function resolveUser(user: string, fallback: Identity | null, passwd: string): Identity | string {
  const found = numbered(user) ?? listed(user, passwd) ?? fallback;
  if (found === null)
    return 'there is no such user in /etc/passwd; create it (useradd --system), or write "uid:gid" in numbers';
  for (const number of [found.uid, found.gid]) {
    if (number === 0) return 'must be neither root nor in its group; name an unprivileged user';
    if (number === UNMAPPED) return '65534 stands for every user the kernel cannot map; name a user of its own';
    if (!(number < 4_294_967_295)) return 'user and group numbers go up to 4294967294';
  }
  return found;
}

/** The user of this name in /etc/passwd, or null. */
export function listed(user: string, passwd: string): Identity | null {
  const entry = passwd.split('\n').find((line) => line.startsWith(`${user}:`));
  return entry === undefined ? null : { uid: Number(entry.split(':')[2]), gid: Number(entry.split(':')[3]) };
}

function numbered(user: string): Identity | null {
  const numbers = /^([0-9]+):([0-9]+)$/.exec(user);
  return numbers === null ? null : { uid: Number(numbers[1]), gid: Number(numbers[2]) };
}
