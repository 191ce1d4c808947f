// The few procedures of libvirt's protocol that are used here: what may be said to libvirt, and nothing else can be. Numbers and shapes are
// those of libvirt's src/remote/remote_protocol.x; they only ever grew at their end, so they hold for every libvirt since the
// version that is named (6.0, of 2020, for the newest).

import { type AnyShape, hyper, int, list, nothing, opaque, optional, struct, text, uint, type ValueOf } from './xdr.js';

/** REMOTE_PROGRAM and its version. */
export const REMOTE = { program: 0x2000_8086, version: 1 } as const;
/** KEEPALIVE_PROGRAM, its version and its procedures (src/rpc/virkeepaliveprotocol.x). */
export const KEEPALIVE = { program: 0x6b65_6570, version: 1, ping: 1, pong: 2 } as const;

/** REMOTE_STRING_MAX and VIR_NET_MESSAGE_STRING_MAX, bytes. */
const STRING_MAX = 4_194_304;
/** REMOTE_DOMAIN_LIST_MAX. */
const DOMAINS_MAX = 16_384;
/** REMOTE_DOMAIN_SNAPSHOT_LIST_MAX and REMOTE_DOMAIN_CHECKPOINT_LIST_MAX. */
const SNAPSHOTS_MAX = 16_384;
/** REMOTE_AUTH_TYPE_LIST_MAX. */
const AUTH_TYPES_MAX = 20;
/** VIR_UUID_BUFLEN, bytes. */
const UUID_BYTES = 16;

const string = text(STRING_MAX);
const words = optional(text(STRING_MAX, 'lossy'));
const uuid = opaque(UUID_BYTES);
/** remote_nonnull_domain. `id` is -1 for a domain that does not run. */
const domain = struct({ name: string, uuid, id: int });
/** remote_nonnull_domain_snapshot, and remote_nonnull_domain_checkpoint. */
const snapshot = struct({ name: string, domain });
/** remote_nonnull_storage_pool. */
const pool = struct({ name: string, uuid });
/** remote_nonnull_storage_vol. */
const volume = struct({ pool: string, name: string, key: string });

/** remote_auth_type. */
export const AUTH = { none: 0, sasl: 1, polkit: 2 } as const;
/** virConnectListAllDomainsFlags: VIR_CONNECT_LIST_DOMAINS_HAS_SNAPSHOT. */
export const LIST_HAS_SNAPSHOT = 4096;
/** virConnectListAllDomainsFlags: VIR_CONNECT_LIST_DOMAINS_HAS_CHECKPOINT. */
export const LIST_HAS_CHECKPOINT = 16_384;
/** virDomainXMLFlags: VIR_DOMAIN_XML_INACTIVE. */
export const XML_INACTIVE = 2;
/** virDomainModificationImpact: VIR_DOMAIN_AFFECT_LIVE. */
export const AFFECT_LIVE = 1;
/** virDomainModificationImpact: VIR_DOMAIN_AFFECT_CONFIG. */
export const AFFECT_CONFIG = 2;
/** virDomainBlockResizeFlags: VIR_DOMAIN_BLOCK_RESIZE_BYTES. */
export const RESIZE_BYTES = 1;

interface Procedure {
  /** Its number in `enum remote_procedure`. */
  readonly number: number;
  readonly args: AnyShape;
  readonly result: AnyShape;
}

/** REMOTE_PROC_…, by the name that it has there, without REMOTE_PROC. */
export const PROCEDURES = {
  connectOpen: { number: 1, args: struct({ uri: optional(string), flags: uint }), result: nothing },
  connectClose: { number: 2, args: nothing, result: nothing },
  domainGetXmlDesc: { number: 14, args: struct({ domain, flags: uint }), result: struct({ xml: string }) },
  domainLookupByName: { number: 23, args: struct({ name: string }), result: struct({ domain }) },
  domainLookupByUuid: { number: 24, args: struct({ uuid }), result: struct({ domain }) },
  authList: { number: 66, args: nothing, result: struct({ types: list(int, AUTH_TYPES_MAX) }) },
  authPolkit: { number: 70, args: nothing, result: struct({ complete: int }) },
  storagePoolLookupByName: { number: 84, args: struct({ name: string }), result: struct({ pool }) },
  storageVolLookupByName: { number: 95, args: struct({ pool, name: string }), result: struct({ volume }) },
  storageVolGetPath: { number: 100, args: struct({ volume }), result: struct({ path: string }) },
  domainIsPersistent: { number: 151, args: struct({ domain }), result: struct({ persistent: int }) },
  domainAttachDeviceFlags: { number: 160, args: struct({ domain, xml: string, flags: uint }), result: nothing },
  domainDetachDeviceFlags: { number: 161, args: struct({ domain, xml: string, flags: uint }), result: nothing },
  domainHasManagedSaveImage: { number: 183, args: struct({ domain, flags: uint }), result: struct({ has: int }) },
  domainSnapshotGetXmlDesc: { number: 186, args: struct({ snapshot, flags: uint }), result: struct({ xml: string }) },
  domainGetBlockInfo: {
    number: 194,
    args: struct({ domain, path: string, flags: uint }),
    result: struct({ allocation: hyper, capacity: hyper, physical: hyper }),
  },
  domainBlockResize: {
    number: 251,
    args: struct({ domain, disk: string, size: hyper, flags: uint }),
    result: nothing,
  },
  connectListAllDomains: {
    number: 273,
    args: struct({ needResults: int, flags: uint }),
    result: struct({ domains: list(domain, DOMAINS_MAX), count: uint }),
  },
  domainListAllSnapshots: {
    number: 274,
    args: struct({ domain, needResults: int, flags: uint }),
    result: struct({ snapshots: list(snapshot, SNAPSHOTS_MAX), count: int }),
  },
  connectDomainEventCallbackRegisterAny: {
    number: 316,
    args: struct({ event: int, domain: optional(domain) }),
    result: struct({ callback: int }),
  },
  domainManagedSaveGetXmlDesc: { number: 388, args: struct({ domain, flags: uint }), result: struct({ xml: string }) },
  domainCheckpointGetXmlDesc: { number: 412, args: struct({ snapshot, flags: uint }), result: struct({ xml: string }) },
  domainListAllCheckpoints: {
    number: 413,
    args: struct({ domain, needResults: int, flags: uint }),
    result: struct({ snapshots: list(snapshot, SNAPSHOTS_MAX), count: int }),
  },
  domainBackupGetXmlDesc: { number: 422, args: struct({ domain, flags: uint }), result: struct({ xml: string }) },
} as const satisfies Readonly<Record<string, Procedure>>;

/** One of the procedures. */
export type ProcedureName = keyof typeof PROCEDURES;
/** What a procedure is given. */
export type ArgsOf<P extends ProcedureName> = ValueOf<(typeof PROCEDURES)[P]['args']>;
/** What a procedure answers. */
export type ResultOf<P extends ProcedureName> = ValueOf<(typeof PROCEDURES)[P]['result']>;
/** A domain as libvirt's protocol names it. */
export type WireDomain = ValueOf<typeof domain>;

const deviceMessage = struct({ callback: int, domain, alias: string });

/** Events: what libvirt calls the kind (virDomainEventID), and the procedure by which it tells us. */
export const EVENTS = {
  /** VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, …_EVENT_CALLBACK_DEVICE_REMOVED. */
  removed: { event: 15, number: 333, message: deviceMessage },
  /** VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED, …_EVENT_CALLBACK_DEVICE_REMOVAL_FAILED. */
  kept: { event: 22, number: 367, message: deviceMessage },
} as const;

/** virNetMessageError. */
export const ERROR = struct({
  code: int,
  domain: int,
  message: words,
  level: int,
  dom: optional(domain),
  str1: words,
  str2: words,
  str3: words,
  int1: int,
  int2: int,
  net: optional(struct({ name: string, uuid })),
});
