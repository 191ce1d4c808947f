// What a filesystem must say about itself to be a backend. Pure: grammar, argument vectors, recognition, judgement.
// A new filesystem is one file beside this one and a line in the registry.

import type { Argument } from '../core/argv.js';
import type { ErrorBody } from '../core/errors.js';
import type { Hardening } from '../core/hardening.js';
import type { MountEntry } from '../core/mountinfo.js';
import type { Access, Judgement, ProbeFacts } from '../core/verdict.js';
import type { BackendName, Export, Volume } from '../core/volume.js';

/** The part of the configuration that every backend has, already checked (src/config.ts). */
export interface BackendSettings {
  /** Absolute, normalised. */
  readonly mountBase: string;
  readonly mountTimeoutMs: number;
  readonly probeTimeoutMs: number;
  readonly hardening: Hardening;
  /** Whose rights the access test uses; uid 0 means the broker's own. */
  readonly accessUid: number;
  readonly accessGid: number;
  readonly driverCache: string;
  readonly driverIo: string;
}

/** `[backend.quobyte]`. */
export interface QuobyteSettings extends BackendSettings {
  readonly mountHelper: string;
  /** Null: umount2. */
  readonly unmountHelper: string | null;
  /** Null: none. */
  readonly clientConfig: string | null;
  /** Allowed `host[:port]`; empty: any. */
  readonly registries: readonly string[];
  readonly rootSize: 'warn' | 'require';
}

/** `[backend.local]`. */
export interface LocalSettings extends BackendSettings {
  /** Directories whose direct or indirect subdirectories may be volumes. */
  readonly roots: readonly string[];
}

/** The settings of every backend, by name. */
export interface SettingsByBackend {
  readonly quobyte: QuobyteSettings;
  readonly local: LocalSettings;
}

/** How a mount comes to be: a helper's argument vector, or a bind by handle of a directory below one of `roots`. */
export type MountWay =
  | { readonly way: 'helper'; readonly program: string; readonly args: readonly Argument[] }
  | { readonly way: 'bind'; readonly source: string; readonly roots: readonly string[] };

/** How a helper ended, as far as it matters for explaining a failure. */
export interface HelperFailure {
  readonly status: number | null;
  readonly signal: string | null;
  /** Bounded, not yet redacted. A hint only: never decides anything. */
  readonly output: string;
}

/** One kind of filesystem. */
export interface Backend<Name extends BackendName = BackendName> {
  readonly name: Name;
  /**
   * What every export matches, as a regular expression in text, not anchored: for the OpenAPI document. It may say less than
   * {@link Backend.parseExport} does, never more.
   */
  readonly pattern: string;
  /** The export for `text` (scheme already taken off), or `invalid-argument` naming `field` and the rule. */
  parseExport(text: string, field: string): Export;
  /** Refuses (`permission-denied`) a volume that this host's configuration does not allow. */
  authorise(volume: Volume, settings: SettingsByBackend[Name]): void;
  /** How to mount it at `mountpoint`. The helper argv is exact: no value from outside can stand where an option is read. */
  mountWay(volume: Volume, settings: SettingsByBackend[Name], mountpoint: string): MountWay;
  /** Argv of the unmount helper, or null for umount2. */
  unmountCommand(
    settings: SettingsByBackend[Name],
    mountpoint: string,
  ): { readonly program: string; readonly args: readonly Argument[] } | null;
  /** Is this entry the volume, by what the table says of it? Never where {@link Backend.identifiedBySource} is true. */
  recognises(entry: MountEntry, volume: Volume): boolean;
  /** Whether a mount is recognised by the inode of its root (bind mounts) instead of the table's source text. */
  readonly identifiedBySource: boolean;
  /**
   * The exports that this entry may have been mounted from, for finding the record-less mount's name by its leaf. `paths` are
   * those at which the host shows the mount's root besides the mount itself.
   */
  candidateExports(entry: MountEntry, paths: readonly string[]): readonly Export[];
  /**
   * Can the entry be of a client that a helper of this backend left, whichever volume it serves? Whoever owns the mount and
   * whatever part of it is shown; true in doubt.
   */
  mayBeOurs(entry: MountEntry): boolean;
  /** Extended attribute that a live root may show, or null. */
  readonly witness: string | null;
  /** What the probe's facts mean. */
  judge(facts: ProbeFacts, access: Access, settings: SettingsByBackend[Name]): Judgement;
  /** The error that a helper's failure becomes, with what to do next. */
  explainFailure(failure: HelperFailure): Pick<ErrorBody, 'code' | 'message'>;
}
