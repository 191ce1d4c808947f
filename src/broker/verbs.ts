// THE TABLE: everything the privileged side can be asked for, by whom, with which arguments, who carries it out, and why
// it has to be here at all. There is no other way in. The reasons are those of SECURITY.md.

import { verb, type Verb } from '../link/session.js';
import type { Context } from './context.js';
import { abort } from './handlers/abort.js';
import { examine } from './handlers/examine.js';
import { helperOutput } from './handlers/helper-output.js';
import { hello, inventory } from './handlers/inventory.js';
import { observe } from './handlers/observe.js';
import { settle, step } from './handlers/step.js';
import { disk, holders } from './handlers/use.js';
import { watch } from './handlers/watch.js';
import { REQUESTS, type VerbName } from './protocol.js';

/** See the file's head. */
export const VERBS: { readonly [V in VerbName]: Verb<Context> } = {
  hello: verb({
    callers: ['agent', 'root'],
    schema: REQUESTS.hello,
    handler: hello,
    reason: 'Agent and broker must be of one version. Tells the version and the boot; takes nothing.',
  }),
  observe: verb({
    callers: ['agent', 'root'],
    schema: REQUESTS.observe,
    handler: observe,
    reason:
      "Only the broker is sure to see the host's mount table, and a probe needs rights that the agent lacks. Reads one leaf of a configured base, and kind and size of one name in the volume; the leaf is computed, never accepted.",
  }),
  step: verb({
    callers: ['agent', 'root'],
    schema: REQUESTS.step,
    handler: step,
    reason:
      'Making and removing directories in a root-owned base, starting mount helpers, mounting and unmounting need root. One of six kinds, on one leaf, with a command line built from the configuration; foreign mounts are refused, living ones are never detached. Helpers at work are limited, and so are leaf directories that nothing was mounted on; those are removed after a while.',
  }),
  settle: verb({
    callers: ['agent', 'root'],
    schema: REQUESTS.settle,
    handler: settle,
    reason:
      'Helpers run as root in units of their own, so only root can end them. Ends units whose name is made from the leaf, and none that may serve a mount anywhere.',
  }),
  disk: verb({
    callers: ['agent', 'root'],
    schema: REQUESTS.disk,
    handler: disk,
    reason:
      'The agent may not search a volume. Tells kind and size of one name directly in a mounted volume; follows no link, opens no content.',
  }),
  holders: verb({
    callers: ['agent', 'root'],
    schema: REQUESTS.holders,
    handler: holders,
    reason:
      'Who keeps a mount busy stands in /proc of other users. Tells process numbers and command names, loop devices and where copies are, for the mounts of one volume at its leaf.',
  }),
  abort: verb({
    callers: ['agent', 'root'],
    schema: REQUESTS.abort,
    handler: abort,
    reason:
      'Only root may abort a FUSE connection. Cuts the one behind a recognised mount that a probe has just found hung, and never that of a bound directory; the superblock is pinned first.',
  }),
  inventory: verb({
    callers: ['agent', 'root'],
    schema: REQUESTS.inventory,
    handler: inventory,
    reason: 'After a start the agent must learn what is mounted below the bases. Reads the table and the bases only.',
  }),
  watch: verb({
    callers: ['agent', 'root'],
    schema: REQUESTS.watch,
    handler: watch,
    reason:
      'What somebody else mounts or unmounts at a leaf must be noticed. Waits for a change of the mount table; tells backends and leaves, a few callers at a time.',
  }),
  'helper-output': verb({
    callers: ['root'],
    schema: REQUESTS['helper-output'],
    handler: helperOutput,
    reason:
      'What a mount helper printed may hold credentials, so all of it is for root alone. Tells what the latest helper of one leaf printed, from memory.',
  }),
  examine: verb({
    callers: ['agent', 'root'],
    schema: REQUESTS.examine,
    handler: examine,
    reason:
      'Owners and modes of helpers and bases decide whether mounting is safe. Reads facts of configured paths only.',
  }),
};
