// A cpio archive in the format that Linux takes as its initial filesystem (Documentation/driver-api/early-userspace/
// buffer-format.rst): `newc`, header fields in hexadecimal, everything padded to four bytes. Pure.

const DIRECTORY = 0o040_755;
const PROGRAM = 0o100_755;
const TRAILER = 'TRAILER!!!';

/** A directory (no content) or a file of an archive. */
export interface Entry {
  /** Without a slash in front; directories before what is in them. */
  readonly name: string;
  readonly content: Buffer | null;
}

/** The archive: everything belongs to root, and every file may be executed. */
export function newcArchive(entries: readonly Entry[]): Buffer {
  const parts = entries.map(({ name, content }, index) =>
    record(index + 1, name, content === null ? DIRECTORY : PROGRAM, content ?? Buffer.alloc(0)),
  );
  return Buffer.concat([...parts, record(0, TRAILER, 0, Buffer.alloc(0))]);
}

function record(inode: number, name: string, mode: number, content: Buffer): Buffer {
  const nameBytes = Buffer.from(`${name}\0`);
  // inode, mode, uid, gid, links, mtime, size, device (2), node (2), bytes of the name, checksum
  const fields = [inode, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, nameBytes.length, 0];
  const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`;
  return Buffer.concat([padded(Buffer.concat([Buffer.from(header), nameBytes])), padded(content)]);
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)]);
}
