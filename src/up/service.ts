// A process that `fairlead up` starts beside the agent (the broker, the hypervisor process): it reads the configuration for itself,
// starts, says that it is ready, and ends when it is told to.

import { loadConfig, type Config } from '../config.js';
import { ERROR_CODES, errorBody } from '../core/errors.js';
import { SHUTDOWN_MS } from '../core/limits.js';
import { leave } from '../sys/leave.js';
import { descriptorSink } from '../sys/log-sink.js';
import { createLog, type Log } from '../sys/log.js';
import { configArgument, tellSupervisor } from './child.js';

/** Standard error. */
const LOG_DESCRIPTOR = 2;

/** What has been started. */
interface Service {
  close(): Promise<void>;
}

/** Runs it until SIGTERM, SIGINT, or the end of whoever started us over a channel. */
export async function runService(name: string, start: (config: Config, log: Log) => Promise<Service>): Promise<void> {
  process.title = `fairlead-${name}`;
  const sink = descriptorSink(LOG_DESCRIPTOR);
  let log = createLog(name, 'info', sink);
  // Node's own last words would wait for whoever reads them.
  process.on('uncaughtException', (error) => {
    log.error('failed', { error });
    void leave(ERROR_CODES.internal.exit, log);
  });
  try {
    const config = loadConfig(configArgument(process.argv.slice(2)));
    log = createLog(name, config.logLevel, sink);
    endWhenTold(await start(config, log), log);
    tellSupervisor({ ready: true });
  } catch (error) {
    const body = errorBody(error);
    log.error('not-started', { error });
    tellSupervisor({ failed: body });
    await leave(ERROR_CODES[body.code].exit, log);
  }
}

function endWhenTold(service: Service, log: Log): void {
  let ending = false;
  const end = (why: string): void => {
    if (ending) return;
    ending = true;
    log.info('ending', { why });
    setTimeout(() => void leave(ERROR_CODES.internal.exit, log), SHUTDOWN_MS).unref();
    void service.close().then(() => leave(0, log));
  };
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
  process.on('SIGHUP', () => undefined);
  process.on('disconnect', () => end('the starter has gone'));
}
