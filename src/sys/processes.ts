// Who keeps a mount busy: asked of a process of its own (holders-main.ts), which is killed when its time is up. What it
// has found by then is the answer.

import { fileURLToPath } from 'node:url';
import { HOLDERS_BUDGET_MS } from '../core/limits.js';
import type { Holder } from '../core/observation.js';
import type { HoldersReply, HoldersRequest } from './holders-main.js';
import type { ProcessIdentity, Processes } from './ports.js';
import { isRunning } from './process-identity.js';
import { startNode, within } from './run.js';

/** The processes of this machine. */
export class KernelProcesses implements Processes {
  readonly #module: string;

  constructor(module: string = fileURLToPath(new URL('./holders-main.js', import.meta.url))) {
    this.#module = module;
  }

  runs(process: ProcessIdentity): boolean {
    return isRunning(process);
  }

  async holding(dev: string, mountPoint: string, excludePids: readonly number[]): Promise<readonly Holder[]> {
    const child = startNode({ module: this.#module, args: [], env: {}, output: 'none' });
    const found: Holder[] = [];
    const complete = new Promise<void>((resolve) => {
      child.onMessage((message) => {
        const { holder } = message as HoldersReply;
        if (holder === null) resolve();
        else found.push(holder);
      });
      child.onEnd(() => {
        resolve();
      });
    });
    child.send({ dev, mountPoint, excludePids } satisfies HoldersRequest);
    await within(complete, HOLDERS_BUDGET_MS);
    child.kill('SIGKILL');
    child.unref();
    return found;
  }
}
