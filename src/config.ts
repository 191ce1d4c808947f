// The configuration: one root-owned TOML file in, one frozen and checked value out. The agent, the broker and the hypervisor
// process each read and check it for themselves. Nothing here touches a volume or a mount; nothing is taken from the environment.

import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { SettingsByBackend } from './backends/backend.js';
import { readConfigText } from './config/file.js';
import { parseConfig } from './config/parse.js';

/** Where the configuration is looked for when nobody says otherwise. */
export const DEFAULT_CONFIG_FILE = '/etc/fairlead/fairlead.toml';

/** A user and a group, as numbers. */
export interface Identity {
  readonly uid: number;
  readonly gid: number;
}

/** Disks of libvirt guests. */
export interface LibvirtSettings {
  readonly enabled: 'auto' | 'yes' | 'no';
  /** Null: wherever libvirt's socket usually is. */
  readonly socket: string | null;
  readonly uri: string;
  readonly qemuImg: string;
  /** User as whom images are touched: never uid 0, never 65534. */
  readonly imageUser: Identity;
  readonly imageTimeoutMs: number;
  /** Directories in which a qcow2 may name a backing file, besides its own volume. */
  readonly outsideImages: readonly string[];
  readonly liftHolds: 'evidence' | 'operator';
  readonly orphans: 'report' | 'release';
  readonly surveyIntervalMs: number;
  readonly evidenceAgeMs: number;
}

/** The configuration, frozen. What each setting means stands in config/settings.ts and docs/reference/configuration.md. */
export interface Config {
  /** The file it was read from; null when there was none and the defaults stand alone. */
  readonly file: string | null;
  /** Root's own directory, so that a mount base may lie below it: absolute, normalised. */
  readonly stateDir: string;
  /** The agent's directory inside it (0700), where the ledger is. */
  readonly ledgerDir: string;
  /** Directory of sockets and locks: absolute, normalised, short enough for a socket's name. */
  readonly runDir: string;
  readonly trustedHelperDirs: readonly string[];
  /** A private mount namespace is allowed, and a test may name a point at which a process kills itself. */
  readonly isolated: boolean;
  /** The user of the agent: never uid 0, never 65534. */
  readonly runAs: Identity;
  /** Who may use the agent's socket, besides root and the agent's own user. */
  readonly allowedUids: readonly number[];
  readonly allowedGids: readonly number[];
  /** Users, besides root, who may own a mount base or a directory above it. Weaker; for a change-over from Nova's base. */
  readonly trustedBaseOwners: readonly number[];
  /** `auto`: as the host allows, a service first. `scope`: always a scope. */
  readonly helperStart: 'auto' | 'scope';
  /** What happens when somebody else took a mount of ours away. */
  readonly onVanish: 'report' | 'remount';
  /** Milliseconds between two looks at each mount in use. */
  readonly healthIntervalMs: number;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
  readonly libvirt: LibvirtSettings;
  readonly backends: SettingsByBackend;
}

/**
 * Reads and checks the configuration.
 *
 * @param file path that somebody asked for; null: the default file, or the defaults alone if there is no such file.
 * @throws FairleadError `config-invalid`: the message names each faulty line, its setting and the mend.
 */
export function loadConfig(file: string | null): Config {
  const path = file === null ? DEFAULT_CONFIG_FILE : resolve(file);
  const text = readConfigText(path, file === null ? 'optional' : 'required');
  return parseConfig(text ?? '', text === null ? null : path, readFileSync('/etc/passwd', 'utf8'));
}
