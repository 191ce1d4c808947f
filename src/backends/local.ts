// Local: a directory of this host as a volume (`local:///srv/pool/name`), bound to its leaf. For tests, single machines
// and pools that something else keeps mounted. No helper takes part.

import { FairleadError } from '../core/errors.js';
import type { MountEntry } from '../core/mountinfo.js';
import { isBelow, parseAbsolutePath } from '../core/paths.js';
import { urlCharacter } from '../core/patterns.js';
import { refusal } from '../core/text.js';
import type { Access, Judgement, ProbeFacts } from '../core/verdict.js';
import type { Export, Volume } from '../core/volume.js';
import type { Backend, LocalSettings, MountWay } from './backend.js';
import { explainHelper } from './helper-failure.js';
import { judgeFacts } from './judgement.js';

const character = (also: string): string => urlCharacter(`?#%\\\\${also}`);

/** See the file's head. */
export const local: Backend<'local'> = {
  name: 'local',
  identifiedBySource: true,
  witness: null,
  pattern: `(?:/(?!\\.{1,2}(?:/|$))${character('\\-')}${character('')}*)+`,

  parseExport(text: string, field: string): Export {
    const path = parseAbsolutePath(text, field);
    // They mean something in other URLs and nothing here: refused rather than taken for part of a name.
    if (/[?#%\\]/.test(path)) throw refusal(field, 'must not contain ? # % or a backslash in a local volume');
    if (path.includes('/-'))
      throw refusal(field, 'must have no part that begins with a dash, where a program would read an option');
    return path as string as Export;
  },

  authorise(volume: Volume, settings: LocalSettings): void {
    if (settings.roots.some((root) => isBelow(volume.export, root))) return;
    throw new FairleadError(
      'permission-denied',
      'url names a directory that is not below one of the roots; an operator can add one to backend.local.roots.',
      { field: 'url', leaf: volume.leaf },
    );
  },

  mountWay(volume: Volume, settings: LocalSettings): MountWay {
    return { way: 'bind', source: volume.export, roots: settings.roots };
  },

  unmountCommand(): null {
    return null;
  },

  /** The table shows names, and a directory is not its name. */
  recognises(): boolean {
    return false;
  },

  /** Whatever path the host shows the directory at may be the one that was bound; the leaf proves which. */
  candidateExports(_entry: MountEntry, paths: readonly string[]): readonly Export[] {
    return paths.flatMap((path) => {
      try {
        return [local.parseExport(path, 'path')];
      } catch (error) {
        if (error instanceof FairleadError) return [];
        throw error;
      }
    });
  },

  mayBeOurs(): boolean {
    return true;
  },

  judge(facts: ProbeFacts, access: Access): Judgement {
    return judgeFacts(facts, access);
  },

  explainFailure: explainHelper,
};
