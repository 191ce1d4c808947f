// Access control lists of files (acl(5)), in the form in which the kernel takes them (include/uapi/linux/posix_acl_xattr.h). No policy
// here.

import { BUFFER, foreign, INT, SIZE, TEXT } from './foreign.js';

/** What is said of one user or group by number: `access` is rwx as three bits. */
export interface AclEntry {
  readonly id: number;
  readonly access: number;
}

/** A whole list. The mask is the sum of what groups and named users have. */
export interface Acl {
  readonly owner: number;
  readonly users: readonly AclEntry[];
  readonly group: number;
  readonly groups: readonly AclEntry[];
  readonly others: number;
}

const NAME = 'system.posix_acl_access';
const VERSION = 2;
const TAG = { owner: 0x01, user: 0x02, group: 0x04, namedGroup: 0x08, mask: 0x10, others: 0x20 } as const;
/** The number of entries that name nobody. */
const NOBODY = 0xffff_ffff;

const setxattr = foreign('setxattr', [TEXT, TEXT, BUFFER, SIZE, INT]);
const removexattr = foreign('removexattr', [TEXT, TEXT]);

/** Sets the list of the file. Throws SystemCallError: EOPNOTSUPP where the filesystem knows no lists. */
export function setAcl(path: string, acl: Acl): void {
  const bytes = encodeAcl(acl);
  setxattr(path, NAME, bytes, bytes.length, 0);
}

/** Takes the file's list away; what remains are its permission bits. */
export function removeAcl(path: string): void {
  removexattr(path, NAME);
}

/** The kernel wants entries in the order of their tags, and those of one tag in the order of their numbers. */
function encodeAcl({ owner, users, group, groups, others }: Acl): Buffer {
  const inOrder = (tag: number, entries: readonly AclEntry[]): number[][] =>
    [...entries].sort((left, right) => left.id - right.id).map(({ id, access }) => [tag, access, id]);
  const mask = [...users, ...groups].reduce((sum, { access }) => sum | access, group);
  const entries = [
    [TAG.owner, owner, NOBODY],
    ...inOrder(TAG.user, users),
    [TAG.group, group, NOBODY],
    ...inOrder(TAG.namedGroup, groups),
    [TAG.mask, mask, NOBODY],
    [TAG.others, others, NOBODY],
  ];
  const bytes = Buffer.alloc(4 + 8 * entries.length);
  bytes.writeUInt32LE(VERSION, 0);
  for (const [index, [tag = 0, access = 0, id = NOBODY]] of entries.entries()) {
    bytes.writeUInt16LE(tag, 4 + 8 * index);
    bytes.writeUInt16LE(access, 6 + 8 * index);
    bytes.writeUInt32LE(id, 8 + 8 * index);
  }
  return bytes;
}
