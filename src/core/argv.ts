// Argument vectors. A plain text is an operand: a value, perhaps from outside. An option is written as one, in our own
// source. So no value can ever stand where a program reads an option, whoever forgot to check it.

/** A word of an argument vector that may begin with a dash. */
export interface OptionWord {
  readonly option: string;
}

/** One word of an argument vector: an operand, or an option. */
export type Argument = string | OptionWord;

/** An option; `word` is a literal of our source, never a value. */
export function option(word: string): OptionWord {
  return { option: word };
}

/**
 * The words to start a program with. Throws RangeError for an operand that could be read as an option, for an empty one,
 * and for NUL, which would cut it: those are defects of whoever made the vector, so not among the foreseen errors.
 */
export function argumentVector(args: readonly Argument[]): readonly string[] {
  return args.map((argument) => {
    if (typeof argument !== 'string') return argument.option;
    if (argument === '') throw new RangeError('an operand must not be empty');
    if (argument.startsWith('-')) throw new RangeError('an operand must not begin with a dash');
    if (argument.includes('\0')) throw new RangeError('an operand must not contain NUL');
    return argument;
  });
}
