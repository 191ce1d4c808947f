// Is the directory of sockets and locks sound? Looked at by each process that is root before it takes its lock.

import { directories } from './directories.js';
import { baseFault, type Fault } from './soundness.js';

/**
 * What makes the run directory unsound: it must be root's, or the agent's own. The agent makes its socket in it, so its group may write,
 * if the sticky bit keeps what is ours.
 */
export function runDirFault(runDir: string, agent: { readonly uid: number; readonly gid: number }): Fault | null {
  const chain = directories.chain(runDir).map((facts, index, { length }) => {
    const shared = index === length - 1 && facts.gid === agent.gid && (facts.mode & 0o1020) === 0o1020;
    return shared ? { ...facts, mode: facts.mode & ~0o020 } : facts;
  });
  return baseFault(chain, [agent.uid]);
}
