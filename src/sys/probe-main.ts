// The program of a probe child. It does nothing but calls that may hang, each on a thread of libuv's pool, so that one
// hung call costs one thread and the others go on. It decides nothing; it answers with facts. It ends with its parent.

import { constants, fstat, type Stats } from 'node:fs';
import { access, lstat, statfs } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { DiskSight } from '../core/observation.js';
import type { Access, ProbeFacts } from '../core/verdict.js';
import { Binds, identify } from './binds.js';
import { openBase, singleName } from './directories.js';
import { errnoOf } from './libc/errors.js';
import { attributeLength, deviceName, type Handle, openThroughServer } from './libc/files.js';
import { unmountBelow } from './libc/mounts.js';
import { KernelMountTable } from './mount-table.js';
import type { ProbeAnswer, ProbeJob } from './ports.js';

/** What the parent sends, and what it gets back. Both ends are ours: the types are the protocol. */
export interface ProbeRequest {
  readonly id: number;
  /** `ping`: does the process itself run? It is answered by the main thread, which never hangs on a server. */
  readonly job: ProbeJob | 'ping';
}
/** See {@link ProbeRequest}. */
export interface ProbeReply {
  readonly id: number;
  readonly answer: ProbeAnswer | 'pong';
}

/** Made when it is first needed: most children never bind. */
let binds: Binds | null = null;
const statOf: (fd: number) => Promise<Stats> = promisify(fstat);

dropRights(Number(process.argv[2]), Number(process.argv[3]));
process.on('message', (request: ProbeRequest) => {
  const { id, job } = request;
  if (job === 'ping') {
    process.send?.({ id, answer: 'pong' } satisfies ProbeReply);
    return;
  }
  void answer(job).then((reply) => {
    process.send?.({ id, answer: reply } satisfies ProbeReply);
  });
});
process.on('disconnect', die);
process.on('uncaughtException', die);
process.on('unhandledRejection', die);

/** process.exit() would wait for hung threads. */
function die(): void {
  process.kill(process.pid, 'SIGKILL');
}

/** After everything is loaded: the user that probes need not be able to read our program. */
function dropRights(uid: number, gid: number): void {
  if (!Number.isSafeInteger(uid) || !Number.isSafeInteger(gid)) throw new RangeError('uid and gid must be numbers');
  if (uid === 0 || process.geteuid?.() !== 0) return;
  process.setgroups?.([]);
  process.setgid?.(gid);
  process.setuid?.(uid);
}

async function answer(job: ProbeJob): Promise<ProbeAnswer> {
  try {
    switch (job.kind) {
      case 'probe':
        return await probe(job);
      case 'unmount':
        return await unmount(job);
      case 'bind':
        return await theBinds().bind({ ...job, leaf: singleName(job.leaf) });
      case 'identify':
        return await identify({ ...job, leaf: singleName(job.leaf) });
      case 'disk':
        return { kind: 'disk', ...(await disk(job.path, job.name)) };
    }
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === null) throw error;
    return { kind: 'failed', errno };
  }
}

function theBinds(): Binds {
  binds ??= new Binds(new KernelMountTable());
  return binds;
}

type Job<Kind extends ProbeJob['kind']> = Extract<ProbeJob, { readonly kind: Kind }>;

async function probe(job: Job<'probe'>): Promise<ProbeAnswer> {
  const { path } = job;
  // Only statfs is the server's own word: attributes may come from the kernel's cache.
  const dead = await errnoFrom(statfs(path));
  if (dead !== null) {
    const facts = { statfs: { end: 'failed', errno: dead }, write: 'not-asked', search: 'not-asked' } as const;
    return { kind: 'probe', facts: { ...facts, witness: 'not-asked' }, disks: [] };
  }
  const root = await rootOf(path);
  const facts: ProbeFacts = {
    statfs: { end: 'answered' },
    ...root,
    ...(await rights(path, job.access)),
    witness: job.witness === null || root.root?.size === 0 ? 'not-asked' : await witness(path, job.witness),
  };
  const disks: DiskSight[] = [];
  for (const name of job.disks) disks.push(await diskSight(path, name));
  return { kind: 'probe', facts, disks };
}

/** Both rights in one call, since each call is a way to a thread and back; only a refusal asks for each by itself. */
async function rights(path: string, wanted: Access): Promise<Pick<ProbeFacts, 'write' | 'search'>> {
  const denied = (errno: string | null): 'granted' | { readonly errno: string } =>
    errno === null ? 'granted' : { errno };
  const search = async (): Promise<ProbeFacts['search']> => denied(await errnoFrom(access(path, constants.X_OK)));
  if (wanted === 'read-only') return { write: 'not-asked', search: await search() };
  const both = await errnoFrom(access(path, constants.W_OK | constants.X_OK));
  if (both === null) return { write: 'granted', search: 'granted' };
  return { write: denied(await errnoFrom(access(path, constants.W_OK))), search: await search() };
}

async function diskSight(path: string, name: string): Promise<DiskSight> {
  try {
    return await disk(path, name);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === null) throw error;
    return { state: 'failed', errno };
  }
}

async function rootOf(path: string): Promise<Pick<ProbeFacts, 'root' | 'rootError'>> {
  try {
    const facts = await lstat(path);
    return {
      root: {
        isDirectory: facts.isDirectory(),
        size: facts.size,
        dev: deviceName(facts.dev),
        mode: facts.mode & 0o7777,
      },
    };
  } catch (error) {
    const rootError = errnoOf(error);
    if (rootError === null) throw error;
    return { rootError };
  }
}

async function witness(path: string, name: string): Promise<'present' | 'absent'> {
  return (await errnoFrom(attributeLength(path, name))) === null ? 'present' : 'absent';
}

async function unmount(job: Job<'unmount'>): Promise<ProbeAnswer> {
  using base = openBase(job.base);
  return { kind: 'unmount', errno: await errnoFrom(unmountBelow(base, singleName(job.leaf), job.mode)) };
}

async function disk(path: string, text: string): Promise<Exclude<DiskSight, { readonly state: 'failed' }>> {
  const name = singleName(text);
  using volume = await openThroughServer(null, path, 'directory', 'anywhere');
  const opened = await openDisk(volume, name);
  if (typeof opened === 'string') return { state: opened };
  using handle = opened;
  const facts = await statOf(handle.fd);
  if (facts.isFile()) return { state: 'regular' };
  return { state: facts.isSymbolicLink() ? 'link' : 'other' };
}

/** A handle on what the volume itself has under the name: what somebody has mounted over it is not part of it. */
async function openDisk(volume: Handle, name: string): Promise<Handle | 'absent' | 'other'> {
  try {
    return await openThroughServer(volume, name, 'anything', 'same-mount');
  } catch (error) {
    switch (errnoOf(error)) {
      case 'ENOENT':
        return 'absent';
      case 'EXDEV':
        return 'other';
      default:
        throw error;
    }
  }
}

/** Null when the call succeeded, else its errno. */
async function errnoFrom(call: Promise<unknown>): Promise<string | null> {
  try {
    await call;
    return null;
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === null) throw error;
    return errno;
  }
}
