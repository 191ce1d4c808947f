// What `ls` shows: the records, and what was last seen. Asks nobody and waits for nothing, so it answers whatever hangs.

import type { ListedMount, ListReply, MountState } from '../core/requests.js';
import type { AttachmentRecord, MountRecord } from '../core/records.js';
import type { Context } from './context.js';
import type { Leaf } from '../core/volume.js';
import type { Sight } from './state.js';

/** Everything that is recorded or known to lie under the mount bases. */
export function list(context: Context, reconciled: boolean): ListReply {
  const { state, ports } = context;
  const mounts = [...state.mounts.keys()].map((leaf) => listed(context, leaf));
  const unrecorded = [...state.strangers.values()].filter(({ leaf }) => !state.mounts.has(leaf));
  const strangers = unrecorded.map((stranger): ListedMount => ({
    leaf: stranger.leaf,
    url: null,
    backend: stranger.backend,
    mountpoint: stranger.mountpoint,
    state: stranger.state,
    verdict: stranger.state === 'foreign' ? 'foreign' : null,
    verdictAge: null,
    attachments: [],
    hold: null,
    former: [],
    keptBy: [],
    needsRestart: [],
    operation: null,
  }));
  return {
    mounts: [...mounts, ...strangers].sort((left, right) => (left.leaf < right.leaf ? -1 : 1)),
    setAside: state.setAside,
    fault: context.diskFault?.message ?? null,
    broker: ports.broker.connected ? 'connected' : 'absent',
    state: reconciled ? 'ready' : 'reconciling',
    domains: context.evidence.known,
  };
}

function listed(context: Context, leaf: Leaf): ListedMount {
  const { state, ports } = context;
  const record = state.mounts.get(leaf);
  if (record === undefined) throw new Error('a listed mount has a record');
  const sight = state.sightOf(leaf);
  // Processes that held a dead mount do so until they end.
  if (sight.needsRestart.length > 0) sight.needsRestart = sight.needsRestart.filter((one) => ports.processes.runs(one));
  const operation = state.operations.get(leaf);
  return {
    leaf,
    url: record.volume.url,
    backend: record.volume.backend,
    mountpoint: ports.settings.mountpointOf(record.volume),
    state: stateOf(record, sight),
    verdict: sight.verdict,
    verdictAge: sight.verdict === null ? null : Math.round((ports.clock.now() - sight.verdictAt) / 100) / 10,
    attachments: state.attachmentsOf(leaf).map((attachment) => shownAttachment(context, attachment)),
    hold: state.holds.get(leaf)?.reason ?? null,
    former: sight.former.map(({ state }) => ({ state: state === 'serving' ? 'releasing' : 'ending' })),
    keptBy: record.state === 'releasing' ? sight.keptBy : [],
    needsRestart: sight.needsRestart,
    operation: operation === undefined ? null : { kind: operation.kind, step: sight.step, stuck: sight.stuck },
  };
}

function stateOf(record: MountRecord, { stuck, vanished, mounted, former }: Sight): MountState {
  if (stuck) return 'stuck';
  if (record.state === 'mounted' && vanished) return 'vanished';
  const isEnding = !mounted && former.length > 0 && former.every(({ state }) => state === 'ending');
  return record.state === 'releasing' && isEnding ? 'ending' : record.state;
}

function shownAttachment(context: Context, attachment: AttachmentRecord): ListedMount['attachments'][number] {
  const { id, consumer, disk, readOnly, since } = attachment;
  return { id, consumer, disk, readOnly, since, orphan: context.evidence.orphanhoodOf(attachment) };
}
