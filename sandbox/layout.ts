// Where things lie in a sandbox's directory, and what names and directories are accepted on the command line.
import { isAbsolute, join, resolve } from 'node:path';

/** Input that the caller can mend: exit status 2. */
export class WrongInput extends Error {}

// A socket's path has 107 bytes; the longest of ours is servers/<16 hex digits>.sock.
const LONGEST_DIR = 75;
const LONGEST_NAME = 200;

/** The paths of a sandbox. */
export interface Layout {
  readonly dir: string;
  readonly bin: string;
  readonly socket: string;
  readonly lock: string;
  /** Sockets of own servers, one each. */
  readonly servers: string;
  readonly volumes: string;
  readonly faults: string;
  /** Root of Fairlead's local volumes. */
  readonly local: string;
  /** What Fairlead itself keeps: state, run and mounts. */
  readonly fairlead: string;
}

/** Reads DIR. */
export function parseDir(text: string | undefined): Layout {
  if (text === undefined || text === '') throw new WrongInput('DIR is missing');
  const dir = resolve(text);
  if (!isAbsolute(text)) throw new WrongInput(`DIR must be an absolute path, for instance ${dir}`);
  if (hasControl(dir) || /["\\]/.test(dir))
    throw new WrongInput('DIR may hold no control characters, quotes or backslashes');
  if (Buffer.byteLength(dir) > LONGEST_DIR)
    throw new WrongInput(`DIR may have ${LONGEST_DIR} bytes at most, because sockets lie in it`);
  const below = (name: string): string => join(dir, name);
  return {
    dir,
    bin: below('bin'),
    socket: below('cluster.sock'),
    lock: below('cluster.lock'),
    servers: below('servers'),
    volumes: below('volumes'),
    faults: below('faults'),
    local: below('local'),
    fairlead: below('fairlead'),
  };
}

/** Reads a volume's name: one path component, no control characters, not an option. */
export function parseVolumeName(text: string): string {
  const wrong =
    text === '' || text === '.' || text === '..' || text.startsWith('-') || text.includes('/') || hasControl(text);
  if (wrong || Buffer.byteLength(text) > LONGEST_NAME) {
    throw new WrongInput(
      `a volume's name is one path component of 1 to ${LONGEST_NAME} bytes that does not begin with "-"; got "${text}"`,
    );
  }
  return text;
}

/** Whether a text holds control characters: the helpers' protocol separates by them. */
export function hasControl(text: string): boolean {
  return /[\u0000-\u001f\u007f]/.test(text);
}

export const volumeDir = (at: Layout, name: string): string => join(at.volumes, name);
export const faultsFile = (at: Layout, name: string): string => join(at.faults, `${name}.json`);
