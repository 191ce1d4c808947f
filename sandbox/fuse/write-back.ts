// Write-back, as clients with a cache do it: the content of a file that was written is kept in this process's memory and
// reaches the volume's directory when it is stored, by fsync, by heal, or at the server's end. What is not stored when the
// process is killed is lost. Names and attributes are never kept back. A file is copied whole, so this is for small ones.
import { closeSync, constants, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { memoryFile, must, procPath, statx } from './libc.js';
import { identity, statxBuffer } from './nodes.js';

/** A file whose content is in memory. */
interface Kept {
  /** Descriptor of the file itself. */
  readonly file: number;
  /** Descriptor of its content. */
  readonly memory: number;
}

const block = Buffer.allocUnsafeSlow(1 << 20);

/** What was written through one mount and is not stored yet. */
export class WriteBack {
  readonly #kept = new Map<string, Kept>();
  /** Whether what is written from now on is kept. */
  active = false;

  /** The descriptor behind which the content of an open file is. */
  content(fd: number): number {
    if (this.#kept.size === 0) return fd;
    return this.#keptOf(fd)?.memory ?? fd;
  }

  /** The same, before the content is changed. */
  changed(fd: number): number {
    const known = this.content(fd);
    if (known !== fd || !this.active) return known;
    must(statx(fd, statxBuffer), 'statx');
    const key = identity();
    const file = openSync(procPath(fd), constants.O_RDWR);
    const memory = must(memoryFile('write-back', 0), 'memfd_create');
    copy(file, memory);
    this.#kept.set(key, { file, memory });
    return memory;
  }

  /** The size of the file with this identity, where it is not the one that the directory shows. */
  sizeOf(key: string): bigint | undefined {
    const kept = this.#kept.get(key);
    return kept === undefined ? undefined : fstatSync(kept.memory, { bigint: true }).size;
  }

  /** Stores everything, or one open file. */
  store(fd?: number): void {
    for (const [key, kept] of fd === undefined ? [...this.#kept] : this.#entriesOf(fd)) {
      copy(kept.memory, kept.file);
      ftruncateSync(kept.file, fstatSync(kept.memory).size);
      this.#kept.delete(key);
      closeSync(kept.memory);
      closeSync(kept.file);
    }
  }

  #entriesOf(fd: number): [string, Kept][] {
    const kept = this.#kept.size === 0 ? undefined : this.#keptOf(fd);
    return kept === undefined ? [] : [[identity(), kept]];
  }

  #keptOf(fd: number): Kept | undefined {
    must(statx(fd, statxBuffer), 'statx');
    return this.#kept.get(identity());
  }
}

function copy(from: number, to: number): void {
  for (let at = 0, bytes; (bytes = readSync(from, block, 0, block.length, at)) > 0; at += bytes) {
    for (let done = 0; done < bytes;) done += writeSync(to, block, done, bytes - done, at + done);
  }
}
