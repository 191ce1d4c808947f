// The broker as a process: `broker-main [--config FILE]`. Reads the configuration for itself, starts, says that it is
// ready, and ends when it is told to. Nothing else comes in: no environment that decides anything outside a test.

import { startBroker, type RunningBroker } from './broker/start.js';
import { loadConfig } from './config.js';
import { ERROR_CODES, errorBody } from './core/errors.js';
import { SHUTDOWN_MS } from './core/limits.js';
import { createLog, descriptorSink, type Log } from './sys/log.js';
import { configArgument, tellSupervisor } from './up/child.js';

/** Standard error. */
const LOG_DESCRIPTOR = 2;

async function main(args: readonly string[]): Promise<void> {
  process.title = 'fairlead-broker';
  let log = createLog('broker', 'info', descriptorSink(LOG_DESCRIPTOR));
  try {
    const config = loadConfig(configArgument(args));
    log = createLog('broker', config.logLevel, descriptorSink(LOG_DESCRIPTOR));
    const broker = await startBroker(config, { log, haltAt: process.env['FAIRLEAD_HALT_AT'] });
    endWhenTold(broker, log);
    tellSupervisor({ ready: true });
  } catch (error) {
    const body = errorBody(error);
    log.error('not-started', { error });
    tellSupervisor({ failed: body });
    leave(log, ERROR_CODES[body.code].exit);
  }
}

/** SIGTERM and SIGINT end us; so does the end of whoever started us over a channel. */
function endWhenTold(broker: RunningBroker, log: Log): void {
  let ending = false;
  const end = (why: string): void => {
    if (ending) return;
    ending = true;
    log.info('ending', { why });
    setTimeout(() => leave(log, ERROR_CODES.internal.exit), SHUTDOWN_MS).unref();
    void broker.close().then(() => leave(log, 0));
  };
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
  process.on('disconnect', () => end('the starter has gone'));
}

function leave(log: Log, status: number): never {
  log.flush();
  process.exit(status);
}

await main(process.argv.slice(2));
