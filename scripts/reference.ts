// The reference pages, made from the code that they describe: docs/reference/*.md. `make reference` writes them, and a
// unit test compares them with what stands in the repository.

import { z } from 'zod';
import type { Option } from '../src/cli/command.js';
import { COMMANDS, COMMON_OPTIONS } from '../src/cli/commands.js';
import { usageLine } from '../src/cli/help.js';
import { SETTINGS } from '../src/config/settings.js';
import { ERROR_CODES } from '../src/core/errors.js';
import { ROUTES } from '../src/doors/routes.js';
import { errorReply } from '../src/doors/http/schemas.js';

/** A part of a JSON Schema, as far as it is shown. */
interface Schema {
  readonly description?: string;
  readonly rule?: string;
  readonly unit?: string;
  readonly default?: unknown;
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly const?: string | number | boolean | null;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly $ref?: string;
  readonly $defs?: Readonly<Record<string, Schema>>;
}

const NOTE = '<!-- Made from the code by `make reference`; changes by hand are overwritten. -->';

/** Every page: file name to text. */
export function referencePages(): Readonly<Record<string, string>> {
  return {
    'configuration.md': configuration(),
    'cli.md': commandLine(),
    'api.md': api(),
    'errors.md': errors(),
  };
}

function page(...parts: readonly string[]): string {
  return `${[NOTE, ...parts].join('\n\n')}\n`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const row = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [row(head), row(head.map(() => '---')), ...rows.map(row)].join('\n');
}

function configuration(): string {
  const root = z.toJSONSchema(SETTINGS, { io: 'input' }) as Schema;
  const { backend, libvirt, ...top } = root.properties ?? {};
  const backends = Object.entries(backend?.properties ?? {});
  return page(
    '# Configuration',
    'One TOML file, `/etc/fairlead/fairlead.toml` unless `--config` names another. It must belong to root and be writable by nobody else. Without the default file the defaults below stand. Agent, broker and hypervisor process each read it at start; a change takes a restart, and mounts stay as they are meanwhile.',
    'A setting that is unknown, misspelt or unsound stops the start. The message names each faulty line, the setting and the mend. Durations are whole numbers with a unit (`500ms`, `60s`, `2m`); numbers are plain decimal digits.',
    'Directories that are missing are made by `fairlead up`. `state_dir` and the mount bases are root’s; in `state_dir` the agent has the directory `ledger` for itself, and in `run_dir` it may make files, but not touch the broker’s.',
    '## At the top',
    settings(top),
    '## [libvirt]',
    settings(libvirt?.properties ?? {}),
    ...backends.flatMap(([name, schema]) => [`## [backend.${name}]`, settings(schema.properties ?? {})]),
  );
}

function settings(properties: Readonly<Record<string, Schema>>): string {
  return Object.entries(properties)
    .map(([name, { description = '', rule = '', unit, default: fallback }]) => {
      const facts = [
        `- Default: \`${toml(fallback)}\``,
        ...(unit === undefined ? [] : [`- Unit: ${unit}`]),
        `- Must be ${rule}.`,
      ];
      return `### ${name}\n\n${description}\n\n${facts.join('\n')}`;
    })
    .join('\n\n');
}

function toml(value: unknown): string {
  return Array.isArray(value) ? `[${value.map(toml).join(', ')}]` : JSON.stringify(value);
}

function commandLine(): string {
  const options = (list: Readonly<Record<string, Option>>): string =>
    table(
      ['option', 'meaning'],
      Object.entries(list).map(([name, { value, description, required }]) => [
        `\`--${name}${value === null ? '' : ` ${value}`}\``,
        `${description}${required === true ? ' (required)' : ''}`,
      ]),
    );
  return page(
    '# Command line',
    '`fairlead COMMAND [OPTION …]`. Every command but `up` asks the agent over its socket.',
    'Results go to standard output, errors to standard error. With `--json` there is exactly one JSON object on standard output, whatever happens; an error is `{"error":{…}}`. The exit status is 0 for an answer, and goes with the [code of the error](errors.md) otherwise. Verdicts and outcomes are answers.',
    '## Options of every command',
    options(COMMON_OPTIONS),
    '`fairlead --version` prints the version.',
    ...COMMANDS.flatMap((command) => [
      `## ${command.name}`,
      `\`${usageLine(command)}\``,
      `${command.summary.charAt(0).toUpperCase()}${command.summary.slice(1)}.`,
      ...(Object.keys(command.options).length === 0 ? [] : [options(command.options)]),
      ...command.notes,
    ]),
  );
}

function api(): string {
  return page(
    '# HTTP',
    'The agent speaks HTTP/1.1 with JSON on the unix socket `agent.sock` in `run_dir`. The same is described for programs by the OpenAPI document that it serves at `GET /v1/openapi.json`.',
    'Who may ask is decided once a connection, by the credentials of the process at the other end: root, the agent’s own user, and whoever `allowed_uids` and `allowed_gids` name. Unknown fields are refused, in the query too. A method that a path has not is answered 405 with `Allow`, a body of another type than `application/json` 415. Requests without a body may say their deadline as `?timeoutMs=`. Requests on one connection are answered one after the other. A client that closes its connection takes back its interest, not what was done already.',
    '```\ncurl --unix-socket /run/fairlead/agent.sock http://localhost/v1/mounts\n```',
    ...ROUTES.flatMap(({ method, path, summary, flags, body, reply }) => [
      `## ${method} ${path}`,
      summary,
      ...(flags === undefined
        ? []
        : [
            'In the query:',
            table(
              ['flag', 'meaning'],
              Object.entries(flags).map(([name, meaning]) => [`\`${name}=true\``, meaning]),
            ),
          ]),
      ...(body === null ? [] : ['Request:', fields(whole(body, 'input'))]),
      'Reply:',
      fields(whole(reply, 'output')),
    ]),
    '## Errors',
    'Every error, of whatever layer, has this form, with the [status of its code](errors.md); for the fields `method` and `content-type` it is 405 and 415.',
    fields(whole(errorReply, 'output')),
  );
}

/** The form's schema with everything that it refers to in its place. */
function whole(form: z.ZodType, io: 'input' | 'output'): Schema {
  const root = z.toJSONSchema(form, { io }) as Schema;
  const inPlace = (part: unknown): unknown => {
    if (typeof part !== 'object' || part === null) return part;
    if (Array.isArray(part)) return part.map(inPlace);
    const { $ref, ...own } = part as Schema;
    const named = $ref === undefined ? {} : (root.$defs?.[$ref.replace('#/$defs/', '')] ?? {});
    return Object.fromEntries(Object.entries({ ...named, ...own }).map(([name, value]) => [name, inPlace(value)]));
  };
  return inPlace(root) as Schema;
}

function fields(schema: Schema): string {
  if (schema.anyOf !== undefined && schema.properties === undefined) {
    return schema.anyOf.map(fields).join('\n\nor, with `dryRun`:\n\n');
  }
  return table(['field', 'type', 'meaning'], rows(schema, ''));
}

function rows(schema: Schema, prefix: string): string[][] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, field]) => {
    const path = `${prefix}${name}`;
    const optional = schema.required?.includes(name) === true ? '' : ' (optional)';
    const inside = (field.anyOf ?? [field]).flatMap((part) => [
      ...rows(part, `${path}.`),
      ...(part.items === undefined ? [] : rows(part.items, `${path}[].`)),
    ]);
    return [[`\`${path}\``, `${typeOf(field)}${optional}`, field.description ?? ''], ...inside];
  });
}

function typeOf(schema: Schema): string {
  if (schema.anyOf !== undefined) return schema.anyOf.map(typeOf).join(' or ');
  if (schema.enum !== undefined) return schema.enum.map((one) => `\`${String(one)}\``).join(', ');
  if (schema.const !== undefined) return `\`${String(schema.const)}\``;
  if (schema.items !== undefined) return `list of ${typeOf(schema.items)}`;
  return String(schema.type ?? 'any');
}

function errors(): string {
  const meanings: Readonly<Record<keyof typeof ERROR_CODES, string>> = {
    'invalid-argument': 'The request is not well formed; `field` names what is at fault.',
    'not-found': 'What was named does not exist.',
    'permission-denied': 'This caller, or this host’s configuration, does not allow it.',
    conflict: 'The same key is there with other arguments; or another process has the place already.',
    busy: 'Processes use the mount.',
    foreign: 'Something else is mounted, or lies, where the volume belongs. It is never touched.',
    unhealthy: 'The volume is mounted, but `stale`, `denied` or `read-only`.',
    hung: 'The volume’s server does not answer.',
    'deadline-exceeded': 'The answer was not ready in time. Work that has begun goes on.',
    stuck: 'An earlier operation on this volume is not over, because something may still act there.',
    'helper-failed':
      'The mount helper failed; `helperOutput` has the lines of known forms that it printed, and how many were withheld.',
    'helper-untrusted': 'The mount helper is missing, or somebody else than root could have changed it.',
    'config-invalid': 'The configuration cannot be used; the message names line, setting and mend.',
    unavailable: 'There is no agent, no broker, or systemd is not ready.',
    'resource-exhausted': 'A limit is reached: requests, helpers, or the space of the state disk.',
    internal: 'A defect of Fairlead. The log has its cause.',
  };
  const list = Object.entries(ERROR_CODES).map(([code, { exit, http, grpc, retryable }]) => [
    `\`${code}\``,
    String(exit),
    http === null ? '–' : String(http),
    grpc ?? '–',
    retryable ? 'yes' : 'no',
    meanings[code as keyof typeof ERROR_CODES],
  ]);
  return page(
    '# Errors',
    'One closed list, the same for the command line, HTTP and the log. *Retry* says whether the same request may succeed later without anybody changing it. Messages say what to do next; they never hold a credential, a volume’s name or what a helper printed.',
    table(['code', 'exit status', 'HTTP', 'gRPC', 'retry', 'meaning'], list),
    '`fairlead doctor` has one more exit status: 1, when it could look and found an error. Without an agent it ends with 15.',
  );
}
