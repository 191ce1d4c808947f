// What doctor says of a process of ours that gives no answer: it may not run, or run and be stopped.

import type { Finding } from './broker-api.js';
import type { FairleadError } from './errors.js';

/** The advice for a process of `fairlead up` whose question failed with this error. */
export function adviceForSilent(name: 'broker' | 'hypervisor', { code }: FairleadError): Finding['mend'] {
  if (code !== 'deadline-exceeded') {
    return 'fairlead up starts it again by itself, and its log says why it ended; start fairlead up if it does not run.';
  }
  const pattern = `'^fairlead-${name}'`;
  return `It runs and is slow, or stopped (state T): ps -o pid,stat,wchan:20,args $(pgrep -f ${pattern}). If it is stopped: pkill -CONT -f ${pattern}`;
}
