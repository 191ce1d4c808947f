// A disk and where it is on this host: made from URL text and a name by the parsers of backends/ and core/, and by this process's own
// reading of the configuration. Paths are computed here and never accepted.

import { backendOf, parseVolume } from '../backends/registry.js';
import { FairleadError } from '../core/errors.js';
import { type DiskName, parseDiskName } from '../core/names.js';
import { type AbsolutePath, diskPathOf, mountpointOf } from '../core/paths.js';
import type { Volume } from '../core/volume.js';
import type { Context } from './context.js';
import type { ImagePlace } from './image-main.js';

/** See the file's head. */
export interface DiskPlace {
  readonly volume: Volume;
  readonly disk: DiskName;
  readonly mountpoint: AbsolutePath;
  readonly path: AbsolutePath;
  readonly image: ImagePlace;
  /** Directories in which a backing file may be. */
  readonly outside: readonly string[];
}

/** The place of a disk, from what came over the socket. Throws `invalid-argument` for text outside the grammar. */
export function placeOf(context: Context, named: { readonly volume: string; readonly disk: string }): DiskPlace {
  const volume = parseVolume(named.volume, 'volume');
  const disk = parseDiskName(named.disk, 'disk');
  const { mountBase } = context.settings.backends[volume.backend];
  const mountpoint = mountpointOf(mountBase, volume.leaf);
  return {
    volume,
    disk,
    mountpoint,
    path: diskPathOf(mountBase, volume.leaf, disk),
    image: { directory: mountpoint, path: disk },
    outside: context.settings.libvirt.outsideImages,
  };
}

/**
 * Refuses a volume that the configuration does not allow, that is not mounted here, or in whose place something else is. Asked before
 * anything is made or given; taking away what was allowed once must stay possible.
 */
export function requireUsable(context: Context, { volume, mountpoint }: DiskPlace): void {
  const backend = backendOf(volume.backend);
  backend.authorise(volume, context.settings.backends[volume.backend]);
  const mounted = context.table.at(mountpoint).at(-1);
  const details = { field: 'volume', leaf: volume.leaf };
  if (mounted === undefined)
    throw new FairleadError('not-found', 'The volume is not mounted here. Connect it first.', details);
  // What only the source directory could tell, the broker has looked at when it mounted it.
  if (backend.identifiedBySource || backend.recognises(mounted, volume)) return;
  throw new FairleadError(
    'foreign',
    'Something else than the volume is mounted in its place. Unmount it, then try again.',
    details,
  );
}
