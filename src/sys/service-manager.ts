// Which service manager runs this host: systemd, or none that we know. Decided from one exact path and from what the
// manager says of itself. An error is never an answer, and is never remembered.

import { lstatSync } from 'node:fs';
import { FairleadError } from '../core/errors.js';
import { TOOL_BUDGET_MS } from '../core/limits.js';
import { errnoOf } from './libc/errors.js';
import { runTool } from './run.js';

/** Where to look, all absolute: other ones in tests. */
export interface ManagerPaths {
  /** `/run/systemd/system`: a directory while systemd is the manager (sd_booted(3)). */
  readonly mark: string;
  readonly systemctl: string;
  readonly systemdRun: string;
}

/** The paths of a real host. */
export const HOST_MANAGER: ManagerPaths = {
  mark: '/run/systemd/system',
  systemctl: '/usr/bin/systemctl',
  systemdRun: '/usr/bin/systemd-run',
};

/**
 * `systemd` or `none`. Throws FairleadError `unavailable` while systemd starts up, shuts down or is in maintenance, and
 * when it cannot be asked.
 */
export async function detectManager(paths: ManagerPaths): Promise<'systemd' | 'none'> {
  if (!isDirectory(paths.mark)) return 'none';
  const asked = await runTool(paths.systemctl, ['is-system-running'], TOOL_BUDGET_MS);
  // `degraded` and the states of a starting or stopping system come with status 1 (systemctl(1)).
  if (asked.end !== 'exited' || asked.status > 1) {
    throw new FairleadError(
      'unavailable',
      'systemd runs here but systemctl does not say in which state; try again, and run systemctl is-system-running if that persists.',
    );
  }
  const state = asked.stdout.endsWith('\n') ? asked.stdout.slice(0, -1) : asked.stdout;
  switch (state) {
    case 'starting':
    case 'running':
    case 'degraded':
      return 'systemd';
    case 'initializing':
    case 'stopping':
    case 'maintenance':
      throw new FairleadError('unavailable', `systemd is ${state}; try again when the host is up.`);
    default:
      return 'none';
  }
}

/** Not a link to one: systemd makes a directory. */
function isDirectory(path: string): boolean {
  try {
    return lstatSync(path).isDirectory();
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT' || errno === 'ENOTDIR') return false;
    throw error;
  }
}
