// Which limit on processes and threads keeps this process from starting another one (fork: EAGAIN), in words for people.

import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { escapeForLog } from '../core/text.js';
import { errnoOf } from './libc/errors.js';

/** Where the hierarchies of control groups may be: of version 1, and of version 2 alone or beside it. */
const HIERARCHIES = { pids: ['/sys/fs/cgroup/pids'], unified: ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'] } as const;
/** Processes and threads that may be left below a limit that is in the way: one child of ours has up to that many. */
const NEAR = 80;

interface Limit {
  readonly group: string;
  readonly max: number;
  readonly current: number;
}

/** The nearest `pids.max` of our control groups, if little is left below it; otherwise where else to look. */
export function processLimit(): string {
  const limits = groups().flatMap(({ hierarchy, path }) => limitsOf(hierarchy, path));
  const [nearest] = limits.sort((one, other) => left(one) - left(other));
  if (nearest === undefined || left(nearest) > NEAR) {
    return 'No control group is at its pids.max: look at kernel.threads-max, kernel.pid_max and the free memory';
  }
  const { group, max, current } = nearest;
  return `pids.max of the control group ${escapeForLog(group)} is ${max}, with ${current} in use: raise it (TasksMax= of systemd), or end processes there`;
}

const left = ({ max, current }: Limit): number => max - current;

function groups(): readonly { readonly hierarchy: string; readonly path: string }[] {
  const lines = (read('/proc/self/cgroup') ?? '').split('\n');
  return lines.flatMap((line) => {
    const [, id, controllers = '', path] = /^(\d+):([^:]*):(\/.*)$/.exec(line) ?? [];
    if (path === undefined) return [];
    const isUnified = id === '0' && controllers === '';
    if (!isUnified && !controllers.split(',').includes('pids')) return [];
    return (isUnified ? HIERARCHIES.unified : HIERARCHIES.pids).map((hierarchy) => ({ hierarchy, path }));
  });
}

/** The limits of a group and of all above it. */
function limitsOf(hierarchy: string, group: string): readonly Limit[] {
  const max = Number(read(join(hierarchy, group, 'pids.max')) ?? 'max');
  const current = Number(read(join(hierarchy, group, 'pids.current')) ?? 'none');
  const own = Number.isInteger(max) && Number.isInteger(current) ? [{ group, max, current }] : [];
  return group === '/' ? own : [...own, ...limitsOf(hierarchy, dirname(group))];
}

/** Null: there is no such file, or it cannot be read. */
function read(path: string): string | null {
  try {
    return readFileSync(path, 'utf8').trimEnd();
  } catch (error) {
    if (errnoOf(error) === null) throw error;
    return null;
  }
}
