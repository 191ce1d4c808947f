// Names that come from outside and are not volumes: consumers and disks. Parsed once, here, and typed from then on.

import type { Brand } from './brand.js';

/** `KIND:ID`, for instance `nova:<uuid>` or `cli:alice`. */
export type Consumer = Brand<string, 'Consumer'>;
/** A file's name inside a volume: one path component, at most 255 bytes. */
export type DiskName = Brand<string, 'DiskName'>;
