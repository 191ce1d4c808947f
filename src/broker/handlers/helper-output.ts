// `helper-output`: all that the latest helper of a leaf said. The table has it for root alone; the agent sees known forms only.

import type { Handler } from './handler.js';

/** See the file's head. */
export const helperOutput: Handler<'helper-output'> = ({ context }, { leaf }) =>
  Promise.resolve(context.helperOutputs.of(leaf));
