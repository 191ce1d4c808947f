// One mount's connection to the kernel: reads its requests, answers them, and misbehaves as its volume's faults say.
import { type Fault, find } from '../faults.js';
import { close, read, write } from './libc.js';
import { Nodes } from './nodes.js';
import { changing, operations } from './operations.js';
import { OUT_HEADER, Op, REQUEST_BYTES, type Request, initReply, parseRequest, replyBuffer } from './protocol.js';
import type { Served } from './served.js';
import { WriteBack } from './write-back.js';

const EAGAIN = 11;
const EINTR = 4;
const ENOENT = 2;
const EIO = 5;
const ENOSYS = 38;
const EROFS = 30;
const O_ACCMODE = 3;

/** Requests that are answered in one go before other mounts get their turn. */
const TURN = 64;
/** Requests that are held unanswered; further ones stay unread. */
const MOST_HELD = 1024;

const request = Buffer.allocUnsafeSlow(REQUEST_BYTES);

export class Mounted implements Served {
  readonly fd: number;
  readonly volume: string;
  readonly nodes: Nodes;
  readonly open = new Set<number>();
  readonly written = new WriteBack();
  readonly #xattrs: Served['xattrs'];
  readonly #held: Buffer[] = [];
  #faults: readonly Fault[] = [];
  #errno = 0;
  #closed = false;

  /** Takes over `fd`, a descriptor of /dev/fuse that has been mounted; `root` is the directory behind the volume. */
  constructor(fd: number, volume: string, root: string, xattrs: 'offered' | 'disabled') {
    this.fd = fd;
    this.volume = volume;
    this.nodes = new Nodes(root, (key) => this.written.sizeOf(key));
    this.#xattrs = xattrs;
  }

  get rootSize(): bigint {
    return BigInt(find(this.#faults, 'root-size')?.bytes ?? 0);
  }
  get xattrs(): Served['xattrs'] {
    return this.#xattrs === 'offered' && find(this.#faults, 'no-xattrs') !== undefined ? 'refused' : this.#xattrs;
  }
  /** Whether requests shall be read at all. */
  get listens(): boolean {
    return find(this.#faults, 'hang-unread') === undefined && this.#held.length < MOST_HELD;
  }

  /** Puts the volume's faults in force; what was held and is not to be held any more gets its answer. */
  misbehave(faults: readonly Fault[]): void {
    this.#faults = faults;
    this.#errno = find(faults, 'errno')?.errno ?? 0;
    this.written.active = find(faults, 'slow-end') !== undefined;
    if (!this.written.active) this.written.store();
    for (const held of this.#held.splice(0)) this.#take(held);
  }

  /** Answers what the kernel has for us; false when the mount is gone. */
  serve(): boolean {
    for (let i = 0; i < TURN && this.listens; i++) {
      const bytes = read(this.fd, request, REQUEST_BYTES);
      if (bytes >= 0) this.#take(request.subarray(0, bytes));
      else if (bytes === -EAGAIN) return true;
      else if (bytes !== -EINTR && bytes !== -ENOENT) return false;
    }
    return true;
  }

  /**
   * Closes the connection: the kernel answers ENOTCONN to everything from now on, held requests included. What was written
   * and is not stored stays for whoever stores it.
   */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    close(this.fd);
    for (const fd of this.open) close(fd);
    this.nodes[Symbol.dispose]();
  }

  #take(bytes: Buffer): void {
    const asked = parseRequest(bytes);
    switch (asked.op) {
      case Op.FORGET:
        this.nodes.forget(asked.node, Number(asked.body.readBigUInt64LE(0)));
        return;
      case Op.BATCH_FORGET:
        for (let i = 0; i < asked.body.readUInt32LE(0); i++) {
          this.nodes.forget(asked.body.readUIntLE(8 + 16 * i, 6), Number(asked.body.readBigUInt64LE(16 + 16 * i)));
        }
        return;
      case Op.INTERRUPT: // we never wait for anything that could be interrupted
        return;
      case Op.INIT:
        this.#answer(asked.unique, initReply(asked.body));
        return;
      default:
        if (this.#holds(asked.op)) this.#held.push(Buffer.from(bytes));
        else this.#answer(asked.unique, this.#work(asked));
    }
  }

  #holds(op: number): boolean {
    const faults = this.#faults;
    if (faults.length === 0) return false;
    if (find(faults, 'hang-unread') !== undefined) return true; // held before: it shall not get away
    return (
      find(faults, 'hang-unanswered') !== undefined || (op === Op.STATFS && find(faults, 'hang-statfs') !== undefined)
    );
  }

  /** Does what was asked; answers the payload's bytes or -errno. */
  #work(asked: Request): number {
    const { op } = asked;
    const releases = op === Op.RELEASE || op === Op.RELEASEDIR;
    if (this.#errno !== 0 && !releases) return -this.#errno;
    if (this.#faults.length > 0 && find(this.#faults, 'read-only') !== undefined) {
      const writes = op === Op.OPEN && (asked.body.readUInt32LE(0) & O_ACCMODE) !== 0;
      if (writes || changing.has(op)) return -EROFS;
    }
    const operation = operations.get(op);
    if (operation === undefined) return -ENOSYS;
    try {
      return operation(this, asked);
    } catch (error) {
      return -Math.abs((error as NodeJS.ErrnoException).errno ?? EIO);
    }
  }

  #answer(unique: bigint, result: number): void {
    const bytes = OUT_HEADER + Math.max(result, 0);
    replyBuffer.writeUInt32LE(bytes, 0);
    replyBuffer.writeInt32LE(Math.min(result, 0), 4);
    replyBuffer.writeBigUInt64LE(unique, 8);
    write(this.fd, replyBuffer, bytes); // a caller that has gone away makes this fail, which is nobody's loss
  }
}
