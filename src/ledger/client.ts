// The ledger as the agent's main thread sees it. Never waits for the disk itself: commits are gathered while the thread
// is at work on the ones before them, and go to it together, to share one transaction and one flush.

import { Worker } from 'node:worker_threads';
import { FairleadError } from '../core/errors.js';
import {
  LEDGER_CLOSE_MS,
  LEDGER_LOOK_MS,
  LEDGER_OPEN_MS,
  LEDGER_STALL_MS,
  MAX_LEDGER_GROUP,
  MAX_LEDGER_QUEUE,
} from '../core/limits.js';
import type { Change, Ledger, LedgerSnapshot } from '../core/records.js';
import { fromFailure, type Answer, type Question, type Warning } from './messages.js';
import type { LedgerWarning, OpenOptions } from './open.js';
import { diskStands } from './state-disk.js';

/** A ledger on disk. */
export interface OpenLedger extends Ledger {
  /**
   * Resolves when the ledger is over: null after `close`, else the error that broke it. A broken ledger refuses every
   * commit; the agent should end, since only a new start finds out what is on disk.
   */
  readonly ended: Promise<FairleadError | null>;
}

/** Where the ledger is, who opens it, and who is told what an operator should know of its files. */
export interface ThreadOptions extends Pick<OpenOptions, 'directory' | 'version' | 'witness'> {
  readonly warn: (event: LedgerWarning, cause: string | null) => void;
}

/** The ledger's thread, with its code loaded, and no file touched yet. */
export interface LedgerThread {
  /**
   * Opens the ledger, or begins one. Refuses with `config-invalid` (unsound files, newer version), `resource-exhausted`
   * (disk full) or `unavailable`; the thread has ended then.
   */
  open(options: ThreadOptions): Promise<OpenLedger>;
}

/**
 * Starts the thread. Apart from `open` since code must be loaded before a process gives up the uid that may read it,
 * and files must be opened after.
 */
export async function startLedgerThread(): Promise<LedgerThread> {
  const line = new Line(new Worker(new URL('./worker.js', import.meta.url), { name: 'ledger' }));
  await line.ready(LEDGER_OPEN_MS);
  return {
    open: async ({ directory, version, witness, warn }) => {
      line.warn = warn;
      const answer = await line.ask({ kind: 'open', directory, version, witness }, LEDGER_OPEN_MS);
      if (answer.kind === 'opened') return new ThreadLedger(line, directory);
      await line.end(LEDGER_CLOSE_MS);
      throw unexpected(answer);
    },
  };
}

interface Waiting {
  readonly changes: readonly Change[];
  readonly resolve: () => void;
  readonly reject: (error: FairleadError) => void;
}

class ThreadLedger implements OpenLedger {
  readonly ended: Promise<FairleadError | null>;
  readonly #line: Line;
  #queue: Waiting[] = [];
  #work: Promise<void> | null = null;
  #closed: Promise<void> | null = null;
  #stalled: FairleadError | null = null;
  /** What the last look at the ledger's place said. */
  #away: FairleadError | null = null;
  readonly #directory: string;

  constructor(line: Line, directory: string) {
    this.#line = line;
    this.#directory = directory;
    this.ended = line.ended;
    void line.ended.then((error) => this.#rejectAll(error ?? closed()));
    void this.#watch();
  }

  get fault(): FairleadError | null {
    return this.#line.broken ?? this.#stalled ?? this.#away;
  }

  async load(): Promise<LedgerSnapshot> {
    const answer = await this.#line.ask({ kind: 'load' }, LEDGER_OPEN_MS);
    if (answer.kind !== 'loaded') throw unexpected(answer);
    return answer.snapshot;
  }

  async commit(changes: readonly Change[]): Promise<void> {
    if (this.#closed !== null) throw closed();
    // Whether the ledger is at its place is asked anew with each commit.
    const fault = this.#line.broken ?? this.#stalled;
    if (fault !== null) throw fault;
    if (this.#queue.length >= MAX_LEDGER_QUEUE) {
      throw new FairleadError(
        'resource-exhausted',
        'Too many changes wait for the disk of state_dir; try again later.',
        {
          field: 'state_dir',
        },
      );
    }
    const done = new Promise<void>((resolve, reject) => this.#queue.push({ changes, resolve, reject }));
    this.#work ??= this.#drain();
    await done;
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    const started = performance.now();
    // The deadline of `end` begins with the commits that still wait, so a stalled disk cannot hold up the end for ever.
    const drained = this.#work ?? Promise.resolve();
    await this.#line.within(drained, LEDGER_CLOSE_MS);
    await this.#line.end(LEDGER_CLOSE_MS - (performance.now() - started));
  }

  /** Looks at the ledger's place now and then, so that its absence is told of before anybody needs it. */
  async #watch(): Promise<void> {
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, LEDGER_LOOK_MS).unref());
      if (this.#closed !== null || this.#line.broken !== null) return;
      try {
        const answer = await this.#line.ask({ kind: 'look' });
        if (answer.kind !== 'looked') throw unexpected(answer);
        this.#away = answer.fault === null ? null : fromFailure(answer.fault);
      } catch (error) {
        if (!(error instanceof FairleadError)) throw error;
        // Whatever it is, the next commit finds out.
      }
    }
  }

  /** Carries commits to the thread, group by group, until none waits. */
  async #drain(): Promise<void> {
    // What is committed in the same turn of the event loop shares the first group.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const group = this.#queue.slice(0, MAX_LEDGER_GROUP);
      this.#queue = this.#queue.slice(MAX_LEDGER_GROUP);
      const stall = setTimeout(() => {
        this.#stall();
      }, LEDGER_STALL_MS);
      try {
        this.#settle(group, await this.#line.ask({ kind: 'commit', commits: group.map(({ changes }) => changes) }));
      } catch (error) {
        for (const { reject } of group) reject(error instanceof FairleadError ? error : broken(error));
      } finally {
        clearTimeout(stall);
        this.#stalled = null;
      }
    }
    this.#work = null;
  }

  /** The disk stands still: nobody knows what becomes of what it has, and what it has not gets is refused. */
  #stall(): void {
    this.#stalled = diskStands(this.#directory);
    this.#rejectAll(this.#stalled);
  }

  #settle(group: readonly Waiting[], answer: Answer): void {
    if (answer.kind !== 'committed') {
      const error = unexpected(answer);
      this.#line.fail(error);
      throw error;
    }
    for (const [index, { resolve, reject }] of group.entries()) {
      const failure = answer.failures[index];
      if (failure === null) resolve();
      else reject(failure === undefined ? unexpected(answer) : fromFailure(failure));
    }
  }

  #rejectAll(error: FairleadError): void {
    for (const { reject } of this.#queue.splice(0)) reject(error);
  }
}

/** Questions to the thread and its answers, in order. Once broken it stays so. */
class Line {
  warn: ThreadOptions['warn'] = () => undefined;
  readonly ended: Promise<FairleadError | null>;
  readonly #worker: Worker;
  readonly #ready: Promise<Answer>;
  readonly #asked: { readonly resolve: (answer: Answer) => void; readonly reject: (error: FairleadError) => void }[] =
    [];
  #broken: FairleadError | null = null;
  #ending = false;
  #finish: (error: FairleadError | null) => void = () => undefined;

  constructor(worker: Worker) {
    this.#worker = worker;
    this.ended = new Promise((resolve) => (this.#finish = resolve));
    this.#ready = this.#next();
    worker.on('message', (said: Answer | Warning) => {
      if (said.kind === 'warning') this.warn(said.event, said.cause);
      else this.#asked.shift()?.resolve(said);
    });
    worker.on('error', (error) => {
      this.fail(broken(error));
    });
    worker.on('exit', () => {
      if (this.#ending) this.#finish(null);
      this.fail(this.#ending ? closed() : broken(null));
    });
  }

  get broken(): FairleadError | null {
    return this.#broken;
  }

  /** Resolves when the thread has loaded its code. Until it is asked something, it keeps no process alive. */
  async ready(budgetMs: number): Promise<void> {
    await this.within(this.#ready, budgetMs);
    this.#worker.unref();
  }

  /** Without a budget the answer is waited for as long as the disk takes: until then nobody knows what is written. */
  async ask(question: Question, budgetMs?: number): Promise<Answer> {
    if (this.#broken !== null) throw this.#broken;
    const answer = this.#next();
    this.#worker.ref();
    this.#worker.postMessage(question);
    return budgetMs === undefined ? answer : this.within(answer, budgetMs);
  }

  /** Ends the thread, cooperatively. If the disk does not let it end it is left behind, and `unavailable` is thrown. */
  async end(budgetMs: number): Promise<void> {
    this.#ending = true;
    if (this.#broken === null) await this.ask({ kind: 'close' }, budgetMs);
    await this.within(this.ended, budgetMs);
  }

  /** Breaks the line: whoever waits is told so, and the thread ends as soon as the disk lets it. */
  fail(error: FairleadError): void {
    if (this.#broken !== null) return;
    this.#broken = error;
    this.#finish(error);
    for (const { reject } of this.#asked.splice(0)) reject(error);
    this.#worker.unref();
    this.#worker.postMessage({ kind: 'close' } satisfies Question);
  }

  async within<T>(wanted: Promise<T>, budgetMs: number): Promise<T> {
    let timer;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        const error = new FairleadError(
          'unavailable',
          'The disk of state_dir does not answer: look at it, then restart the agent.',
          { field: 'state_dir' },
        );
        reject(error);
        this.fail(error);
      }, budgetMs);
    });
    try {
      return await Promise.race([wanted, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  #next(): Promise<Answer> {
    return new Promise((resolve, reject) => this.#asked.push({ resolve, reject }));
  }
}

function closed(): FairleadError {
  return new FairleadError('unavailable', 'The ledger is closed: the agent is ending. Try again when it is back.');
}

function broken(cause: unknown): FairleadError {
  return new FairleadError('unavailable', "The ledger's thread has failed; the log has the cause. Restart the agent.", {
    cause,
  });
}

function unexpected(answer: Answer): FairleadError {
  if (answer.kind === 'failed') return fromFailure(answer.failure);
  return new FairleadError('internal', `The ledger's thread answered ${answer.kind} to another question.`);
}
