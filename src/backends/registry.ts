// The backends that exist, and the one way from outside text to a volume. Text comes in; a typed volume or a refusal that
// names field and rule goes out; the text itself is never repeated.

import { refusal } from '../core/text.js';
import { leafOf, type BackendName, type Volume, type VolumeUrl } from '../core/volume.js';
import type { Backend } from './backend.js';
import { local } from './local.js';
import { quobyte } from './quobyte.js';

const BACKENDS: { readonly [Name in BackendName]: Backend<Name> } = { quobyte, local };

/** What every text matches that {@link parseVolume} takes, as a regular expression in text. */
export const VOLUME_PATTERN = `^(?:(?:quobyte://)?${quobyte.pattern}|local://${local.pattern})$`;

/** The backend of that name. */
export function backendOf<Name extends BackendName>(name: Name): Backend<Name> {
  return BACKENDS[name];
}

/**
 * The volume that `text` names: `quobyte://REGISTRIES/VOLUME`, `local:///PATH`, or Nova's bare `REGISTRIES/VOLUME`, which
 * is Quobyte's. One scheme is taken off and nothing is normalised, since the leaf is made of the export exactly as it is
 * given. Everything else is refused with `invalid-argument`.
 */
export function parseVolume(text: unknown, field = 'url'): Volume {
  if (typeof text !== 'string') throw refusal(field, 'must be text');
  const { backend, rest } = splitScheme(text, field);
  const exported = BACKENDS[backend].parseExport(rest, field);
  return { backend, export: exported, url: `${backend}://${exported}` as VolumeUrl, leaf: leafOf(exported) };
}

function splitScheme(text: string, field: string): { readonly backend: BackendName; readonly rest: string } {
  if (text.startsWith('quobyte://')) return { backend: 'quobyte', rest: text.slice('quobyte://'.length) };
  if (text.startsWith('local://')) return { backend: 'local', rest: text.slice('local://'.length) };
  if (text.includes('://')) throw refusal(field, 'must begin with quobyte:// or local://');
  return { backend: 'quobyte', rest: text };
}
