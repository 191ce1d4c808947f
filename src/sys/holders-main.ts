// The program that looks for who keeps a mount busy. It runs in a process of its own, because reading about a process
// that is stuck on a dead server may get stuck too (/proc/PID/maps waits for that process's memory map lock). It reads
// /proc only and never touches a mounted path: links in /proc are read as text, never followed. It tells what it finds
// as it finds it.

import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { MAX_HOLDERS } from '../core/limits.js';
import { parseMountTable } from '../core/mountinfo.js';
import type { Holder } from '../core/observation.js';
import { isBelow } from '../core/paths.js';
import { escapeForLog } from '../core/text.js';
import { errnoOf } from './libc/errors.js';

/** What is looked for. */
export interface HoldersRequest {
  readonly dev: string;
  readonly mountPoint: string;
  readonly excludePids: readonly number[];
}
/** One finding; null: that was all. */
export type HoldersReply = { readonly holder: Holder } | { readonly holder: null };

process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
process.once('message', (request: HoldersRequest) => {
  search(request);
  tell({ holder: null });
});

function tell(reply: HoldersReply): void {
  process.send?.(reply);
}

function search(request: HoldersRequest): void {
  const namespace = readlinkSync('/proc/self/ns/mnt');
  const table = parseMountTable(readFileSync('/proc/self/mountinfo', 'latin1'));
  const mountIds = new Set(table.filter((entry) => entry.dev === request.dev).map((entry) => entry.mountId));
  const excluded = new Set([...request.excludePids, process.pid, process.ppid]);
  const strangers = new Set<string>();
  let found = 0;
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isSafeInteger(pid) || excluded.has(pid)) continue;
    const by = quietly(() => howHeld(pid, request, namespace, mountIds, strangers));
    if (by === undefined || by === null) continue;
    tell({ holder: { pid, command: commandOf(pid), by } });
    found += 1;
    if (found >= MAX_HOLDERS) return;
  }
}

function howHeld(
  pid: number,
  { dev, mountPoint }: HoldersRequest,
  ours: string,
  mountIds: ReadonlySet<number>,
  strangers: Set<string>,
): Holder['by'] | null {
  const namespace = readlinkSync(`/proc/${pid}/ns/mnt`);
  if (namespace !== ours) {
    // One process stands for its namespace.
    if (strangers.has(namespace)) return null;
    strangers.add(namespace);
    const table = parseMountTable(readFileSync(`/proc/${pid}/mountinfo`, 'latin1'));
    return table.some((entry) => entry.dev === dev) ? 'namespace' : null;
  }
  const inside = (link: string): boolean => {
    const path = readlinkSync(`/proc/${pid}/${link}`);
    return path === mountPoint || isBelow(path, mountPoint);
  };
  if (quietly(() => inside('cwd')) === true) return 'directory';
  if (quietly(() => inside('root')) === true) return 'root';
  if (quietly(() => hasDescriptor(pid, inside, mountIds)) === true) return 'descriptor';
  return quietly(() => hasMapping(pid, dev)) === true ? 'mapping' : null;
}

function hasDescriptor(pid: number, inside: (link: string) => boolean, mountIds: ReadonlySet<number>): boolean {
  return readdirSync(`/proc/${pid}/fd`).some((fd) => {
    // The path is the cheaper question; the mount ID tells this mount from another one at the same path.
    if (quietly(() => inside(`fd/${fd}`)) !== true) return false;
    const info = quietly(() => readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'latin1')) ?? '';
    return mountIds.has(Number(/^mnt_id:\s*(\d+)$/m.exec(info)?.[1] ?? -1));
  });
}

/** Devices in maps are hexadecimal: `00:2f` (proc_pid_maps(5)). */
function hasMapping(pid: number, dev: string): boolean {
  const [major = 0, minor = 0] = dev.split(':').map(Number);
  const hex = (number: number): string => number.toString(16).padStart(2, '0');
  return readFileSync(`/proc/${pid}/maps`, 'latin1').includes(` ${hex(major)}:${hex(minor)} `);
}

function commandOf(pid: number): string {
  return escapeForLog((quietly(() => readFileSync(`/proc/${pid}/comm`, 'utf8')) ?? '').replace(/\n$/, ''));
}

/** Undefined where the process has gone meanwhile, or may not be looked at. */
function quietly<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (errnoOf(error) === null) throw error;
    return undefined;
  }
}
