// One child of `fairlead up`, kept alive: started, started again when it dies (not too often), ended when told. Nothing of
// what the child says is believed beyond "ready" and "failed".

import { ERROR_CODES, type ErrorBody, type ErrorCode } from '../core/errors.js';
import { systemClock } from '../sys/clock.js';
import { identifyProcess } from '../sys/process-identity.js';
import { startNode, within, type NodeChild, type ProcessEnd } from '../sys/run.js';
import { readNews } from './child.js';

/** A child to be kept alive. */
export interface ChildSpec {
  readonly name: 'agent' | 'broker' | 'hypervisor';
  /** Absolute path of its module. */
  readonly module: string;
  readonly args: readonly string[];
  /** Environment of the first one only: a test's wish to have it killed must not outlive it. */
  readonly firstEnv: Readonly<Record<string, string>>;
  /** `when-hopeless`: the others cannot do without it, so all end with it. */
  readonly giveUp: 'when-hopeless' | 'never';
}

/** What its keeper is told. */
export interface ChildEvents {
  /** The one that is up now is ready. */
  ready(pid: number): void;
  /** It was killed and does not end, since the kernel keeps a thread of it in a call. None is started beside it. */
  lingering(pid: number): void;
  /** It died and is started again after the pause. */
  restarting(pid: number, how: string, pauseMs: number): void;
  /** It cannot be kept alive: it said why, or died again and again before it was ever ready. */
  gaveUp(error: ErrorBody): void;
}

/** A child that is being kept alive. */
export interface Supervised {
  /**
   * SIGTERM, then SIGKILL after `graceMs`. It is not started again. Resolves with null when it is gone, and with its process
   * number when it does not even end then, since the kernel does not end a process within a call to a disk that stands still.
   */
  end(graceMs: number): Promise<number | null>;
}

/** First and longest pause before a restart, milliseconds; a child that lived longer than the second starts over. */
const PAUSE_FIRST_MS = 50;
const PAUSE_LAST_MS = 5000;
const STEADY_MS = 20_000;
/** Deaths in a row before it was ever ready, after which it is given up. */
const MAX_STILLBORN = 5;
/** Milliseconds between two looks whether one was killed that does not end; told when two in a row have seen it. */
const LINGER_LOOK_MS = 1000;
/** Milliseconds for one that was killed to be gone. */
const KILLED_MS = 250;

/** Starts the child and keeps it alive. */
export function supervise(spec: ChildSpec, events: ChildEvents): Supervised {
  let child: NodeChild | null = null;
  let gone: Promise<void> = Promise.resolve();
  let everReady = false;
  let deaths = 0;
  let pauseMs = PAUSE_FIRST_MS;
  const ending = new AbortController();

  const start = (env: Readonly<Record<string, string>>): void => {
    const started = startNode({ module: spec.module, args: spec.args, env, output: 'ours' });
    const since = systemClock.now();
    let failure: ErrorBody | null = null;
    child = started;
    started.onMessage((message) => {
      const news = readNews(message);
      if (news === null) return;
      if ('failed' in news) {
        failure = news.failed;
        return;
      }
      everReady = true;
      events.ready(started.pid);
    });
    let looksInVain = 0;
    const looking = setInterval(() => {
      looksInVain = identifyProcess(started.pid) === null ? looksInVain + 1 : 0;
      if (looksInVain === 2) events.lingering(started.pid);
    }, LINGER_LOOK_MS).unref();
    gone = new Promise((resolve) => {
      started.onEnd((end) => {
        clearInterval(looking);
        resolve();
        if (ending.signal.aborted) return;
        if (systemClock.now() - since > STEADY_MS) pauseMs = PAUSE_FIRST_MS;
        const how =
          end.end === 'exited' ? `exit status ${end.status}` : end.end === 'signalled' ? end.signal : end.errno;
        deaths += 1;
        const code = failure?.code ?? codeOf(end);
        const hopeless = deaths >= MAX_STILLBORN || (code !== null && FATAL.includes(code));
        if (!everReady && hopeless && spec.giveUp === 'when-hopeless')
          events.gaveUp(failure ?? stillborn(spec.name, how, code));
        else void again(started.pid, how);
      });
    });
  };

  const again = async (pid: number, how: string): Promise<void> => {
    events.restarting(pid, how, pauseMs);
    await systemClock.sleep(pauseMs, ending.signal);
    pauseMs = Math.min(pauseMs * 2, PAUSE_LAST_MS);
    if (!ending.signal.aborted) start({});
  };

  start(spec.firstEnv);
  return {
    end: async (graceMs) => {
      ending.abort();
      child?.kill('SIGTERM');
      const isGone = gone.then(() => null);
      if ((await within(isGone, graceMs)) === null) return null;
      child?.kill('SIGKILL');
      return (await within(isGone, KILLED_MS)) === null ? null : (child?.pid ?? null);
    },
  };
}

/** What only an operator can change: a second start would end in the same way. */
const FATAL: readonly ErrorCode[] = [
  'config-invalid',
  'conflict',
  'helper-untrusted',
  'permission-denied',
  'invalid-argument',
];

/** The error that an exit status stands for. */
function codeOf(end: ProcessEnd): ErrorCode | null {
  if (end.end !== 'exited') return null;
  return (Object.keys(ERROR_CODES) as ErrorCode[]).find((code) => ERROR_CODES[code].exit === end.status) ?? null;
}

function stillborn(name: string, how: string, code: ErrorCode | null): ErrorBody {
  const message = `The ${name} could not be started (${how}). Its log above says why.`;
  return { code: code ?? 'unavailable', message, retryable: false };
}
