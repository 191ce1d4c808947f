// The agent's side of the broker: what the engine sees as `Broker`, over the asking half of the conversation. No decision about
// mounts is made here.

import type { z } from 'zod';
import type { Broker, DiskFacts, Finding, Inventory, LeafChanges, ObserveOptions } from '../core/broker-api.js';
import { errorBody } from '../core/errors.js';
import type { DiskName } from '../core/names.js';
import type { Holding, InventoryItem, Observation } from '../core/observation.js';
import type { StepEnd, StepKind } from '../core/steps.js';
import type { Judgement } from '../core/verdict.js';
import type { Leaf, LeafName, Volume } from '../core/volume.js';
import { LinkClient } from '../link/client.js';
import type { LinePorts, Question } from '../link/line.js';
import { PARTS, PROTOCOL_VERSION, type RequestOf, RESULTS, type ResultOf, type VerbName } from './protocol.js';

/** The arguments of a verb, without what the line adds. */
type Arguments<V extends VerbName> = Omit<RequestOf<V>, 'id' | 'verb' | 'budgetMs'>;
/** A verb that is answered at once: in one piece. */
type PlainVerb = Exclude<VerbName, 'hello' | 'inventory'>;

/** The broker over a connection that is made again whenever it is lost. */
export class BrokerClient extends LinkClient implements Broker {
  /** Begins to connect at once, and does not stop trying until {@link close}. */
  constructor(ports: LinePorts) {
    super(ports, { name: 'the broker', version: PROTOCOL_VERSION, hello: RESULTS.hello });
  }

  async observe(volume: Volume, { probe, disk = null, budgetMs }: ObserveOptions): Promise<Observation> {
    return this.#read('observe', { volume: volume.url, probe, ...(disk === null ? {} : { disk }) }, budgetMs);
  }

  async step(volume: Volume, kind: StepKind, budgetMs: number): Promise<StepEnd> {
    const answer = await this.line.ask(question('step', { volume: volume.url, kind }), budgetMs);
    switch (answer.end) {
      case 'ok':
        return answer.result;
      case 'unsent':
        return { end: 'refused', error: errorBody(answer.error) };
      case 'error':
        // The broker refuses before it begins; only a failure that it does not know itself leaves the effect open.
        return { end: answer.error.code === 'internal' ? 'unknown' : 'refused', error: errorBody(answer.error) };
      case 'lost':
        return { end: 'unknown', error: errorBody(answer.error) };
    }
  }

  async settle(volume: Volume, budgetMs: number): Promise<'settled' | 'acting'> {
    return this.#read('settle', { volume: volume.url }, budgetMs);
  }

  async disk(volume: Volume, name: DiskName, budgetMs: number): Promise<DiskFacts> {
    return this.#read('disk', { volume: volume.url, name }, budgetMs);
  }

  async holders(volume: Volume, budgetMs: number): Promise<Holding> {
    return this.#read('holders', { volume: volume.url }, budgetMs);
  }

  async abort(volume: Volume, budgetMs: number): Promise<Judgement> {
    return this.#read('abort', { volume: volume.url }, budgetMs);
  }

  async inventory(leaves: readonly LeafName[] | 'all', budgetMs: number): Promise<Inventory> {
    const { result, parts } = await this.line.read(
      { verb: 'inventory', args: { leaves }, result: RESULTS.inventory, part: PARTS.inventory },
      budgetMs,
    );
    const items: InventoryItem[] = parts.flatMap((part) => part.items);
    return { bootId: result.bootId, items };
  }

  async watch(seen: number | null, budgetMs: number): Promise<LeafChanges> {
    return this.#read('watch', { seen }, budgetMs);
  }

  async examine(budgetMs: number): Promise<readonly Finding[]> {
    return this.#read('examine', {}, budgetMs);
  }

  /** All that the latest helper of the leaf printed; null: nothing is known. The broker answers root alone; others lose the connection. */
  async helperOutput(leaf: Leaf, budgetMs: number): Promise<string | null> {
    return this.#read('helper-output', { leaf }, budgetMs);
  }

  async #read<V extends PlainVerb>(verb: V, args: Arguments<V>, budgetMs: number): Promise<ResultOf<V>> {
    return (await this.line.read(question(verb, args), budgetMs)).result;
  }
}

function question<V extends PlainVerb>(verb: V, args: Arguments<V>): Question<ResultOf<V>, never> {
  // The table's own types, which the compiler cannot follow through an index.
  return { verb, args, result: RESULTS[verb] as z.ZodType as z.ZodType<ResultOf<V>>, part: null };
}
