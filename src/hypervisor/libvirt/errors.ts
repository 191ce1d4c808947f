// libvirt's errors, and what they are in ours. libvirt's code decides; its words travel redacted, in the field for others' output, and are
// read by people only. Where the code says no more than that something failed, a few sentences of libvirt's and QEMU's that a retry does not
// help against are known by their words, which have no part that somebody else writes.

import { type ErrorCode, FairleadError } from '../../core/errors.js';
import { redact } from '../../core/secrets.js';

/** What libvirt answered instead of a result (virError). Its message is libvirt's own and may name paths: never shown as it is. */
export class LibvirtError extends Error {
  override readonly name = 'LibvirtError';
  /** virErrorNumber. */
  readonly code: number;
  /** virErrorDomain: which part of libvirt. */
  readonly domain: number;

  constructor(code: number, domain: number, message: string) {
    super(message);
    this.code = code;
    this.domain = domain;
  }
}

/** virErrorNumber (include/libvirt/virterror.h), as far as it decides anything here. */
export const VIR_ERR = {
  internalError: 1,
  noMemory: 2,
  noSupport: 3,
  noConnect: 5,
  invalidArg: 8,
  operationFailed: 9,
  xmlError: 27,
  operationDenied: 29,
  xmlDetail: 35,
  rpc: 39,
  noDomain: 42,
  authFailed: 45,
  noStoragePool: 49,
  noStorageVol: 50,
  operationInvalid: 55,
  configUnsupported: 67,
  operationTimeout: 68,
  noDomainSnapshot: 72,
  argumentUnsupported: 74,
  authCancelled: 79,
  overflow: 82,
  blockCopyActive: 83,
  operationUnsupported: 84,
  agentUnresponsive: 86,
  resourceBusy: 87,
  accessDenied: 88,
  xmlInvalidSchema: 92,
  authUnavailable: 94,
  agentUnsynced: 97,
  deviceMissing: 99,
  noDomainCheckpoint: 103,
  noDomainBackup: 104,
} as const;

interface Meaning {
  readonly code: ErrorCode;
  readonly field?: string;
  readonly message: string;
}

const REFUSED: Meaning = {
  code: 'permission-denied',
  message: "libvirt does not let this host's Fairlead do that. Allow root to use libvirt's socket, then try again.",
};
const UNSOUND: Meaning = {
  code: 'invalid-argument',
  message:
    'libvirt or QEMU cannot do that with this domain. Read what libvirt said beside this error, and ask for it in another way.',
};
const IN_USE: Meaning = {
  code: 'busy',
  message:
    'Something else is being done with the domain, or its guest does not answer. Wait until it is over, then try again.',
};
const AWAY: Meaning = {
  code: 'unavailable',
  message:
    'libvirt cannot reach its own hypervisor driver. Look at its log (journalctl -u libvirtd, or virtqemud), then try again.',
};
const GONE: Meaning = {
  code: 'not-found',
  field: 'domain',
  message: 'libvirt has no such domain. Look at virsh list --all.',
};
const FAILED: Meaning = {
  code: 'helper-failed',
  message: 'libvirt or QEMU failed. Read what libvirt said beside this error and in its log, then try again.',
};

const LOCKED: Meaning = {
  code: 'conflict',
  field: 'disk',
  message:
    'The disk is locked: another guest or program has it open. Find out who (fairlead vm ls), and detach it there; or attach it read-only to all.',
};
const NO_SLOT: Meaning = {
  code: 'conflict',
  field: 'bus',
  message:
    'The domain has no free PCI slot. Ask for --bus scsi if it has such a controller, detach another device, or define more pcie-root-port controllers while it is off.',
};

/** By the whole text, as libvirt writes it in English (src/conf/domain_addr.c) and QEMU (block/file-posix.c, raw_check_lock_bytes). */
const BY_WORDS: readonly (readonly [RegExp, Meaning])[] = [
  [/^internal error: No more available PCI (?:slots|addresses)$/, NO_SLOT],
  [
    /^internal error: unable to execute QEMU command '[a-z_-]{1,64}': Failed to get (?:shared )?"[a-z -]{1,64}" lock$/,
    LOCKED,
  ],
  // virtlockd's and sanlock's, which name the resource.
  [/^resource busy: Lockspace resource '[^']{1,4096}' is locked$/, LOCKED],
];
/** Codes that say no more than that something failed, or is in use. */
const VAGUE: ReadonlySet<number> = new Set([VIR_ERR.internalError, VIR_ERR.operationFailed, VIR_ERR.resourceBusy]);

function byWords({ code, message }: LibvirtError): Meaning | undefined {
  return VAGUE.has(code) ? BY_WORDS.find(([words]) => words.test(message))?.[1] : undefined;
}

const MEANINGS: ReadonlyMap<number, Meaning> = new Map<number, Meaning>([
  [VIR_ERR.noDomain, GONE],
  [
    VIR_ERR.deviceMissing,
    { code: 'not-found', field: 'disk', message: 'The domain has no such disk. Look at virsh domblklist.' },
  ],
  [
    VIR_ERR.operationInvalid,
    {
      code: 'conflict',
      message:
        'The domain is not in the state for that, or has such a device already. Look at virsh domstate and virsh domblklist.',
    },
  ],
  ...[VIR_ERR.operationTimeout, VIR_ERR.resourceBusy, VIR_ERR.blockCopyActive].map((code) => [code, IN_USE] as const),
  ...[VIR_ERR.agentUnresponsive, VIR_ERR.agentUnsynced].map((code) => [code, IN_USE] as const),
  ...[VIR_ERR.authFailed, VIR_ERR.authCancelled, VIR_ERR.authUnavailable].map((code) => [code, REFUSED] as const),
  ...[VIR_ERR.accessDenied, VIR_ERR.operationDenied].map((code) => [code, REFUSED] as const),
  ...[VIR_ERR.invalidArg, VIR_ERR.xmlError, VIR_ERR.xmlDetail, VIR_ERR.xmlInvalidSchema].map(
    (code) => [code, UNSOUND] as const,
  ),
  ...[VIR_ERR.noSupport, VIR_ERR.operationUnsupported, VIR_ERR.configUnsupported].map(
    (code) => [code, UNSOUND] as const,
  ),
  ...[VIR_ERR.argumentUnsupported, VIR_ERR.overflow].map((code) => [code, UNSOUND] as const),
  ...[VIR_ERR.noConnect, VIR_ERR.rpc].map((code) => [code, AWAY] as const),
  [
    VIR_ERR.noMemory,
    { code: 'resource-exhausted', message: 'libvirt has no memory left for that. Free some, then try again.' },
  ],
]);

/** Bytes of libvirt's words that are kept. */
const MAX_WORDS_BYTES = 4096;

/** The error of ours for one of libvirt's, which becomes its cause. */
export function explainLibvirt(error: LibvirtError): FairleadError {
  const { code, field, message } = byWords(error) ?? MEANINGS.get(error.code) ?? FAILED;
  const words = redact(error.message, [], MAX_WORDS_BYTES);
  return new FairleadError(code, message, {
    ...(field === undefined ? {} : { field }),
    ...(words === '' ? {} : { helperOutput: words }),
    cause: error,
  });
}
