// Volumes as their users and an operator see them: connect and disconnect for a consumer, what `ls` and `doctor` say, what the
// kernel's table shows at the leaf, and the processes of the client that serves it.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { leafOfUrl, type Answer, type Host } from './host.js';
import { running } from './processes.js';

/** A mount that is not at its leaf any more, or is on its way out beside a newer one. */
export interface FormerMount {
  readonly state: string;
}

/** A mount as `ls --json` shows it. */
export interface ListedMount {
  readonly leaf: string;
  readonly url: string | null;
  readonly state: string;
  readonly verdict: string | null;
  readonly hold: string | null;
  readonly attachments: readonly { readonly consumer: string }[];
  readonly former?: readonly FormerMount[];
}

/** What `doctor --json` says of one thing. */
export interface Finding {
  readonly subject: string;
  readonly message: string;
  readonly mend?: string;
  readonly fix?: string;
}

/** One volume on one host. */
export class VolumeInUse {
  readonly host: Host;
  readonly url: string;
  readonly leaf: string;
  readonly mountpoint: string;
  readonly name: string;

  constructor(host: Host, url: string) {
    this.host = host;
    this.url = url;
    this.leaf = leafOfUrl(url);
    this.name = url.split('/').at(-1) ?? '';
    this.mountpoint = join(url.startsWith('local:') ? host.localBase : host.quobyteBase, this.leaf);
  }

  /** A new volume of the stand-in cluster, each of whose mounts has a client process of its own. */
  static async served(host: Host, name: string): Promise<VolumeInUse> {
    const url = await host.volume(name);
    await host.sandbox('fault', name, 'own-server');
    return new VolumeInUse(host, url);
  }

  connect(consumer: string, ...more: string[]): Promise<Answer> {
    return this.host.ask('connect', this.url, '--consumer', consumer, ...more);
  }

  disconnect(consumer: string, ...more: string[]): Promise<Answer> {
    return this.host.ask('disconnect', this.url, '--consumer', consumer, ...more);
  }

  /** Answer of `validate`. */
  async validate(): Promise<{ readonly verdict: string; readonly reason: string }> {
    return (await this.host.ask('validate', this.url)).body as { verdict: string; reason: string };
  }

  /** What `ls` shows at the leaf. */
  async listed(): Promise<ListedMount | undefined> {
    const { body } = await this.host.ask('ls');
    return (body['mounts'] as readonly ListedMount[]).find(({ leaf }) => leaf === this.leaf);
  }

  /** What `doctor` says of the leaf. */
  async findings(): Promise<readonly Finding[]> {
    const { body } = await this.host.ask('doctor');
    return (body['findings'] as readonly Finding[]).filter((finding) => JSON.stringify(finding).includes(this.leaf));
  }

  /** Mounts at the leaf, by the kernel's own table. */
  mounts(): number {
    return this.host.mounts().filter(({ mountPoint }) => mountPoint === this.mountpoint).length;
  }

  /** Client processes that serve mounts of this volume, or did and have not ended. */
  clients(): readonly number[] {
    return running(`serve ${this.host.dir} ${this.name} `).map(({ pid }) => pid);
  }

  /** A file of a Quobyte volume as the cluster has it, past every mount. */
  stored(file: string): string {
    return readFileSync(join(this.host.dir, 'volumes', this.name, file), 'utf8');
  }

  /** A path below the leaf. */
  at(file: string): string {
    return join(this.mountpoint, file);
  }
}

/** What a finding advises. */
export function adviceOf(finding: Finding): string {
  return finding.fix ?? finding.mend ?? '';
}
