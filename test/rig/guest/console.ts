// The line to a guest: its first serial port, which QEMU offers as a unix socket. One question at a time a line, one answer a
// line, each with a deadline; what the guest's init.sh understands is said there.

import { connect, type Socket } from 'node:net';
import { until } from '../until.js';

/** Milliseconds from QEMU's start to the guest's first answer, on a busy machine without hardware help. */
const BOOT_MS = 60_000;
/** Milliseconds between two hellos to a guest that still boots. */
const HELLO_MS = 250;
/** Milliseconds that an answer may take. */
const ANSWER_MS = 20_000;

/** Speaks with a guest. */
export class Console {
  readonly #socket: Socket;
  readonly #waiting = new Map<string, (answer: string) => void>();
  #asked = 0;

  private constructor(socket: Socket) {
    this.#socket = socket;
    let rest = '';
    socket.setEncoding('latin1');
    socket.on('data', (text) => {
      const lines = (rest + String(text)).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const [, id = '', answer = ''] = /(\d+) ((?:ok|no).*)$/.exec(line.trimEnd()) ?? [];
        this.#waiting.get(id)?.(answer);
      }
    });
    // The guest's end takes the socket with it; whoever still waits for an answer runs into the deadline.
    socket.on('error', () => undefined);
  }

  /** Waits until the guest behind this socket answers. */
  static async open(path: string): Promise<Console> {
    const socket = await until('the serial port is there', () => dialled(path), BOOT_MS);
    const console = new Console(socket);
    const end = performance.now() + BOOT_MS;
    while ((await console.#exchange('hello', HELLO_MS)) === null) {
      if (performance.now() > end) throw new Error(`the guest did not say hello within ${BOOT_MS} ms`);
    }
    return console;
  }

  /** What the guest answers; fails with its words when it says no. */
  async ask(...words: readonly (string | number)[]): Promise<string> {
    const question = words.join(' ');
    const answer = await this.#exchange(question, ANSWER_MS);
    if (answer === null) throw new Error(`the guest did not answer within ${ANSWER_MS} ms: ${question}`);
    if (!answer.startsWith('ok')) throw new Error(`the guest says ${answer}: ${question}`);
    return answer.slice('ok'.length).trim();
  }

  close(): void {
    this.#socket.destroy();
  }

  #exchange(question: string, deadlineMs: number): Promise<string | null> {
    this.#asked += 1;
    const id = String(this.#asked);
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        resolve(null);
      }, deadlineMs);
      this.#waiting.set(id, (answer) => {
        clearTimeout(timer);
        this.#waiting.delete(id);
        resolve(answer);
      });
      this.#socket.write(`${id} ${question}\n`);
    });
  }
}

function dialled(path: string): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once('connect', () => {
      resolve(socket);
    });
    socket.once('error', () => {
      resolve(undefined);
    });
  });
}
