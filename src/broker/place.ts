// A volume and where it belongs on this host: made from URL text by the backend's own grammar and by the broker's own
// reading of the configuration. Leaf, mountpoint, command lines and unit names are computed here and never accepted.

import type { Backend, BackendSettings, MountWay } from '../backends/backend.js';
import { backendOf, parseVolume } from '../backends/registry.js';
import type { Argument } from '../core/argv.js';
import type { MountEntry } from '../core/mountinfo.js';
import { mountpointOf } from '../core/paths.js';
import type { Access, Judgement, ProbeFacts } from '../core/verdict.js';
import type { Leaf, Volume } from '../core/volume.js';
import type { Context } from './context.js';
import { mayBeFrom } from './possible-superblocks.js';
import type { BindSite, ProbeTarget } from './prober.js';
import { unitName } from './unit-names.js';

/** A command line, program first by itself. */
export interface Command {
  readonly program: string;
  readonly args: readonly Argument[];
}

/** See the file's head. */
export interface Place {
  readonly volume: Volume;
  readonly settings: BackendSettings;
  readonly base: string;
  readonly mountpoint: string;
  readonly unmountUnit: string;
  /** A file that the mount helper reads besides its arguments, or null. */
  readonly configFile: string | null;
  /**
   * Throws `permission-denied` for a volume that the configuration does not allow. Asked before anything is made or read
   * for it; taking away what was allowed once must stay possible.
   */
  authorise(): void;
  /** Is the entry this volume, as far as the table alone tells? Never where {@link identifiedBy} is not null. */
  recognises(entry: MountEntry): boolean;
  /** How the directory that is bound is found: its inode tells mounts of this volume from others. Null: the table alone tells. */
  readonly identifiedBy: BindSite | null;
  /** Does the entry look like a mount of this backend, whichever volume it is? */
  resembles(entry: MountEntry): boolean;
  /** See {@link mayBeFrom}. */
  mayBeIts(entry: MountEntry): boolean;
  mountWay(): MountWay;
  unmountCommand(): Command | null;
  judge(facts: ProbeFacts, access: Access): Judgement;
  explainFailure: Backend['explainFailure'];
  /** The mount on the superblock `dev`, as the prober wants it. */
  target(dev: string): ProbeTarget;
}

/** The place of the volume that `url` names. Throws `invalid-argument` for text outside the grammar. */
export function placeOf(context: Context, url: string): Place {
  return placeOfVolume(context, parseVolume(url, 'volume'));
}

/** The place of a parsed volume. */
export function placeOfVolume(context: Context, volume: Volume): Place {
  const backend = backendOf(volume.backend);
  const settings = context.settings.backends[volume.backend];
  const base = settings.mountBase;
  const mountpoint = mountpointOf(base, volume.leaf);
  const mountWay = (): MountWay => backend.mountWay(volume, settings, mountpoint);
  return {
    volume,
    settings,
    base,
    mountpoint,
    unmountUnit: unitName('unmount', base, volume.leaf),
    configFile: 'clientConfig' in settings ? settings.clientConfig : null,
    authorise: () => backend.authorise(volume, settings),
    recognises: (entry) => backend.recognises(entry, volume),
    identifiedBy: backend.identifiedBySource ? siteOf(mountWay(), base, volume.leaf) : null,
    resembles: (entry) => backend.candidateExports(entry, []).length > 0,
    mayBeIts: (entry) => mayBeFrom(volume.backend, mountpoint, entry),
    mountWay,
    unmountCommand: () => backend.unmountCommand(settings, mountpoint),
    judge: (facts, access) => backend.judge(facts, access, settings),
    explainFailure: (failure) => backend.explainFailure(failure),
    target: (dev) => ({
      dev,
      mountpoint,
      witness: backend.witness,
      timeoutMs: settings.probeTimeoutMs,
      accessUid: settings.accessUid,
      accessGid: settings.accessGid,
    }),
  };
}

function siteOf(way: MountWay, base: string, leaf: Leaf): BindSite | null {
  return way.way === 'bind' ? { source: way.source, roots: way.roots, base, leaf } : null;
}
