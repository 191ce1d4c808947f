// What an inventory finds at leaves of which nothing is recorded: a volume whose name the leaf proves, which is put in
// order like any other, or something else, which is shown and left alone.

import type { InventoryItem } from '../core/observation.js';
import type { Volume } from '../core/volume.js';
import type { Context } from './context.js';

/** Takes down what was found at a leaf without a record. Answers the volume that is mounted there; null if there is none. */
export function noteUnrecorded(context: Context, item: InventoryItem): Volume | null {
  const { strangers } = context.state;
  const volume = item.mounts.length > 0 ? volumeOf(context, item) : null;
  const state = volume === null ? strangeStateOf(item) : null;
  if (state === null) strangers.delete(item.leaf);
  else strangers.set(item.leaf, { leaf: item.leaf, backend: item.backend, mountpoint: item.mountpoint, state });
  return volume;
}

function strangeStateOf({ mounts, former }: InventoryItem): 'foreign' | 'releasing' | 'ending' | null {
  if (mounts.length > 0) return 'foreign';
  if (former.length === 0) return null;
  return former.every(({ state }) => state === 'ending') ? 'ending' : 'releasing';
}

/** The volume that an item proves to be; null for a foreign one, which must stop nothing. */
function volumeOf(context: Context, { url, leaf }: InventoryItem): Volume | null {
  const { settings, log } = context.ports;
  if (url === undefined) return null;
  try {
    const volume = settings.parseVolume(url);
    return volume.leaf === leaf ? volume : null;
  } catch (error) {
    log.warn('item-not-read', { leaf, error });
    return null;
  }
}
