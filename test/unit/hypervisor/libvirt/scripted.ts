// A libvirtd that does what a test says: a real unix socket, and packets written here by hand, not with the code under test. Whoever
// connects is let in as by a real one, unless the script says otherwise.

import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';

/** REMOTE_PROGRAM. */
export const REMOTE = 0x2000_8086;

/** One packet, as it came or is to go. */
export interface Words {
  readonly program?: number;
  readonly version?: number;
  readonly procedure: number;
  readonly type?: number;
  readonly serial?: number;
  readonly status?: number;
  readonly payload?: Buffer;
}

/** A call that came in. */
export interface Call {
  readonly program: number;
  readonly procedure: number;
  readonly type: number;
  readonly serial: number;
  readonly payload: Buffer;
  /** Which connection it came on, counted from 0. */
  readonly connection: number;
  readonly socket: Socket;
}

/** What the script answers: bytes to send, or nothing. */
export type Script = (call: Call) => Buffer | undefined;

/** A packet's bytes: by default a reply of libvirt that went well. */
export function packet({
  program = REMOTE,
  version = 1,
  procedure,
  type = 1,
  serial = 0,
  status = 0,
  payload = Buffer.alloc(0),
}: Words): Buffer {
  return Buffer.concat([words(28 + payload.length, program, version, procedure, type, serial, status), payload]);
}

/** Whole numbers of 32 bits, big-endian. */
export function words(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  values.forEach((value, index) => bytes.writeUInt32BE(value >>> 0, index * 4));
  return bytes;
}

/** A string: its length, its bytes, zeros. */
export function string(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([words(bytes.length), bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)]);
}

/** The reply to a call. */
export function reply(call: Call, payload: Buffer = Buffer.alloc(0)): Buffer {
  return packet({ procedure: call.procedure, serial: call.serial, payload });
}

/** The reply that says that the call failed. */
export function failure(call: Call, code: number, message: string): Buffer {
  const payload = Buffer.concat([words(code, 10, 1), string(message), words(2, 0, 0, 0, 0, 0, 0, 0)]);
  return packet({ procedure: call.procedure, serial: call.serial, status: 1, payload });
}

/** Lets in whoever comes, as libvirtd does with root: no authentication, open, two events. */
export const letIn: Script = (call) => {
  switch (call.procedure) {
    case 66:
      return reply(call, words(1, 0));
    case 1:
      return reply(call);
    case 316:
      return reply(call, words(call.serial));
    default:
      return undefined;
  }
};

/** A libvirtd that follows a script. */
export class Scripted {
  readonly #dir = mkdtempSync('/tmp/fairlead-unit-');
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Every call so far. */
  readonly calls: Call[] = [];
  connections = 0;
  script: Script;

  private constructor(script: Script) {
    this.script = script;
    this.#server = createServer((socket) => this.#accept(socket));
  }

  /** Listens. The script comes first, then {@link letIn}. */
  static async listen(script: Script): Promise<Scripted> {
    const scripted = new Scripted(script);
    await new Promise<void>((resolve) => {
      scripted.#server.listen(scripted.path, resolve);
    });
    return scripted;
  }

  get path(): string {
    return join(this.#dir, 'sock');
  }

  readonly dial = (): Promise<Socket> =>
    new Promise((resolve, reject) => {
      const socket = connect(this.path);
      socket.once('error', reject);
      socket.once('connect', () => resolve(socket));
    });

  /** Ends every connection, as the death of a server does. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
    rmSync(this.#dir, { recursive: true });
  }

  #accept(socket: Socket): void {
    const connection = this.connections++;
    let left: Buffer = Buffer.alloc(0);
    this.#sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('data', (bytes: Buffer) => {
      left = Buffer.concat([left, bytes]);
      while (left.length >= 4 && left.length >= left.readUInt32BE(0)) {
        const length = left.readUInt32BE(0);
        const call: Call = {
          program: left.readUInt32BE(4),
          procedure: left.readUInt32BE(12),
          type: left.readUInt32BE(16),
          serial: left.readUInt32BE(20),
          payload: left.subarray(28, length),
          connection,
          socket,
        };
        left = left.subarray(length);
        this.calls.push(call);
        const answer = this.script(call) ?? letIn(call);
        if (answer !== undefined) socket.write(answer);
      }
    });
  }
}
