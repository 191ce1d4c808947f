// What to tell people when a mount helper failed. The status decides; the helper's words only pick the advice, since they
// differ between releases and languages, and not one of them is repeated.

import type { ErrorBody } from '../core/errors.js';
import type { HelperFailure } from './backend.js';

/** Bytes of output that are looked through for advice. */
const LOOKED_AT = 16_384;

const ADVICE: readonly (readonly [RegExp, string])[] = [
  [
    /permission denied|not authori[sz]ed|unauthori[sz]ed|authentication|access denied|\bEACCES\b|\bEPERM\b|certificate/i,
    'Its words suggest that access was refused: check the credentials in the client configuration and the rights on the volume',
  ],
  [
    /no such volume|unknown volume|volume .{0,200}(?:not found|does not exist)|not found|\bENOENT\b/i,
    'Its words suggest that the volume is not known there: check the name of the volume and the registries',
  ],
  [
    /timed? ?out|unreachable|refused|no route|unresolv|resolve|\bETIMEDOUT\b|\bECONNREFUSED\b/i,
    'Its words suggest that the registries were not reached: check names, ports and the network from this host',
  ],
  [
    /\/dev\/fuse|\bfuse\b/i,
    'Its words suggest trouble with FUSE: check that the fuse module is loaded and /dev/fuse can be opened',
  ],
];

/** The error that a helper's failure becomes: always `helper-failed`, with how it ended and what to look at. */
export function explainHelper(failure: HelperFailure): Pick<ErrorBody, 'code' | 'message'> {
  const looked = failure.output.slice(0, LOOKED_AT);
  const advice = ADVICE.find(([words]) => words.test(looked))?.[1];
  return {
    code: 'helper-failed',
    message: `${howItEnded(failure)}. ${advice ?? 'Read its output beside this error and in the journal of its unit'}; then try again.`,
  };
}

function howItEnded({ status, signal }: HelperFailure): string {
  if (signal !== null) {
    return `The mount helper was ended by ${/^SIG[A-Z0-9+]{2,10}$/.test(signal) ? signal : 'a signal'}`;
  }
  if (status === null) return 'The mount helper ended in a way that is not known';
  if (status === 0) return 'The mount helper ended with success, but its mount did not appear';
  return `The mount helper ended with status ${status}`;
}
