// What a simulated mount helper may do instead of its work.

/** See the file's head. `crew`: it does its work, and leaves a second process beside the client. */
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
  | 'late'
  | 'nothing'
  | 'dies'
  | 'dies-mounted'
  | 'missing'
  | 'untrusted';
