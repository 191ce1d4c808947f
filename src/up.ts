// `fairlead up`: broker, hypervisor process and agent of one machine, in the foreground. It prepares the directories, starts them, starts
// again whichever dies, and ends them when told. It listens nowhere and reads nothing that strangers write. Without the hypervisor process
// everything but disks of libvirt guests works, so nobody waits for it.

import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadConfig, type Config } from './config.js';
import { errorBody, FairleadError, type ErrorBody } from './core/errors.js';
import { SHUTDOWN_MS } from './core/limits.js';
import { systemClock } from './sys/clock.js';
import { takeLock } from './sys/lock-file.js';
import { leave } from './sys/leave.js';
import { descriptorSink, type LogSink } from './sys/log-sink.js';
import { createLog, type Log } from './sys/log.js';
import { reapOrphans } from './sys/orphans.js';
import { foreignHand } from './sys/trust.js';
import { askStateDisk, prepareDirectories } from './up/prepare.js';
import { supervise, type ChildSpec, type Supervised } from './up/supervise.js';

/** Where dist/src/ is. */
const HERE = dirname(fileURLToPath(import.meta.url));
/** The checkout, or wherever bin/, dist/ and node_modules/ are. */
const HOUSE = dirname(dirname(HERE));

/** What it is asked, and how its answers read. */
export interface UpCall {
  /** The configuration; null: the default one. */
  readonly config: string | null;
  /** A line of standard output, once the agent answers and has a broker. `text` is for people. */
  readonly ready: (facts: { readonly text: string; readonly ready: true; readonly socket: string }) => string;
  /** Why it could not go on: the lines, the descriptor they belong to, and the exit status. */
  readonly failed: (error: { readonly body: ErrorBody } | { readonly unforeseen: unknown }) => {
    readonly to: 1 | 2;
    readonly text: string;
    readonly status: number;
  };
}

/** Milliseconds for the others to end, after the agent has; together less than the ten seconds that are promised. */
const LAST_GRACE_MS = 1000;

/**
 * Runs until SIGTERM or SIGINT, or until it cannot go on, and ends the process. SIGHUP ends nothing: a terminal that is closed
 * is no wish to end. What cannot be written to standard output or error stops nothing.
 */
export async function up(call: UpCall): Promise<never> {
  const sinks = { 1: descriptorSink(1), 2: descriptorSink(2) } as const;
  const finish = (status: number): Promise<never> => leave(status, sinks[1], sinks[2]);
  const fail = (error: unknown): Promise<never> => {
    const { to, text, status } = call.failed(
      error instanceof FairleadError ? { body: errorBody(error) } : { unforeseen: error },
    );
    sinks[to].write(`${text}\n`);
    return finish(status);
  };
  // Node's own last words would wait for whoever reads them.
  process.on('uncaughtException', (error) => void fail(error));
  try {
    await run(call, (line) => sinks[1].write(`${line}\n`), sinks[2]);
  } catch (error) {
    return fail(error);
  }
  return finish(0);
}

async function run({ config: file, ready }: UpCall, say: (line: string) => void, sink: LogSink): Promise<void> {
  if (process.geteuid?.() !== 0) {
    throw new FairleadError(
      'permission-denied',
      'fairlead up mounts filesystems, so it must be started as root: sudo fairlead up.',
    );
  }
  reapOrphans();
  const config = loadConfig(file);
  const log = createLog('up', config.logLevel, sink);
  checkProgram(config, log);
  await askStateDisk(config);
  prepareDirectories(config);
  const lock = takeLock(`${config.runDir}/up.lock`);
  if (!lock.taken) {
    const who = lock.holder === null ? '' : `, process ${lock.holder}`;
    throw new FairleadError(
      'conflict',
      `fairlead up runs already${who}, with the same run_dir. It was not disturbed. End it first, or give this one another run_dir.`,
      { field: 'run_dir' },
    );
  }
  try {
    await keepAll(config, log, (facts) => {
      say(ready(facts));
    });
  } finally {
    lock.release();
  }
}

/** What we run as root must be root's; for tests and the demo a word is enough. */
function checkProgram({ isolated }: Config, log: Log): void {
  const detail = foreignHand([
    { path: join(HOUSE, 'bin'), deep: true },
    { path: join(HOUSE, 'dist'), deep: true },
    { path: join(HOUSE, 'node_modules'), deep: false },
  ]);
  if (detail === null) return;
  if (isolated) {
    log.warn('program-not-roots', { detail });
    return;
  }
  throw new FairleadError(
    'helper-untrusted',
    `fairlead up runs its own files as root, so nobody else may have a hand in them. ${detail} For the whole checkout: chown -R root: ${HOUSE} && chmod -R go-w ${HOUSE}`,
  );
}

async function keepAll(
  config: Config,
  log: Log,
  ready: (facts: Parameters<UpCall['ready']>[0]) => void,
): Promise<void> {
  const point = process.env['FAIRLEAD_HALT_AT'];
  const common = {
    args: config.file === null ? [] : ['--config', config.file],
    firstEnv: config.isolated && point !== undefined ? { FAIRLEAD_HALT_AT: point } : {},
  };
  let ending = false;
  const failure = await new Promise<ErrorBody | null>((resolve) => {
    const others: Supervised[] = [];
    let agent: Supervised | null = null;
    const endAll = async (error: ErrorBody | null): Promise<void> => {
      if (ending) return;
      ending = true;
      const started = systemClock.now();
      const first = (await agent?.end(SHUTDOWN_MS)) ?? null;
      const graceMs = Math.max(LAST_GRACE_MS, SHUTDOWN_MS - (systemClock.now() - started));
      const left = [first, ...(await Promise.all(others.map((other) => other.end(graceMs))))];
      for (const pid of left) if (pid !== null) log.error('left-behind', { pid });
      resolve(error);
    };
    const events = (name: ChildSpec['name'], isReady: (pid: number) => void): Parameters<typeof supervise>[1] => ({
      ready: isReady,
      lingering: (pid) => {
        const what =
          'It was killed and does not end: a call of it waits for a disk that stands still, most likely that of state_dir. Another one is started when it has ended.';
        log.error(`${name}-lingers`, { pid, what, stateDir: config.stateDir });
      },
      restarting: (pid, how, pauseMs) => {
        log.warn(`${name}-died`, { pid, how, restartInMs: pauseMs });
      },
      gaveUp: (error) => {
        void endAll(error);
      },
    });
    let said = false;
    const agentReady = (pid: number): void => {
      log.info('ready', { agentPid: pid });
      if (said || ending) return;
      said = true;
      const socket = `${config.runDir}/agent.sock`;
      const hint = config.runDir === '/run/fairlead' ? 'fairlead ls' : `fairlead ls --socket ${socket}`;
      ready({ ready: true, socket, text: `Fairlead is ready: ${hint}` });
    };
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void endAll(null));
    process.on('SIGHUP', () => undefined);
    const start = (name: ChildSpec['name'], module: string, isReady: (pid: number) => void): Supervised => {
      const giveUp = name === 'hypervisor' ? 'never' : 'when-hopeless';
      return supervise({ name, module: join(HERE, module), giveUp, ...common }, events(name, isReady));
    };
    others.push(start('broker', 'broker-main.js', () => undefined));
    agent = start('agent', 'agent.js', agentReady);
    if (config.libvirt.enabled !== 'no') others.push(start('hypervisor', 'hypervisor-main.js', () => undefined));
  });
  if (failure !== null)
    throw new FairleadError(failure.code, failure.message, failure.field === undefined ? {} : { field: failure.field });
}
