// What the tests of the hypervisor process share: a host with volumes that are mounted, and somebody with the agent's user who speaks to
// the process by himself.

import { chownSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Host, leafOfUrl } from '../../rig/host.js';
import { AGENT, type Identity } from '../../rig/identity.js';
import { Peer, type PeerReply } from '../../rig/peer.js';
import { run } from '../../rig/programs.js';
import { until } from '../../rig/until.js';

/** The image user on this host: QEMU's own. */
export const IMAGE_USER = userNamed('libvirt-qemu');

/** A host with the hypervisor process up. */
export class Bench {
  readonly host: Host;
  #peer: Peer | null = null;

  private constructor(host: Host) {
    this.host = host;
  }

  static async boot(configure: (toml: string) => string = (toml) => toml): Promise<Bench> {
    const bench = new Bench(await Host.boot({ configure }));
    await bench.pid();
    return bench;
  }

  /** The hypervisor process, once it has its lock. */
  pid(other = 0): Promise<number> {
    return until('a hypervisor process', () => {
      try {
        const pid = Number(readFileSync(join(this.host.dir, 'fairlead/run/hypervisor.lock'), 'utf8'));
        return pid > 0 && pid !== other ? pid : undefined;
      } catch (error) {
        if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
        throw error;
      }
    });
  }

  /** A connection to the hypervisor process that has not said anything. */
  dial(who: Identity = AGENT): Peer {
    return new Peer(join(this.host.dir, 'fairlead/run/hypervisor.sock'), who);
  }

  /** Asks as the agent would; a lost connection is made again. */
  async ask(verb: string, more: object, budgetMs = 10_000): Promise<PeerReply> {
    if (this.#peer === null || this.#peer.closed) this.#peer = await this.#greeted();
    return this.#peer.ask(verb, more, budgetMs);
  }

  /** A connection, once somebody listens: a lock is taken before its socket. */
  #greeted(): Promise<Peer> {
    return until('the hypervisor process answers', async () => {
      try {
        return await this.dial().greet();
      } catch (error) {
        if (!(error instanceof Error)) throw error;
        return undefined;
      }
    });
  }

  /** The result, or `code field`. */
  async tell(verb: string, more: object, budgetMs = 10_000): Promise<unknown> {
    const { ok, error } = await this.ask(verb, more, budgetMs);
    if (error === undefined) return ok;
    return `${error.code} ${(error as { readonly field?: string }).field ?? ''}`.trim();
  }

  /** A local volume of the image user's that is mounted; its directory on the host. */
  async localVolume(
    name: string,
  ): Promise<{ readonly url: string; readonly dir: string; readonly mountpoint: string }> {
    const url = this.host.localVolume(name);
    const dir = join(this.host.localRoot, name);
    chownSync(dir, IMAGE_USER.uid, IMAGE_USER.gid);
    return { url, dir, mountpoint: await this.mount(url, this.host.localBase) };
  }

  /** A Quobyte volume of the image user's that is mounted. */
  async quobyteVolume(name: string): Promise<{ readonly url: string; readonly mountpoint: string }> {
    const url = await this.host.volume(name);
    const mountpoint = await this.mount(url, this.host.quobyteBase);
    chownSync(mountpoint, IMAGE_USER.uid, IMAGE_USER.gid);
    return { url, mountpoint };
  }

  async mount(url: string, base: string): Promise<string> {
    const { status, error } = await this.host.ask('connect', url, '--consumer', 'cli:test');
    if (status !== 0) throw new Error(`not mounted: ${error?.message}`);
    return join(base, leafOfUrl(url));
  }

  async shutDown(): Promise<void> {
    this.#peer?.close();
    await this.host.shutDown();
  }
}

/** Runs qemu-img; fails if it fails. */
export async function qemuImg(...args: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await run('/usr/bin/qemu-img', args);
  if (status !== 0) throw new Error(`qemu-img ${args.join(' ')}: ${stderr}`);
  return stdout;
}

/** What qemu-img says of an image, without a lock on it. */
export async function imageInfo(path: string): Promise<Readonly<Record<string, unknown>>> {
  return JSON.parse(await qemuImg('info', '-U', '--output=json', path)) as Readonly<Record<string, unknown>>;
}

function userNamed(name: string): Identity {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((one) => one.startsWith(`${name}:`));
  const [, , uid, gid] = (line ?? '').split(':');
  if (uid === undefined || gid === undefined) throw new Error(`this host has no user ${name}`);
  return { uid: Number(uid), gid: Number(gid) };
}
