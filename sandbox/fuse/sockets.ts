// Unix sockets for the serving thread, which has no event loop of Node's: listen, accept, and pass a line together
// with a descriptor (unix(7), SCM_RIGHTS).
import { chmodSync } from 'node:fs';
import { addressOf, foreign, must, umask } from './libc.js';

const AF_UNIX = 1;
const STREAM_NONBLOCK_CLOEXEC = 1 | 0o4000 | 0o2000000;
const MSG_CMSG_CLOEXEC = 0x40000000;
const SCM_RIGHTS = 1;
const BACKLOG = 4096;
/** Bytes that one line may have. */
const LONGEST_LINE = 65_536;

const socket = foreign<[number, number, number]>('int socket(int, int, int)');
const bind = foreign<[number, Uint8Array, number]>('int bind(int, const void *, uint32_t)');
const connectTo = foreign<[number, Uint8Array, number]>('int connect(int, const void *, uint32_t)');
const sendmsg = foreign<[number, Uint8Array, number]>('long sendmsg(int, const void *, int)');
const listenOn = foreign<[number, number]>('int listen(int, int)');
const accept4 = foreign<[number, null, null, number]>('int accept4(int, void *, void *, int)');
const recvmsg = foreign<[number, Uint8Array, number]>('long recvmsg(int, void *, int)');

/** Longest path of a unix socket, in bytes (unix(7): 108 with the final zero). */
export const LONGEST_SOCKET_PATH = 107;

/** Binds and listens at `path`, which must not exist; only this user may connect. */
export function listen(path: string): number {
  const fd = must(socket(AF_UNIX, STREAM_NONBLOCK_CLOEXEC, 0), 'socket');
  const address = addressAt(path);
  const before = umask(0o177);
  must(bind(fd, address, address.length), 'bind');
  umask(before);
  chmodSync(path, 0o600);
  must(listenOn(fd, BACKLOG), 'listen');
  return fd;
}

function addressAt(path: string): Buffer {
  const address = Buffer.alloc(2 + LONGEST_SOCKET_PATH + 1);
  address.writeUInt16LE(AF_UNIX, 0);
  address.write(path, 2, LONGEST_SOCKET_PATH, 'utf8');
  return address;
}

/** Connects to `path` with a socket that blocks; answers the descriptor or -errno. */
export function connect(path: string): number {
  const fd = must(socket(AF_UNIX, 1 | 0o2000000, 0), 'socket');
  const address = addressAt(path);
  const failed = connectTo(fd, address, address.length);
  return failed < 0 ? failed : fd;
}

/** Accepts one connection, or answers -EAGAIN. */
export function accept(fd: number): number {
  return accept4(fd, null, null, 0o4000 | 0o2000000);
}

// One msghdr over one data and one control buffer; the serving thread receives one message at a time.
const data = Buffer.allocUnsafeSlow(LONGEST_LINE);
const control = Buffer.allocUnsafeSlow(64);
const vector = Buffer.allocUnsafeSlow(16);
const header = Buffer.allocUnsafeSlow(56);
vector.writeBigUInt64LE(addressOf(data), 0);
vector.writeBigUInt64LE(BigInt(data.length), 8);

/** What came: `bytes` 0 at the end of the stream, negative errno on failure; `passed` the descriptor that came along. */
export interface Received {
  bytes: number;
  text: string;
  passed: number | undefined;
}

/** Receives what is there, without waiting. */
export function receive(fd: number): Received {
  header.fill(0);
  header.writeBigUInt64LE(addressOf(vector), 16);
  header.writeBigUInt64LE(1n, 24);
  header.writeBigUInt64LE(addressOf(control), 32);
  header.writeBigUInt64LE(BigInt(control.length), 40);
  control.fill(0);
  const bytes = recvmsg(fd, header, MSG_CMSG_CLOEXEC);
  const got = bytes >= 0 && header.readBigUInt64LE(40) >= 20n && control.readInt32LE(12) === SCM_RIGHTS;
  return {
    bytes,
    text: data.toString('utf8', 0, Math.max(bytes, 0)),
    passed: got ? control.readInt32LE(16) : undefined,
  };
}

/** Sends a text and, beside it, a descriptor. */
export function sendWith(fd: number, text: string, passed: number): number {
  const bytes = data.write(text);
  header.fill(0);
  vector.writeBigUInt64LE(BigInt(bytes), 8);
  header.writeBigUInt64LE(addressOf(vector), 16);
  header.writeBigUInt64LE(1n, 24);
  header.writeBigUInt64LE(addressOf(control), 32);
  header.writeBigUInt64LE(24n, 40);
  control.fill(0);
  control.writeBigUInt64LE(20n, 0);
  control.writeInt32LE(1, 8); // SOL_SOCKET
  control.writeInt32LE(SCM_RIGHTS, 12);
  control.writeInt32LE(passed, 16);
  const sent = sendmsg(fd, header, 0);
  vector.writeBigUInt64LE(BigInt(data.length), 8);
  return sent;
}
