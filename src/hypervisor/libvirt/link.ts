// One connection to libvirt: calls go out with numbers, replies come back to whom they belong, and nothing that libvirt sends is trusted.
// Whatever is not its protocol ends the connection, and with it everything that waits.

import type { Socket } from 'node:net';
import type { Clock } from '../../core/clock.js';
import { FairleadError } from '../../core/errors.js';
import { MAX_LIBVIRT_CALLS } from '../../core/limits.js';
import { explainLibvirt, LibvirtError } from './errors.js';
import type { DeviceEvent } from './libvirt.js';
import { encodePacket, type Packet, PacketDecoder, STATUS, TYPE } from './packets.js';
import {
  type ArgsOf,
  ERROR,
  EVENTS,
  KEEPALIVE,
  PROCEDURES,
  type ProcedureName,
  REMOTE,
  type ResultOf,
} from './procedures.js';
import { uuidText } from './uuid.js';
import { type AnyShape, decode, encode, type Shape, XdrError } from './xdr.js';

type Answer = Packet | 'closed' | 'late';

interface Waiting {
  readonly procedure: number;
  /** Null once the caller has given up; libvirt still owes the reply. */
  settle: ((answer: Answer) => void) | null;
}

const lost = (): FairleadError =>
  new FairleadError(
    'unavailable',
    'The connection to libvirt ended before it answered. Look at the domain, then try again.',
  );

/** A connection. */
export class Link {
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #decoder = new PacketDecoder();
  /** Every call that libvirt owes a reply for. */
  readonly #waiting = new Map<number, Waiting>();
  readonly #onEvent: ((event: DeviceEvent) => void) | null;
  readonly #onChange: () => void;
  #next = 1;
  #open = true;
  /** A call took too long: nothing more is asked here, and when nobody waits any more it ends. */
  #retired = false;

  /** `onChange` is called when there is place for a call again, and when the connection has ended. */
  constructor(socket: Socket, clock: Clock, onEvent: ((event: DeviceEvent) => void) | null, onChange: () => void) {
    this.#socket = socket;
    this.#clock = clock;
    this.#onEvent = onEvent;
    this.#onChange = onChange;
    socket.on('error', () => {
      // 'close' follows, and ends what waits.
    });
    socket.on('data', (bytes: Buffer) => this.#receive(bytes));
    socket.on('end', () => socket.destroy());
    socket.on('close', () => this.end());
  }

  /** Whether it has ended. */
  get ended(): boolean {
    return !this.#open;
  }

  /** Whether a call may be made now. */
  get free(): boolean {
    return this.#open && !this.#retired && this.#waiting.size < MAX_LIBVIRT_CALLS;
  }

  /** Ends the connection at once, and what waits with `unavailable`. */
  end(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#socket.destroy();
    for (const { settle } of this.#waiting.values()) settle?.('closed');
    this.#waiting.clear();
    this.#onChange();
  }

  /** Takes leave of libvirt, so that it does not log a lost client. */
  leave(): void {
    if (this.#open && this.#waiting.size === 0) this.#send(this.#next, 'connectClose', null);
    this.#socket.end();
    this.end();
  }

  /** Calls, and waits for the answer until `until` on the clock. */
  async call<P extends ProcedureName>(name: P, args: ArgsOf<P>, until: number): Promise<ResultOf<P>> {
    const serial = this.#next++;
    const waiting: Waiting = { procedure: PROCEDURES[name].number, settle: null };
    const answered = new Promise<Answer>((resolve) => {
      waiting.settle = resolve;
    });
    this.#send(serial, name, args);
    this.#waiting.set(serial, waiting);
    const timeUp = new AbortController();
    void this.#clock.sleep(Math.max(0, until - this.#clock.now()), timeUp.signal).then(() => waiting.settle?.('late'));
    const answer = await answered;
    waiting.settle = null;
    timeUp.abort();
    if (answer === 'late') {
      this.#retire();
      throw new FairleadError(
        'deadline-exceeded',
        'libvirt did not answer in time. Look at the domain, then try again.',
      );
    }
    if (this.#retired) this.#retire();
    if (answer === 'closed') throw lost();
    return this.#result(name, answer);
  }

  #result<P extends ProcedureName>(name: P, { status, payload }: Packet): ResultOf<P> {
    try {
      if (status === STATUS.ok) return decode(PROCEDURES[name].result as Shape<ResultOf<P>>, payload);
      const { code, domain, message } = decode(ERROR, payload);
      throw explainLibvirt(new LibvirtError(code, domain, message ?? ''));
    } catch (error) {
      if (!(error instanceof XdrError)) throw error;
      this.end();
      throw lost();
    }
  }

  #retire(): void {
    this.#retired = true;
    if ([...this.#waiting.values()].every(({ settle }) => settle === null)) this.end();
  }

  #send<P extends ProcedureName>(serial: number, name: P, args: ArgsOf<P>): void {
    const { number, args: shape } = PROCEDURES[name];
    const payload = encode(shape as AnyShape as Shape<ArgsOf<P>>, args);
    this.#socket.write(
      encodePacket({ ...REMOTE, procedure: number, type: TYPE.call, serial, status: STATUS.ok, payload }),
    );
  }

  #receive(bytes: Uint8Array): void {
    const { packets, broken } = this.#decoder.push(bytes);
    for (const packet of packets) {
      if (this.#open && !this.#take(packet)) this.end();
    }
    if (broken) this.end();
  }

  /** Whether the packet is one that libvirt may send. */
  #take(packet: Packet): boolean {
    const { program, version, type, serial, status } = packet;
    if (program === KEEPALIVE.program) return version === KEEPALIVE.version && this.#keepAlive(packet);
    if (program !== REMOTE.program || version !== REMOTE.version) return false;
    if (type === TYPE.message) return this.#event(packet);
    const waiting = this.#waiting.get(serial);
    if (type !== TYPE.reply || waiting?.procedure !== packet.procedure) return false;
    if (status !== STATUS.ok && status !== STATUS.error) return false;
    this.#waiting.delete(serial);
    waiting.settle?.(packet);
    this.#onChange();
    return true;
  }

  #keepAlive({ procedure, type, payload }: Packet): boolean {
    if (type !== TYPE.message || payload.length > 0) return false;
    if (procedure !== KEEPALIVE.ping) return procedure === KEEPALIVE.pong;
    const { program, version, pong } = KEEPALIVE;
    this.#socket.write(
      encodePacket({ program, version, procedure: pong, type, serial: 0, status: STATUS.ok, payload }),
    );
    return true;
  }

  /** Events of other kinds than those that were asked for mean nothing here. */
  #event({ procedure, payload }: Packet): boolean {
    for (const what of ['removed', 'kept'] as const) {
      if (EVENTS[what].number !== procedure) continue;
      try {
        const { domain, alias } = decode(EVENTS[what].message, payload);
        this.#onEvent?.({ domain: uuidText(domain.uuid), alias, what });
      } catch (error) {
        if (!(error instanceof XdrError)) throw error;
        return false;
      }
    }
    return true;
  }
}
