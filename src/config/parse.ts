// TOML text becomes the frozen configuration, or one `config-invalid` that names every fault at once: line, setting,
// mend. Pure: the text of the file and of /etc/passwd come in, nothing is opened.

import { z } from 'zod';
import type { BackendSettings } from '../backends/backend.js';
import type { Config, Identity } from '../config.js';
import { FairleadError } from '../core/errors.js';
import { closest } from '../core/suggest.js';
import { cutToBytes, escapeForLog } from '../core/text.js';
import { checkTogether } from './agree.js';
import { SETTINGS, type SettingFacts, type Settings } from './settings.js';
import { FALLBACK_AGENT, listed, resolveUser } from './user.js';
import { readToml } from './toml.js';

/** One thing that is wrong. `setting` is null when the text is no TOML at all. */
interface Fault {
  readonly line: number | null;
  readonly setting: string | null;
  readonly message: string;
}

/** Faults that are spelt out; the rest are counted. */
const MAX_FAULTS = 20;

/**
 * Checks the text of a configuration.
 *
 * @param file what the messages call it; null: the defaults alone.
 * @param passwd text of /etc/passwd, to look up `run_as`.
 */
export function parseConfig(text: string, file: string | null, passwd: string): Config {
  const toml = readToml(text);
  if ('message' in toml) {
    throw invalid(file, [{ line: toml.line, setting: null, message: `not TOML: ${toml.message}` }]);
  }
  const faults: Fault[] = toml.oddNumbers.map((line) => ({
    line,
    setting: null,
    message: 'write numbers in plain decimal digits',
  }));
  const at = (setting: string, message: string): void => {
    faults.push({ line: lineOf(toml.lines, setting), setting, message });
  };
  const parsed = SETTINGS.safeParse(toml.values);
  if (!parsed.success) for (const issue of parsed.error.issues) explain(issue, at);
  if (!parsed.success) throw invalid(file, faults);
  const runAs = resolveUser(parsed.data.run_as, toml.lines.has('run_as') ? null : FALLBACK_AGENT, passwd);
  if (typeof runAs === 'string') at('run_as', runAs);
  const standIn = listed('qemu', passwd) ?? (typeof runAs === 'string' ? FALLBACK_AGENT : runAs);
  const imageUserGiven = toml.lines.has('libvirt.image_user');
  const imageUser = resolveUser(parsed.data.libvirt.image_user, imageUserGiven ? null : standIn, passwd);
  if (typeof imageUser === 'string') at('libvirt.image_user', imageUser);
  checkTogether(parsed.data, at);
  if (faults.length > 0 || typeof runAs === 'string' || typeof imageUser === 'string') throw invalid(file, faults);
  return freeze(shape(parsed.data, file, { runAs, imageUser }));
}

/** An issue of the schema in our own words: the schema's own may quote the value. */
function explain(issue: z.core.$ZodIssue, at: (setting: string, message: string) => void): void {
  const path = issue.path.filter((part) => typeof part === 'string');
  const setting = path.join('.');
  if (issue.code === 'unrecognized_keys') {
    const known = Object.keys(shapeAt(path));
    for (const key of issue.keys) {
      const meant = closest(key.slice(0, 64), known);
      const hint = meant === null ? `known here: ${known.join(', ')}` : `did you mean ${meant}?`;
      at([...path, key].join('.'), `there is no such setting; ${hint}`);
    }
    return;
  }
  const facts = factsAt(path);
  at(setting, facts === undefined ? 'must be a table' : `must be ${facts.rule}`);
}

function schemaAt(path: readonly string[]): z.core.$ZodType | undefined {
  let schema: z.core.$ZodType | undefined = SETTINGS;
  for (const part of path) schema = schema === undefined ? undefined : inner(schema)[part];
  return schema;
}

/** The settings inside a table, through whatever gives it its defaults. */
function inner(schema: z.core.$ZodType): Readonly<Record<string, z.core.$ZodType>> {
  if (schema instanceof z.ZodObject) return schema.shape;
  return schema instanceof z.ZodPrefault ? inner(schema.def.innerType) : {};
}

function shapeAt(path: readonly string[]): Readonly<Record<string, z.core.$ZodType>> {
  const schema = schemaAt(path);
  return schema === undefined ? {} : inner(schema);
}

function factsAt(path: readonly string[]): SettingFacts | undefined {
  const schema = schemaAt(path) as z.ZodType | undefined;
  return schema?.meta() as SettingFacts | undefined;
}

/** The line of a setting, or of the nearest table that holds it. */
function lineOf(lines: ReadonlyMap<string, number>, setting: string): number | null {
  for (let path = setting; path !== ''; path = path.slice(0, Math.max(0, path.lastIndexOf('.')))) {
    const line = lines.get(path);
    if (line !== undefined) return line;
  }
  return null;
}

/** Users that settings name. */
interface Users {
  readonly runAs: Identity;
  readonly imageUser: Identity;
}

function shape(settings: Settings, file: string | null, { runAs, imageUser }: Users): Config {
  const { quobyte, local } = settings.backend;
  const { libvirt } = settings;
  return {
    file,
    stateDir: settings.state_dir,
    ledgerDir: `${settings.state_dir}/ledger`,
    runDir: settings.run_dir,
    trustedHelperDirs: settings.trusted_helper_dirs,
    isolated: settings.isolated,
    runAs,
    allowedUids: settings.allowed_uids,
    allowedGids: settings.allowed_gids,
    trustedBaseOwners: settings.trusted_base_owners,
    helperStart: settings.helper_start,
    onVanish: settings.on_vanish,
    healthIntervalMs: settings.health_interval,
    logLevel: settings.log_level,
    libvirt: {
      enabled: libvirt.enabled,
      socket: libvirt.socket === '' ? null : libvirt.socket,
      uri: libvirt.uri,
      qemuImg: libvirt.qemu_img,
      imageUser,
      imageTimeoutMs: libvirt.image_timeout,
      outsideImages: libvirt.outside_images,
      liftHolds: libvirt.lift_holds,
      orphans: libvirt.orphans,
      surveyIntervalMs: libvirt.survey_interval,
      evidenceAgeMs: libvirt.evidence_age,
    },
    backends: {
      quobyte: {
        ...sharedShape(quobyte),
        mountHelper: quobyte.mount_helper,
        unmountHelper: quobyte.unmount_helper === '' ? null : quobyte.unmount_helper,
        clientConfig: quobyte.client_config === '' ? null : quobyte.client_config,
        registries: quobyte.registries,
        rootSize: quobyte.root_size,
      },
      local: { ...sharedShape(local), roots: local.roots },
    },
  };
}

function sharedShape(settings: Settings['backend']['quobyte'] | Settings['backend']['local']): BackendSettings {
  const { nosuid, nodev, noexec, nosymfollow } = settings;
  return {
    mountBase: settings.mount_base,
    mountTimeoutMs: settings.mount_timeout,
    probeTimeoutMs: settings.probe_timeout,
    hardening: { nosuid, nodev, noexec, nosymfollow },
    accessUid: settings.access_uid,
    accessGid: settings.access_gid,
    driverCache: settings.driver_cache,
    driverIo: settings.driver_io,
  };
}

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const inside of Object.values(value)) freeze(inside);
    Object.freeze(value);
  }
  return value;
}

function invalid(file: string | null, faults: readonly Fault[]): FairleadError {
  const sorted = [...faults].sort((a, b) => (a.line ?? 0) - (b.line ?? 0));
  const shown = sorted.slice(0, MAX_FAULTS).map(({ line, setting, message }) => {
    const where = [line === null ? null : `line ${line}`, setting === null ? null : name(setting)];
    return `  ${[...where.filter((part) => part !== null), message].join(': ')}`;
  });
  if (sorted.length > MAX_FAULTS) shown.push(`  and ${sorted.length - MAX_FAULTS} more`);
  const head = `${file === null ? 'The built-in configuration' : name(file)} cannot be used:`;
  const field = sorted.map(({ setting }) => setting).find((setting) => setting !== null);
  return new FairleadError(
    'config-invalid',
    [head, ...shown].join('\n'),
    field === undefined ? {} : { field: name(field) },
  );
}

/** A name from outside, safe to print. */
function name(text: string): string {
  return escapeForLog(cutToBytes(text, 200));
}
