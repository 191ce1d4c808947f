// What to tell people when a mount helper failed. The status decides; the helper's words only pick the advice, since they
// differ between releases and languages, and not one of them is repeated.

import type { ErrorBody } from '../core/errors.js';
import type { HelperFailure } from './backend.js';

/** Bytes of output that are looked through for advice. */
const LOOKED_AT = 16_384;

/** The first that fits is given, so what is told apart by more words comes first. */
const ADVICE: readonly (readonly [RegExp, string])[] = [
  [
    /fusermount3?\b.{0,40}(?:not found|no such file)/i,
    'Its words suggest that fusermount3 is missing: install FUSE (package fuse3) on this host',
  ],
  [
    /command not found/i,
    'Its words suggest that a program that it needs is missing: read its output, and install the program on this host',
  ],
  [
    /\/dev\/fuse|\bfuse: device not|modprobe fuse|unknown filesystem type '?fuse/i,
    'Its words suggest trouble with FUSE: check that the fuse module is loaded and /dev/fuse can be opened',
  ],
  [
    /no space left|quota exceeded|\bENOSPC\b|\bEDQUOT\b/i,
    'Its words suggest that a disk is full, of this host or of the storage: free some space',
  ],
  [
    /resource temporarily unavailable|cannot fork|\bEAGAIN\b/i,
    'Its words suggest that it may start no more processes or threads: look at the limits (pids.max, ulimit -u)',
  ],
  [
    /name resolution|name or service not known|no address associated|host not found|(?:un|could not |cannot )resolv/i,
    'Its words suggest that the name of a registry cannot be resolved: check its spelling and /etc/resolv.conf (getent hosts NAME)',
  ],
  [
    /permission denied|not authori[sz]ed|unauthori[sz]ed|authentication|access denied|\bEACCES\b|\bEPERM\b|certificate/i,
    'Its words suggest that access was refused: check the credentials in the client configuration and the rights on the volume',
  ],
  [
    /no such volume|unknown volume|volume .{0,200}(?:not found|does not exist)|not found|\bENOENT\b/i,
    'Its words suggest that the volume is not known there: check the name of the volume and the registries',
  ],
  [
    /timed? ?out|unreachable|refused|no route|\bETIMEDOUT\b|\bECONNREFUSED\b/i,
    'Its words suggest that the registries were not reached: check names, ports and the network from this host',
  ],
  [
    /\bfuse\b/i,
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
