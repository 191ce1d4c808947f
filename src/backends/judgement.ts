// What a probe's facts mean, as far as every filesystem agrees. One table: errno → class, class → verdict; a class
// without a verdict does not compile. A backend adds what only it knows to a `healthy`.

import type { Access, Judgement, ProbeFacts, Verdict } from '../core/verdict.js';

/**
 * - `gone`: the connection is gone (ENOTCONN) or the server disowns the mount (ESTALE); every call fails at once.
 * - `failing`: the server or the way to it is in trouble and may come back.
 * - `denied`: somebody answered, and said no.
 * - `read-only`: it takes no writes.
 * - `missing`: the root of the volume is not there.
 * - `unknown`: anything else.
 */
type ErrnoClass = 'gone' | 'failing' | 'denied' | 'read-only' | 'missing' | 'unknown';

const CLASSES: ReadonlyMap<string, ErrnoClass> = new Map([
  ['ENOTCONN', 'gone'],
  ['ESTALE', 'gone'],
  ['EIO', 'failing'],
  ['ETIMEDOUT', 'failing'],
  ['ECONNABORTED', 'failing'],
  ['ECONNREFUSED', 'failing'],
  ['ECONNRESET', 'failing'],
  ['EHOSTDOWN', 'failing'],
  ['EHOSTUNREACH', 'failing'],
  ['ENETDOWN', 'failing'],
  ['ENETUNREACH', 'failing'],
  ['EREMOTEIO', 'failing'],
  ['ENODEV', 'failing'],
  ['ENXIO', 'failing'],
  ['ESHUTDOWN', 'failing'],
  ['EINTR', 'failing'],
  ['EAGAIN', 'failing'],
  ['EACCES', 'denied'],
  ['EPERM', 'denied'],
  ['EROFS', 'read-only'],
  ['ENOENT', 'missing'],
  ['ENOTDIR', 'missing'],
  ['ELOOP', 'missing'],
]);

/** What a failure of statfs, or of reading the root's attributes, says of the mount. */
const MOUNT_SAYS: Readonly<Record<ErrnoClass, { readonly verdict: Verdict; readonly reason: string }>> = {
  gone: { verdict: 'stale', reason: 'the mount is dead: its connection is gone or its server disowns it' },
  failing: { verdict: 'stale', reason: 'the server or the way to it is failing; it may come back' },
  denied: { verdict: 'denied', reason: 'the server refuses access to the root of the volume' },
  'read-only': { verdict: 'stale', reason: 'the server refuses a question as if it were a write' },
  missing: { verdict: 'stale', reason: 'the server has no root directory for the volume' },
  unknown: { verdict: 'stale', reason: 'the server answered with an error that is not expected here' },
};

/** What a refused permission test says. Such a test never proves a mount dead: it may fail for its user alone. */
const RIGHT_SAYS: Readonly<Record<ErrnoClass, Verdict>> = {
  gone: 'stale',
  failing: 'stale',
  denied: 'denied',
  'read-only': 'read-only',
  missing: 'stale',
  unknown: 'stale',
};

/** The judgement of facts that no backend sees differently. `healthy` means: the server itself answered and the rights are there. */
export function judgeFacts(facts: ProbeFacts, access: Access): Judgement {
  if (facts.statfs.end === 'hung') {
    return { verdict: 'hung', reason: 'The server did not answer within the probe timeout.', dead: false };
  }
  const mountErrors = [
    ...(facts.statfs.end === 'failed' ? [facts.statfs.errno] : []),
    ...(facts.rootError === undefined ? [] : [facts.rootError]),
  ];
  const decisive = mountErrors.find((errno) => classOf(errno) === 'gone') ?? mountErrors[0];
  if (decisive !== undefined) {
    const kind = classOf(decisive);
    const { verdict, reason } = MOUNT_SAYS[kind];
    return { verdict, reason: sentence(reason, decisive), dead: kind === 'gone', errno: known(decisive) };
  }
  if (facts.root?.isDirectory === false) {
    return { verdict: 'stale', reason: 'The root of the volume is not a directory.', dead: false };
  }
  return judgeRights(facts, access);
}

function judgeRights(facts: ProbeFacts, access: Access): Judgement {
  const rights = access === 'read-write' ? (['search', 'write'] as const) : /* write is waived */ (['search'] as const);
  const refused = rights.flatMap((right) => {
    const found = facts[right];
    return typeof found === 'object' ? [{ right, errno: found.errno }] : [];
  });
  const worst =
    refused.find(({ errno }) => RIGHT_SAYS[classOf(errno)] === 'stale') ??
    refused.find(({ errno }) => RIGHT_SAYS[classOf(errno)] === 'denied') ??
    refused[0];
  if (worst !== undefined) {
    const verdict = RIGHT_SAYS[classOf(worst.errno)];
    const alike = refused.filter(({ errno }) => RIGHT_SAYS[classOf(errno)] === verdict).map(({ right }) => right);
    return {
      verdict,
      reason: rightsReason(verdict, alike.join(' and '), worst.errno),
      dead: false,
      errno: known(worst.errno),
    };
  }
  const untested = rights.filter((right) => facts[right] !== 'granted');
  if (untested.length > 0) {
    return { verdict: 'denied', reason: `The ${untested.join(' and ')} permission was not tested.`, dead: false };
  }
  return { verdict: 'healthy', reason: 'The server answered and the permissions are there.', dead: false };
}

function rightsReason(verdict: Verdict, rights: string, errno: string): string {
  if (verdict === 'denied')
    return sentence(`the user that will use the volume lacks ${rights} permission on its root`, errno);
  if (verdict === 'read-only') return sentence('the volume is mounted or served read-only', errno);
  return sentence(`the test for ${rights} permission failed`, errno);
}

function classOf(errno: string): ErrnoClass {
  return CLASSES.get(errno) ?? 'unknown';
}

/** The errno if it looks like one: it has crossed a process, and it is shown. */
function known(errno: string): string {
  return /^E[A-Z0-9]{1,19}$/.test(errno) ? errno : 'EUNKNOWN';
}

function sentence(reason: string, errno: string): string {
  return `${reason.charAt(0).toUpperCase()}${reason.slice(1)} (${known(errno)}).`;
}
