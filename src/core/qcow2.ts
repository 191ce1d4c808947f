// What the header of a qcow2 image says (QEMU, docs/interop/qcow2.txt, versions 2 and 3): which other files it names, above all. Pure;
// every byte is a stranger's. A header that QEMU would read in two ways, or that has more than it may, is refused rather
// than understood.

/** Bytes from the beginning of an image within which all of its header must lie. */
export const QCOW2_HEADER_BYTES = 1_048_576;

/** What a header says. */
export interface Qcow2Header {
  readonly version: 2 | 3;
  /** Bytes that a guest sees. */
  readonly size: number;
  readonly encryption: 'none' | 'aes' | 'luks';
  /** The file that is read where this one has nothing; its format is null where the header does not say it. */
  readonly backing: { readonly name: string; readonly format: string | null } | null;
  /** The file that holds the guest's bytes in this one's place. */
  readonly dataFile: string | null;
}

/** Why a header is refused. Completes "The image …". */
export interface Qcow2Fault {
  readonly fault: string;
}

const MAGIC = 0x51_46_49_fb;
const V2_BYTES = 72;
/** Where a version 3 says how long its header is. */
const V3_LENGTH_AT = 100;
const V3_BYTES = 104;
/** QEMU's bounds (qcow2.h: MIN_CLUSTER_BITS, MAX_CLUSTER_BITS; bytes of a backing file's name). */
const CLUSTER_BITS = { min: 9, max: 21 } as const;
const MAX_NAME_BYTES = 1023;
/** Extensions looked at; QEMU writes four. */
const MAX_EXTENSIONS = 64;
const EXTENSION = { end: 0, backingFormat: 0xe2_79_2a_ca, dataFile: 0x44_41_54_41 } as const;
/** Incompatible feature bit 2: the guest's bytes are in an external data file. */
const DATA_FILE_BIT = 1n << 2n;
const ENCRYPTIONS = ['none', 'aes', 'luks'] as const;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Reads a header from the first {@link QCOW2_HEADER_BYTES} bytes of an image, or from all of a shorter one. */
export function readQcow2(bytes: Uint8Array): Qcow2Header | Qcow2Fault {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < V2_BYTES || view.getUint32(0) !== MAGIC)
    return { fault: 'is not a qcow2: its first bytes say so' };
  const version = view.getUint32(4);
  if (version !== 2 && version !== 3) return { fault: 'has a version of qcow2 other than 2 and 3' };
  if (version === 3 && bytes.length < V3_BYTES) return TORN;
  const clusterBits = view.getUint32(20);
  if (clusterBits < CLUSTER_BITS.min || clusterBits > CLUSTER_BITS.max)
    return { fault: 'has an impossible cluster size' };
  const size = view.getBigUint64(24);
  if (size > BigInt(Number.MAX_SAFE_INTEGER)) return { fault: 'has an impossible size' };
  const encryption = ENCRYPTIONS[view.getUint32(32)];
  if (encryption === undefined) return { fault: 'is encrypted in an unknown way' };
  const headerBytes = version === 2 ? V2_BYTES : view.getUint32(V3_LENGTH_AT);
  const cluster = 2 ** clusterBits;
  if (headerBytes < (version === 2 ? V2_BYTES : V3_BYTES) || headerBytes > cluster) {
    return { fault: 'has a header of an impossible length' };
  }
  const backing = readBackingName(bytes, view, cluster);
  if (backing !== null && typeof backing !== 'string') return backing;
  // A backing file's name begins where the extensions end (qcow2_do_open).
  const offset = Number(view.getBigUint64(8));
  const extensions = readExtensions(bytes, view, { from: headerBytes, to: backing === null ? cluster : offset });
  if ('fault' in extensions) return extensions;
  const { format, dataFile } = extensions;
  const wantsData = version === 3 && (view.getBigUint64(72) & DATA_FILE_BIT) !== 0n;
  if (wantsData && dataFile === null) return { fault: 'wants a data file and names none' };
  return {
    version,
    size: Number(size),
    encryption,
    backing: backing === null ? null : { name: backing, format },
    dataFile,
  };
}

const TORN: Qcow2Fault = { fault: 'has a header that is cut off' };

function readBackingName(bytes: Uint8Array, view: DataView, cluster: number): string | null | Qcow2Fault {
  const offset = view.getBigUint64(8);
  const length = view.getUint32(16);
  if (offset === 0n) return null;
  if (offset > BigInt(cluster) || length === 0 || length > MAX_NAME_BYTES || Number(offset) + length > cluster) {
    return { fault: "has its backing file's name in an impossible place" };
  }
  return nameAt(bytes, Number(offset), length);
}

/** Text of the image; C programs read it up to a NUL, so it may have none. */
function nameAt(bytes: Uint8Array, offset: number, length: number): string | Qcow2Fault {
  if (offset + length > bytes.length) return TORN;
  try {
    const name = utf8.decode(bytes.subarray(offset, offset + length));
    return name.includes('\0') ? { fault: 'names a file with a NUL in its name' } : name;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return { fault: 'names a file in something else than UTF-8' };
  }
}

interface Extensions {
  readonly format: string | null;
  readonly dataFile: string | null;
}

function readExtensions(
  bytes: Uint8Array,
  view: DataView,
  { from, to }: { readonly from: number; readonly to: number },
): Extensions | Qcow2Fault {
  const found = new Map<number, string>();
  let at = from;
  for (let count = 0; at < to; count += 1) {
    if (count === MAX_EXTENSIONS) return { fault: 'has too many header extensions' };
    if (at + 8 > to || at + 8 > bytes.length) return TORN;
    const kind = view.getUint32(at);
    const length = view.getUint32(at + 4);
    if (kind === EXTENSION.end) break;
    if (length > to - at - 8) return { fault: 'has a header extension that is too long' };
    if (kind === EXTENSION.backingFormat || kind === EXTENSION.dataFile) {
      if (found.has(kind)) return { fault: 'says the same twice in its header' };
      if (length === 0 || length > MAX_NAME_BYTES) return { fault: 'has a name of an impossible length in its header' };
      const name = nameAt(bytes, at + 8, length);
      if (typeof name !== 'string') return name;
      found.set(kind, name);
    }
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return {
    format: found.get(EXTENSION.backingFormat) ?? null,
    dataFile: found.get(EXTENSION.dataFile) ?? null,
  };
}
