// libvirt, as something that can be called: connections are made when they are needed and again after a loss. There are several, because
// libvirt reads only a few calls of one client at a time: calls that hang (a guest on storage that hangs) must not keep
// others from being read.

import { connect, type Socket } from 'node:net';
import { existsSync } from 'node:fs';
import type { Clock } from '../../core/clock.js';
import { FairleadError } from '../../core/errors.js';
import { LIBVIRT_HELLO_MS } from '../../core/limits.js';
import { LibvirtError } from './errors.js';
import { LIBVIRT_SOCKETS } from './libvirt.js';
import { Link, type LinkUse } from './link.js';
import { type ArgsOf, AUTH, EVENTS, type ProcedureName, type ResultOf } from './procedures.js';

/** What connections need from outside. */
export interface ConnectionPorts {
  readonly clock: Clock;
  readonly uri: string;
  /** One attempt to reach libvirt's socket; rejects when nobody listens. */
  dial(): Promise<Socket>;
  /** How many connections there may be at the same time. */
  readonly maxConnections: number;
  readonly onEvent: LinkUse['onEvent'];
  readonly late: LinkUse['late'];
}

/** The connections to one libvirt. */
export class Connections {
  readonly #ports: ConnectionPorts;
  readonly #links = new Set<Link>();
  /** Calls that wait for a place. */
  readonly #wakeUps = new Set<() => void>();
  /** The connection that is being made; what it ends with: null, or why there is none. */
  #opening: Promise<FairleadError | null> | null = null;
  #closed = false;

  constructor(ports: ConnectionPorts) {
    this.#ports = ports;
  }

  /**
   * Calls, and answers by `until` on the clock. Failures are FairleadErrors, with a LibvirtError as cause where libvirt answered one.
   * `over` is called when libvirt is done with the call, maybe much later, or when it turns out that libvirt is not asked.
   */
  async call<P extends ProcedureName>(
    name: P,
    args: ArgsOf<P>,
    until: number,
    over: () => void = () => undefined,
  ): Promise<ResultOf<P>> {
    let link: Link;
    try {
      link = await this.#place(until);
    } catch (error) {
      over();
      throw error;
    }
    return link.call(name, args, until, over);
  }

  /** Ends everything for good. */
  close(): void {
    this.#closed = true;
    for (const link of this.#links) link.leave();
    this.#wake();
  }

  /** A connection that keeps a place for one call. */
  async #place(until: number): Promise<Link> {
    for (;;) {
      if (this.#closed) throw new FairleadError('unavailable', 'Fairlead is being stopped. Start it, then try again.');
      // A call that nobody would wait for is not made.
      if (this.#ports.clock.now() >= until) throw unanswered();
      const free = [...this.#links].find((link) => link.reserve());
      if (free !== undefined) return free;
      if (this.#links.size < this.#ports.maxConnections) this.#opening ??= this.#open();
      const failure = await this.#change(until);
      if (failure !== null) throw failure;
    }
  }

  /** Ends when something has changed, or with the reason why nothing will. */
  async #change(until: number): Promise<FairleadError | null> {
    const timeUp = new AbortController();
    let wake = (): void => undefined;
    const woken = new Promise<null>((resolve) => {
      wake = () => resolve(null);
    });
    this.#wakeUps.add(wake);
    const late = this.#ports.clock.sleep(Math.max(0, until - this.#ports.clock.now()), timeUp.signal).then(tooLate);
    try {
      return await Promise.race([this.#opening ?? woken, woken, late]);
    } finally {
      this.#wakeUps.delete(wake);
      timeUp.abort();
    }
  }

  #wake(): void {
    for (const wakeUp of this.#wakeUps) wakeUp();
  }

  async #open(): Promise<FairleadError | null> {
    const { clock, uri, onEvent, late } = this.#ports;
    const until = clock.now() + LIBVIRT_HELLO_MS;
    let link: Link | null = null;
    try {
      const socket = await this.#ports.dial();
      link = new Link(socket, { clock, onEvent, late, onChange: () => this.#changed(link) });
      await enter(link, uri, until);
      if (onEvent !== null) await listen(link, until);
      if (link.ended) return unanswered();
      if (this.#closed) link.leave();
      else this.#links.add(link);
      return null;
    } catch (error) {
      link?.end();
      if (error instanceof FairleadError) return notLetIn(error);
      if (!(error instanceof Error)) throw error;
      return new FairleadError(
        'unavailable',
        'There is no libvirt on this host that answers. Start it (systemctl start libvirtd, or virtqemud), or say in [libvirt] where its socket is.',
        { cause: error },
      );
    } finally {
      this.#opening = null;
    }
  }

  #changed(link: Link | null): void {
    // One that is still being let in is waited for in another way.
    if (link === null || !this.#links.has(link)) return;
    if (link.ended) this.#links.delete(link);
    this.#wake();
  }
}

/** Reaches libvirt's socket. */
export function dialLibvirt(socket: string): Promise<Socket> {
  const path = socket === '' ? (LIBVIRT_SOCKETS.find((one) => existsSync(one)) ?? LIBVIRT_SOCKETS[0]) : socket;
  return new Promise((resolve, reject) => {
    const connected = connect(path);
    connected.once('error', reject);
    connected.once('connect', () => {
      connected.off('error', reject);
      resolve(connected);
    });
  });
}

/** Says who we are and which driver is wanted. */
async function enter(link: Link, uri: string, until: number): Promise<void> {
  const { types } = await say(link, 'authList', null, until);
  if (types.includes(AUTH.polkit) && !types.includes(AUTH.none)) await say(link, 'authPolkit', null, until);
  else if (types.length > 0 && !types.includes(AUTH.none)) {
    throw new FairleadError(
      'permission-denied',
      'libvirt asks for a password on its socket (auth_unix_rw). Let root in without one, or say in [libvirt] where another socket is.',
    );
  }
  await say(link, 'connectOpen', { uri, flags: 0 }, until);
}

/** A call on a connection that nobody else uses yet. */
function say<P extends ProcedureName>(link: Link, name: P, args: ArgsOf<P>, until: number): Promise<ResultOf<P>> {
  link.reserve();
  return link.call(name, args, until);
}

/** Says what we want to hear of. */
async function listen(link: Link, until: number): Promise<void> {
  for (const { event } of Object.values(EVENTS)) {
    try {
      await say(link, 'connectDomainEventCallbackRegisterAny', { event, domain: null }, until);
    } catch (error) {
      // A driver without this event: whoever waits for one looks at the domain anyhow.
      if (!(error instanceof FairleadError && error.cause instanceof LibvirtError)) throw error;
    }
  }
}

/** Nothing of the caller's has been sent, so whatever stopped us while we introduced ourselves means: no libvirt. */
function notLetIn(error: FairleadError): FairleadError {
  return error.code === 'permission-denied' ? error : unanswered(error);
}

function tooLate(): FairleadError {
  return unanswered();
}

function unanswered(cause?: Error): FairleadError {
  return new FairleadError(
    'unavailable',
    'libvirt does not answer. Look at its state (systemctl status libvirtd, or virtqemud), then try again.',
    cause === undefined ? {} : { cause },
  );
}
