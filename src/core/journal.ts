// The points of an operation at which a crash is worth thinking about, enumerated so that a test can stop at each.
// `reach` does nothing in production. In an isolated set-up (`isolated = true`) the environment may name a point at
// which the process kills itself with SIGKILL; a test run that never hits one of these points has failed.

/**
 * Points in the agent. `step.X.before`: journaled as begun, not yet asked for. `step.X.after`: its end is known, not yet
 * journaled. The others: the commit that the name speaks of has just become durable, or is just about to be asked for.
 */
export const AGENT_POINTS = [
  'connect.planned',
  'connect.journaled',
  'connect.verified',
  'connect.recorded',
  'undo.begun',
  'disconnect.recorded',
  'release.verified',
  'release.closed',
  'recover.journaled',
  'recover.verified',
  'step.make-leaf.before',
  'step.make-leaf.after',
  'step.mount.before',
  'step.mount.after',
  'step.harden.before',
  'step.harden.after',
  'step.unmount.before',
  'step.unmount.after',
  'step.detach-dead.before',
  'step.detach-dead.after',
  'step.remove-leaf.before',
  'step.remove-leaf.after',
] as const;

/** Points in the broker. `X.done`: the effect is in the world and the reply has not been sent. */
export const BROKER_POINTS = [
  'broker.make-leaf.done',
  'broker.mount.starting',
  'broker.mount.forked',
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
