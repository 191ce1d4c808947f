// The agent, put together: doors, engine, ledger, and the way to the broker. It reads what strangers write and holds no
// privilege: started as root it only loads its code, then gives root up for good, and only then opens anything.

import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { backendOf, parseVolume, VOLUME_PATTERN } from './backends/registry.js';
import { BrokerClient } from './broker/client.js';
import { SOCKET as BROKER_SOCKET } from './broker/protocol.js';
import { loadConfig, type Config } from './config.js';
import { checkDriverPair } from './core/disk.js';
import { ERROR_CODES, errorBody, FairleadError } from './core/errors.js';
import type { AgentPoint } from './core/journal.js';
import { SHUTDOWN_MS } from './core/limits.js';
import { mountpointOf } from './core/paths.js';
import type { Engine } from './core/requests.js';
import { VERSION } from './core/version.js';
import { BACKEND_NAMES } from './core/volume.js';
import { createHttpDoor } from './doors/http/door.js';
import { createLibvirtDoor, type LibvirtDoor } from './doors/libvirt/door.js';
import type { VolumeFacts } from './doors/route.js';
import { ROUTES } from './doors/routes.js';
import { createEngine } from './engine/engine.js';
import type { EngineSettings } from './engine/ports.js';
import { HypervisorClient } from './hypervisor/client.js';
import { SOCKET as HYPERVISOR_SOCKET } from './hypervisor/protocol.js';
import { startLedgerThread, type LedgerThread, type OpenLedger } from './ledger/client.js';
import { openReadOnly } from './ledger/read-only.js';
import { stateDiskFault, whenWritable } from './ledger/state-disk.js';
import { dialSocket } from './link/socket-transport.js';
import { processRuns } from './sys/process-runs.js';
import { readBootId } from './sys/boot-id.js';
import { systemClock } from './sys/clock.js';
import { takeLock } from './sys/lock-file.js';
import { leave } from './sys/leave.js';
import { isLibvirtHere } from './sys/libvirt-traces.js';
import { descriptorSink } from './sys/log-sink.js';
import { createLog, type Log } from './sys/log.js';
import { configArgument, haltAt, tellSupervisor } from './up/child.js';
import { dropTo } from './up/drop.js';

/** How long a starting agent waits for one that is just ending, and how often it looks, milliseconds. */
const LOCK_PATIENCE_MS = 10_000;
const LOCK_PAUSE_MS = 25;
/** Part of {@link SHUTDOWN_MS} that answers in progress may take. */
const DOOR_GRACE_MS = 5000;

async function main(): Promise<void> {
  process.title = 'fairlead-agent';
  const sink = descriptorSink(2);
  let log = createLog('agent', 'info', sink);
  process.on('uncaughtException', (error) => void end(log, error));
  const stop = stopSignal();
  try {
    const config = loadConfig(configArgument(process.argv.slice(2)));
    log = createLog('agent', config.logLevel, sink);
    await run(config, log, stop);
  } catch (error) {
    await end(log, error);
  }
}

async function run(config: Config, log: Log, stop: AbortSignal): Promise<void> {
  const thread = await startLedgerThread();
  const door = await createHttpDoor({
    routes: ROUTES,
    access: { agentUid: config.runAs.uid, allowedUids: config.allowedUids, allowedGids: config.allowedGids },
    log,
    version: VERSION,
    volumePattern: VOLUME_PATTERN,
  });
  dropTo(config.runAs);
  const release = await agentLock(config.runDir, stop);
  const bootId = readBootId();
  const ledger = await openLedger(thread, config, bootId, log);
  void ledger.ended.then((error) => endWithLedger(error, config, log));
  const broker = new BrokerClient({ clock: systemClock, dial: () => dialSocket(`${config.runDir}/${BROKER_SOCKET}`) });
  const engine = createEngine({
    broker,
    ledger,
    clock: systemClock,
    processes: { runs: processRuns },
    random: { id: () => randomBytes(16).toString('hex') },
    log,
    settings: engineSettings(config, bootId),
    reach: haltAt<AgentPoint>(config.isolated ? (process.env['FAIRLEAD_HALT_AT'] ?? null) : null),
  });
  await engine.start();
  const volumes = volumeFacts(config);
  const guests = guestsOf(config, log, engine, volumes);
  guests?.door.start();
  const house = { engine, vm: guests?.door ?? null, volumes, version: VERSION };
  await door.open(`${config.runDir}/agent.sock`, house);
  log.info('agent-listening', { version: VERSION, uid: config.runAs.uid });
  const unsubscribe = broker.onConnect(() => {
    unsubscribe();
    tellSupervisor({ ready: true });
  });
  if (broker.connected) tellSupervisor({ ready: true });
  await aborted(stop);
  log.info('agent-stopping', {});
  // What is not over by then stays in the journal; the next start works it off.
  setTimeout(() => void leave(0, log), SHUTDOWN_MS).unref();
  await Promise.all([door.close(DOOR_GRACE_MS), engine.stop()]);
  guests?.door.stop();
  guests?.hypervisor.close();
  broker.close();
  await ledger.close();
  release();
  await leave(0, log);
}

/** The ledger; where its disk cannot be written to, a copy of what it says, so that what only reads goes on. */
async function openLedger(thread: LedgerThread, config: Config, bootId: string, log: Log): Promise<OpenLedger> {
  const { ledgerDir: directory, runDir } = config;
  const witness = `${runDir}/ledger.witness`;
  const fault = await stateDiskFault(directory);
  if (fault === null) {
    return thread.open({
      directory,
      version: VERSION,
      witness: { path: witness, bootId },
      warn: (event, cause) => {
        log.warn(event, { cause });
      },
    });
  }
  log.error('state-disk-unwritable', { error: fault });
  return openReadOnly({ directory, witness, scratch: runDir, fault });
}

/**
 * A ledger that has failed is only told by a new start what is on its disk; as long as nothing can be written there, this agent
 * answers what it knows.
 */
async function endWithLedger(error: FairleadError | null, { ledgerDir }: Config, log: Log): Promise<void> {
  if (error === null) return;
  if ((await stateDiskFault(ledgerDir)) !== null) {
    log.error('state-disk-unwritable', { error });
    await whenWritable(ledgerDir);
  }
  await end(log, error);
}

/** The lock that makes us the agent. An earlier agent that is just ending is waited for. */
async function agentLock(runDir: string, stop: AbortSignal): Promise<() => void> {
  for (let waited = 0; !stop.aborted; waited += LOCK_PAUSE_MS) {
    const lock = takeLock(`${runDir}/agent.lock`);
    if (lock.taken) return lock.release;
    if (waited >= LOCK_PATIENCE_MS) {
      const who = lock.holder === null ? '' : ` (process ${lock.holder})`;
      throw new FairleadError(
        'conflict',
        `Another agent${who} runs with this run_dir, or has been ended and waits for a disk that does not answer. End it first.`,
        {
          field: 'run_dir',
        },
      );
    }
    await pause(LOCK_PAUSE_MS);
  }
  throw new FairleadError('unavailable', 'The agent was told to end before it had begun.');
}

/** Disks of virtual machines, and the way to the process that may touch them; null where the configuration says that there are none. */
function guestsOf(
  config: Config,
  log: Log,
  engine: Engine,
  volumes: VolumeFacts,
): { readonly door: LibvirtDoor; readonly hypervisor: HypervisorClient } | null {
  const { libvirt, runDir, backends } = config;
  const { enabled, surveyIntervalMs } = libvirt;
  if (enabled === 'no') return null;
  const hypervisor = new HypervisorClient({
    clock: systemClock,
    dial: () => dialSocket(`${runDir}/${HYPERVISOR_SOCKET}`),
  });
  const mountBases = BACKEND_NAMES.map((name) => backends[name].mountBase);
  const settings = { enabled, surveyIntervalMs, mountBases, isExpected: () => expectsLibvirt(config) };
  return { door: createLibvirtDoor({ engine, hypervisor, clock: systemClock, log, volumes, settings }), hypervisor };
}

function volumeFacts(config: Config): VolumeFacts {
  return {
    parseVolume,
    mountBaseOf: (volume) => config.backends[volume.backend].mountBase,
    driverOf: ({ backend }) => {
      const { driverCache, driverIo } = config.backends[backend];
      return checkDriverPair(driverCache, driverIo, `backend.${backend}`);
    },
  };
}

function engineSettings(config: Config, bootId: string): EngineSettings {
  return {
    authorise: (volume) => {
      backendOf(volume.backend).authorise(volume, config.backends[volume.backend]);
    },
    mountpointOf: ({ backend, leaf }) => mountpointOf(config.backends[backend].mountBase, leaf),
    parseVolume: (url) => parseVolume(url),
    onVanish: config.onVanish,
    healthIntervalMs: config.healthIntervalMs,
    bootId,
    evidence:
      config.libvirt.enabled === 'no'
        ? null
        : {
            liftHolds: config.libvirt.liftHolds,
            orphans: config.libvirt.orphans,
            ageMs: config.libvirt.evidenceAgeMs,
            isExpected: () => expectsLibvirt(config),
          },
  };
}

/** Whether domains are to be expected here. Where a socket is named, or libvirt has left traces, one that is down may have some. */
function expectsLibvirt({ libvirt: { enabled, socket } }: Config): boolean {
  return enabled === 'yes' || socket !== null || isLibvirtHere();
}

/** Aborts when we are told to end: by a signal, or by the end of the supervisor that started us. */
function stopSignal(): AbortSignal {
  const stop = new AbortController();
  const told = (): void => {
    stop.abort();
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, told);
  process.on('SIGHUP', () => undefined);
  process.on('disconnect', told);
  return stop.signal;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else {
      signal.addEventListener('abort', () => {
        resolve();
      });
    }
  });
}

/** The end for a reason: told to the log and to the supervisor, with the exit status of its code. */
async function end(log: Log, error: unknown): Promise<void> {
  const body = errorBody(error);
  log.error('agent-failed', { error });
  tellSupervisor({ failed: body });
  await leave(ERROR_CODES[body.code].exit, log);
}

await main();
