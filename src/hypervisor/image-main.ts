// The program of an image child: `image-main UID GID`. It alone touches images: it opens them by handle below one directory, reads
// their headers, and has qemu-img work on what it has opened, so that no name in a header and no link in a volume leads anybody
// anywhere. It does one thing after the other, may hang in any of them, and ends with its parent. It decides nothing.

import { constants, fstat, type Stats } from 'node:fs';
import { chown, link, open, readdir, lstat, unlink, type FileHandle } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { DiskFormat } from '../core/disk.js';
import { QCOW2_HEADER_BYTES, readQcow2, type Qcow2Fault, type Qcow2Header } from '../core/qcow2.js';
import { errnoOf } from '../sys/libc/errors.js';
import { type Handle, openThroughServer, renameWithin } from '../sys/libc/files.js';
import { monotonicMs } from '../sys/clock.js';
import { runOnFiles, type ToolEnd } from '../sys/run.js';

/** Where an image is: a path below a directory, with no link on the way and on no other mount. */
export interface ImagePlace {
  readonly directory: string;
  readonly path: string;
}

/** An opened image as qemu-img is to see it. The numbers are those of {@link ImageAnswer} `opened`. */
export interface ImageNode {
  readonly image: number;
  readonly format: DiskFormat;
  readonly backing: ImageNode | null;
  readonly dataFile: number | null;
}

/** qemu-img, ready to be started. */
export interface ImageTool {
  readonly program: string;
  /** What stands before qemu-img's own arguments, qemu-img itself included. */
  readonly args: readonly string[];
  /** When it must have ended: {@link monotonicMs}, which all processes of a host have in common. */
  readonly untilMs: number;
}

/** What a child is asked. Both ends are ours: the types are the protocol. */
export type ImageJob =
  | { readonly kind: 'open'; readonly place: ImagePlace; readonly use: 'read' | 'write'; readonly format: DiskFormat }
  /** How large an opened image is now. */
  | { readonly kind: 'measure'; readonly image: number; readonly format: DiskFormat }
  | { readonly kind: 'resize'; readonly node: ImageNode; readonly bytes: number; readonly tool: ImageTool }
  | {
      readonly kind: 'create';
      readonly place: ImagePlace;
      /** Random; part of a name that only this child uses. */
      readonly mark: string;
      readonly format: DiskFormat;
      readonly bytes: number;
      readonly tool: ImageTool;
    }
  /** Gives a file that is root's alone to a user: for a child that is still root. */
  | { readonly kind: 'give'; readonly place: ImagePlace; readonly uid: number; readonly gid: number };

/** What it answers. `failed`: a system call's errno. */
export type ImageAnswer =
  | { readonly kind: 'opened'; readonly image: number; readonly size: number; readonly header: Qcow2Header | null }
  | { readonly kind: 'measured'; readonly size: number }
  | { readonly kind: 'made'; readonly created: boolean }
  | { readonly kind: 'tool'; readonly end: ToolEnd }
  | { readonly kind: 'given' }
  | { readonly kind: 'odd'; readonly fault: string }
  | { readonly kind: 'absent' }
  | { readonly kind: 'not-a-file'; readonly found: 'link' | 'other' }
  /** `rootOnly`: it is a plain file of root's, with one name and no set-id bits. */
  | { readonly kind: 'denied'; readonly rootOnly: boolean }
  | { readonly kind: 'failed'; readonly errno: string };

/** Names of unfinished images, which are never a disk's: left behind only by a child that was killed. */
const UNFINISHED = '.fairlead-new-';
/** Milliseconds after which an unfinished image is certainly nobody's: no image takes longer (`image_timeout`, at most an hour). */
const UNFINISHED_MS = 86_400_000;
/** Names looked at for unfinished images. */
const MAX_NAMES = 10_000;

const statOf: (fd: number) => Promise<Stats> = promisify(fstat);
const images: FileHandle[] = [];

dropRights(Number(process.argv[2]), Number(process.argv[3]));
process.on('message', (job: ImageJob) => {
  void answer(job).then((reply) => process.send?.(reply satisfies ImageAnswer));
});
process.on('disconnect', die);
process.on('uncaughtException', die);
process.on('unhandledRejection', die);

/** The whole process group: qemu-img with us. process.exit() would wait for hung threads. */
function die(): void {
  process.kill(0, 'SIGKILL');
}

/** After everything is loaded: the image user need not be able to read our program. */
function dropRights(uid: number, gid: number): void {
  if (!Number.isSafeInteger(uid) || !Number.isSafeInteger(gid)) throw new RangeError('uid and gid must be numbers');
  process.umask(0o077);
  if (uid === 0 || process.geteuid?.() !== 0) return;
  process.setgroups?.([]);
  process.setgid?.(gid);
  process.setuid?.(uid);
}

async function answer(job: ImageJob): Promise<ImageAnswer> {
  try {
    switch (job.kind) {
      case 'open':
        return await openImage(job);
      case 'measure':
        return await measure(job);
      case 'resize':
        return await resize(job);
      case 'create':
        return await create(job);
      case 'give':
        return await give(job);
    }
  } catch (error) {
    const errno = errnoOf(error);
    switch (errno) {
      case null:
        throw error;
      case 'ENOENT':
      case 'ENOTDIR':
        return { kind: 'absent' };
      case 'ELOOP':
        return { kind: 'not-a-file', found: 'link' };
      case 'EXDEV':
        return { kind: 'not-a-file', found: 'other' };
      case 'EACCES':
      case 'EPERM':
        return { kind: 'denied', rootOnly: false };
      default:
        return { kind: 'failed', errno };
    }
  }
}

type Job<Kind extends ImageJob['kind']> = Extract<ImageJob, { readonly kind: Kind }>;

/** A handle on what is there, opened for nothing yet, and its facts; or why it is no image. */
async function reach(place: ImagePlace): Promise<{ handle: Handle; facts: Stats } | ImageAnswer> {
  using directory = await openThroughServer(null, place.directory, 'directory', 'anywhere');
  const handle = await openThroughServer(directory, place.path, 'anything', 'same-mount');
  const facts = await statOf(handle.fd);
  if (facts.isFile()) return { handle, facts };
  handle[Symbol.dispose]();
  return { kind: 'not-a-file', found: facts.isSymbolicLink() ? 'link' : 'other' };
}

async function openImage({ place, use, format }: Job<'open'>): Promise<ImageAnswer> {
  const reached = await reach(place);
  if ('kind' in reached) return reached;
  using handle = reached.handle;
  const { uid, gid, nlink, mode } = reached.facts;
  let file: FileHandle;
  try {
    file = await open(handle.path, (use === 'write' ? constants.O_RDWR : constants.O_RDONLY) | constants.O_NONBLOCK);
  } catch (error) {
    if (!['EACCES', 'EPERM'].includes(errnoOf(error) ?? '')) throw error;
    return { kind: 'denied', rootOnly: uid === 0 && gid === 0 && nlink === 1 && (mode & 0o6000) === 0 };
  }
  images.push(file);
  const header = format === 'raw' ? null : await headerOf(file);
  if (header !== null && 'fault' in header) return { kind: 'odd', fault: header.fault };
  const size = header?.size ?? (await file.stat()).size;
  return { kind: 'opened', image: images.length - 1, size, header };
}

async function headerOf(file: FileHandle): Promise<Qcow2Header | Qcow2Fault> {
  const buffer = Buffer.alloc(QCOW2_HEADER_BYTES);
  let filled = 0;
  for (;;) {
    const { bytesRead } = await file.read(buffer, filled, buffer.length - filled, filled);
    filled += bytesRead;
    if (bytesRead === 0 || filled === buffer.length) return readQcow2(buffer.subarray(0, filled));
  }
}

function imageAt(number: number): FileHandle {
  const file = images[number];
  if (file === undefined) throw new RangeError('there is no such image');
  return file;
}

async function measure({ image, format }: Job<'measure'>): Promise<ImageAnswer> {
  const file = imageAt(image);
  const header = format === 'raw' ? null : await headerOf(file);
  if (header !== null && 'fault' in header) return { kind: 'odd', fault: header.fault };
  return { kind: 'measured', size: header?.size ?? (await file.stat()).size };
}

async function resize({ node, bytes, tool }: Job<'resize'>): Promise<ImageAnswer> {
  const descriptors: number[] = [];
  const described = `json:${JSON.stringify(describe(node, descriptors))}`;
  const args = ['resize', '-q', described, String(bytes)];
  return { kind: 'tool', end: await runTool(tool, args, descriptors) };
}

async function runTool(tool: ImageTool, args: readonly string[], descriptors: readonly number[]): Promise<ToolEnd> {
  const budgetMs = tool.untilMs - monotonicMs();
  if (budgetMs < 1) return { end: 'deadline' };
  return await runOnFiles({ program: tool.program, args: [...tool.args, ...args], descriptors }, budgetMs);
}

/**
 * QEMU's own description of an image (blockdev-add), in which every file is an open one of ours and everything that the header could
 * name is either such a file or said to be absent.
 */
function describe(node: ImageNode, descriptors: number[]): object {
  const file = (image: number): object => {
    descriptors.push(imageAt(image).fd);
    // runOnFiles: the first one is 3.
    return { driver: 'file', filename: `/proc/self/fd/${2 + descriptors.length}` };
  };
  if (node.format === 'raw') return { driver: 'raw', file: file(node.image) };
  return {
    driver: 'qcow2',
    file: file(node.image),
    backing: node.backing === null ? null : describe(node.backing, descriptors),
    ...(node.dataFile === null ? {} : { 'data-file': file(node.dataFile) }),
  };
}

/**
 * Makes the image under a name of its own and gives it the disk's name when it is complete, unless that is taken by then: so
 * a disk is never half made, and nothing is ever written over.
 */
async function create({ place, mark, format, bytes, tool }: Job<'create'>): Promise<ImageAnswer> {
  using directory = await openThroughServer(null, place.directory, 'directory', 'anywhere');
  if (await isThere(directory, place.path)) return { kind: 'made', created: false };
  await removeUnfinished(directory);
  const unfinished = `${UNFINISHED}${mark}`;
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  const file = await open(`${directory.path}/${unfinished}`, flags, 0o600);
  try {
    const args = ['create', '-q', '-f', format, '/proc/self/fd/3', String(bytes)];
    const end = await runTool(tool, args, [file.fd]);
    if (end.end !== 'exited' || end.status !== 0) return { kind: 'tool', end };
    await file.sync();
    return { kind: 'made', created: await giveName(directory, unfinished, place.path) };
  } finally {
    await file.close();
    await remove(`${directory.path}/${unfinished}`);
  }
}

async function isThere(directory: Handle, name: string): Promise<boolean> {
  try {
    (await openThroughServer(directory, name, 'anything', 'same-mount'))[Symbol.dispose]();
    return true;
  } catch (error) {
    const errno = errnoOf(error);
    // What is mounted over the name is there, too.
    if (errno === 'EXDEV') return true;
    if (errno === 'ENOENT') return false;
    throw error;
  }
}

/** False if the name is taken. */
async function giveName(directory: Handle, from: string, to: string): Promise<boolean> {
  try {
    try {
      await renameWithin(directory, from, to);
    } catch (error) {
      if (!['EINVAL', 'ENOSYS', 'EOPNOTSUPP'].includes(errnoOf(error) ?? '')) throw error;
      await link(`${directory.path}/${from}`, `${directory.path}/${to}`);
    }
    return true;
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return false;
    throw error;
  }
}

async function removeUnfinished(directory: Handle): Promise<void> {
  const names = await readdir(directory.path);
  for (const name of names.slice(0, MAX_NAMES).filter((one) => one.startsWith(UNFINISHED))) {
    const path = `${directory.path}/${name}`;
    const facts = await lstat(path).catch((error: unknown) => {
      if (errnoOf(error) === null) throw error;
      return null;
    });
    if (facts !== null && Date.now() - facts.mtimeMs > UNFINISHED_MS) await remove(path);
  }
}

/** Whatever becomes of it: an unfinished image that stays is nobody's. */
async function remove(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (errnoOf(error) === null) throw error;
  }
}

async function give({ place, uid, gid }: Job<'give'>): Promise<ImageAnswer> {
  const reached = await reach(place);
  if ('kind' in reached) return reached;
  using handle = reached.handle;
  const { facts } = reached;
  if (facts.uid !== 0 || facts.gid !== 0 || facts.nlink !== 1 || (facts.mode & 0o6000) !== 0) {
    return { kind: 'denied', rootOnly: false };
  }
  // The handle's own name in /proc leads to this file and no other.
  await chown(handle.path, uid, gid);
  return { kind: 'given' };
}
