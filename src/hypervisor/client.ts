// The agent's side of the hypervisor process: what the libvirt door sees as `Hypervisor`, over the asking half of the
// conversation. No decision about disks is made here.

import type { z } from 'zod';
import type { Finding } from '../core/broker-api.js';
import type { Domain, DomainName, Survey } from '../core/domains.js';
import type { CreateRequest, DomainDiskRequest, Hypervisor, PlugRequest } from '../core/hypervisor-api.js';
import { LinkClient } from '../link/client.js';
import type { LinePorts, Question } from '../link/line.js';
import { PARTS, PROTOCOL_VERSION, type RequestOf, RESULTS, type ResultOf, type VerbName } from './protocol.js';

/** The arguments of a verb, without what the line adds. */
type Arguments<V extends VerbName> = Omit<RequestOf<V>, 'id' | 'verb' | 'budgetMs'>;
/** A verb that is answered in one piece. */
type PlainVerb = Exclude<VerbName, 'hello' | 'survey'>;

/** The hypervisor process over a connection that is made again whenever it is lost. */
export class HypervisorClient extends LinkClient implements Hypervisor {
  /** Begins to connect at once, and does not stop trying until {@link close}. */
  constructor(ports: LinePorts) {
    super(ports, { name: 'the hypervisor process', version: PROTOCOL_VERSION, hello: RESULTS.hello });
  }

  async survey(budgetMs: number): Promise<Survey> {
    const { result, parts } = await this.line.read(
      { verb: 'survey', args: {}, result: RESULTS.survey, part: PARTS.survey },
      budgetMs,
    );
    return { complete: result.complete, domains: parts.flatMap((part) => part.domains) };
  }

  domain(name: DomainName, budgetMs: number): Promise<Domain> {
    return this.#ask('domain', { name }, budgetMs);
  }

  create(request: CreateRequest, budgetMs: number): Promise<{ readonly created: boolean }> {
    const { volume, disk, format, bytes } = request;
    return this.#ask('create', { volume: volume.url, disk, format, bytes }, budgetMs);
  }

  plug(request: PlugRequest, budgetMs: number): Promise<{ readonly changed: boolean }> {
    const { domain, volume, disk, format, target, bus, access, options, scope } = request;
    const args = { domain, volume: volume.url, disk, format, target, bus, access, scope };
    return this.#ask('plug', { ...args, options: options as Arguments<'plug'>['options'] }, budgetMs);
  }

  unplug({ domain, volume, disk }: DomainDiskRequest, budgetMs: number): Promise<{ readonly changed: boolean }> {
    return this.#ask('unplug', { domain, volume: volume.url, disk }, budgetMs);
  }

  grow(
    { domain, volume, disk, format, bytes }: Parameters<Hypervisor['grow']>[0],
    budgetMs: number,
  ): Promise<ResultOf<'grow'>> {
    return this.#ask('grow', { domain, volume: volume.url, disk, format, bytes }, budgetMs);
  }

  examine(budgetMs: number): Promise<readonly Finding[]> {
    return this.#ask('examine', {}, budgetMs);
  }

  async #ask<V extends PlainVerb>(verb: V, args: Arguments<V>, budgetMs: number): Promise<ResultOf<V>> {
    // The table's own types, which the compiler cannot follow through an index.
    const result = RESULTS[verb] as z.ZodType as z.ZodType<ResultOf<V>>;
    const question: Question<ResultOf<V>, never> = { verb, args, result, part: null };
    return (await this.line.read(question, budgetMs)).result;
  }
}
