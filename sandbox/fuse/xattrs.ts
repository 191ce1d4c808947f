// Extended attributes: `user.*` are the backing file's own, `quobyte.info` is made up as Quobyte's client does, and
// everything else does not exist. What is unknown answers ENODATA: ENOSYS would switch the call off for the mount.
import { getxattr, listxattr, procPath, removexattr, setxattr } from './libc.js';
import { MAX_WRITE, Op, type Request, names, reply } from './protocol.js';
import type { Operation, Served } from './served.js';

const EPERM = 1;
const ERANGE = 34;
const ENOSYS = 38;
const ENODATA = 61;
const EOPNOTSUPP = 95;
const LONGEST = 65_536;
const INFO = 'quobyte.info';

const found = Buffer.allocUnsafeSlow(LONGEST);

/** Answers `bytes` of `found`, or only their number where the caller asked for that. */
function answer(bytes: number, room: number): number {
  if (bytes < 0) return bytes;
  if (room === 0) {
    reply.writeUInt32LE(bytes, 0);
    reply.writeUInt32LE(0, 4);
    return 8;
  }
  if (bytes > Math.min(room, MAX_WRITE)) return -ERANGE;
  return found.copy(reply, 0, 0, bytes);
}

/** Without xattrs (--disable-xattrs) the whole call is missing; the fault `no-xattrs` refuses each, so that it can heal. */
function only(operation: Operation): Operation {
  return (mount, request) => {
    if (mount.xattrs === 'disabled') return -ENOSYS;
    return mount.xattrs === 'refused' ? -EOPNOTSUPP : operation(mount, request);
  };
}

const path = (mount: Served, { node }: Request): string => procPath(mount.nodes.fd(node));

const get: Operation = (mount, request) => {
  const name = names(request.body, 8)[0];
  const room = request.body.readUInt32LE(0);
  if (name === INFO) return answer(found.write(`{"volume":${JSON.stringify(mount.volume)},"client":"sandbox"}`), room);
  return name.startsWith('user.') ? answer(getxattr(path(mount, request), name, found, LONGEST), room) : -ENODATA;
};

const list: Operation = (mount, request) => {
  const own = found.write(`${INFO}\0`);
  const got = listxattr(path(mount, request), found.subarray(own), LONGEST - own);
  if (got < 0) return got;
  const all = found.toString('utf8', 0, own + got).split('\0');
  const kept = all.filter((name) => name === INFO || name.startsWith('user.')).map((name) => `${name}\0`);
  return answer(found.write(kept.join('')), request.body.readUInt32LE(0));
};

const set: Operation = (mount, request) => {
  const { body } = request;
  const name = names(body, 8)[0];
  if (name === INFO) return -EPERM;
  if (!name.startsWith('user.')) return -EOPNOTSUPP;
  const size = body.readUInt32LE(0);
  const value = body.indexOf(0, 8) + 1;
  return setxattr(path(mount, request), name, body.subarray(value, value + size), size, body.readUInt32LE(4));
};

const remove: Operation = (mount, request) => {
  const name = names(request.body, 0)[0];
  return name.startsWith('user.') ? removexattr(path(mount, request), name) : -ENODATA;
};

export const xattrOperations: readonly (readonly [number, Operation])[] = [
  [Op.GETXATTR, only(get)],
  [Op.LISTXATTR, only(list)],
  [Op.SETXATTR, only(set)],
  [Op.REMOVEXATTR, only(remove)],
];
