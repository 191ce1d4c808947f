// Which files a disk may rest on. A qcow2 names others in its header, and whoever may write the volume writes that header; so each
// named file is judged here before QEMU or qemu-img is shown any of them.

import { posix } from 'node:path';
import type { BackingFile, DiskFormat } from '../core/disk.js';
import { FairleadError } from '../core/errors.js';
import { MAX_BACKING_CHAIN } from '../core/limits.js';
import { parseDiskName } from '../core/names.js';
import { isBelow, parseAbsolutePath } from '../core/paths.js';
import type { ImageNode, ImagePlace } from './image-main.js';
import type { ImageHands } from './images.js';
import type { DiskPlace } from './place.js';

/** A disk that is opened, with everything that it rests on. */
export interface OpenedDisk {
  readonly node: ImageNode;
  /** Bytes that a guest sees. */
  readonly size: number;
  readonly encrypted: boolean;
  /** What it rests on, nearest first. */
  readonly backing: readonly BackingFile[];
}

/** The answer of {@link openDisk} for a file that is root's alone, where the image user may not open it. */
export const ROOTS_OWN = Symbol('roots-own');

/** Opens a disk and its chain. `permission-denied` for a header that names what it may not, and what {@link ImageHands} throws. */
export async function openDisk(
  hands: ImageHands,
  place: DiskPlace,
  use: 'read' | 'write',
  format: DiskFormat,
): Promise<OpenedDisk | typeof ROOTS_OWN> {
  const first = await hands.open(place.image, use, format);
  if (first.kind === 'denied' && first.rootOnly) return ROOTS_OWN;
  const backing: BackingFile[] = [];
  const opened = await below(first, place.image, format);
  return { ...opened, backing };

  async function below(
    answer: typeof first,
    at: ImagePlace,
    as: DiskFormat,
  ): Promise<Pick<OpenedDisk, 'node' | 'size' | 'encrypted'>> {
    if (answer.kind !== 'opened') throw hands.explain(answer);
    const { image, size, header } = answer;
    const plain = { node: { image, format: as, backing: null, dataFile: null }, size, encrypted: false };
    if (header === null) return plain;
    const dataFile = header.dataFile === null ? null : await openDataFile(header.dataFile, at);
    const encrypted = header.encryption !== 'none';
    if (header.backing === null) return { ...plain, node: { ...plain.node, dataFile }, encrypted };
    const { name, format: said } = header.backing;
    if (said !== 'raw' && said !== 'qcow2') {
      throw refused(place, 'names a backing file without saying that its format is raw or qcow2', REBASE);
    }
    if (backing.length + 2 > MAX_BACKING_CHAIN) {
      throw refused(place, `rests on more than ${MAX_BACKING_CHAIN - 1} other files`, 'Flatten it (qemu-img convert).');
    }
    const next = placeNamed(name, at, place.outside);
    if (next === null) throw refused(place, 'names a backing file outside of its volume', OUTSIDE);
    backing.push({ path: `${next.directory}/${next.path}`, format: said });
    const under = await below(await hands.open(next, 'read', said), next, said);
    return { node: { ...plain.node, dataFile, backing: under.node }, size, encrypted: encrypted || under.encrypted };
  }

  async function openDataFile(name: string, at: ImagePlace): Promise<number> {
    const data = placeNamed(name, at, []);
    if (data?.directory !== place.image.directory) {
      throw refused(place, 'keeps its data in a file outside of its volume', 'Convert it (qemu-img convert).');
    }
    const answer = await hands.open(data, use, 'raw');
    if (answer.kind !== 'opened') throw hands.explain(answer);
    return answer.image;
  }
}

const REBASE = 'Say it: qemu-img rebase -u -F raw, or -F qcow2.';
const OUTSIDE = 'Flatten it (qemu-img convert), or allow the directory in libvirt.outside_images.';

function refused(place: DiskPlace, what: string, mend: string): FairleadError {
  return new FairleadError('permission-denied', `The image ${what}. ${mend}`, {
    field: 'disk',
    leaf: place.volume.leaf,
  });
}

/**
 * Where a name in the header of the image `at` leads, as QEMU would take it: a plain name beside the image, or a path in the same
 * directory or below one of `outside`. Null for everything else, protocols (`nbd:`, `json:`) among it.
 */
export function placeNamed(name: string, at: ImagePlace, outside: readonly string[]): ImagePlace | null {
  if (!name.startsWith('/')) {
    const beside = posix.join(posix.dirname(at.path), name);
    return isPlain(name) ? { directory: at.directory, path: beside } : null;
  }
  const path = absolute(name);
  if (path === null) return null;
  const own = path.slice(at.directory.length + 1);
  if (isBelow(path, at.directory) && isPlain(own)) return { directory: at.directory, path: own };
  const directory = outside.find((allowed) => isBelow(path, allowed));
  return directory === undefined ? null : { directory, path: path.slice(directory.length + 1) };
}

/** One component that QEMU reads as a file's name: a colon would make its beginning a protocol. */
function isPlain(name: string): boolean {
  if (name.includes(':')) return false;
  try {
    parseDiskName(name, 'name');
    return true;
  } catch (error) {
    if (!(error instanceof FairleadError)) throw error;
    return false;
  }
}

function absolute(text: string): string | null {
  try {
    return parseAbsolutePath(text, 'name');
  } catch (error) {
    if (!(error instanceof FairleadError)) throw error;
    return null;
  }
}
