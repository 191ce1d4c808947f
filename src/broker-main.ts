// The broker as a process: `broker-main [--config FILE]`. Nothing else comes in: no environment that decides anything outside a
// test.

import { startBroker } from './broker/start.js';
import { runService } from './up/service.js';

await runService('broker', (config, log) => startBroker(config, { log, haltAt: process.env['FAIRLEAD_HALT_AT'] }));
