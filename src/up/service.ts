// A process that `fairlead up` starts beside the agent (the broker, the hypervisor process): it reads the configuration for itself,
// starts, says that it is ready, and ends when it is told to.

import { loadConfig, type Config } from '../config.js';
import { ERROR_CODES, errorBody } from '../core/errors.js';
import { SHUTDOWN_MS } from '../core/limits.js';
import { createLog, descriptorSink, type Log } from '../sys/log.js';
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
  let log = createLog(name, 'info', descriptorSink(LOG_DESCRIPTOR));
  try {
    const config = loadConfig(configArgument(process.argv.slice(2)));
    log = createLog(name, config.logLevel, descriptorSink(LOG_DESCRIPTOR));
    endWhenTold(await start(config, log), log);
    tellSupervisor({ ready: true });
  } catch (error) {
    const body = errorBody(error);
    log.error('not-started', { error });
    tellSupervisor({ failed: body });
    leave(log, ERROR_CODES[body.code].exit);
  }
}

function endWhenTold(service: Service, log: Log): void {
  let ending = false;
  const end = (why: string): void => {
    if (ending) return;
    ending = true;
    log.info('ending', { why });
    setTimeout(() => leave(log, ERROR_CODES.internal.exit), SHUTDOWN_MS).unref();
    void service.close().then(() => leave(log, 0));
  };
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
  process.on('disconnect', () => end('the starter has gone'));
}

function leave(log: Log, status: number): never {
  log.flush();
  process.exit(status);
}
