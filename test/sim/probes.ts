// Simulated probe children: processes whose jobs may hang on a server that does not answer. A hung job holds its mount
// busy. Killing the child frees a job whose request was never read; one whose request was read and kept stays until the
// server dies, answers or the host reboots, as the kernel has it.

import type { ProbeAnswer, ProbeChild, ProbeChildren, ProbeJob } from '../../src/sys/ports.js';
import type { DiskSight } from '../../src/core/observation.js';
import type { Access, ProbeFacts } from '../../src/core/verdict.js';
import type { Kernel, Mount } from './kernel.js';
import { HOST_DEV } from './superblocks.js';
import type { Chance } from './prng.js';
import type { Life, Scheduler } from './scheduler.js';
import type { Tree } from './directories.js';

/** Looks after which somebody stops (SIGSTOP) a probe child: its threads and its main thread stand still. */
const LOOKS_UNTIL_STOPPED = 12;

/** Starts probe children and remembers how many are still there. */
export class Probes {
  /** Called when a job is given to a child that is stopped. */
  metStopped = (): void => undefined;
  readonly #scheduler: Scheduler;
  readonly #kernel: Kernel;
  readonly #tree: Tree;
  readonly #chance: Chance;
  /** Killed children whose threads are stuck in a mount. */
  readonly #lingering = new Set<Life>();
  readonly #families = new Map<Life, (() => void)[]>();
  #nextPid = 1000;

  constructor(scheduler: Scheduler, kernel: Kernel, tree: Tree, chance: Chance) {
    this.#scheduler = scheduler;
    this.#kernel = kernel;
    this.#tree = tree;
    this.#chance = chance;
  }

  /** The port that one life of the broker sees. Children of a dead broker end when they notice. */
  port(life: Life): ProbeChildren {
    return { start: () => this.#child(life) };
  }

  /** How many killed children are still there. */
  get stuck(): number {
    return this.#lingering.size;
  }

  /** A reboot: all of them are gone. */
  reboot(): void {
    for (const family of this.#families.values()) for (const end of family) end();
    this.#families.clear();
    this.#lingering.clear();
  }

  #child(life: Life): ProbeChild {
    const pid = this.#nextPid;
    this.#nextPid += 1;
    const self: Life = { name: `prober ${pid}`, alive: true };
    let answered: (id: number, answer: ProbeAnswer) => void = () => undefined;
    let exited: () => void = () => undefined;
    const stuck = new Set<Call>();
    let looks = 0;
    const isStopped = (): boolean => looks >= LOOKS_UNTIL_STOPPED;
    let state: 'running' | 'lingering' | 'gone' = 'running';
    /** Some thread came free: was it the last that kept a killed child? */
    const ended = (): void => {
      if (state !== 'lingering' || stuck.size > 0) return;
      this.#lingering.delete(self);
      leave();
    };
    const leave = (): void => {
      state = 'gone';
      if (life.alive) this.#scheduler.after(life, 1, `prober ${pid}: exits`, () => exited());
    };
    const end = (): void => {
      if (!self.alive) return;
      self.alive = false;
      for (const call of [...stuck]) call.release();
      if (stuck.size === 0) {
        leave();
        return;
      }
      state = 'lingering';
      this.#lingering.add(self);
    };
    const family = this.#families.get(life) ?? [];
    family.push(end);
    this.#families.set(life, family);
    return {
      pid,
      post: (id, job) => {
        if (!life.alive || !self.alive) return;
        if (job.kind === 'probe' || job.kind === 'disk') looks += 1;
        if (isStopped()) {
          this.metStopped();
          return;
        }
        this.#scheduler.after(self, this.#chance.int(0, 3), `prober: ${job.kind}`, () => {
          this.#run(job, stuck, ended, (answer) => {
            if (self.alive) {
              this.#scheduler.after(life, this.#chance.int(0, 2), `prober: answers ${job.kind}`, () => {
                if (self.alive) answered(id, answer);
              });
            }
          });
        });
      },
      onAnswer: (listener) => {
        answered = listener;
      },
      onExit: (listener) => {
        exited = listener;
      },
      ping: (listener) => {
        if (!life.alive || !self.alive || isStopped()) return;
        this.#scheduler.after(life, 1, 'prober: answers a ping', () => {
          if (self.alive) listener();
        });
      },
      kill: () => {
        if (life.alive) end();
      },
    };
  }

  /** A broker that died takes its children with it a moment later (their pipe closes); until then they go on. */
  abandon(life: Life): void {
    for (const end of this.#families.get(life) ?? []) {
      this.#scheduler.after(null, this.#chance.int(0, 5), 'prober: orphan ends', end);
    }
    this.#families.delete(life);
  }

  #run(job: ProbeJob, stuck: Set<Call>, ended: () => void, answer: (answer: ProbeAnswer) => void): void {
    switch (job.kind) {
      case 'unmount': {
        answer({ kind: 'unmount', errno: this.#unmount(`${job.base}/${job.leaf}`, job.mode) });
        return;
      }
      case 'bind': {
        answer(this.#bind(job));
        return;
      }
      case 'identify': {
        const node = this.#tree.nodes.get(job.source);
        const top = this.#kernel.top(`${job.base}/${job.leaf}`);
        answer({
          kind: 'identify',
          source: node?.kind === 'directory' ? { dev: HOST_DEV, inode: String(node.inode) } : null,
          mounted: top === undefined ? null : { dev: top.dev, inode: inodeOf(top), ...numbersOf(top) },
        });
        return;
      }
      case 'probe': {
        this.#ask(job.path, stuck, ended, (mount) => answer(this.#probed(mount, job)));
        return;
      }
      case 'disk':
        this.#ask(job.path, stuck, ended, (mount) => answer(diskOf(mount, job.name)));
        return;
    }
  }

  #unmount(mountPoint: string, mode: 'plain' | 'detach'): string | null {
    return this.#kernel.unmount(mountPoint, mode, 'fairlead');
  }

  #bind({ source, expected, roots, base, leaf, hardening }: Extract<ProbeJob, { readonly kind: 'bind' }>): ProbeAnswer {
    const node = this.#tree.nodes.get(source);
    if (!roots.some((root) => source.startsWith(`${root}/`))) return { kind: 'bind', end: 'source-outside' };
    if (node === undefined) return { kind: 'bind', end: 'source-absent' };
    if (node.kind === 'link') return { kind: 'bind', end: 'source-link' };
    if (node.kind === 'other') return { kind: 'bind', end: 'source-not-a-directory' };
    if (expected?.dev !== HOST_DEV || expected.inode !== String(node.inode)) {
      return { kind: 'bind', end: 'source-changed' };
    }
    const mountPoint = `${base}/${leaf}`;
    if (this.#tree.nodes.get(mountPoint)?.kind !== 'directory') return { kind: 'bind', end: 'leaf-changed' };
    if (this.#kernel.top(mountPoint) !== undefined) return { kind: 'bind', end: 'leaf-changed' };
    const set = Object.entries(hardening).flatMap(([name, on]) => (on ? [name] : []));
    const what = { mountPoint, fsType: 'ext4', source: '/dev/sda1', serves: source, maker: 'fairlead' } as const;
    const mount = this.#kernel.mount({ ...what, from: this.#kernel.superblocks.host, directory: node }, set);
    return { kind: 'bind', end: 'bound', ...numbersOf(mount) };
  }

  /** Calls the server of whatever is mounted there; waits while it keeps silent. */
  #ask(path: string, stuck: Set<Call>, ended: () => void, then: (mount: Mount | undefined) => void): void {
    const mount = this.#kernel.top(path);
    const server = mount?.server;
    if (mount === undefined || server === undefined || server === null) {
      then(mount);
      return;
    }
    if (server.state !== 'never-read' && server.state !== 'never-answered') {
      then(mount);
      return;
    }
    const exit = this.#kernel.users.enter(mount);
    let over = false;
    const leave = (): void => {
      if (over) return;
      over = true;
      stuck.delete(call);
      exit();
      ended();
    };
    const call: Call = {
      release: () => {
        if (server.state !== 'never-answered') leave();
      },
    };
    stuck.add(call);
    const wait = (): void => {
      server.waiting.push(() => {
        if (over) return;
        if (server.state === 'never-read' || server.state === 'never-answered') {
          wait();
          return;
        }
        leave();
        then(mount);
      });
    };
    wait();
  }

  #probed(mount: Mount | undefined, job: Extract<ProbeJob, { readonly kind: 'probe' }>): ProbeAnswer {
    const facts = this.#facts(mount, job.path, job.access, job.witness);
    const disks = facts.statfs.end === 'answered' ? job.disks.map((name) => sightOf(diskOf(mount, name))) : [];
    return { kind: 'probe', facts, disks };
  }

  #facts(mount: Mount | undefined, path: string, access: Access, witness: string | null): ProbeFacts {
    if (mount === undefined && this.#tree.nodes.get(path)?.kind !== 'directory') {
      return {
        statfs: { end: 'failed', errno: 'ENOENT' },
        write: 'not-asked',
        search: 'not-asked',
        witness: 'not-asked',
      };
    }
    const server = mount?.server;
    const errno = { dead: 'ENOTCONN', stale: 'ESTALE', failing: 'EIO' }[server?.state as 'dead'] as string | undefined;
    if (errno !== undefined) {
      return {
        statfs: { end: 'failed', errno },
        rootError: errno,
        write: 'not-asked',
        search: 'not-asked',
        witness: 'not-asked',
      };
    }
    const quobyte = mount?.fsType === 'fuse.quobyte';
    const rights = server?.rights ?? 'all';
    const write = rights === 'all' ? 'granted' : { errno: rights === 'none' ? 'EACCES' : 'EROFS' };
    return {
      statfs: { end: 'answered' },
      root: { isDirectory: true, size: quobyte ? 0 : 4096, dev: mount?.dev ?? '8:1', mode: 0o755 },
      write: access === 'read-only' ? 'not-asked' : write,
      search: rights === 'none' ? { errno: 'EACCES' } : 'granted',
      witness: witness === null ? 'not-asked' : 'absent',
    };
  }
}

/** The inode of a mount's root; that of a filesystem of its own is 1 here. */
function inodeOf({ directory }: Mount): string {
  return String(directory?.inode ?? 1);
}

/** The numbers that the kernel tells of a mount. */
function numbersOf({ id, unique }: Mount): { readonly mountId: number; readonly unique: string } {
  return { mountId: id, unique: String(unique) };
}

/** A call that waits inside a mount. */
interface Call {
  /** The caller was killed: its thread goes, unless its request was read and never answered. */
  release(): void;
}

function sightOf(answer: ProbeAnswer): DiskSight {
  if (answer.kind === 'disk') return { state: answer.state };
  return { state: 'failed', errno: answer.kind === 'failed' ? answer.errno : 'EPROTO' };
}

function diskOf(mount: Mount | undefined, name: string): ProbeAnswer {
  const state = mount?.server?.state;
  if (state === 'dead') return { kind: 'failed', errno: 'ENOTCONN' };
  if (state === 'stale') return { kind: 'failed', errno: 'ESTALE' };
  if (state === 'failing') return { kind: 'failed', errno: 'EIO' };
  if (mount === undefined) return { kind: 'failed', errno: 'ENOENT' };
  if (name.startsWith('new')) return { kind: 'disk', state: 'absent' };
  return { kind: 'disk', state: 'regular' };
}
