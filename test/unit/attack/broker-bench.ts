// A broker for attacks on its own judgement: the real dispatch, policy, handlers and steps over a machine whose helpers,
// mount table and probes do exactly what an attack says. Nothing of the broker is replaced.

import { parseVolume } from '../../../src/backends/registry.js';
import type { SettingsByBackend } from '../../../src/backends/backend.js';
import { createContext, type Context } from '../../../src/broker/context.js';
import { Deadline } from '../../../src/broker/deadline.js';
import { serve } from '../../../src/broker/dispatch.js';
import { encodeFrame, FrameDecoder } from '../../../src/broker/protocol.js';
import { VERBS } from '../../../src/broker/verbs.js';
import type { MountEntry } from '../../../src/core/mountinfo.js';
import type { Holder, LeafState } from '../../../src/core/observation.js';
import type { StepEnd, StepKind } from '../../../src/core/steps.js';
import type { Volume } from '../../../src/core/volume.js';
import { systemClock } from '../../../src/sys/clock.js';
import type { DirectoryFacts, HelperEnd, HelperSpec, Machine, ProbeAnswer, ProbeJob } from '../../../src/sys/ports.js';
import { localSettings, quobyteSettings } from '../backends/settings.js';

const QUOBYTE = quobyteSettings();
const LOCAL = localSettings([]);

/** Uid of the agent that this broker serves. */
export const AGENT_UID = 990;
/** The volume that attacks are about. */
export const VOLUME = parseVolume('quobyte://reg1:7861,reg2:7861/vol');
/** How the table shows it. */
export const SHOWN = 'quobyte@reg1:7861|reg2:7861/vol';

/** What the machine does. Every part may be changed by an attack. */
export class World {
  mounts: MountEntry[] = [];
  directory: LeafState = 'absent';
  holders: Holder[] = [];
  /** What a helper does; the default mounts the volume and ends with success. */
  helper: (spec: HelperSpec) => HelperEnd | Promise<HelperEnd> = () => {
    this.mount();
    return exited(0);
  };
  probe: (job: ProbeJob) => ProbeAnswer | null = (job) => this.answer(job);
  /** Everything that had an effect, in order. */
  readonly effects: string[] = [];
  /** Helpers that were started. */
  readonly started: HelperSpec[] = [];
  base: DirectoryFacts = { path: QUOBYTE.mountBase, kind: 'directory', uid: 0, gid: 0, mode: 0o711 };
  readonly context: Context;
  #ids = 100;

  constructor(settings: Partial<SettingsByBackend['quobyte']> = {}) {
    const backends: SettingsByBackend = { quobyte: { ...QUOBYTE, ...settings }, local: LOCAL };
    this.context = createContext({
      machine: this.#machine(),
      settings: { agentUid: AGENT_UID, backends, trustedBaseOwners: [] },
      log: { info: () => undefined, warn: () => undefined },
      reach: () => undefined,
    });
  }

  /** A mount at the leaf of the volume, its own unless said otherwise. */
  mount(different: Partial<MountEntry> = {}, volume: Volume = VOLUME): MountEntry {
    this.#ids += 1;
    const entry: MountEntry = {
      mountId: this.#ids,
      parentId: 1,
      dev: `0:${this.#ids}`,
      root: '/',
      mountPoint: `${QUOBYTE.mountBase}/${volume.leaf}`,
      options: ['rw'],
      tags: [],
      fsType: 'fuse.quobyte',
      source: SHOWN,
      superOptions: ['rw'],
      ...different,
    };
    this.mounts.push(entry);
    return entry;
  }

  /** Carries out one step as the broker does, and tells how it ended. */
  async step(kind: StepKind, volume: string = VOLUME.url, budgetMs = 3000): Promise<StepEnd> {
    const accepted = VERBS.step.accept({ id: 1, verb: 'step', budgetMs, volume, kind });
    if (accepted === null) throw new Error('the broker did not accept the request');
    const deadline = new Deadline(this.context.machine.clock, budgetMs);
    return (await accepted.run({ context: this.context, deadline, emit: () => undefined })) as StepEnd;
  }

  /** Says these frames over one connection; tells what came back and whether the broker ended it. */
  async say(uid: number, ...frames: readonly (object | Uint8Array)[]): Promise<Conversation> {
    const decoder = new FrameDecoder();
    const replies: unknown[] = [];
    let closed = false;
    let hear: (bytes: Uint8Array) => void = () => undefined;
    serve(
      this.context,
      { uid, pid: 4711 },
      {
        send: (bytes) => replies.push(...decoder.push(bytes).values),
        onData: (listener) => (hear = listener),
        onClose: () => undefined,
        close: () => (closed = true),
      },
    );
    for (const frame of frames) {
      hear(frame instanceof Uint8Array ? frame : encodeFrame(frame));
      await new Promise((resolve) => setImmediate(resolve));
    }
    return { replies, closed };
  }

  /** What a living server answers. */
  answer(job: ProbeJob): ProbeAnswer {
    switch (job.kind) {
      case 'probe':
        return {
          kind: 'probe',
          facts: {
            statfs: { end: 'answered' },
            root: { size: 0, isDirectory: true, dev: '0:1', mode: 0o700 },
            write: 'granted',
            search: 'granted',
            witness: 'not-asked',
          },
        };
      case 'unmount':
        this.effects.push(`umount ${job.mode}`);
        if (this.holders.length > 0) return { kind: 'unmount', errno: 'EBUSY' };
        this.mounts.pop();
        return { kind: 'unmount', errno: null };
      case 'disk':
        return { kind: 'disk', state: 'absent', size: 0 };
    }
  }

  #machine(): Machine {
    return {
      bootId: 'boot',
      clock: systemClock,
      table: {
        at: (path) => this.mounts.filter(({ mountPoint }) => mountPoint === path),
        below: (directory) => this.mounts.filter(({ mountPoint }) => mountPoint.startsWith(`${directory}/`)),
      },
      directories: {
        chain: () => [{ path: '/', kind: 'directory', uid: 0, gid: 0, mode: 0o755 }, this.base],
        leafState: () => this.directory,
        makeLeaf: (_, leaf) => {
          this.effects.push(`mkdir ${leaf}`);
          this.directory = 'empty';
          return 'made';
        },
        removeLeaf: (_, leaf) => {
          this.effects.push(`rmdir ${leaf}`);
          this.directory = 'absent';
          return 'removed';
        },
        list: () => [],
      },
      mounts: { harden: () => 'other', bind: () => 'leaf-changed', identify: () => null },
      units: {
        way: () => Promise.resolve('service'),
        state: () => Promise.resolve('idle'),
        kill: () => Promise.resolve('gone'),
        list: () => Promise.resolve([]),
        start: async (spec) => {
          this.effects.push(`start ${spec.program}`);
          this.started.push(spec);
          return this.helper(spec);
        },
      },
      probeChildren: { start: () => this.#child() },
      processes: { holding: () => Promise.resolve(this.holders) },
    };
  }

  #child(): ReturnType<Machine['probeChildren']['start']> {
    const listeners: ((id: number, answer: ProbeAnswer) => void)[] = [];
    return {
      pid: 4242,
      post: (id, job) => {
        const answer = this.probe(job);
        if (answer !== null) setImmediate(() => listeners.forEach((listener) => listener(id, answer)));
      },
      onAnswer: (listener) => listeners.push(listener),
      onExit: () => undefined,
      kill: () => undefined,
    };
  }
}

/** What a connection came to. */
export interface Conversation {
  readonly replies: readonly unknown[];
  readonly closed: boolean;
}

/** A helper that ended by itself. */
export function exited(status: number, output = ''): HelperEnd {
  return { end: 'exited', status, output };
}
