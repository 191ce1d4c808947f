// The simulated callers: listeners with people behind them who connect, disconnect and validate, repeat themselves, give up,
// go away, and keep files open. Each request is written down in the truth, with how it ended.

import { FairleadError } from '../../src/core/errors.js';
import { parseConsumer, parseDiskName, type Consumer, type DiskName } from '../../src/core/names.js';
import type { RequestContext } from '../../src/core/requests.js';
import type { Volume } from '../../src/core/volume.js';
import type { RunningEngine } from '../../src/engine/engine.js';
import type { History } from './history.js';
import type { Kernel } from './kernel.js';
import type { Processes } from './processes.js';
import type { Chance } from './prng.js';
import type { ReplyJudge } from './replies.js';
import type { Life, Scheduler } from './scheduler.js';
import { keyOf, type Call, type CallEnd, type Truth } from './truth.js';

/** What a caller asks for. */
export type Wish = Pick<Call, 'kind' | 'volume' | 'consumer' | 'disk' | 'readOnly' | 'deadlineMs'>;

const UUID = '0b7d1e4a-6f52-4c3b-9a51-2f1f0c9d8e77';
const CONSUMERS: readonly Consumer[] = [`nova:${UUID}`, `vm:${UUID}`, 'csi:pvc-1', 'cli:ann'].map((text) =>
  parseConsumer(text, 'consumer'),
);
const DISKS: readonly (DiskName | null)[] = [null, parseDiskName('disk-1', 'disk'), parseDiskName('new-1', 'disk')];
const DEADLINES = [300, 2000, 10_000, 60_000, 120_000] as const;

/** Sends requests and hears the answers. */
export class Callers {
  readonly #scheduler: Scheduler;
  readonly #chance: Chance;
  readonly #processes: Processes;
  readonly #kernel: Kernel;
  readonly #truth: Truth;
  readonly #judge: ReplyJudge;
  readonly #volumes: readonly Volume[];
  readonly #histories: ReadonlyMap<string, History>;
  readonly #open = new Map<Call, { readonly life: Life; readonly settle: (end: CallEnd) => void }>();
  #nextCall = 1;
  #nextPid = 5000;

  constructor(parts: {
    scheduler: Scheduler;
    chance: Chance;
    processes: Processes;
    kernel: Kernel;
    truth: Truth;
    judge: ReplyJudge;
    volumes: readonly Volume[];
    histories: ReadonlyMap<string, History>;
  }) {
    this.#scheduler = parts.scheduler;
    this.#chance = parts.chance;
    this.#processes = parts.processes;
    this.#kernel = parts.kernel;
    this.#truth = parts.truth;
    this.#judge = parts.judge;
    this.#volumes = parts.volumes;
    this.#histories = parts.histories;
  }

  /** Lets a caller send `count` requests, one after the other with pauses, from now on. */
  run(count: number, pauseMs: number): void {
    if (count === 0) return;
    this.#scheduler.after(null, this.#chance.int(0, pauseMs), 'caller: wants something', () => {
      const wish = this.#wish();
      void this.#insist(wish).then(() => this.run(count - 1, pauseMs));
      if (this.#chance.once(0.12)) void this.ask(wish, 'steadfast');
    });
  }

  /** The agent's life is over: nobody hears from it any more. */
  agentGone(life: Life): void {
    for (const [, waiting] of [...this.#open]) if (waiting.life === life) waiting.settle({ how: 'lost' });
  }

  /** Sends one request; resolves with how it ended for the caller. */
  ask(wish: Wish, patience: 'steadfast' | 'fickle'): Promise<CallEnd> {
    const call: Call = {
      ...wish,
      id: this.#nextCall,
      key: keyOf(wish.consumer, wish.volume, wish.disk),
      beganAt: this.#scheduler.now,
      beganStep: this.#scheduler.steps,
      end: null,
      endedAt: 0,
      endedStep: 0,
    };
    this.#nextCall += 1;
    this.#truth.add(call);
    this.#scheduler.note(`caller: ${call.kind} #${call.id} ${call.key} within ${call.deadlineMs}`);
    return new Promise((resolve) => {
      const settle = (end: CallEnd): void => {
        if (call.end !== null) return;
        call.end = end;
        this.#truth.version += 1;
        call.endedAt = this.#scheduler.now;
        call.endedStep = this.#scheduler.steps;
        this.#open.delete(call);
        watch.cancel();
        this.#scheduler.note(`caller: #${call.id} ${tell(end)}`);
        this.#judge.judge(call);
        if (call.kind === 'connect' && end.how === 'reply') this.#maybeUse(call);
        resolve(end);
      };
      const watch = this.#scheduler.after(null, call.deadlineMs + 1001, `caller: #${call.id} is overdue`, () =>
        this.#judge.overdue(call),
      );
      const agent = this.#processes.agent;
      if (agent?.ready !== true) {
        settle({ how: 'error', code: 'no-agent', message: 'nobody listens' });
        return;
      }
      this.#open.set(call, { life: agent, settle });
      const gone = new AbortController();
      if (patience === 'fickle' && this.#chance.once(0.06)) {
        this.#scheduler.after(null, this.#chance.int(0, 400), `caller: #${call.id} goes away`, () => {
          if (call.end !== null) return;
          settle({ how: 'lost' });
          if (agent.alive) gone.abort();
        });
      }
      this.#send(call, agent.engine, { deadlineMs: call.deadlineMs, signal: gone.signal }).then(
        (reply) => agent.alive && settle({ how: 'reply', reply }),
        (error: unknown) => {
          if (!agent.alive) return;
          if (error instanceof FairleadError) settle({ how: 'error', code: error.code, message: error.message });
          else
            settle({ how: 'error', code: 'internal', message: String(error instanceof Error ? error.stack : error) });
        },
      );
    });
  }

  async #send(
    call: Call,
    engine: RunningEngine,
    context: RequestContext,
  ): Promise<Extract<CallEnd, { how: 'reply' }>['reply']> {
    const { volume, disk, consumer, readOnly } = call;
    switch (call.kind) {
      case 'connect':
        return engine.connect({ volume, disk, consumer, readOnly }, context);
      case 'disconnect':
        return engine.disconnect({ volume, disk, consumer }, context);
      case 'validate':
        return engine.validate(volume, context);
    }
  }

  /** Asks, and asks again (not for ever) while the answer says that it may help. */
  async #insist(wish: Wish): Promise<void> {
    for (let round = 0; round < 4; round += 1) {
      const end = await this.ask(wish, 'fickle');
      if (end.how === 'reply' || !this.#chance.once(0.7)) return;
      await this.#scheduler.later(null, this.#chance.int(10, 3000), 'caller: tries again', () => undefined);
    }
  }

  #wish(): Wish {
    const chance = this.#chance;
    const kind = chance.weighted({ connect: 5, disconnect: 5, validate: 1 });
    const deadlineMs = chance.pick(DEADLINES);
    // Mostly what is there is disconnected, and sometimes what is there is connected again.
    const known = chance.once(kind === 'disconnect' ? 0.85 : 0.2) ? this.#someUsed() : undefined;
    if (known !== undefined) {
      const { volume, consumer, disk, readOnly } = known;
      return { kind, volume, consumer, disk, readOnly, deadlineMs };
    }
    const consumer = chance.pick(CONSUMERS);
    // The same key with other arguments is a conflict, now and then.
    const readOnly = consumer.startsWith('csi') || (consumer.startsWith('cli') && chance.once(0.2));
    return { kind, volume: chance.pick(this.#volumes), consumer, disk: chance.pick(DISKS), readOnly, deadlineMs };
  }

  /** A connect that may be in force. */
  #someUsed(): Wish | undefined {
    const used = this.#truth.keys.filter((key) => this.#truth.certainty(key) !== 'ended');
    if (used.length === 0) return undefined;
    return this.#truth.callsOf(this.#chance.pick(used)).findLast((call) => call.kind === 'connect');
  }

  /** A process of the consumer writes, or opens a file and closes it some time: mostly before the disconnect, not always. */
  #maybeUse(call: Call): void {
    const mount = this.#kernel.top(this.#histories.get(call.volume.leaf)!.mountPoint);
    if (mount?.server?.state !== 'answering' || mount.serves !== call.volume.export) return;
    mount.superblock.wasUsed ||= this.#chance.once(0.5);
    if (!this.#chance.once(0.3)) return;
    const use = this.#kernel.users.open(mount, { pid: this.#nextPid, command: 'qemu', by: 'descriptor' });
    this.#nextPid += 1;
    this.#scheduler.after(null, this.#chance.int(10, 20_000), 'consumer: closes its file', () =>
      this.#kernel.users.close(use),
    );
  }
}

function tell(end: CallEnd): string {
  switch (end.how) {
    case 'lost':
      return 'is lost';
    case 'error':
      return `is refused: ${end.code} ${end.message}`;
    case 'reply': {
      const { reply } = end;
      if ('outcome' in reply)
        return `is told ${reply.outcome}, mounted ${reply.mounted}, used by [${reply.usedBy.join(' ')}]`;
      return 'attachment' in reply ? `is connected as ${reply.attachment.slice(0, 6)}` : `hears ${reply.verdict}`;
    }
  }
}
