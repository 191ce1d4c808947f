// Starting the broker: what must be true of the host before it may say that something is mounted, then the lock, then
// the socket. Whatever is unsound is refused with its mend; nothing is created or repaired here.

import { join } from 'node:path';
import type { Config } from '../config.js';
import { checkTrustedFile } from '../config/file.js';
import { FairleadError } from '../core/errors.js';
import { BROKER_POINTS, type BrokerPoint, type Reach } from '../core/journal.js';
import { BACKEND_NAMES } from '../core/volume.js';
import { linuxMachine, type LinuxMachine } from '../sys/linux.js';
import { takeLock } from '../sys/lock-file.js';
import { liesOnSharedMount, namespaceFault } from '../sys/namespace.js';
import { checkProgram } from '../sys/trust.js';
import { type BrokerLog, createContext } from './context.js';
import { runDirFault } from '../sys/run-directory.js';
import { baseFault } from '../sys/soundness.js';
import { listen } from '../link/listen.js';
import { serve } from './dispatch.js';
import { SOCKET } from './protocol.js';

/** A broker that listens. */
export interface RunningBroker {
  /** Stops listening and ends the probe children. Helpers live in units of their own and stay. */
  close(): Promise<void>;
}

/** What the process itself gives. */
export interface BrokerProcess {
  readonly log: BrokerLog;
  /** `FAIRLEAD_HALT_AT`, if it is set: a point at which to kill this process. Obeyed only where `isolated` is set. */
  readonly haltAt: string | undefined;
}

/**
 * Starts the broker. Throws `config-invalid` or `helper-untrusted` with the mend when the host is unsound, `conflict` when
 * there is a broker already.
 */
export async function startBroker(config: Config, { log, haltAt }: BrokerProcess): Promise<RunningBroker> {
  if (process.geteuid?.() !== 0) throw unsound('run_as', 'The broker needs root. Start it with `fairlead up` as root.');
  const privateNamespace = checkNamespace(config);
  const runFault = runDirFault(config.runDir, config.runAs);
  if (runFault !== null) throw unsound('run_dir', `${runFault.message} Mend it: ${runFault.mend}`);
  checkFiles(config, log);
  const lock = takeLock(join(config.runDir, 'broker.lock'));
  if (!lock.taken) {
    const holder = lock.holder === null ? '' : ` (process ${lock.holder})`;
    throw new FairleadError('conflict', `There is a broker already${holder}. Stop it first, or use it.`, {
      field: 'run_dir',
    });
  }
  const machine = linuxMachine({
    trustedDirs: config.trustedHelperDirs,
    // Process 1 lives, or may live, in another mount namespace than we do: what it starts would mount there.
    choice: privateNamespace ? 'session' : config.helperStart === 'scope' ? 'scope' : 'detect',
    notesDir: join(config.runDir, 'broker'),
  });
  checkBases(config, machine);
  const context = createContext({
    machine,
    settings: {
      agentUid: config.runAs.uid,
      backends: config.backends,
      trustedBaseOwners: config.trustedBaseOwners,
    },
    log,
    reach: reachOf(config, haltAt),
  });
  const server = await listen({
    path: join(config.runDir, SOCKET),
    agentGid: config.runAs.gid,
    log,
    serve: (peer, transport) => serve(context, peer, transport),
  });
  log.info('ready', { pid: process.pid });
  void announceWay(machine, log);
  return {
    close: async () => {
      await server.close();
      context.prober.close();
    },
  };
}

/** Finds out, and says, how helpers are started here: the first mount need not wait for it, and the way is on record. */
async function announceWay({ units }: LinuxMachine, log: BrokerLog): Promise<void> {
  try {
    log.info('helpers', { way: await units.way(), containment: await units.containment() });
  } catch (error) {
    log.warn('helpers-unknown', { error });
  }
}

/** Whether we are, or may be, in a private mount namespace, which is refused unless it is allowed. */
function checkNamespace(config: Config): boolean {
  const fault = namespaceFault('broker');
  if (fault !== null && !config.isolated) throw unsound('isolated', fault);
  return fault !== null;
}

/** Helpers and their configuration. What is missing is told; what somebody else could write is refused. */
function checkFiles(config: Config, log: BrokerLog): void {
  const { mountHelper, unmountHelper, clientConfig } = config.backends.quobyte;
  for (const [field, path] of [
    ['backend.quobyte.mount_helper', mountHelper],
    ['backend.quobyte.unmount_helper', unmountHelper],
  ] as const) {
    if (path === null) continue;
    const trust = checkProgram(path, config.trustedHelperDirs);
    if (trust.trusted) continue;
    if (trust.why === 'missing') {
      log.warn('helper-missing', { field });
      continue;
    }
    throw new FairleadError('helper-untrusted', `The program of ${field} cannot be used: ${trust.detail}`, { field });
  }
  if (clientConfig !== null) checkTrustedFile(clientConfig, 'backend.quobyte.client_config');
}

function checkBases(config: Config, machine: LinuxMachine): void {
  for (const name of BACKEND_NAMES) {
    const { mountBase } = config.backends[name];
    const field = `backend.${name}.mount_base`;
    const chain = machine.directories.chain(mountBase);
    if (name === 'local' && config.backends.local.roots.length === 0 && chain.at(-1)?.kind === 'absent') continue;
    const fault = baseFault(chain, config.trustedBaseOwners);
    if (fault !== null) throw unsound(field, `The mount base is unsound. ${fault.message} Mend it: ${fault.mend}`);
    if (!config.isolated && !liesOnSharedMount(machine.table, mountBase)) {
      const message =
        'The mount base does not lie on a shared mount, so services and containers would not see its mounts.';
      throw unsound(field, `${message} Mend it: mount --make-rshared /`);
    }
  }
}

/** Does nothing, unless a test in an isolated set-up has named a point at which this process is to die. */
function reachOf(config: Config, haltAt: string | undefined): Reach<BrokerPoint> {
  const point = config.isolated ? BROKER_POINTS.find((known) => known === haltAt) : undefined;
  if (point === undefined) return () => undefined;
  return (reached) => {
    if (reached === point) process.kill(process.pid, 'SIGKILL');
  };
}

function unsound(field: string, message: string): FairleadError {
  return new FairleadError('config-invalid', message, { field });
}
