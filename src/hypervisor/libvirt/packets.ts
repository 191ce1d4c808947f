// libvirt's packets: what goes over the socket in either direction (libvirt's src/rpc/virnetprotocol.x). Pure. A packet is its own length in
// bytes, these four included, then a header of six words, then the payload.

import { MAX_LIBVIRT_MESSAGE_BYTES } from '../../core/limits.js';

/** virNetMessageType, as far as it may come or go here. */
export const TYPE = { call: 0, reply: 1, message: 2 } as const;
/** virNetMessageStatus. */
export const STATUS = { ok: 0, error: 1 } as const;

/** One packet. */
export interface Packet {
  readonly program: number;
  readonly version: number;
  readonly procedure: number;
  readonly type: number;
  /** Chosen by the caller and repeated in the reply; 0 in messages. */
  readonly serial: number;
  readonly status: number;
  readonly payload: Uint8Array;
}

/** Bytes of the length. */
const LENGTH_BYTES = 4;
/** Bytes before the payload. */
const HEAD_BYTES = LENGTH_BYTES + 24;

/** The bytes of a packet. */
export function encodePacket(packet: Packet): Uint8Array {
  const bytes = Buffer.alloc(HEAD_BYTES + packet.payload.length);
  const { program, version, procedure, type, serial, status } = packet;
  [bytes.length, program, version, procedure, type, serial, status].forEach((word, index) => {
    bytes.writeUInt32BE(word, index * 4);
  });
  bytes.set(packet.payload, HEAD_BYTES);
  return bytes;
}

/** Cuts a stream of bytes into packets. */
export class PacketDecoder {
  #chunks: Uint8Array[] = [];
  #bytes = 0;
  #broken = false;

  /** The packets that these bytes complete. `broken`: a length that cannot be; nothing can be read any more. */
  push(bytes: Uint8Array): { readonly packets: readonly Packet[]; readonly broken: boolean } {
    const packets: Packet[] = [];
    this.#chunks.push(bytes);
    this.#bytes += bytes.length;
    while (!this.#broken && this.#bytes >= LENGTH_BYTES) {
      const length = this.#join(LENGTH_BYTES).readUInt32BE(0);
      this.#broken = length < HEAD_BYTES || length > MAX_LIBVIRT_MESSAGE_BYTES;
      if (this.#broken || this.#bytes < length) break;
      packets.push(packetOf(this.#join(length).subarray(0, length)));
      this.#drop(length);
    }
    return { packets, broken: this.#broken };
  }

  /** What has come, with at least so many bytes in the first chunk. */
  #join(bytes: number): Buffer {
    let [first] = this.#chunks;
    if (first === undefined || first.length < bytes) {
      first = Buffer.concat(this.#chunks);
      this.#chunks = [first];
    }
    return Buffer.from(first.buffer, first.byteOffset, first.length);
  }

  #drop(bytes: number): void {
    const [first, ...rest] = this.#chunks;
    const left = first?.subarray(bytes);
    this.#chunks = left === undefined || left.length === 0 ? rest : [left, ...rest];
    this.#bytes -= bytes;
  }
}

function packetOf(bytes: Buffer): Packet {
  const word = (index: number): number => bytes.readUInt32BE(LENGTH_BYTES + index * 4);
  return {
    program: word(0),
    version: word(1),
    procedure: word(2),
    type: word(3),
    serial: word(4),
    status: word(5),
    payload: bytes.subarray(HEAD_BYTES),
  };
}
