// Branded types: text that has passed a parser once, so that nothing inside takes a plain string on trust.

declare const brand: unique symbol;

/** `T` that only the parser named by `B` can make. */
export type Brand<T, B extends string> = T & { readonly [brand]: B };
