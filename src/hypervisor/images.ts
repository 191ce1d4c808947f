// Image children, from the parent's side: started for one request, asked one thing after the other, killed at its end, and never
// waited for. Of a volume that does not answer there is one such child at most.

import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import type { Clock } from '../core/clock.js';
import { type Deadline, LATE, within } from '../core/deadline.js';
import type { DiskFormat } from '../core/disk.js';
import { FairleadError } from '../core/errors.js';
import { MAX_IMAGE_CHILDREN, QEMU_IMG_MEMORY_BYTES } from '../core/limits.js';
import { redact } from '../core/secrets.js';
import type { Leaf } from '../core/volume.js';
import { monotonicMs } from '../sys/clock.js';
import { processLimit } from '../sys/process-limit.js';
import { killSession, startNode, type ToolEnd } from '../sys/run.js';
import { checkProgram, type Trust } from '../sys/trust.js';
import type { ImageAnswer, ImageJob, ImageNode, ImagePlace, ImageTool } from './image-main.js';

/** Sets limits and starts a program in its place (prlimit(1), util-linux). */
const PRLIMIT = '/usr/bin/prlimit';
/** Milliseconds in which a child can still tell that qemu-img was killed for the request's deadline. */
const TELLING_MS = 200;
/** Bytes of qemu-img's words that are shown. */
const MAX_SHOWN_BYTES = 1024;

/** What images are worked on with. */
export interface ImageSettings {
  readonly user: { readonly uid: number; readonly gid: number };
  readonly qemuImg: string;
  readonly trustedDirs: readonly string[];
  /** Milliseconds of one run of qemu-img. */
  readonly timeoutMs: number;
}

/** Whether qemu-img may be used. */
export function trustQemuImg({ qemuImg, trustedDirs }: ImageSettings): Trust {
  const limiter = checkProgram(PRLIMIT, ['/usr/bin']);
  return limiter.trusted ? checkProgram(qemuImg, trustedDirs) : limiter;
}

/** What can be done with images, for one request. */
export interface ImageHands {
  /** Opens an image and reads its header. */
  open(place: ImagePlace, use: 'read' | 'write', format: DiskFormat): Promise<ImageAnswer>;
  /** Bytes that a guest sees of an opened image. */
  measure(image: number, format: DiskFormat): Promise<number>;
  resize(node: ImageNode, bytes: number): Promise<void>;
  /** Whether it was made; false when the name is taken. */
  create(place: ImagePlace, format: DiskFormat, bytes: number): Promise<boolean>;
  /** Gives a file that is root's alone to the image user; only with the rights of root. */
  give(place: ImagePlace): Promise<void>;
  /** The error that an answer is. */
  explain(answer: ImageAnswer): FairleadError;
}

/** Where such work is done. */
export interface ImageWork {
  with<T>(
    leaf: Leaf,
    deadline: Deadline,
    as: 'image-user' | 'root',
    work: (hands: ImageHands) => Promise<T>,
  ): Promise<T>;
}

/** Starts image children and keeps count of them. */
export class Images implements ImageWork {
  readonly settings: ImageSettings;
  readonly #clock: Clock;
  readonly #module: string;
  /** Children that have not ended, and of which volume. */
  readonly #alive = new Map<ImageChild, Leaf>();
  /** Volumes with a child that was killed in the middle of a job and is not gone yet. */
  readonly #hung = new Map<Leaf, number>();

  constructor(
    settings: ImageSettings,
    clock: Clock,
    module: string = fileURLToPath(new URL('./image-main.js', import.meta.url)),
  ) {
    this.settings = settings;
    this.#clock = clock;
    this.#module = module;
  }

  /**
   * Work with one child, as the image user or, for `give` alone, as root. Throws `hung` while an earlier child hangs in the volume, and
   * `resource-exhausted` when there are too many.
   */
  async with<T>(
    leaf: Leaf,
    deadline: Deadline,
    as: 'image-user' | 'root',
    work: (child: ImageHands) => Promise<T>,
  ): Promise<T> {
    if ((this.#hung.get(leaf) ?? 0) > 0) throw hung(leaf);
    if (this.#alive.size >= MAX_IMAGE_CHILDREN) {
      throw new FairleadError('resource-exhausted', 'Too many images are worked on. Try again later.');
    }
    const { uid, gid } = as === 'root' ? { uid: 0, gid: 0 } : this.settings.user;
    const node = startNode({ module: this.#module, args: [String(uid), String(gid)], env: {}, output: 'none' });
    if (node.pid === 0) {
      const message = `No process could be started to look at the image. ${processLimit()}. Then try again.`;
      throw new FairleadError('resource-exhausted', message);
    }
    node.unref();
    const child = new ImageChild({
      leaf,
      deadline,
      clock: this.#clock,
      settings: this.settings,
      send: (job) => {
        node.send(job);
      },
    });
    this.#alive.set(child, leaf);
    let wasHung = false;
    node.onMessage((message) => {
      child.take(message as ImageAnswer);
    });
    node.onEnd(() => {
      child.take(null);
      this.#alive.delete(child);
      if (wasHung) this.#hung.set(leaf, (this.#hung.get(leaf) ?? 1) - 1);
      if (this.#hung.get(leaf) === 0) this.#hung.delete(leaf);
    });
    try {
      return await work(child);
    } finally {
      if (child.busy && this.#alive.has(child)) {
        wasHung = true;
        this.#hung.set(leaf, (this.#hung.get(leaf) ?? 0) + 1);
      }
      killSession(node.pid);
    }
  }
}

/** What a child is made of. */
interface ChildParts {
  readonly leaf: Leaf;
  readonly deadline: Deadline;
  readonly clock: Clock;
  readonly settings: ImageSettings;
  send(job: ImageJob): void;
}

/** One child. Every question ends within the request's time. */
class ImageChild implements ImageHands {
  readonly #parts: ChildParts;
  #waiting: ((answer: ImageAnswer | null) => void) | null = null;
  #gone = false;

  constructor(parts: ChildParts) {
    this.#parts = parts;
  }

  /** Whether it still owes an answer. */
  get busy(): boolean {
    return this.#waiting !== null;
  }

  /** An answer has come; null: the child has ended. */
  take(answer: ImageAnswer | null): void {
    if (answer === null) this.#gone = true;
    this.#waiting?.(answer);
    this.#waiting = null;
  }

  open(place: ImagePlace, use: 'read' | 'write', format: DiskFormat): Promise<ImageAnswer> {
    return this.#ask({ kind: 'open', place, use, format });
  }

  /** Bytes that a guest sees of an opened image. */
  async measure(image: number, format: DiskFormat): Promise<number> {
    const answer = await this.#ask({ kind: 'measure', image, format });
    if (answer.kind === 'measured') return answer.size;
    throw this.explain(answer);
  }

  async resize(node: ImageNode, bytes: number): Promise<void> {
    const answer = await this.#ask({ kind: 'resize', node, bytes, tool: this.#tool() });
    if (answer.kind !== 'tool' || answer.end.end !== 'exited' || answer.end.status !== 0) throw this.explain(answer);
  }

  /** Whether it was made; false when the name is taken. */
  async create(place: ImagePlace, format: DiskFormat, bytes: number): Promise<boolean> {
    const mark = randomBytes(16).toString('hex');
    const answer = await this.#ask({ kind: 'create', place, mark, format, bytes, tool: this.#tool() });
    if (answer.kind === 'made') return answer.created;
    if (answer.kind === 'absent') throw this.#notMounted();
    if (answer.kind === 'denied') {
      const { uid, gid } = this.#parts.settings.user;
      const message = `The image user (${uid}:${gid}) may not make files in this volume. Let it write to the volume's root directory, or change libvirt.image_user.`;
      throw new FairleadError('permission-denied', message, { field: 'volume', leaf: this.#parts.leaf });
    }
    throw this.explain(answer);
  }

  /** Gives a file that is root's alone to the image user. */
  async give(place: ImagePlace): Promise<void> {
    const answer = await this.#ask({ kind: 'give', place, ...this.#parts.settings.user });
    if (answer.kind !== 'given') throw this.explain(answer);
  }

  /** The error that an answer is. */
  explain(answer: ImageAnswer): FairleadError {
    const { leaf, settings } = this.#parts;
    const details = { field: 'disk', leaf };
    switch (answer.kind) {
      case 'absent':
        return new FairleadError(
          'not-found',
          'There is no such disk in the volume. Make it first, or check its name.',
          details,
        );
      case 'not-a-file': {
        const found = answer.found === 'link' ? 'a symbolic link' : 'no regular file';
        return new FairleadError(
          'foreign',
          `What lies in the volume under the disk's name is ${found}. A disk is a regular file.`,
          details,
        );
      }
      case 'denied': {
        const { uid, gid } = settings.user;
        const message = `The image user (${uid}:${gid}) may not open the disk. In the volume: chown ${uid}:${gid} the file and chmod u+rw it, and let that user go through the volume's root directory; or change libvirt.image_user.`;
        return new FairleadError('permission-denied', message, details);
      }
      case 'odd':
        return new FairleadError(
          'permission-denied',
          `The image ${answer.fault}. Check it with qemu-img check, or give its real format.`,
          details,
        );
      case 'failed': {
        const message = `The volume answered ${answer.errno} when the disk was opened or written. Look at its server (fairlead validate), then try again.`;
        return new FairleadError('unhealthy', message, details);
      }
      case 'tool':
        return toolError(answer.end, leaf);
      case 'opened':
      case 'measured':
      case 'made':
      case 'given':
        return new FairleadError(
          'internal',
          'A process that looks at images answered something else than it was asked.',
        );
    }
  }

  #notMounted(): FairleadError {
    return new FairleadError('not-found', 'The volume is not mounted here. Connect it first.', {
      field: 'volume',
      leaf: this.#parts.leaf,
    });
  }

  #tool(): ImageTool {
    const { settings, deadline } = this.#parts;
    const trust = trustQemuImg(settings);
    if (!trust.trusted) {
      const code = trust.why === 'missing' ? 'unavailable' : 'helper-untrusted';
      throw new FairleadError(code, `qemu-img cannot be used: ${trust.detail}`, { field: 'libvirt.qemu_img' });
    }
    const untilMs = monotonicMs() + Math.min(settings.timeoutMs, deadline.before(TELLING_MS));
    const limits = [`--as=${QEMU_IMG_MEMORY_BYTES}`, `--cpu=${Math.ceil(settings.timeoutMs / 1000)}`, '--core=0'];
    return { program: PRLIMIT, args: [...limits, '--', settings.qemuImg], untilMs };
  }

  async #ask(job: ImageJob): Promise<ImageAnswer> {
    const { clock, deadline, leaf } = this.#parts;
    if (this.#gone) throw ended();
    const answered = new Promise<ImageAnswer | null>((resolve) => {
      this.#waiting = resolve;
    });
    this.#parts.send(job);
    const answer = await within(clock, answered, deadline.remaining);
    if (answer === LATE) throw hung(leaf);
    if (answer === null) throw ended();
    return answer;
  }
}

function hung(leaf: Leaf): FairleadError {
  return new FairleadError('hung', 'The volume did not answer in time. Look at its server, then try again.', { leaf });
}

function ended(): FairleadError {
  return new FairleadError('unavailable', 'The process that looks at the image has ended. Try again.');
}

function toolError(end: ToolEnd, leaf: Leaf): FairleadError {
  switch (end.end) {
    case 'deadline': {
      const message =
        'qemu-img did not end in time and was killed. Try again with a later deadline or a larger libvirt.image_timeout.';
      return new FairleadError('deadline-exceeded', message, { leaf });
    }
    case 'not-started':
      return new FairleadError('unavailable', `qemu-img could not be started (${end.errno}). Try again.`, { leaf });
    case 'signalled':
      return new FairleadError(
        'helper-failed',
        'qemu-img was ended by a signal: perhaps it needed more time or memory than it may have.',
        { leaf },
      );
    case 'exited': {
      const message = `qemu-img ended with status ${end.status}. Read its words beside this error, then try again.`;
      return new FairleadError('helper-failed', message, {
        leaf,
        helperOutput: redact(end.stderr, [], MAX_SHOWN_BYTES),
      });
    }
  }
}
