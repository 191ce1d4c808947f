// The registry list of a Quobyte export: `host[:port]` separated by commas. Grammar and identity: two spellings of one
// registry have one key, so that lists can be compared as sets with whatever the mount table shows.

import { MAX_REGISTRIES } from '../core/limits.js';
import { parsePort } from '../core/numbers.js';
import { checkText, refusal } from '../core/text.js';

/** Port of a registry that names none (Quobyte's documentation). */
const DEFAULT_PORT = 7861;
/** RFC 1035 2.3.4, as text without the trailing dot. */
const MAX_HOST_BYTES = 253;
/** Brackets, the longest IPv6 text and a port fit into this as well. */
const MAX_REGISTRY_BYTES = 300;
/** Underscores are no host names, but stand in SRV names, which the client takes too. */
const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;
const OCTET = /^(?:0|[1-9][0-9]{0,2})$/;
const GROUP = /^[0-9a-f]{1,4}$/;

/** What a registry is, however it is spelt: lower-case host, IPv6 written out, port always given. */
type RegistryKey = string;

/** The key of one `host[:port]`; `invalid-argument` if it is none. Also for `registries` in the configuration. */
export function parseRegistry(value: unknown, field: string): RegistryKey {
  const text = checkText(value, field, { maxBytes: MAX_REGISTRY_BYTES, blanks: 'refused' });
  if (/^[^[\]]*:[^[\]]*:/.test(text)) {
    throw refusal(field, 'must have IPv6 addresses in brackets, for instance [2001:db8::1] or [2001:db8::1]:7861');
  }
  const match = /^(\[[^[\]]*\]|[^[\]:]*)(?::(.*))?$/.exec(text);
  if (match === null) throw refusal(field, 'must give each registry as host or host:port, an IPv6 address in brackets');
  const host = hostKey((match[1] ?? '').toLowerCase());
  if (host === null) {
    throw refusal(field, 'must name each registry by a DNS name, an IPv4 address or an IPv6 address in brackets');
  }
  const port = match[2] === undefined ? DEFAULT_PORT : parsePort(match[2], field);
  return `${host}:${port}`;
}

/** The keys of a list separated by `separator`. */
export function parseRegistries(text: string, field: string, separator: RegExp): ReadonlySet<RegistryKey> {
  if (text.includes('@'))
    throw refusal(field, 'must not carry a user or a password; the mount helper has credentials of its own');
  const parts = text.split(separator);
  if (parts.length > MAX_REGISTRIES) throw refusal(field, `must name at most ${MAX_REGISTRIES} registries`);
  if (parts.includes('')) throw refusal(field, 'must name a registry before the slash, and none of them empty');
  return new Set(parts.map((part) => parseRegistry(part, field)));
}

/** The one spelling of a lower-case host, or null. */
function hostKey(host: string): string | null {
  if (host.startsWith('[')) return ipv6Key(host.slice(1, -1));
  const labels = host.split('.');
  // A last dot says that the name is complete, so resolvers add no search domain to it: it is another name than without.
  if (labels.length > 1 && labels.at(-1) === '') labels.pop();
  // A name that ends in digits is read as an address by resolvers, so it must be a proper one.
  if (/^[0-9]+$/.test(labels.at(-1) ?? '')) return ipv4Groups(host) === null ? null : host;
  return labels.join('.').length <= MAX_HOST_BYTES && labels.every((label) => LABEL.test(label)) ? host : null;
}

/** The address as two groups of 16 bits, or null. */
function ipv4Groups(text: string): readonly string[] | null {
  const octets = text.split('.');
  if (octets.length !== 4 || !octets.every((octet) => OCTET.test(octet) && Number(octet) <= 255)) return null;
  const [a = 0, b = 0, c = 0, d = 0] = octets.map(Number);
  return [(a * 256 + b).toString(16), (c * 256 + d).toString(16)];
}

/** Eight groups in hex without leading zeros, in brackets, or null (RFC 4291 2.2; zones are refused). */
function ipv6Key(text: string): string | null {
  const halves = text.split('::');
  if (halves.length > 2) return null;
  const [head, tail] = halves.map(ipv6Groups);
  if (head === null || head === undefined || tail === null) return null;
  if (tail === undefined) return head.length === 8 ? `[${head.join(':')}]` : null;
  const missing = 8 - head.length - tail.length;
  // An address whose dotted part stands before `::` would be misread; the dotted part is last by the grammar.
  if (missing < 1 || (halves[0] ?? '').includes('.')) return null;
  return `[${[...head, ...Array<string>(missing).fill('0'), ...tail].join(':')}]`;
}

function ipv6Groups(text: string): readonly string[] | null {
  if (text === '') return [];
  const groups: string[] = [];
  const parts = text.split(':');
  for (const [index, part] of parts.entries()) {
    const dotted = index === parts.length - 1 && part.includes('.') ? ipv4Groups(part) : null;
    if (dotted !== null) groups.push(...dotted);
    else if (GROUP.test(part)) groups.push(part.replace(/^0+(?=.)/, ''));
    else return null;
  }
  return groups;
}
