// The hypervisor process: `hypervisor-main [--config FILE]`. Nothing else comes in.

import { startHypervisor } from './hypervisor/start.js';
import { runService } from './up/service.js';

await runService('hypervisor', startHypervisor);
