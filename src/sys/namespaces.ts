// What other mount namespaces show: found through the processes that live in them (proc(5), /proc/PID/mountinfo), one
// process for each. A namespace in which nobody lives any more, or only somebody whom we may not look at, is not found.

import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { type MountEntry, parseMountTable } from '../core/mountinfo.js';
import { errnoOf } from './libc/errors.js';

/** Mounts on one of these superblocks (`major:minor`) in mount namespaces other than ours. */
export function mountsElsewhere(devs: ReadonlySet<string>): readonly MountEntry[] {
  const seen = new Set([readlinkSync('/proc/self/ns/mnt')]);
  return readdirSync('/proc')
    .filter((name) => /^[0-9]+$/.test(name))
    .flatMap((pid) => {
      const namespace = ifThere(() => readlinkSync(`/proc/${pid}/ns/mnt`));
      if (namespace === null || seen.has(namespace)) return [];
      const text = ifThere(() => readFileSync(`/proc/${pid}/mountinfo`, 'latin1'));
      if (text === null) return [];
      seen.add(namespace);
      return parseMountTable(text).filter(({ dev }) => devs.has(dev));
    });
}

/** Null where the process has gone meanwhile, or may not be looked at. */
function ifThere<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    if (errnoOf(error) === null) throw error;
    return null;
  }
}
