// Probe children, from the parent's side: started, given jobs, killed, and never waited for.

import { fileURLToPath } from 'node:url';
import type { ProbeReply, ProbeRequest } from './probe-main.js';
import type { ProbeAnswer, ProbeChild, ProbeChildren, ProbeJob } from './ports.js';
import { startNode } from './run.js';

/** Threads of a child's pool: jobs that may hang in it at once, and some to spare (see core/limits.ts). */
const POOL_THREADS = 64;

/** Starts children of the program beside this file, or of `module` in tests. */
export class ForkedProbeChildren implements ProbeChildren {
  readonly #module: string;

  constructor(module: string = fileURLToPath(new URL('./probe-main.js', import.meta.url))) {
    this.#module = module;
  }

  /** Throws an error with a `code` when the child could not be forked. */
  start(uid: number, gid: number): ProbeChild {
    const child = startNode({
      module: this.#module,
      args: [String(uid), String(gid)],
      env: { UV_THREADPOOL_SIZE: String(POOL_THREADS) },
      output: 'none',
    });
    if (child.pid === 0) throw Object.assign(new Error('a probe child could not be started'), { code: 'EAGAIN' });
    child.unref();
    const pings = new Map<number, () => void>();
    let nextPing = 1;
    return {
      pid: child.pid,
      post: (id: number, job: ProbeJob) => {
        child.send({ id, job } satisfies ProbeRequest);
      },
      onAnswer: (listener: (id: number, answer: ProbeAnswer) => void) => {
        child.onMessage((message) => {
          const reply = message as ProbeReply;
          if (reply.answer !== 'pong') {
            listener(reply.id, reply.answer);
            return;
          }
          pings.get(reply.id)?.();
          pings.delete(reply.id);
        });
      },
      ping: (answered) => {
        const id = nextPing++;
        pings.set(id, answered);
        child.send({ id, job: 'ping' } satisfies ProbeRequest);
      },
      onExit: (listener) => {
        child.onEnd(listener);
      },
      kill: () => {
        child.kill('SIGKILL');
      },
    };
  }
}
