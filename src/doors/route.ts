// What a door can offer over HTTP, one question a line: form of the request, form of the reply, and which question it is. The
// server, the OpenAPI document and the reference page are made from tables of these. A route translates; it decides nothing.

import type { z } from 'zod';
import type { Driver } from '../core/disk.js';
import type { Engine, RequestContext } from '../core/requests.js';
import type { VmDoor } from '../core/vm-requests.js';
import type { Volume } from '../core/volume.js';

/** What routes need to know, besides the engine. Pure. */
export interface VolumeFacts {
  /** The volume of a URL, or `invalid-argument` naming the field. */
  parseVolume(text: unknown, field: string): Volume;
  /** The mount base of the volume's backend. */
  mountBaseOf(volume: Volume): string;
  /** Cache and io modes for disks of the volume's backend. */
  driverOf(volume: Volume): Driver;
}

/** What a route works with. */
export interface House {
  readonly engine: Engine;
  readonly volumes: VolumeFacts;
  /** Disks of virtual machines; null where the configuration says that there are none. */
  readonly vm: VmDoor | null;
  readonly version: string;
}

/** A request that has the form of its route. */
export interface Asked<Body> {
  readonly body: Body;
  /** The `{leaf}` of the path; empty where there is none. */
  readonly leaf: string;
  /** Flags of the route that are true in the query. */
  readonly flags: ReadonlySet<string>;
}

/** One question that can be asked. */
export interface Route<Body = unknown> {
  readonly name: string;
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** In OpenAPI's spelling: `/v1/mounts/{leaf}/hold`. */
  readonly path: string;
  readonly summary: string;
  /** Flags that may stand in the query as `NAME=true`, and what each means. */
  readonly flags?: Readonly<Record<string, string>>;
  /** Null: no body is looked at. */
  readonly body: z.ZodType<Body> | null;
  readonly reply: z.ZodType;
  /** Milliseconds the request asks for, or the default of the route. */
  deadlineMs(body: Body): number;
  answer(asked: Asked<Body>, context: RequestContext, house: House): unknown;
}

/** Ties a route's answer to its reply form, so that the document cannot promise what the code does not give. */
export function route<Body, Reply>(
  given: Omit<Route<Body>, 'deadlineMs' | 'reply' | 'answer'> & {
    readonly reply: z.ZodType<Reply>;
    readonly deadline: number;
    answer(asked: Asked<Body>, context: RequestContext, house: House): Reply | Promise<Reply>;
  },
): Route {
  const { deadline, ...rest } = given;
  return {
    ...rest,
    deadlineMs: (body: Body) => (body as { readonly timeoutMs?: number } | undefined)?.timeoutMs ?? deadline,
  };
}
