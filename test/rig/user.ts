// Somebody who uses files on a mount: a process of its own, so that a mount that hangs or dies takes nobody else with it.
// What it opens stays open until it is told to close it, or ends.

import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { alive } from './host.js';
import { ROOT } from './programs.js';
import { until } from './until.js';

/** What was asked failed with an errno; `code` is its name. `NO-ANSWER`: nothing came back within the deadline. */
export class UserError extends Error {
  readonly code: string;

  constructor(code: string, what: string) {
    super(`${what}: ${code}`);
    this.code = code;
  }
}

/** Milliseconds within which an answer must come. */
const DEADLINE_MS = 20_000;

/** See the file's head; test/rig/user.py is what runs there. */
export class User implements AsyncDisposable {
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #waiting: ((line: string | null) => void)[] = [];

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.pid = child.pid ?? 0;
    if (child.stdout === null || child.stdin === null) throw new Error('a user has an input and an output');
    const lines = createInterface({ input: child.stdout });
    lines.on('line', (line) => this.#waiting.shift()?.(line));
    lines.on('close', () => {
      for (const waiting of this.#waiting.splice(0)) waiting(null);
    });
    child.stdin.on('error', () => undefined);
  }

  /**
   * A new process. `private`: in a mount namespace of its own, with copies of all mounts there are now. `entering`: words
   * that come before its command line.
   */
  static async start(where?: 'here' | 'private', entering: readonly string[] = []): Promise<User> {
    const [program, ...words] = [...entering, '/usr/bin/python3', join(ROOT, 'test/rig/user.py')];
    const child = spawn(program, words, { cwd: '/', stdio: ['pipe', 'pipe', 'inherit'] });
    const user = new User(child);
    if (where === 'private') await user.#ask({ do: 'private' });
    return user;
  }

  /** Opens a file for reading and writing, makes it where it is missing, and keeps it under this name. */
  async open(name: string, path: string): Promise<void> {
    await this.#ask({ do: 'open', as: name, path });
  }

  /** The same, of a file that is there. */
  async openThere(name: string, path: string): Promise<void> {
    await this.#ask({ do: 'open-there', as: name, path });
  }

  /** All of an open file. */
  async read(name: string): Promise<string> {
    return String(await this.#ask({ do: 'read', as: name }));
  }

  /** Makes this text the content of an open file. */
  async write(name: string, text: string): Promise<void> {
    await this.#ask({ do: 'write', as: name, text });
  }

  /** fsync(2). */
  async sync(name: string): Promise<void> {
    await this.#ask({ do: 'sync', as: name });
  }

  async close(name: string): Promise<void> {
    await this.#ask({ do: 'close', as: name });
  }

  async readPath(path: string): Promise<string> {
    return String(await this.#ask({ do: 'read-path', path }));
  }

  async writePath(path: string, text: string): Promise<void> {
    await this.#ask({ do: 'write-path', path, text });
  }

  async list(path: string): Promise<readonly string[]> {
    return (await this.#ask({ do: 'list', path })) as readonly string[];
  }

  /** Sends an open file to a socket that nobody reads, and closes it: only the message holds it then. */
  async send(name: string): Promise<void> {
    await this.#ask({ do: 'send', as: name });
  }

  /** Takes it out of the socket again. */
  async receive(name: string): Promise<void> {
    await this.#ask({ do: 'receive', as: name });
  }

  /** Maps the first page of a file under this name, without reading it, and closes the file. */
  async map(name: string, path: string): Promise<void> {
    await this.#ask({ do: 'map', as: name, path });
  }

  /** The mapped page. Where it cannot be read the process ends by SIGBUS, and there is no answer. */
  async readMapped(name: string): Promise<string> {
    return String(await this.#ask({ do: 'read-mapped', as: name }));
  }

  /** Clones the mount at a path, attached nowhere (open_tree(2)), and keeps it under this name. */
  async tree(name: string, path: string): Promise<void> {
    await this.#ask({ do: 'tree', as: name, path });
  }

  /** A file in a clone. */
  async readIn(tree: string, name: string): Promise<string> {
    return String(await this.#ask({ do: 'read-in', as: tree, name }));
  }

  async writeIn(tree: string, name: string, text: string): Promise<void> {
    await this.#ask({ do: 'write-in', as: tree, name, text });
  }

  /**
   * Waits until something is mounted at `path`, then detaches it at once and mounts its subdirectory `part` at `to`: in our
   * namespace, or in a new one of this process.
   */
  async snatch(path: string, part: string, to: string, where: 'here' | 'private'): Promise<void> {
    await this.#ask({ do: 'snatch', path, part, to, where });
  }

  /** Ends it, with everything that it has open. */
  async end(): Promise<void> {
    this.#child.stdin?.end();
    this.#child.kill('SIGKILL');
    await until('the user has ended', () => !alive(this.pid));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
  }

  async #ask(request: { readonly do: string } & Readonly<Record<string, string>>): Promise<unknown> {
    let timer: NodeJS.Timeout | undefined;
    const line = await new Promise<string | null>((resolve) => {
      this.#waiting.push(resolve);
      timer = setTimeout(() => resolve(null), DEADLINE_MS);
      this.#child.stdin?.write(`${JSON.stringify(request)}\n`);
    });
    clearTimeout(timer);
    const what = `${request.do} ${request['path'] ?? request['as'] ?? ''}`.trimEnd();
    if (line === null) throw new UserError('NO-ANSWER', what);
    const answer = JSON.parse(line) as { readonly is?: unknown; readonly errno?: string };
    if (answer.errno !== undefined) throw new UserError(answer.errno, what);
    return answer.is;
  }
}
