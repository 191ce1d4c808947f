// What a simulated mount helper may do instead of its work.

/** What a mount helper may do instead of its work. */
export type Mood =
  | 'prompt'
  | 'slow'
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
