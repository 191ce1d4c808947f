// Images with any header, for tests of who reads them.

/** What is to stand in a header; everything else is as qemu-img writes it. */
export interface HeaderOptions {
  readonly version?: number;
  readonly clusterBits?: number;
  readonly size?: bigint;
  readonly crypt?: number;
  readonly features?: bigint;
  readonly headerBytes?: number;
  readonly backing?: string | Uint8Array;
  readonly backingAt?: bigint;
  /** Null: no format is said. */
  readonly format?: string | null;
  readonly extensions?: readonly (readonly [number, string | Uint8Array])[];
}

/** The beginning of an image. */
export function qcow2(options: HeaderOptions): Uint8Array {
  const { version = 3, clusterBits = 16, size = 8_388_608n, crypt = 0, features = 0n, backing } = options;
  const headerBytes = version === 2 ? 72 : 104;
  const extensions = [...(options.extensions ?? [])];
  const { format = backing === undefined ? null : 'raw' } = options;
  if (format !== null) extensions.unshift([0xe2792aca, format]);
  const parts = extensions.map(([kind, content]) => {
    const body = Buffer.from(content);
    const part = Buffer.alloc(8 + Math.ceil(body.length / 8) * 8);
    part.writeUInt32BE(kind, 0);
    part.writeUInt32BE(body.length, 4);
    body.copy(part, 8);
    return part;
  });
  const end = Buffer.alloc(8);
  const before = headerBytes + Buffer.concat(parts).length + end.length;
  const name = backing === undefined ? Buffer.alloc(0) : Buffer.from(backing);
  const header = Buffer.alloc(headerBytes);
  header.writeUInt32BE(0x514649fb, 0);
  header.writeUInt32BE(version, 4);
  header.writeBigUInt64BE(backing === undefined ? 0n : (options.backingAt ?? BigInt(before)), 8);
  header.writeUInt32BE(name.length, 16);
  header.writeUInt32BE(clusterBits, 20);
  header.writeBigUInt64BE(size, 24);
  header.writeUInt32BE(crypt, 32);
  if (version !== 2) {
    header.writeBigUInt64BE(features, 72);
    header.writeUInt32BE(4, 96);
    header.writeUInt32BE(options.headerBytes ?? headerBytes, 100);
  }
  return Uint8Array.from(Buffer.concat([header, ...parts, end, name]));
}
