// Which executor carries out which step. A kind of step without one does not compile.

import type { StepKind } from '../../core/steps.js';
import { detachDead } from './detach-dead.js';
import { harden } from './harden.js';
import { makeLeaf, removeLeaf } from './leaf.js';
import { mount } from './mount.js';
import type { Executor } from './step.js';
import { unmount } from './unmount.js';

/** See the file's head. */
export const EXECUTORS: { readonly [Kind in StepKind]: Executor } = {
  'make-leaf': makeLeaf,
  mount,
  harden,
  unmount,
  'detach-dead': detachDead,
  'remove-leaf': removeLeaf,
};
