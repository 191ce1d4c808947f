// The faults: which kinds there are, how their arguments read, which exclude each other, and the file that keeps a
// volume's faults, so that helpers and restarted servers see the same ones.
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname } from 'node:path';
import { WrongInput, parseVolumeName } from './layout.js';

/** What each kind says about itself. Times are milliseconds. */
interface Details extends Record<Plain, object> {
  'slow-mount': { ms: number };
  'helper-late': { ms: number };
  'helper-fails': { status: number; text: string };
  'helper-wrong-volume': { other: string };
  'helper-hangs': { when: 'before' | 'after' };
  'helper-floods': { bytes: number };
  'root-size': { bytes: number };
  'slow-end': { ms: number };
  'mounted-by': { uid: number };
  errno: { errno: number };
}
type Plain =
  | 'helper-noop'
  | 'helper-daemon'
  | 'own-server'
  | 'read-only'
  | 'no-xattrs'
  | 'hang-unread'
  | 'hang-unanswered'
  | 'hang-statfs';

/** A fault that stays until `heal`. */
export type Fault = { [K in keyof Details]: { kind: K } & Details[K] }[keyof Details];
export type FaultKind = Fault['kind'];

/** `server-dies` happens once and is not kept. */
export const SERVER_DIES = 'server-dies';

interface KindOfFault {
  arguments: string;
  means: string;
  /** Kinds of one group exclude each other: the newer replaces the older. */
  group?: 'answers' | 'outcome';
  parse: (args: readonly string[]) => Fault;
}

const LONGEST_WAIT_MS = 86_400_000;
const LARGEST_UID = 0xfffffffe;
const MOST_BYTES = Number.MAX_SAFE_INTEGER;

const kinds: { [K in FaultKind]: KindOfFault } = {
  'slow-mount': {
    arguments: 'MS',
    means: 'the helper waits before it mounts',
    parse: (args) => ({ kind: 'slow-mount', ms: number(args[0], LONGEST_WAIT_MS) }),
  },
  'helper-fails': {
    arguments: 'STATUS [TEXT]',
    means: 'the helper mounts nothing, writes TEXT to standard error and exits with STATUS',
    group: 'outcome',
    parse: (args) => ({ kind: 'helper-fails', status: number(args[0], 255), text: args.slice(1).join(' ') }),
  },
  'helper-noop': {
    arguments: '',
    means: 'the helper exits 0 and mounts nothing',
    group: 'outcome',
    parse: plain('helper-noop'),
  },
  'helper-wrong-volume': {
    arguments: 'OTHER',
    means: 'the helper mounts the volume OTHER instead',
    group: 'outcome',
    parse: (args) => ({ kind: 'helper-wrong-volume', other: parseVolumeName(args[0] ?? '') }),
  },
  'helper-late': {
    arguments: 'MS',
    means: 'the helper exits 0 at once and the mount appears MS later',
    parse: (args) => ({ kind: 'helper-late', ms: number(args[0], LONGEST_WAIT_MS) }),
  },
  'helper-hangs': {
    arguments: '[before|after]',
    means: 'the helper never ends: before it mounts (the default), or after',
    group: 'outcome',
    parse: ([when = 'before']) => {
      if (when !== 'before' && when !== 'after') throw new WrongInput(`expected before or after, got "${when}"`);
      return { kind: 'helper-hangs', when };
    },
  },
  'helper-floods': {
    arguments: 'BYTES',
    means: 'the helper writes that much to standard output, then mounts',
    parse: (args) => ({ kind: 'helper-floods', bytes: number(args[0], MOST_BYTES) }),
  },
  'helper-daemon': {
    arguments: '',
    means: 'the helper leaves a daemon that keeps its standard output and error open while the mount lives',
    parse: plain('helper-daemon'),
  },
  errno: {
    arguments: 'NAME',
    means: 'every request answers that error, for instance EIO, ESTALE, EACCES, ETIMEDOUT',
    group: 'answers',
    parse: (args) => ({ kind: 'errno', errno: errno(args[0] ?? '') }),
  },
  'hang-unread': { arguments: '', means: 'requests are never read', group: 'answers', parse: plain('hang-unread') },
  'hang-unanswered': {
    arguments: '',
    means: 'requests are read and never answered: callers are in state D, SIGKILL or not',
    group: 'answers',
    parse: plain('hang-unanswered'),
  },
  'hang-statfs': {
    arguments: '',
    means: 'only statfs is never answered',
    group: 'answers',
    parse: plain('hang-statfs'),
  },
  'own-server': {
    arguments: '',
    means: 'each new mount gets a server process of its own, a daemon that the helper leaves in its own cgroup',
    parse: plain('own-server'),
  },
  'slow-end': {
    arguments: 'MS',
    means: 'an own server outlives its mount by MS; what was written reaches the volume only then',
    parse: (args) => ({ kind: 'slow-end', ms: number(args[0], LONGEST_WAIT_MS) }),
  },
  'mounted-by': {
    arguments: 'UID',
    means: 'new mounts say that user UID made them',
    parse: (args) => ({ kind: 'mounted-by', uid: number(args[0], LARGEST_UID) }),
  },
  'read-only': {
    arguments: '',
    means: 'the volume answers EROFS to changes, and new mounts are read-only',
    parse: plain('read-only'),
  },
  'no-xattrs': { arguments: '', means: 'extended attributes answer EOPNOTSUPP', parse: plain('no-xattrs') },
  'root-size': {
    arguments: 'BYTES',
    means: 'the root directory says that size instead of 0',
    parse: (args) => ({ kind: 'root-size', bytes: number(args[0], MOST_BYTES) }),
  },
};

/** What `fault` knows, one line a kind. */
export function describeKinds(): string {
  const lines = Object.entries(kinds).map(([kind, { arguments: args, means }]) => [`${kind} ${args}`, means]);
  lines.push([SERVER_DIES, "the volume's servers go: its mounts answer ENOTCONN; later mounts work (once, not kept)"]);
  return lines.map(([name = '', means = '']) => `  ${name.padEnd(30)} ${means}`).join('\n');
}

/** Reads a kind and its arguments as they were typed. */
export function parseFault(kind: string, args: readonly string[]): Fault {
  if (!Object.hasOwn(kinds, kind))
    throw new WrongInput(`there is no fault "${kind}"; the kinds are:\n${describeKinds()}`);
  const { parse, arguments: usage } = kinds[kind as FaultKind];
  const most = usage === '' ? 0 : kind === 'helper-fails' ? Infinity : 1;
  if (args.length > most) throw new WrongInput(`too many arguments: ${kind} ${usage}`.trimEnd());
  return parse(args);
}

/** Adds a fault to others; it replaces its own kind and those that it contradicts. */
export function addFault(faults: readonly Fault[], added: Fault): Fault[] {
  const { group } = kinds[added.kind];
  const stays = ({ kind }: Fault): boolean =>
    kind !== added.kind && (group === undefined || kinds[kind].group !== group);
  return [...faults.filter(stays), added];
}

/** The fault of a kind, if it is active. */
export function find<K extends FaultKind>(faults: readonly Fault[], kind: K): Extract<Fault, { kind: K }> | undefined {
  return faults.find((fault): fault is Extract<Fault, { kind: K }> => fault.kind === kind);
}

/** Reads a volume's faults; no file, no faults. */
export function readFaults(file: string): Fault[] {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Fault[];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** Replaces a volume's faults, in one step for whoever reads them. */
export function writeFaults(file: string, faults: readonly Fault[]): void {
  if (faults.length === 0) {
    rmSync(file, { force: true });
    return;
  }
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  writeFileSync(`${file}.${process.pid}`, JSON.stringify(faults), { mode: 0o600 });
  renameSync(`${file}.${process.pid}`, file);
}

function plain(kind: Plain): () => Fault {
  return () => ({ kind });
}

function number(text: string | undefined, most: number): number {
  const value = text !== undefined && /^\d{1,16}$/.test(text) ? Number(text) : NaN;
  if (!(value <= most))
    throw new WrongInput(`expected a whole number up to ${most}, got ${text === undefined ? 'nothing' : `"${text}"`}`);
  return value;
}

function errno(name: string): number {
  // ENOSYS would switch operations off for good, so that heal could not bring them back.
  if (name === 'ENOSYS' || !Object.hasOwn(constants.errno, name))
    throw new WrongInput(`expected the name of an error such as EIO, got "${name}"`);
  return constants.errno[name as keyof typeof constants.errno];
}
