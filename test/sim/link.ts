// The simulated connection between agent and broker: a byte stream that keeps its order, takes its time, arrives in
// pieces, can fall silent and can be cut at any moment with part of what was sent still on its way.

import type { Transport } from '../../src/core/frames.js';
import type { Chance } from './prng.js';
import type { Life, Scheduler } from './scheduler.js';

/** One direction's receiving end. */
interface End {
  readonly life: Life;
  readonly queue: Uint8Array[];
  lastArrival: number;
  onData: (bytes: Uint8Array) => void;
  onClose: () => void;
  closed: boolean;
}

/** One connection, made of two transports. */
export class Wire {
  readonly agentSide: Transport;
  readonly brokerSide: Transport;
  /** Nothing that is sent from now on arrives; nobody is told. */
  silent = false;
  /** It was silent at some time, so that a side may have lost its patience. */
  wasSilent = false;
  /** Called when one of the two sides ends it. */
  onClosed: (by: string) => void = () => undefined;
  readonly #scheduler: Scheduler;
  readonly #chance: Chance;
  readonly #agent: End;
  readonly #broker: End;
  #open = true;

  constructor(scheduler: Scheduler, chance: Chance, agent: Life, broker: Life) {
    this.#scheduler = scheduler;
    this.#chance = chance;
    this.#agent = newEnd(agent);
    this.#broker = newEnd(broker);
    this.agentSide = this.#transport(this.#agent, this.#broker);
    this.brokerSide = this.#transport(this.#broker, this.#agent);
  }

  get open(): boolean {
    return this.#open;
  }

  /** Ends it. Of what is on its way each end still gets a part. */
  cut(): void {
    if (!this.#open) return;
    this.#open = false;
    for (const end of [this.#agent, this.#broker]) {
      end.queue.length = this.#chance.int(0, end.queue.length);
      const after = Math.max(0, end.lastArrival - this.#scheduler.now) + this.#chance.int(0, 3);
      this.#scheduler.after(end.life, after, `link: ${end.life.name} sees the end`, () => {
        for (const bytes of end.queue.splice(0)) end.onData(bytes);
        end.closed = true;
        end.onClose();
      });
    }
  }

  #transport(mine: End, theirs: End): Transport {
    return {
      send: (bytes) => {
        if (!this.#open || this.silent || !mine.life.alive) return;
        const [head, tail] = this.#pieces(bytes);
        for (const piece of tail === null ? [head] : [head, tail]) {
          theirs.lastArrival = Math.max(theirs.lastArrival, this.#scheduler.now + this.#chance.int(0, 3));
          theirs.queue.push(piece);
          this.#scheduler.after(
            theirs.life,
            theirs.lastArrival - this.#scheduler.now,
            `link: to ${theirs.life.name}`,
            () => {
              const next = theirs.queue.shift();
              if (next !== undefined && !theirs.closed) theirs.onData(next);
            },
          );
        }
      },
      onData: (listener) => {
        mine.onData = listener;
      },
      onClose: (listener) => {
        mine.onClose = listener;
      },
      close: () => {
        if (!mine.life.alive || !this.#open) return;
        this.onClosed(mine.life.name);
        this.cut();
      },
    };
  }

  #pieces(bytes: Uint8Array): readonly [Uint8Array, Uint8Array | null] {
    if (!this.#chance.once(0.02)) return [bytes, null];
    const at = this.#chance.int(1, bytes.length - 1);
    return [bytes.subarray(0, at), bytes.subarray(at)];
  }
}

function newEnd(life: Life): End {
  return { life, queue: [], lastArrival: 0, onData: () => undefined, onClose: () => undefined, closed: false };
}
