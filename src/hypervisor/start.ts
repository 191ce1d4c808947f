// Starting the hypervisor process: what must be true of the host, then the lock, then the socket. Whether libvirt and qemu-img are there
// decides nothing here: they may come and go.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from '../config.js';
import { FairleadError } from '../core/errors.js';
import { listen } from '../link/listen.js';
import { systemClock } from '../sys/clock.js';
import { takeLock } from '../sys/lock-file.js';
import { KernelMountTable } from '../sys/mount-table.js';
import { namespaceFault } from '../sys/namespace.js';
import { runDirFault } from '../sys/run-directory.js';
import { createContext, type HypervisorLog } from './context.js';
import { serve } from './dispatch.js';
import { Images, trustQemuImg } from './images.js';
import { openLibvirt } from './libvirt/domains.js';
import { LIBVIRT_SOCKETS } from './libvirt/libvirt.js';
import { SOCKET } from './protocol.js';

/** A hypervisor process that listens. */
export interface RunningHypervisor {
  /** Stops listening. Image children end with the process. */
  close(): Promise<void>;
}

/**
 * Starts it. Throws `config-invalid` with the mend when the host is unsound or the configuration says that it is not wanted, `conflict`
 * when there is one already.
 */
export async function startHypervisor(config: Config, log: HypervisorLog): Promise<RunningHypervisor> {
  const { libvirt: settings, runAs, runDir } = config;
  if (process.geteuid?.() !== 0) {
    throw unsound('run_as', 'The hypervisor process needs root. Start it with `fairlead up` as root.');
  }
  if (settings.enabled === 'no') throw unsound('libvirt.enabled', 'It says that guests of libvirt are not served.');
  const elsewhere = config.isolated ? null : namespaceFault('hypervisor process');
  if (elsewhere !== null) throw unsound('isolated', elsewhere);
  const fault = runDirFault(runDir, runAs);
  if (fault !== null) throw unsound('run_dir', `${fault.message} Mend it: ${fault.mend}`);
  const lock = takeLock(join(runDir, 'hypervisor.lock'));
  if (!lock.taken) {
    const holder = lock.holder === null ? '' : ` (process ${lock.holder})`;
    const message = `There is a hypervisor process already${holder}. Stop it first, or use it.`;
    throw new FairleadError('conflict', message, { field: 'run_dir' });
  }
  const imageSettings = {
    user: settings.imageUser,
    qemuImg: settings.qemuImg,
    trustedDirs: config.trustedHelperDirs,
    timeoutMs: settings.imageTimeoutMs,
  };
  const libvirt = openLibvirt({ socket: settings.socket ?? '', uri: settings.uri, clock: systemClock });
  const context = createContext({
    settings: { agentUid: runAs.uid, backends: config.backends, libvirt: settings },
    libvirt,
    hasLibvirt: () => (settings.socket === null ? LIBVIRT_SOCKETS : [settings.socket]).some((path) => existsSync(path)),
    images: new Images(imageSettings, systemClock),
    trustQemuImg: () => trustQemuImg(imageSettings),
    table: new KernelMountTable(),
    clock: systemClock,
    log,
  });
  const listening = await listen({
    path: join(runDir, SOCKET),
    agentGid: runAs.gid,
    log,
    serve: (peer, transport) => serve(context, peer, transport),
  });
  log.info('ready', { pid: process.pid });
  return {
    close: async () => {
      await listening.close();
      libvirt.close();
    },
  };
}

function unsound(field: string, message: string): FairleadError {
  return new FairleadError('config-invalid', message, { field });
}
