// The program of a probe child: does, on threads that may hang, what the broker itself must never do, and says what it
// saw. Jobs come from the broker over the channel that it started us with, and from nobody else. Nothing here decides
// anything. The main thread makes no call that can wait for a filesystem server; the threads do, each for itself.
//
// Started as `probe-child UID GID`; everything is loaded before the rights are given up. Ends when the broker is gone:
// by SIGKILL to itself, since an ordinary exit waits for threads that may hang for ever.

import { constants } from 'node:fs';
import { access, lstat, statfs } from 'node:fs/promises';
import { openBase, singleName } from '../sys/directories.js';
import { errnoOf } from '../sys/libc/errors.js';
import { attributeLength } from '../sys/libc/files.js';
import { unmountBelow } from '../sys/libc/mounts.js';
import type { ProbeAnswer, ProbeJob } from '../sys/ports.js';

type JobOf<Kind extends ProbeJob['kind']> = Extract<ProbeJob, { readonly kind: Kind }>;
type Right = 'granted' | { readonly errno: string };

/** statfs first: it goes to the server whatever is cached. Then the root, the rights, and the witness. */
async function probe(job: JobOf<'probe'>): Promise<ProbeAnswer> {
  const answered = await errnoIn(statfs(job.path));
  if (answered !== null) {
    const facts = { statfs: { end: 'failed', errno: answered }, ...NOT_ASKED } as const;
    return { kind: 'probe', facts };
  }
  const root = await rootOf(job.path);
  const search = await rightTo(job.path, constants.X_OK);
  const write = job.access === 'read-write' ? await rightTo(job.path, constants.W_OK) : 'not-asked';
  const witness = job.witness === null ? 'not-asked' : await witnessAt(job.path, job.witness);
  return { kind: 'probe', facts: { statfs: { end: 'answered' }, ...root, write, search, witness } };
}

const NOT_ASKED = { write: 'not-asked', search: 'not-asked', witness: 'not-asked' } as const;

async function rootOf(
  path: string,
): Promise<{ root: { isDirectory: boolean; size: number; dev: string; mode: number } } | { rootError: string }> {
  try {
    const facts = await lstat(path, { bigint: true });
    return {
      root: {
        isDirectory: facts.isDirectory(),
        size: Number(facts.size),
        dev: deviceText(facts.dev),
        mode: Number(facts.mode & 0o7777n),
      },
    };
  } catch (error) {
    return { rootError: known(error) };
  }
}

/** `major:minor` as mountinfo shows it (makedev(3), glibc's layout). */
function deviceText(dev: bigint): string {
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & 0xfffff000n);
  const minor = (dev & 0xffn) | ((dev >> 12n) & 0xffffff00n);
  return `${major}:${minor}`;
}

async function rightTo(path: string, mode: number): Promise<Right> {
  const errno = await errnoIn(access(path, mode));
  return errno === null ? 'granted' : { errno };
}

async function witnessAt(path: string, name: string): Promise<'present' | 'absent'> {
  return (await errnoIn(attributeLength(path, name))) === null ? 'present' : 'absent';
}

async function unmount(job: JobOf<'unmount'>): Promise<ProbeAnswer> {
  using base = openBase(job.base);
  return { kind: 'unmount', errno: await errnoIn(unmountBelow(base, singleName(job.leaf), job.mode)) };
}

/** One name directly in the volume: no link is followed, and what another mount covers is `other`. */
async function disk(job: JobOf<'disk'>): Promise<ProbeAnswer> {
  using volume = openBase(job.path);
  const root = await lstat(`${volume.path}/.`, { bigint: true });
  try {
    const facts = await lstat(`${volume.path}/${singleName(job.name)}`, { bigint: true });
    if (facts.isSymbolicLink()) return { kind: 'disk', state: 'link', size: 0 };
    const regular = facts.isFile() && facts.dev === root.dev;
    return { kind: 'disk', state: regular ? 'regular' : 'other', size: regular ? Number(facts.size) : 0 };
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return { kind: 'disk', state: 'absent', size: 0 };
    throw error;
  }
}

/** The errno that the call failed with; null if it did not. */
async function errnoIn(call: Promise<unknown>): Promise<string | null> {
  try {
    await call;
    return null;
  } catch (error) {
    return known(error);
  }
}

function known(error: unknown): string {
  const errno = errnoOf(error);
  if (errno === null) throw error;
  return errno;
}

function carryOut(job: ProbeJob): Promise<ProbeAnswer> {
  switch (job.kind) {
    case 'probe':
      return probe(job);
    case 'unmount':
      return unmount(job);
    case 'disk':
      return disk(job);
  }
}

async function answer(id: number, job: ProbeJob): Promise<void> {
  let seen: ProbeAnswer;
  try {
    seen = await carryOut(job);
  } catch (error) {
    seen = { kind: 'failed', errno: errnoOf(error) ?? 'EINVAL' };
  }
  process.send?.({ id, answer: seen });
}

function end(): void {
  process.kill(process.pid, 'SIGKILL');
}

/** The text is an argument of our own making; anything else than a number ends us. */
function numberIn(text: string | undefined): number {
  const value = Number(text);
  if (text === undefined || !/^[0-9]{1,10}$/.test(text) || value > 0xffff_fffe) end();
  return value;
}

process.on('disconnect', end);
process.on('message', (message) => {
  const { id, job } = message as { readonly id: number; readonly job: ProbeJob };
  void answer(id, job);
});
const [uid, gid] = [numberIn(process.argv[2]), numberIn(process.argv[3])];
if (uid !== 0 || gid !== 0) {
  process.setgroups?.([]);
  process.setgid?.(gid);
  process.setuid?.(uid);
}
