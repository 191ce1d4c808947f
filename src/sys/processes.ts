// Who keeps a mount busy: asked of a process of its own (holders-main.ts), which is killed when its time is up. What it
// has found by then is the answer. A few such processes at a time; whoever asks for the same waits for the same one.

import { fileURLToPath } from 'node:url';
import { FairleadError } from '../core/errors.js';
import { HOLDERS_BUDGET_MS, MAX_HOLDER_SEARCHES, MAX_HUNG_LOOKS } from '../core/limits.js';
import type { Holder, Holding } from '../core/observation.js';
import type { HoldersReply, HoldersRequest } from './holders-main.js';
import type { ProcessIdentity, Processes, Sought } from './ports.js';
import { isRunning } from './process-identity.js';
import { startNode, within } from './run.js';

/** Threads of the child: so many may hang, and there are some for looks that do not. */
const THREADS = String(MAX_HUNG_LOOKS + 2);

/** The processes of this machine. */
export class KernelProcesses implements Processes {
  readonly #module: string;
  /** Searches that are being made, by what is looked for. */
  readonly #searches = new Map<string, Promise<Holding>>();
  /** Children that have not ended. One that was killed and hangs counts until it has. */
  #children = 0;
  readonly #waiting = new Set<() => void>();

  constructor(module: string = fileURLToPath(new URL('./holders-main.js', import.meta.url))) {
    this.#module = module;
  }

  runs(process: ProcessIdentity): boolean {
    return isRunning(process);
  }

  async holding(sought: Sought, excludePids: readonly number[], budgetMs: number): Promise<Holding> {
    const until = performance.now() + budgetMs;
    const key = JSON.stringify(sought);
    for (;;) {
      const search = this.#searches.get(key) ?? this.#begin(key, { sought, excludePids });
      if (search !== null) {
        const { holders, complete } = await search;
        // Whoever began the search may have left out others.
        return { holders: holders.filter(({ pid }) => pid === 0 || !excludePids.includes(pid)), complete };
      }
      if (!(await this.#childEnds(until - performance.now()))) {
        throw new FairleadError(
          'resource-exhausted',
          'Too many searches for the users of mounts are going on. Try again later.',
        );
      }
    }
  }

  /** Null: there are too many already. */
  #begin(key: string, request: HoldersRequest): Promise<Holding> | null {
    if (this.#children >= MAX_HOLDER_SEARCHES) return null;
    const search = this.#search(request).finally(() => this.#searches.delete(key));
    this.#searches.set(key, search);
    return search;
  }

  async #search(request: HoldersRequest): Promise<Holding> {
    this.#children += 1;
    const child = startNode({
      module: this.#module,
      args: [],
      env: { UV_THREADPOOL_SIZE: THREADS },
      output: 'none',
    });
    const holders: Holder[] = [];
    const over = new Promise<boolean>((resolve) => {
      child.onMessage((message) => {
        const reply = message as HoldersReply;
        if ('holder' in reply) holders.push(reply.holder);
        else resolve(reply.complete);
      });
      child.onEnd(() => {
        resolve(false);
        this.#children -= 1;
        for (const wake of [...this.#waiting]) wake();
      });
    });
    child.send(request);
    const complete = (await within(over, HOLDERS_BUDGET_MS)) ?? false;
    child.kill('SIGKILL');
    child.unref();
    return { holders, complete };
  }

  /** Whether a child ended within the time. */
  async #childEnds(ms: number): Promise<boolean> {
    if (ms <= 0) return false;
    let wake = (): void => undefined;
    const ended = new Promise<true>((resolve) => {
      wake = () => resolve(true);
    });
    this.#waiting.add(wake);
    try {
      return (await within(ended, ms)) === true;
    } finally {
      this.#waiting.delete(wake);
    }
  }
}
