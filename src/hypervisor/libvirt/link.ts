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
  /** Called when libvirt owes nothing any more. */
  readonly over: () => void;
}

/** How a connection is used. */
export interface LinkUse {
  readonly clock: Clock;
  /** Told of devices; null: nobody wants to know. */
  readonly onEvent: ((event: DeviceEvent) => void) | null;
  /** Called when there is place for a call again, and when the connection has ended. */
  onChange(): void;
  /**
   * What a call that took too long means. `retire`: nothing more is asked on its connection, which ends when nobody waits any more.
   * `keep`: libvirt is still at it, so its place stays taken until libvirt answers.
   */
  readonly late: 'retire' | 'keep';
}

const lost = (): FairleadError =>
  new FairleadError(
    'unavailable',
    'The connection to libvirt ended before it answered. Look at the domain, then try again.',
  );

/** A connection. */
export class Link {
  readonly #socket: Socket;
  readonly #use: LinkUse;
  readonly #decoder = new PacketDecoder();
  /** Every call that libvirt owes a reply for. */
  readonly #waiting = new Map<number, Waiting>();
  #next = 1;
  #open = true;
  #retired = false;
  #reserved = 0;

  constructor(socket: Socket, use: LinkUse) {
    this.#socket = socket;
    this.#use = use;
    socket.on('error', () => {
      // 'close' follows, and ends what waits.
    });
    socket.on('data', (bytes: Buffer) => this.#receive(bytes));
    socket.on('close', () => this.end());
  }

  /** Whether it has ended. */
  get ended(): boolean {
    return !this.#open;
  }

  /** Keeps a place for a call, which must follow; false where there is none. */
  reserve(): boolean {
    const free = this.#open && !this.#retired && this.#waiting.size + this.#reserved < MAX_LIBVIRT_CALLS;
    if (free) this.#reserved += 1;
    return free;
  }

  /** Ends the connection at once, and what waits with `unavailable`. */
  end(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#socket.destroy();
    for (const { settle, over } of this.#waiting.values()) {
      settle?.('closed');
      over();
    }
    this.#waiting.clear();
    this.#use.onChange();
  }

  /** Takes leave of libvirt, so that it does not log a lost client. */
  leave(): void {
    if (this.#open && this.#waiting.size === 0) this.#socket.write(packetFor(this.#next, 'connectClose', null));
    this.#socket.end();
    this.end();
  }

  /** Calls in the place that was reserved, and waits for the answer until `until` on the clock; `over` is called when libvirt is done with it, maybe much later. */
  async call<P extends ProcedureName>(
    name: P,
    args: ArgsOf<P>,
    until: number,
    over: () => void = () => undefined,
  ): Promise<ResultOf<P>> {
    const { clock, late } = this.#use;
    const serial = this.#next++;
    const waiting: Waiting = { procedure: PROCEDURES[name].number, settle: null, over };
    const answered = new Promise<Answer>((resolve) => {
      waiting.settle = resolve;
    });
    this.#reserved -= 1;
    this.#ask(serial, waiting, () => packetFor(serial, name, args));
    const timeUp = new AbortController();
    void clock.sleep(Math.max(0, until - clock.now()), timeUp.signal).then(() => waiting.settle?.('late'));
    const answer = await answered;
    waiting.settle = null;
    timeUp.abort();
    if (answer === 'late') {
      if (late === 'retire') this.#retire();
      throw new FairleadError(
        'deadline-exceeded',
        'libvirt did not answer in time. Look at the domain, then try again.',
      );
    }
    if (this.#retired) this.#retire();
    if (answer === 'closed') throw lost();
    return this.#result(name, answer);
  }

  #ask(serial: number, waiting: Waiting, packet: () => Uint8Array): void {
    try {
      if (!this.#open) throw lost();
      this.#socket.write(packet());
    } catch (error) {
      waiting.over();
      throw error;
    }
    this.#waiting.set(serial, waiting);
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
    waiting.over();
    this.#use.onChange();
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
        this.#use.onEvent?.({ domain: uuidText(domain.uuid), alias, what });
      } catch (error) {
        if (!(error instanceof XdrError)) throw error;
        return false;
      }
    }
    return true;
  }
}

function packetFor<P extends ProcedureName>(serial: number, name: P, args: ArgsOf<P>): Uint8Array {
  const { number, args: shape } = PROCEDURES[name];
  const payload = encode(shape as AnyShape as Shape<ArgsOf<P>>, args);
  return encodePacket({ ...REMOTE, procedure: number, type: TYPE.call, serial, status: STATUS.ok, payload });
}
