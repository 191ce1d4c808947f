// Troubles that Fairlead is not ready for yet, so that they are off unless a run asks for them by FAIRLEAD_SIM_ALSO: a comma
// between two names. A switch goes away, and its trouble stays, as soon as seeds hold with it.

/** `groups`: some hosts have no control groups of ours, so that a helper's process group is all that is known of it. */
export type Switch = 'groups';

const asked = (process.env['FAIRLEAD_SIM_ALSO'] ?? '').split(',');

/** Whether the run has this trouble, too. */
export function isOn(name: Switch): boolean {
  return asked.includes(name);
}
