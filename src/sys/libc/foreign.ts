// The one door to libc: declares a foreign function once, with fixed types, and turns its failures into errors. Only the
// files beside this one may import it, and only this one imports the FFI library.

import { constants } from 'node:os';
import koffi from 'koffi';
import { SystemCallError } from './errors.js';

const libc = koffi.load(null);
const EINTR = constants.errno.EINTR;

/** A C type as an argument, with the JavaScript value that stands for it. */
interface Type<Value> {
  readonly c: string;
  /** Only for the type checker. */
  readonly value?: Value;
}

/** `int`: descriptors, flags, counts. */
export const INT: Type<number> = { c: 'int' };
/** `unsigned int`: masks and modes. */
export const UINT: Type<number> = { c: 'unsigned int' };
/** `size_t`: bytes, and poll(2)'s number of descriptors. */
export const SIZE: Type<number> = { c: 'size_t' };
/** A string, handed over in UTF-8 with its NUL. */
export const TEXT: Type<string> = { c: 'const char *' };
/** A buffer that the call reads or fills; null for a null pointer. */
export const BUFFER: Type<Uint8Array | null> = { c: 'void *' };

type Values<Types extends readonly Type<unknown>[]> = {
  [Index in keyof Types]: Types[Index] extends Type<infer Value> ? Value : never;
};

/**
 * A function of libc that returns an int (or a size that fits into one). It answers what libc answers, and throws {@link SystemCallError} where libc answers a negative
 * number.
 */
export function foreign<const Types extends readonly Type<unknown>[]>(
  name: string,
  types: Types,
): (...values: Values<Types>) => number {
  const call = libc.func(name, 'int', cTypes(types));
  return (...values) => checked(name, () => call(...values) as number);
}

/**
 * The same on a thread of libuv's pool, for calls that may hang. A call that hangs keeps its thread, and its buffers,
 * until the kernel lets it go.
 */
export function foreignAsync<const Types extends readonly Type<unknown>[]>(
  name: string,
  types: Types,
): (...values: Values<Types>) => Promise<number> {
  const call = libc.func(name, 'int', cTypes(types));
  return (...values) => pooled(name, call, values);
}

/**
 * A system call that libc has no function for (or not in every release that we support), by its number. syscall(2) is
 * variadic in C; for integers and pointers the calling conventions of x86-64 and AArch64 Linux are those of a function
 * with a fixed prototype.
 */
export function systemCall<const Types extends readonly Type<unknown>[]>(
  name: string,
  number: number,
  types: Types,
): (...values: Values<Types>) => number {
  const call = libc.func('syscall', 'long', ['long', ...cTypes(types)]);
  return (...values) => checked(name, () => call(number, ...values) as number);
}

/** {@link systemCall} on a thread of libuv's pool, like {@link foreignAsync}. */
export function systemCallAsync<const Types extends readonly Type<unknown>[]>(
  name: string,
  number: number,
  types: Types,
): (...values: Values<Types>) => Promise<number> {
  const call = libc.func('syscall', 'long', ['long', ...cTypes(types)]);
  return (...values) => pooled(name, call, [number, ...values]);
}

function pooled(name: string, call: ReturnType<typeof libc.func>, values: readonly unknown[]): Promise<number> {
  return new Promise((resolve, reject) => {
    call.async(...values, (error: unknown, result: number) => {
      if (error instanceof Error) {
        reject(error);
        return;
      }
      if (result >= 0) {
        resolve(result);
        return;
      }
      // The FFI library hands on the errno of the pool's thread for as long as this callback runs.
      const errno = koffi.errno();
      if (errno === EINTR) resolve(pooled(name, call, values));
      else reject(new SystemCallError(name, errno));
    });
  });
}

/** A signal (a child's end, for instance) interrupts even a call that does not wait (signal(7)); it is made again. */
function checked(name: string, call: () => number): number {
  for (;;) {
    const result = call();
    if (result >= 0) return result;
    const errno = koffi.errno();
    if (errno !== EINTR) throw new SystemCallError(name, errno);
  }
}

function cTypes(types: readonly Type<unknown>[]): string[] {
  return types.map((type) => type.c);
}
