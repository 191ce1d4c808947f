// The points of an operation at which a crash is worth thinking about, enumerated so that a test can stop at each.
// `reach` does nothing in production. In an isolated set-up (`isolated = true`) the environment may name a point at
// which the process kills itself with SIGKILL; a test run that never hits one of these points has failed.

/** Points in the agent. `X.before`: journaled as begun, not yet asked for. `X.after`: its end is known, not yet journaled. */
export const AGENT_POINTS = [
  'connect.planned',
  'connect.journaled',
  'connect.make-leaf.before',
  'connect.make-leaf.after',
  'connect.mount.before',
  'connect.mount.after',
  'connect.harden.before',
  'connect.harden.after',
  'connect.verified',
  'connect.recorded',
  'connect.attached',
  'undo.unmount.before',
  'undo.unmount.after',
  'undo.remove-leaf.before',
  'undo.remove-leaf.after',
  'disconnect.recorded',
  'release.unmount.before',
  'release.unmount.after',
  'release.remove-leaf.before',
  'release.remove-leaf.after',
  'release.verified',
  'release.closed',
  'recover.journaled',
  'recover.unmount.before',
  'recover.unmount.after',
  'recover.detach-dead.before',
  'recover.detach-dead.after',
  'recover.mount.before',
  'recover.mount.after',
  'recover.harden.before',
  'recover.harden.after',
  'recover.recorded',
] as const;

/** Points in the broker. `X.done`: the effect is in the world and the reply has not been sent. */
export const BROKER_POINTS = [
  'broker.make-leaf.done',
  'broker.mount.starting',
  'broker.mount.helper-ended',
  'broker.mount.done',
  'broker.harden.done',
  'broker.unmount.done',
  'broker.detach-dead.done',
  'broker.remove-leaf.done',
] as const;

/** See {@link AGENT_POINTS}. */
export type AgentPoint = (typeof AGENT_POINTS)[number];
/** See {@link BROKER_POINTS}. */
export type BrokerPoint = (typeof BROKER_POINTS)[number];

/** Called at each point. */
export type Reach<Point extends string> = (point: Point) => void;
