// The OpenAPI document (3.1.0, https://spec.openapis.org/oas/v3.1.0), made from the table of routes. Every form has a name in it. Pure.

import { z } from 'zod';
import * as patterns from '../../core/patterns.js';
import { timeoutMs } from '../forms.js';
import type { Route } from '../route.js';
import { errorReply } from './schemas.js';

/** What the document is made from. */
export interface OpenApiParts {
  readonly version: string;
  readonly routes: readonly Route[];
  /** What every volume URL matches, as a regular expression in text. */
  readonly volumePattern: string;
}

type Schema = Readonly<Record<string, unknown>>;

/** The document that `GET /v1/openapi.json` serves. */
export function openApi({ version, routes, volumePattern }: OpenApiParts): Readonly<Record<string, unknown>> {
  const named = new NamedSchemas();
  const error = named.add('Error', errorReply, 'output');
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    (paths[route.path] ??= {})[route.method.toLowerCase()] = operation(route, named, error);
  }
  const schemas = named.all();
  return {
    openapi: '3.1.0',
    info: {
      title: 'Fairlead',
      version,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      description:
        "HTTP on the agent's unix socket. Who may use it is decided by the credentials of the peer's process.",
    },
    servers: [{ url: 'http://localhost', description: 'The unix socket agent.sock in run_dir.' }],
    security: [],
    tags: [...new Set(routes.map(tagOf))].map((name) => ({ name, description: TAGS[name] })),
    paths,
    components: {
      schemas: { ...schemas, VolumeUrl: { ...(schemas['VolumeUrl'] as Schema), pattern: volumePattern } },
    },
  };
}

const TAGS = {
  volumes: 'Volumes and mounts.',
  nova: 'What a volume driver of OpenStack Nova is asked.',
  vm: 'Disks of virtual machines.',
} as const;

function tagOf({ path }: Route): keyof typeof TAGS {
  if (path.startsWith('/v1/nova/')) return 'nova';
  return path.startsWith('/v1/vm/') ? 'vm' : 'volumes';
}

function operation(route: Route, named: NamedSchemas, error: Schema): Schema {
  const name = route.name.charAt(0).toUpperCase() + route.name.slice(1);
  const parameters = [
    ...(route.path.includes('{leaf}')
      ? [{ name: 'leaf', in: 'path', required: true, schema: { type: 'string', pattern: patterns.LEAF } }]
      : []),
    ...Object.entries(route.flags ?? {}).map(([flag, description]) => ({
      name: flag,
      in: 'query',
      description,
      schema: { type: 'boolean' },
    })),
    ...(route.body === null
      ? [{ name: 'timeoutMs', in: 'query', schema: named.add('TimeoutMs', timeoutMs, 'input') }]
      : []),
  ];
  return {
    operationId: route.name,
    tags: [tagOf(route)],
    summary: route.summary,
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(route.body === null
      ? {}
      : { requestBody: { required: true, content: json(named.add(`${name}Request`, route.body, 'input')) } }),
    responses: {
      200: { description: 'Done.', content: json(named.add(`${name}Reply`, route.reply, 'output')) },
      '4XX': { description: 'A refusal; the status goes with its code.', content: json(error) },
      '5XX': { description: 'A failure; the status goes with its code.', content: json(error) },
    },
  };
}

function json(schema: Schema): Schema {
  return { 'application/json': { schema } };
}

/** The schemas of a document, each under one name and the same wherever it is used. */
class NamedSchemas {
  readonly #schemas = new Map<string, Schema>();

  /** Adds the form, and what it refers to; answers a reference to it. */
  add(name: string, form: z.ZodType, io: 'input' | 'output'): Schema {
    const { $defs = {}, ...rest } = z.toJSONSchema(form, { io }) as Schema & {
      readonly $defs?: Record<string, Schema>;
    };
    const own = Object.fromEntries(Object.entries(rest).filter(([key]) => key !== '$schema' && key !== '~standard'));
    for (const [part, schema] of Object.entries($defs)) this.#put(part, schema);
    this.#put(name, own);
    return { $ref: `#/components/schemas/${name}` };
  }

  /** All of them, in the order of their names. */
  all(): Record<string, unknown> {
    return Object.fromEntries([...this.#schemas].sort(([left], [right]) => (left < right ? -1 : 1)));
  }

  #put(name: string, given: Schema): void {
    const schema = JSON.parse(JSON.stringify(given).replaceAll('"#/$defs/', '"#/components/schemas/')) as Schema;
    const known = this.#schemas.get(name);
    if (known !== undefined && JSON.stringify(known) !== JSON.stringify(schema)) {
      throw new Error(`two forms are called ${name}`);
    }
    this.#schemas.set(name, schema);
  }
}
