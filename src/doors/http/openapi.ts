// The OpenAPI document (3.1.0, https://spec.openapis.org/oas/v3.1.0), made from the table of routes. Pure.

import { z } from 'zod';
import type { Route } from '../route.js';
import { timeoutMs } from '../forms.js';
import { errorReply } from './schemas.js';

/** The document that `GET /v1/openapi.json` serves. */
export function openApi(version: string, routes: readonly Route[]): Readonly<Record<string, unknown>> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    (paths[route.path] ??= {})[route.method.toLowerCase()] = operation(route);
  }
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
    paths,
    components: { schemas: { Error: schemaOf(errorReply, 'output') } },
  };
}

function operation(route: Route): Record<string, unknown> {
  const parameters = [
    ...(route.path.includes('{leaf}')
      ? [{ name: 'leaf', in: 'path', required: true, schema: { type: 'string', pattern: '^[0-9a-f]{32}$' } }]
      : []),
    ...Object.entries(route.flags ?? {}).map(([name, description]) => ({
      name,
      in: 'query',
      description,
      schema: { type: 'boolean' },
    })),
    ...(route.body === null ? [{ name: 'timeoutMs', in: 'query', schema: schemaOf(timeoutMs, 'input') }] : []),
  ];
  return {
    operationId: route.name,
    summary: route.summary,
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(route.body === null ? {} : { requestBody: { required: true, content: json(schemaOf(route.body, 'input')) } }),
    responses: {
      200: { description: 'Done.', content: json(schemaOf(route.reply, 'output')) },
      default: {
        description: 'An error; the status goes with its code.',
        content: json({ $ref: '#/components/schemas/Error' }),
      },
    },
  };
}

function json(schema: unknown): Record<string, unknown> {
  return { 'application/json': { schema } };
}

function schemaOf(form: z.ZodType, io: 'input' | 'output'): Record<string, unknown> {
  const schema = z.toJSONSchema(form, { io });
  return Object.fromEntries(Object.entries(schema).filter(([key]) => key !== '$schema' && key !== '~standard'));
}
