// Quobyte: volumes of a cluster, mounted by its FUSE client. In comes the text of an export, an entry of the mount table
// or what a probe and a helper reported; out go typed values and argument vectors. Nothing is started or looked at here.

import { option } from '../core/argv.js';
import { FairleadError } from '../core/errors.js';
import { MAX_EXPORT_BYTES } from '../core/limits.js';
import type { MountEntry } from '../core/mountinfo.js';
import { urlCharacter } from '../core/patterns.js';
import { checkText, hasForbidden, refusal } from '../core/text.js';
import type { Access, Judgement, ProbeFacts } from '../core/verdict.js';
import type { Export, Volume } from '../core/volume.js';
import type { Backend, MountWay, QuobyteSettings } from './backend.js';
import { explainHelper } from './helper-failure.js';
import { judgeFacts } from './judgement.js';
import { parseRegistries, parseRegistry } from './registries.js';

/**
 * A volume's name: letters, digits and marks of any script and `. _ - + = @ ~ :`, beginning with a letter, a digit or
 * `_`. Narrower than what the server allows, on purpose: no blank, quote, comma, `?`, `#`, `%` or backslash has a
 * meaning to get wrong here, and nothing looks like an option or a hidden directory.
 */
const NAME = '[\\p{L}\\p{N}_][\\p{L}\\p{N}\\p{M}._+=@~:-]*';
const VOLUME_NAME = new RegExp(`^${NAME}$`, 'u');
/** `quobyte@<registry>[|<registry>…]/<volume>` (seen in the mount tables of clients 1.x to 3.x; commas become `|`). */
const SOURCE = /^quobyte@([^/]+)\/([^/]+)$/;
const FS_TYPES: readonly string[] = ['fuse.quobyte', 'fuse'];
/** What the kernel shows of a FUSE mount that root has made; of any other user's the source says what that user likes (mount.fuse(8)). */
const ROOTS_OWN = 'user_id=0';
/** Lists up to this long are tried in every order (120 of them); longer ones in the table's order only. */
const MAX_PERMUTED = 5;

/** See the file's head. */
export const quobyte: Backend<'quobyte'> = {
  name: 'quobyte',
  identifiedBySource: false,
  witness: 'quobyte.info',
  pattern: `${urlCharacter('@')}+/${NAME}`,

  parseExport(text: string, field: string): Export {
    checkText(text, field, { maxBytes: MAX_EXPORT_BYTES, blanks: 'refused' });
    const { registries, name } = split(text, field);
    if (name === '') throw refusal(field, 'must name a volume after the registries');
    if (!VOLUME_NAME.test(name)) {
      throw refusal(
        field,
        'must name the volume by letters, digits and . _ - + = @ ~ : only, beginning with a letter, a digit or _',
      );
    }
    parseRegistries(registries, field, /,/);
    return text as Export;
  },

  authorise(volume: Volume, settings: QuobyteSettings): void {
    if (settings.registries.length === 0) return;
    const allowed = new Set(settings.registries.map((text) => parseRegistry(text, 'backend.quobyte.registries')));
    for (const registry of parseRegistries(split(volume.export, 'url').registries, 'url', /,/)) {
      if (!allowed.has(registry)) {
        throw new FairleadError(
          'permission-denied',
          'url names a registry that this host does not allow; an operator can add it to backend.quobyte.registries.',
          { field: 'url', leaf: volume.leaf },
        );
      }
    }
  },

  mountWay(volume: Volume, settings: QuobyteSettings, mountpoint: string): MountWay {
    const config = settings.clientConfig === null ? [] : [option('-c'), settings.clientConfig];
    return {
      way: 'helper',
      program: settings.mountHelper,
      args: [option('--disable-xattrs'), volume.export, mountpoint, ...config],
    };
  },

  unmountCommand(settings: QuobyteSettings, mountpoint: string) {
    return settings.unmountHelper === null ? null : { program: settings.unmountHelper, args: [mountpoint] };
  },

  recognises(entry: MountEntry, volume: Volume): boolean {
    const shown = readSource(entry);
    if (shown === null) return false;
    const asked = split(volume.export, 'url');
    return shown.name === asked.name && sameSet(shown.keys, parseRegistries(asked.registries, 'url', /,/));
  },

  candidateExports(entry: MountEntry): readonly Export[] {
    const shown = readSource(entry);
    if (shown === null || !VOLUME_NAME.test(shown.name) || hasForbidden(shown.name)) return [];
    const orders = shown.registries.length <= MAX_PERMUTED ? permutations(shown.registries) : [shown.registries];
    return orders.map((order) => `${order.join(',')}/${shown.name}` as Export);
  },

  mayBeOurs({ fsType, source }: MountEntry): boolean {
    return FS_TYPES.includes(fsType) || source.startsWith('quobyte');
  },

  judge(facts: ProbeFacts, access: Access, settings: QuobyteSettings): Judgement {
    const judgement = judgeFacts(facts, access);
    return judgement.verdict === 'healthy' ? judgeSize(judgement, facts, settings.rootSize) : judgement;
  },

  explainFailure: explainHelper,
};

/** Nova's source says that a healthy root has size 0; that is unproven for newer clients, so the attribute outweighs it. */
function judgeSize(healthy: Judgement, facts: ProbeFacts, rootSize: QuobyteSettings['rootSize']): Judgement {
  if (facts.root?.size === 0 || facts.witness === 'present') return healthy;
  const seen =
    facts.root === undefined
      ? 'the size of the root directory is not known'
      : 'the root directory has a size other than 0';
  switch (rootSize) {
    case 'require':
      return {
        verdict: 'stale',
        reason: `The server answered, but ${seen}, and backend.quobyte.root_size requires 0.`,
        dead: false,
      };
    case 'warn':
      return {
        ...healthy,
        reason: `The server answered and the permissions are there; ${seen}, which older clients show when stale.`,
      };
  }
}

/** The two halves around the only slash. */
function split(text: string, field: string): { readonly registries: string; readonly name: string } {
  const slash = text.indexOf('/');
  if (slash < 0 || text.includes('/', slash + 1)) {
    throw refusal(
      field,
      'must be quobyte://REGISTRY[:PORT][,REGISTRY[:PORT]…]/VOLUME, with exactly one slash after quobyte://',
    );
  }
  return { registries: text.slice(0, slash), name: text.slice(slash + 1) };
}

/** What the table says was mounted, or null if it is no Quobyte mount of a whole volume. */
function readSource(entry: MountEntry): {
  readonly registries: readonly string[];
  readonly keys: ReadonlySet<string>;
  readonly name: string;
} | null {
  const match = SOURCE.exec(entry.source);
  if (match === null || !FS_TYPES.includes(entry.fsType) || entry.root !== '/') return null;
  if (!entry.superOptions.includes(ROOTS_OWN)) return null;
  const [, registries = '', name = ''] = match;
  try {
    return { registries: registries.split(/[|,]/), keys: parseRegistries(registries, 'source', /[|,]/), name };
  } catch (error) {
    // The table is written by whoever mounts; a source that is no registry list is simply not ours.
    if (error instanceof FairleadError) return null;
    throw error;
  }
}

function sameSet(one: ReadonlySet<string>, other: ReadonlySet<string>): boolean {
  return one.size === other.size && [...one].every((member) => other.has(member));
}

function permutations(items: readonly string[]): readonly (readonly string[])[] {
  if (items.length <= 1) return [items];
  return items.flatMap((item, index) =>
    permutations([...items.slice(0, index), ...items.slice(index + 1)]).map((rest) => [item, ...rest]),
  );
}
