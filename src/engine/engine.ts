// The engine: the pipeline from a typed request to a true answer. Doors call this; it sees the world through its ports.

import type { Consumer } from '../core/names.js';
import type { ConnectReply, DisconnectReply, Engine, ListReply, ValidateReply } from '../core/requests.js';
import type { Volume } from '../core/volume.js';
import { abort } from './abort.js';
import { Caretaker } from './caretaker.js';
import { Conclusions } from './conclusions.js';
import { connect, planOnly } from './connect.js';
import { Context, verdictOf } from './context.js';
import { disconnect, liftHold } from './disconnect.js';
import { examine } from './examine.js';
import { list } from './list.js';
import { HealthMonitor } from './monitor.js';
import type { EnginePorts } from './ports.js';
import { Reconciler } from './reconciler.js';
import { LeafWatcher } from './watcher.js';

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
  const monitor = new HealthMonitor(context, caretaker, () => context.reconciled);
  const watcher = new LeafWatcher(context, caretaker, (leaf) => monitor.lookAt(leaf));
  const conclusions = new Conclusions(context, caretaker);
  return {
    start: async () => {
      await reconciler.start(() => watcher.start());
      monitor.start();
    },
    stop: async () => {
      context.stopping.abort();
      await context.drain(STOP_MS);
    },
    connect: (request, requestContext) =>
      logged(ports, 'connect', request, connect(context, caretaker, request, requestContext)),
    planConnect: (request, requestContext) => planOnly(context, request, requestContext),
    disconnect: (request, requestContext) =>
      logged(ports, 'disconnect', request, disconnect(context, caretaker, request, requestContext)),
    liftHold: (request, requestContext) => liftHold(context, caretaker, request, requestContext),
    abort: (leaf, requestContext) => abort(context, caretaker, leaf, requestContext),
    list: (): ListReply => list(context, context.reconciled),
    examine: (requestContext) => examine(context, requestContext),
    takeEvidence: (survey) => {
      context.evidence.take(survey);
      if (context.evidence.known === 'complete') conclusions.draw();
    },
    validate: async (volume, { deadlineMs }): Promise<ValidateReply> => {
      context.checkRunning();
      ports.settings.authorise(volume);
      const observation = await context.observe(volume, 'read-write', deadlineMs);
      // What has died is brought back, and what only a hold kept and has gone is forgotten, as after a look of the monitor's.
      monitor.hear(observation);
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

/** One line for each request that may change something: who, where, and how it ended. */
async function logged<Reply extends ConnectReply | DisconnectReply>(
  { log }: EnginePorts,
  event: 'connect' | 'disconnect',
  { volume: { leaf }, consumer }: { readonly volume: Volume; readonly consumer: Consumer },
  work: Promise<Reply>,
): Promise<Reply> {
  try {
    const reply = await work;
    log.info(event, {
      leaf,
      consumer,
      ...('outcome' in reply ? { outcome: reply.outcome } : { changed: reply.changed }),
    });
    return reply;
  } catch (error) {
    log.warn(`${event}-failed`, { leaf, consumer, error });
    throw error;
  }
}

/** Reasons where the mount table alone decides. */
const REASONS: Partial<Record<ValidateReply['verdict'], string>> = {
  absent: 'Nothing is mounted at the leaf of this volume.',
  foreign: 'Something else is mounted, or lies, where this volume belongs.',
};
