// What a simulated mount helper may do instead of its work.

/**
 * See the file's head. `crew`: it does its work, and leaves a second process beside the client. `strange`: the table says
 * something else of the mount than was asked for. `snatched`: somebody takes the mount away at once, and keeps a part of it.
 */
export type Mood =
  | 'prompt'
  | 'slow'
  | 'crew'
  | 'fails'
  | 'fails-mounted'
  | 'hangs'
  | 'hangs-mounted'
  | 'stubborn'
  | 'wrong'
  | 'strange'
  | 'snatched'
  | 'late'
  | 'nothing'
  | 'dies'
  | 'dies-mounted'
  | 'missing'
  | 'untrusted';
