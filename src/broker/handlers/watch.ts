// `watch`: waits until the mount table has changed at a leaf, or the time is up. Nothing is looked at but the table, which
// is read anew for each question.

import { FairleadError } from '../../core/errors.js';
import { MAX_WATCHERS } from '../../core/limits.js';
import type { Handler } from './handler.js';

/** Milliseconds kept back so that an answer without news comes within the request's time. */
const ANSWER_RESERVE_MS = 100;

/** See the file's head. */
export const watch: Handler<'watch'> = async ({ context, deadline }, { seen }) => {
  const { machine, leafWatch, watchers } = context;
  if (watchers.count >= MAX_WATCHERS) {
    throw new FairleadError('resource-exhausted', 'Too many wait for changes of mounts already. Try again later.');
  }
  watchers.count += 1;
  // A base that is renamed, or renamed back, takes its mounts with it, and the kernel tells nobody.
  machine.table.forget();
  try {
    for (;;) {
      const { revision } = machine.table;
      const changes = leafWatch.since(context, seen);
      const patience = deadline.before(ANSWER_RESERVE_MS);
      if (changes.leaves === 'all' || changes.leaves.length > 0 || patience === 0) {
        return { version: changes.version, leaves: changes.leaves === 'all' ? 'all' : [...changes.leaves] };
      }
      await machine.table.change(revision, patience);
    }
  } finally {
    watchers.count -= 1;
  }
};
