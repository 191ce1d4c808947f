// The closed list of errors. Every failure that Fairlead foresees is one of these; anything else passes unchanged.
// Messages say what to do next. They never carry a credential, a volume's name or raw helper output: the field and
// the leaf are enough to find the place, and what may be seen of a helper's output travels in a field of its own.

import type { Leaf } from './volume.js';

/** What each code means outside: CLI exit status, HTTP status, gRPC code, and whether the same request may succeed later. */
export const ERROR_CODES = {
  'invalid-argument': { exit: 2, http: 400, grpc: 'INVALID_ARGUMENT', retryable: false },
  'not-found': { exit: 3, http: 404, grpc: 'NOT_FOUND', retryable: false },
  'permission-denied': { exit: 4, http: 403, grpc: 'PERMISSION_DENIED', retryable: false },
  conflict: { exit: 5, http: 409, grpc: 'ALREADY_EXISTS', retryable: false },
  busy: { exit: 6, http: 409, grpc: 'FAILED_PRECONDITION', retryable: true },
  foreign: { exit: 7, http: 409, grpc: 'FAILED_PRECONDITION', retryable: false },
  unhealthy: { exit: 8, http: 503, grpc: 'UNAVAILABLE', retryable: true },
  hung: { exit: 9, http: 504, grpc: 'DEADLINE_EXCEEDED', retryable: true },
  'deadline-exceeded': { exit: 10, http: 504, grpc: 'DEADLINE_EXCEEDED', retryable: true },
  stuck: { exit: 11, http: 503, grpc: 'ABORTED', retryable: true },
  'helper-failed': { exit: 12, http: 502, grpc: 'INTERNAL', retryable: true },
  'helper-untrusted': { exit: 13, http: 500, grpc: 'FAILED_PRECONDITION', retryable: false },
  'config-invalid': { exit: 14, http: null, grpc: null, retryable: false },
  unavailable: { exit: 15, http: 503, grpc: 'UNAVAILABLE', retryable: true },
  'resource-exhausted': { exit: 16, http: 429, grpc: 'RESOURCE_EXHAUSTED', retryable: true },
  internal: { exit: 70, http: 500, grpc: 'INTERNAL', retryable: false },
} as const;

/** One of the closed list of error codes. */
export type ErrorCode = keyof typeof ERROR_CODES;

/** What may accompany an error. */
export interface ErrorDetails {
  /** The field of the request or of the configuration that is at fault. */
  readonly field?: string;
  /** The mount the error is about. */
  readonly leaf?: Leaf;
  /** What the mount helper printed: its lines of known forms, and how many were withheld. Of libvirt and qemu-img: their words, redacted. */
  readonly helperOutput?: string;
  readonly cause?: unknown;
}

/** An error as it is shown outside: `--json`, HTTP bodies, broker frames. */
export interface ErrorBody {
  readonly code: ErrorCode;
  readonly message: string;
  readonly field?: string;
  readonly retryable: boolean;
  readonly leaf?: string;
  readonly helperOutput?: string;
}

/** A failure from the closed list. */
export class FairleadError extends Error {
  readonly code: ErrorCode;
  readonly field: string | undefined;
  readonly leaf: Leaf | undefined;
  readonly helperOutput: string | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'FairleadError';
    this.code = code;
    this.field = details.field;
    this.leaf = details.leaf;
    this.helperOutput = details.helperOutput === '' ? undefined : details.helperOutput;
  }

  /** Whether the same request may succeed later without anybody changing it. */
  get retryable(): boolean {
    return ERROR_CODES[this.code].retryable;
  }
}

/** Whether `text` is one of the closed list of codes. */
export function isErrorCode(text: unknown): text is ErrorCode {
  return typeof text === 'string' && Object.hasOwn(ERROR_CODES, text);
}

/**
 * The outside form of any failure. What is not a `FairleadError` becomes `internal` with a fixed message, since the
 * text of an unforeseen error may quote anything; its cause belongs into the log.
 */
export function errorBody(error: unknown): ErrorBody {
  if (!(error instanceof FairleadError)) {
    return {
      code: 'internal',
      message: 'Fairlead met an error it does not know; the log of the agent has its cause.',
      retryable: false,
    };
  }
  return {
    code: error.code,
    message: error.message,
    ...(error.field === undefined ? {} : { field: error.field }),
    retryable: error.retryable,
    ...(error.leaf === undefined ? {} : { leaf: error.leaf }),
    ...(error.helperOutput === undefined ? {} : { helperOutput: error.helperOutput }),
  };
}

/** The error that a body stands for (the inverse of {@link errorBody}). */
export function errorFromBody(body: ErrorBody): FairleadError {
  return new FairleadError(body.code, body.message, {
    ...(body.field === undefined ? {} : { field: body.field }),
    ...(body.leaf === undefined ? {} : { leaf: body.leaf as Leaf }),
    ...(body.helperOutput === undefined ? {} : { helperOutput: body.helperOutput }),
  });
}
