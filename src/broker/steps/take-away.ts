// Undoing a mount that our own helper has just made in the wrong way: on another directory, or of another volume. Plain
// unmount only; a lazy detach is for the dead.

import type { MountEntry } from '../../core/mountinfo.js';
import { KILL_GRACE_MS, LOOK_LAST_MS } from '../../core/limits.js';
import { LATE, until, within } from '../../core/deadline.js';
import { isSameMount } from '../bound.js';
import type { Attempt } from './step.js';

/** Milliseconds for undoing, at most. */
const PATIENCE_MS = 3000;

/** Unmounts `entry`, which must be the topmost mount at `<directory>/<name>`; false if it is still there in the end. */
export async function takeAway(
  { context, deadline }: Attempt,
  directory: string,
  name: string,
  entry: MountEntry,
): Promise<boolean> {
  const { machine, prober } = context;
  const path = directory === '/' ? `/${name}` : `${directory}/${name}`;
  const there = (): boolean => machine.table.at(path).some((one) => isSameMount(one, entry));
  const isOnTop = (): boolean => {
    const top = machine.table.at(path).at(-1);
    return top !== undefined && isSameMount(top, entry);
  };
  const patience = Math.min(PATIENCE_MS, deadline.before(KILL_GRACE_MS));
  // Whoever looks at every new mount (an indexer, a monitor) makes it busy for a moment.
  const gone = await until(machine.clock, patience, { first: 1, last: LOOK_LAST_MS }, async () => {
    if (!there()) return true;
    if (!isOnTop() || prober.acts.acting(path)) return false;
    const end = await within(
      machine.clock,
      prober.acts.unmount(directory, name, 'plain'),
      Math.min(PATIENCE_MS, deadline.remaining),
    );
    if (end === LATE || end.end === 'exhausted') return false;
    return there() ? null : true;
  });
  return gone === true;
}
