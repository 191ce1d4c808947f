// The two processes of Fairlead as the simulation runs them: started, crashed at any event or journal point, stopped in
// good order, started again from what is left. A life that ended is forgotten with everything that still waited in it.

import { BrokerClient } from '../../src/broker/client.js';
import type { Transport } from '../../src/core/frames.js';
import type { Broker } from '../../src/core/broker-api.js';
import { FairleadError } from '../../src/core/errors.js';
import type { AgentPoint, BrokerPoint } from '../../src/core/journal.js';
import type { Ledger } from '../../src/core/records.js';
import { createEngine, type RunningEngine } from '../../src/engine/engine.js';
import type { EngineSettings, EventLog, EvidencePolicy } from '../../src/engine/ports.js';
import type { Machine } from '../../src/sys/ports.js';
import type { OpenStore, StateDisk } from './disk.js';
import { Wire } from './link.js';
import type { Host } from './machine.js';
import type { Chance } from './prng.js';
import type { Life, Scheduler } from './scheduler.js';

/** What the agent talks to: takes connections until its life ends. */
export interface BrokerProcess {
  accept(transport: Transport): void;
}

/** What one life of the broker is made of. */
export interface BrokerParts {
  readonly machine: Machine;
  readonly reach: (point: BrokerPoint) => void;
  readonly log: EventLog;
}

/** Makes the parts of Fairlead; a mutant replaces one of them by a faulty one. */
export interface Makers {
  broker(ports: BrokerParts): BrokerProcess;
  settings(bootId: string, evidence: EvidencePolicy): EngineSettings;
  /** The real client, or a mutant around it. */
  wrapBroker(client: Broker): Broker;
  wrapLedger(ledger: Ledger): Ledger;
  wrapEngine(engine: RunningEngine): RunningEngine;
  readonly openStore: OpenStore;
}

/** One life of the agent. */
export interface AgentLife extends Life {
  readonly engine: RunningEngine;
  readonly client: BrokerClient;
  /** The ledger is loaded and requests may come. */
  ready: boolean;
}

/** Both processes and the connection between them. */
export class Processes {
  agent: AgentLife | null = null;
  broker: (Life & { readonly process: BrokerProcess }) | null = null;
  /** Nobody can connect while this is true. */
  linkDown = false;
  /** Share of journal points at which the process crashes. */
  crashAtPoints = 0;
  /** Points that were reached, and those at which a process died. */
  readonly reached = new Map<AgentPoint | BrokerPoint, number>();
  readonly diedAt = new Map<AgentPoint | BrokerPoint, number>();
  /** Events that were logged, and how often. */
  readonly logged = new Map<string, number>();
  readonly #scheduler: Scheduler;
  readonly #chance: Chance;
  readonly #host: Host;
  readonly #disk: StateDisk;
  readonly #makers: Makers;
  readonly #evidence: EvidencePolicy;
  /** Told when a life of the agent is over: whoever waits for it never hears from it. */
  readonly #onAgentGone: (life: Life) => void;
  readonly #disturbed: () => void;
  /** Told of a failure that nobody foresaw. */
  readonly #onOddError: (what: string) => void;
  /** Told of an event that was logged. */
  readonly #onLogged: (event: string, fields: Readonly<Record<string, unknown>>) => void;
  /** Told that a process has ended a connection on which nothing was wrong. */
  readonly #onHangUp: (by: string) => void;
  /** An agent that was asked to stop. */
  #stopping: Life | null = null;
  #wires: Wire[] = [];
  #lives = 0;

  constructor(parts: {
    scheduler: Scheduler;
    chance: Chance;
    host: Host;
    disk: StateDisk;
    makers: Makers;
    evidence: EvidencePolicy;
    onAgentGone: (life: Life) => void;
    disturbed: () => void;
    onOddError: (what: string) => void;
    onLogged: (event: string, fields: Readonly<Record<string, unknown>>) => void;
    onHangUp: (by: string) => void;
  }) {
    this.#scheduler = parts.scheduler;
    this.#chance = parts.chance;
    this.#host = parts.host;
    this.#disk = parts.disk;
    this.#makers = parts.makers;
    this.#evidence = parts.evidence;
    this.#onAgentGone = parts.onAgentGone;
    this.#disturbed = parts.disturbed;
    this.#onOddError = parts.onOddError;
    this.#onLogged = parts.onLogged;
    this.#onHangUp = parts.onHangUp;
    this.#disk.onBroken = () => this.#endWithDisk();
  }

  brokerStarts = 0;
  /** Share of the broker's ends after which its notes are gone, and after which the kernel's record begins anew. */
  notesLost = 0;
  recordLost = 0;

  /** An agent whose ledger is broken answers what it knows, and ends once the disk can be written to again. */
  #endWithDisk(): void {
    this.#scheduler.after(this.agent, this.#chance.int(0, 2000), 'agent: writes to its disk', () => {
      if (this.#disk.isReadOnly) this.#endWithDisk();
      else this.crashAgent('of its ledger');
    });
  }

  startBroker(): void {
    if (this.broker !== null) return;
    if (this.brokerStarts > 0 && this.#chance.once(this.recordLost)) this.#host.kernel.superblocks.beginAnew();
    if (this.brokerStarts > 0 && this.#chance.once(this.notesLost)) {
      this.#scheduler.note('notes: all are lost');
      this.#host.notes.lose();
    }
    this.#lives += 1;
    this.brokerStarts += 1;
    const life: Life = { name: `broker ${this.#lives}`, alive: true };
    const reach = (point: BrokerPoint): void => this.#reach(point, life, () => this.crashBroker('at a journal point'));
    const process = this.#makers.broker({ machine: this.#host.machine(life), reach, log: this.#logOf(life) });
    this.broker = Object.assign(life, { process });
    this.#scheduler.note(`${life.name} starts`);
  }

  startAgent(): void {
    if (this.agent !== null) return;
    this.#lives += 1;
    const life: Life = { name: `agent ${this.#lives}`, alive: true };
    const clock = this.#scheduler.clock(life);
    const client = new BrokerClient({ clock, dial: () => this.#dial(life) });
    const real = createEngine({
      broker: this.#makers.wrapBroker(client),
      ledger: this.#makers.wrapLedger(this.#disk.ledger(life, this.#host.kernel.bootId)),
      clock,
      random: { id: () => Array.from({ length: 32 }, () => this.#chance.int(0, 15).toString(16)).join('') },
      log: this.#logOf(life),
      processes: { runs: ({ pid }) => this.#host.kernel.users.runs(pid) },
      settings: this.#makers.settings(this.#host.kernel.bootId, this.#evidence),
      reach: (point) => this.#reach(point, life, () => this.crashAgent('at a journal point')),
    });
    const engine = this.#makers.wrapEngine(real);
    const agent: AgentLife = Object.assign(life, { engine, client, ready: false });
    this.agent = agent;
    this.#scheduler.note(`${life.name} starts`);
    void engine.start().then(() => {
      agent.ready = true;
      this.#scheduler.note(`${life.name} is ready`);
    });
  }

  crashBroker(why: string): void {
    const { broker } = this;
    if (broker === null) return;
    this.#disturbed();
    this.#scheduler.note(`${broker.name} dies ${why}`);
    broker.alive = false;
    this.broker = null;
    this.cutLink();
    this.#host.probes.abandon(broker);
    this.#again(() => this.startBroker());
  }

  crashAgent(why: string): void {
    const { agent } = this;
    if (agent === null) return;
    this.#disturbed();
    this.#scheduler.note(`${agent.name} dies ${why}`);
    this.#bury(agent);
    this.#again(() => this.startAgent());
  }

  /** SIGTERM: the engine stops in good order, then the process ends. */
  stopAgent(): void {
    const { agent } = this;
    if (agent === null) return;
    this.#disturbed();
    this.#scheduler.note(`${agent.name} is asked to stop`);
    this.#stopping = agent;
    void agent.engine.stop().then(() => {
      if (!agent.alive) return;
      this.#scheduler.note(`${agent.name} has stopped`);
      agent.client.close();
      this.#bury(agent);
      this.#again(() => this.startAgent());
    });
  }

  /** Everything dies with the host, and comes back after it. */
  reboot(): void {
    this.#disturbed();
    const { broker, agent } = this;
    if (broker !== null) broker.alive = false;
    this.broker = null;
    if (agent !== null) this.#bury(agent);
    this.cutLink();
    this.#host.reboot();
    this.#disk.reboot();
    this.#again(() => this.startBroker());
    this.#again(() => this.startAgent());
  }

  cutLink(): void {
    const wires = this.#wires;
    this.#wires = [];
    for (const wire of wires) wire.cut();
  }

  /** What is sent vanishes for a while. */
  silenceLink(ms: number): void {
    this.#disturbed();
    const wires = [...this.#wires];
    for (const wire of wires) wire.silent = wire.wasSilent = true;
    this.#scheduler.after(null, ms, 'link: heard again', () => {
      this.#disturbed();
      for (const wire of wires) wire.silent = false;
    });
  }

  #bury(agent: AgentLife): void {
    agent.alive = false;
    this.agent = null;
    this.#disk.abandon();
    this.cutLink();
    this.#onAgentGone(agent);
  }

  #again(start: () => void): void {
    this.#scheduler.after(null, this.#chance.int(50, 4000), 'service manager: starts it again', () => {
      this.#disturbed();
      start();
    });
  }

  #dial(agent: Life): Promise<Transport> {
    return this.#scheduler.later(agent, this.#chance.int(0, 3), 'link: dial', () => {
      const { broker } = this;
      if (broker === null || this.linkDown) throw new Error('connection refused');
      const wire = new Wire(this.#scheduler, this.#chance, agent, broker);
      wire.onClosed = (by) => {
        if (!wire.wasSilent && agent !== this.#stopping) this.#onHangUp(by);
      };
      this.#wires = [...this.#wires.filter((other) => other.open), wire];
      broker.process.accept(wire.brokerSide);
      return wire.agentSide;
    });
  }

  #reach(point: AgentPoint | BrokerPoint, life: Life, crash: () => void): void {
    if (!life.alive) return;
    this.reached.set(point, (this.reached.get(point) ?? 0) + 1);
    this.#scheduler.note(`${life.name} at ${point}`);
    if (!this.#chance.once(this.crashAtPoints)) return;
    this.diedAt.set(point, (this.diedAt.get(point) ?? 0) + 1);
    crash();
  }

  /** Somebody met a failure that nobody foresaw. */
  oddError(what: string): void {
    this.#onOddError(what);
  }

  #logOf(life: Life): EventLog {
    const write = (event: string, fields: Readonly<Record<string, unknown>>): void => {
      if (!life.alive) return;
      this.logged.set(event, (this.logged.get(event) ?? 0) + 1);
      const shown = Object.entries(fields).map(([name, value]) => `${name}=${tell(value)}`);
      this.#scheduler.note(`${life.name} logs ${event} ${shown.join(' ')}`);
      this.#onLogged(event, fields);
      const error = fields['error'];
      if (error instanceof Error && !(error instanceof FairleadError)) this.#onOddError(error.stack ?? error.message);
    };
    return { info: write, warn: write };
  }
}

function tell(value: unknown): string {
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  return typeof value === 'string' ? value.slice(0, 40) : JSON.stringify(value);
}
