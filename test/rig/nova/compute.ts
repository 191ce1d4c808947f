// Real Nova code in a process of its own (compute.py), called as nova-compute calls it: with Fairlead's driver, or with Nova's own.

import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { ROOT } from '../programs.js';

/** Debian's Nova and the newest one. */
export const NOVAS = {
  '26': { python: '/usr/bin/python3', sign: '/usr/lib/python3/dist-packages/nova/version.py' },
  '34': { python: join(ROOT, '.cache/nova/venv/bin/python'), sign: join(ROOT, '.cache/nova/complete') },
} as const;
/** A version of Nova. */
export type NovaVersion = keyof typeof NOVAS;
/** The package under test. */
export const PACKAGE = join(ROOT, 'integrations/nova');

/** Why this Nova cannot be called here; null if it can. */
export function whyNoNova(version: NovaVersion): string | null {
  if (existsSync(NOVAS[version].sign)) return null;
  return version === '26' ? 'package python3-nova is not installed' : 'scripts/newer-nova.mjs has not been run';
}

/** What a process is to be. */
export interface ComputeOptions {
  readonly version: NovaVersion;
  readonly manner: 'threads' | 'eventlet';
  readonly driver: 'fairlead' | 'nova';
  /** `[fairlead]` of nova.conf. */
  readonly fairlead?: Readonly<Record<string, string | number>>;
  /** `[libvirt] quobyte_mount_point_base`, for Nova's own driver. */
  readonly mountBase?: string;
  readonly lockPath: string;
  /** In front of PATH: where Nova's own driver finds `mount.quobyte`. */
  readonly bin?: string;
}

/** One call. */
export interface NovaJob {
  readonly verb: 'connect' | 'disconnect' | 'describe' | 'extend';
  readonly record: object;
  readonly instance: string;
  readonly force?: boolean;
  readonly bytes?: number;
}

/** What came of a call. */
export interface NovaResult {
  readonly result: unknown;
  /** The exception's class, or null. */
  readonly error: string | null;
  readonly text: string;
  readonly ms: number;
}

/** A compute service. `await using` ends it. */
export class Compute implements AsyncDisposable {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  #said = '';
  /** The module of the driver that Nova looked up, and whether sockets are eventlet's. */
  facts: { readonly driver: string; readonly green: boolean } = { driver: '', green: false };

  private constructor(options: ComputeOptions) {
    const { python } = NOVAS[options.version];
    this.#child = spawn(python, ['-B', join(ROOT, 'test/rig/nova/compute.py'), JSON.stringify(options)], {
      env: { ...process.env, PYTHONPATH: PACKAGE, PATH: `${options.bin ?? '/nowhere'}:${process.env['PATH'] ?? ''}` },
    });
    this.#child.stderr.on('data', (chunk: Buffer) => (this.#said = (this.#said + chunk.toString()).slice(-100_000)));
    this.#lines = createInterface(this.#child.stdout)[Symbol.asyncIterator]();
  }

  /** Starts it and waits until Nova is loaded. */
  static async start(options: ComputeOptions): Promise<Compute> {
    const compute = new Compute(options);
    compute.facts = (await compute.#next()) as Compute['facts'];
    return compute;
  }

  /** Makes these calls at once. */
  async call(jobs: readonly NovaJob[]): Promise<readonly NovaResult[]> {
    this.#child.stdin.write(`${JSON.stringify(jobs)}\n`);
    return (await this.#next()) as readonly NovaResult[];
  }

  /** Makes one call. */
  async one(verb: NovaJob['verb'], record: object, instance: string, more: Partial<NovaJob> = {}): Promise<NovaResult> {
    const [result] = await this.call([{ verb, record, instance, ...more }]);
    if (result === undefined) throw new Error('nothing came of it');
    return result;
  }

  /** What Nova has logged. */
  log(): string {
    return this.#said;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.stdin.end();
    await ended;
  }

  async #next(): Promise<unknown> {
    const line = await this.#lines.next();
    if (line.done === true) throw new Error(`Nova's process ended: ${this.#said}`);
    return JSON.parse(line.value);
  }
}

/** Cinder's record of one disk of a volume. */
export function recordOf(url: string, name: string, more: object = {}): object {
  return {
    driver_volume_type: 'quobyte',
    serial: '4bd9f4b7-3dbd-4dcb-9d5b-3f9f4b1c0c3e',
    data: { export: url, name, format: 'raw', options: null, encrypted: false, qos_specs: null, access_mode: 'rw' },
    ...more,
  };
}

/** The UUID of the instance with this number. */
export function instanceOf(number: number): string {
  return `7c9e6679-7425-40de-944b-${String(number).padStart(12, '0')}`;
}
