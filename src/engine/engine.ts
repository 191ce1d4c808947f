// The engine: the pipeline from a typed request to a true answer. Doors call this; it sees the world through its ports.

import type { ListReply, Engine, ValidateReply } from '../core/requests.js';
import { Caretaker } from './caretaker.js';
import { connect, planOnly } from './connect.js';
import { Context, verdictOf } from './context.js';
import { disconnect, liftHold } from './disconnect.js';
import { list } from './list.js';
import type { EnginePorts } from './ports.js';
import { Reconciler } from './reconciler.js';

/** Milliseconds that a stop waits for work in progress; what is not over by then stays in the journal. */
const STOP_MS = 5000;

/** An engine that can be started and stopped. */
export interface RunningEngine extends Engine {
  /** Loads the ledger. Resolves when requests may come; reconciliation goes on in the background. */
  start(): Promise<void>;
  /** Begins nothing new and waits a little for what is in progress. Mounts stay as they are. */
  stop(): Promise<void>;
}

/** Makes an engine. */
export function createEngine(ports: EnginePorts): RunningEngine {
  const context = new Context(ports);
  const caretaker = new Caretaker(context);
  const reconciler = new Reconciler(context, caretaker);
  return {
    start: () => reconciler.start(),
    stop: async () => {
      context.stopping.abort();
      await context.drain(STOP_MS);
    },
    connect: (request, requestContext) => connect(context, caretaker, request, requestContext),
    planConnect: (request, requestContext) => planOnly(context, request, requestContext),
    disconnect: (request, requestContext) => disconnect(context, caretaker, request, requestContext),
    liftHold: (leaf, requestContext) => liftHold(context, caretaker, leaf, requestContext),
    list: (): ListReply => list(context, reconciler.setAside, reconciler.done),
    examine: ({ deadlineMs }) => ports.broker.examine(deadlineMs),
    validate: async (volume, { deadlineMs }): Promise<ValidateReply> => {
      context.checkRunning();
      ports.settings.authorise(volume);
      const observation = await context.observe(volume, 'read-write', deadlineMs);
      const verdict = verdictOf(observation) ?? 'hung';
      return {
        verdict,
        reason: observation.judgement?.reason ?? REASONS[verdict] ?? 'The mount could not be probed.',
        leaf: volume.leaf,
        mountpoint: ports.settings.mountpointOf(volume),
      };
    },
  };
}

/** Reasons where the mount table alone decides. */
const REASONS: Partial<Record<ValidateReply['verdict'], string>> = {
  absent: 'Nothing is mounted at the leaf of this volume.',
  foreign: 'Something else is mounted, or lies, where this volume belongs.',
};
