// What is done to domains: one thing at a time to each, for libvirt would do it no faster, and a guest that hangs would take one of libvirt's
// threads for every call. A call that was given up still counts, until libvirt is done with it. And never many at once: libvirtd
// starts a thread for a call only while no other call waits for one (virThreadPoolSendJob subtracts unsigned numbers; seen with
// 9.0), so a burst of calls that hang leaves it without threads for anybody, and with no way to more.

import type { Clock } from '../../core/clock.js';
import type { DomainUuid } from '../../core/domains.js';
import { FairleadError } from '../../core/errors.js';
import { LIBVIRT_ACT_GAP_MS } from '../../core/limits.js';
import type { Connections } from './connection.js';
import type { ArgsOf, ProcedureName, ResultOf } from './procedures.js';

/** Calls that change a domain, or have QEMU or libvirt look at its files. */
export class Acts {
  readonly #clock: Clock;
  readonly #connections: Connections;
  /** What libvirt is at, by domain. */
  readonly #under = new Map<DomainUuid, Promise<void>>();
  /** When the next call may be made, on the clock. */
  #next = 0;

  constructor(clock: Clock, connections: Connections) {
    this.#clock = clock;
    this.#connections = connections;
  }

  /** Calls as soon as libvirt has done everything else that was asked of the domain; `busy` if it has not by `until`. */
  async call<P extends ProcedureName>(
    domain: DomainUuid,
    name: P,
    args: ArgsOf<P>,
    until: number,
  ): Promise<ResultOf<P>> {
    for (let under = this.#under.get(domain); under !== undefined; under = this.#under.get(domain)) {
      if (!(await this.#isOver(under, until))) {
        throw new FairleadError(
          'busy',
          'libvirt has not finished what was asked of this domain before. Look at its guest and at its storage, then try again.',
        );
      }
    }
    let done = (): void => undefined;
    const under = new Promise<void>((resolve) => {
      done = resolve;
    });
    this.#under.set(domain, under);
    await this.#turn();
    return this.#connections.call(name, args, until, () => {
      this.#under.delete(domain);
      done();
    });
  }

  /** Waits until the call before has surely been taken by one of libvirt's threads. */
  async #turn(): Promise<void> {
    const now = this.#clock.now();
    const mine = Math.max(now, this.#next);
    this.#next = mine + LIBVIRT_ACT_GAP_MS;
    if (mine > now) await this.#clock.sleep(mine - now);
  }

  async #isOver(under: Promise<void>, until: number): Promise<boolean> {
    const timeUp = new AbortController();
    const late = this.#clock.sleep(Math.max(0, until - this.#clock.now()), timeUp.signal).then(() => false);
    const over = await Promise.race([under.then(() => true), late]);
    timeUp.abort();
    return over;
  }
}
