// What an operation gets to work with, and what several of them need.
import { chmodSync } from 'node:fs';
import { procPath, statx } from './libc.js';
import { type Nodes, statxBuffer } from './nodes.js';
import type { Request } from './protocol.js';
import type { WriteBack } from './write-back.js';

/** One mount, as its operations see it. */
export interface Served {
  readonly nodes: Nodes;
  readonly volume: string;
  /** st_size of the root directory: 0, as Quobyte's, unless a fault says otherwise. */
  readonly rootSize: bigint;
  readonly xattrs: 'offered' | 'disabled' | 'refused';
  /** What was written and is not stored yet. */
  readonly written: WriteBack;
  /** Descriptors that this mount's open files use. */
  readonly open: Set<number>;
}

/** Writes a reply's payload and answers its bytes, or answers -errno, or throws what `fs` throws. */
export type Operation = (mount: Served, request: Request) => number;

/** Does what the kernel does when somebody without privilege writes: set-user-ID and set-group-ID go. */
export function dropPrivileges(fd: number): void {
  if (statx(fd, statxBuffer) < 0) return;
  const mode = statxBuffer.readUInt16LE(28);
  const gone = (mode & 0o4000) | ((mode & 0o2010) === 0o2010 ? 0o2000 : 0);
  if (gone !== 0) chmodSync(procPath(fd), mode & 0o7777 & ~gone);
}
