// Floods of connections that ask nothing. The kernel queues connections for the socket, for all users in one queue; who fills it keeps
// everybody else out, and no answer of ours comes too early for that. So who makes too many is kept from the socket by the kernel
// for a while: connect(2) tells him EACCES. Root and the agent's own user never are.

import {
  MAX_REFUSED_A_SECOND,
  MAX_SHUT_USERS,
  MAX_VAIN_A_SECOND,
  SHUT_FIRST_MS,
  SHUT_LAST_MS,
} from '../../core/limits.js';

/** Who is kept from the socket. */
export interface Shut {
  /** Everybody who may not ask. */
  readonly strangers: boolean;
  /** Users who may ask otherwise. */
  readonly users: readonly number[];
}

/** Has the kernel do it; tells nobody. */
export type ApplyShut = (shut: Shut) => void;

/** All who may not ask, together: one of them may have many numbers (subuid(5)). */
const STRANGERS = -1;
const SECOND_MS = 1000;

interface Count {
  since: number;
  connections: number;
  /** For how long the last flood shut, and until when. */
  shutMs: number;
  shutUntil: number;
}

/** Counts connections that asked nothing, and shuts out who makes too many of them. */
export class Floods {
  readonly #apply: ApplyShut;
  readonly #counts = new Map<number, Count>();
  readonly #shut = new Map<number, NodeJS.Timeout>();

  constructor(apply: ApplyShut) {
    this.#apply = apply;
  }

  /** One more connection of somebody who may not ask. */
  stranger(): void {
    this.#count(STRANGERS, MAX_REFUSED_A_SECOND);
  }

  /** One more connection of somebody who may ask and did not, or was refused. */
  vain(uid: number): void {
    this.#count(uid, MAX_VAIN_A_SECOND);
  }

  /** Lets everybody in again. */
  end(): void {
    for (const timer of this.#shut.values()) clearTimeout(timer);
    this.#shut.clear();
  }

  #count(who: number, most: number): void {
    const now = performance.now();
    const count = this.#counts.get(who) ?? { since: now, connections: 0, shutMs: SHUT_FIRST_MS, shutUntil: -Infinity };
    if (now - count.since > SECOND_MS) {
      count.since = now;
      count.connections = 0;
      this.#forgetOthers(now);
    }
    count.connections += 1;
    this.#counts.set(who, count);
    if (count.connections > most && !this.#shut.has(who)) this.#shutOut(who, count, now);
  }

  #shutOut(who: number, count: Count, now: number): void {
    if (who !== STRANGERS && this.#shut.size >= MAX_SHUT_USERS) return;
    const isCalm = now - count.shutUntil > SHUT_LAST_MS;
    count.shutMs = isCalm ? SHUT_FIRST_MS : Math.min(count.shutMs * 2, SHUT_LAST_MS);
    count.shutUntil = now + count.shutMs;
    const timer = setTimeout(() => {
      this.#shut.delete(who);
      count.connections = 0;
      this.#tell();
    }, count.shutMs);
    this.#shut.set(who, timer.unref());
    this.#tell();
  }

  #tell(): void {
    const users = [...this.#shut.keys()].filter((who) => who !== STRANGERS);
    this.#apply({ strangers: this.#shut.has(STRANGERS), users });
  }

  /** What is not needed any more: users who have made no flood lately. */
  #forgetOthers(now: number): void {
    for (const [who, { since, shutUntil }] of this.#counts) {
      if (now - since > SECOND_MS && now - shutUntil > SHUT_LAST_MS) this.#counts.delete(who);
    }
  }
}
