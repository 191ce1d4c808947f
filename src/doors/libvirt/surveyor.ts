// The surveyor reads libvirt's domains now and then and gives them to the engine as evidence. It decides nothing, holds up nothing, and
// says something only when something has changed.

import { FairleadError } from '../../core/errors.js';
import type { LibvirtDoorPorts } from './ports.js';

/** Milliseconds for reading all domains. */
const SURVEY_MS = 30_000;

/** Begins to survey: at once, at every interval, and whenever the hypervisor process has been connected. The returned function ends it. */
export function startSurveyor(ports: LibvirtDoorPorts): () => void {
  const { hypervisor, clock, settings } = ports;
  const stopped = new AbortController();
  let woken = new AbortController();
  const forget = hypervisor.onConnect(() => {
    woken.abort();
  });
  const sight = new Sight(ports);
  const run = async (): Promise<void> => {
    while (!stopped.signal.aborted) {
      // Made before the survey: who connects during it is not overlooked.
      woken = new AbortController();
      const { signal } = woken;
      await surveyOnce(ports, sight, stopped.signal);
      await clock.sleep(settings.surveyIntervalMs, AbortSignal.any([signal, stopped.signal]));
    }
  };
  void run();
  return () => {
    stopped.abort();
    forget();
  };
}

async function surveyOnce(
  { engine, hypervisor, log }: LibvirtDoorPorts,
  sight: Sight,
  stop: AbortSignal,
): Promise<void> {
  try {
    const survey = await hypervisor.survey(SURVEY_MS);
    if (stop.aborted) return;
    engine.takeEvidence(survey);
    sight.is(survey.complete ? 'complete' : 'incomplete');
  } catch (error) {
    if (stop.aborted) return;
    engine.takeEvidence(null);
    if (error instanceof FairleadError) sight.is('away', error);
    else log.warn('survey-failed', { error });
  }
}

/** What is known of libvirt, said once each time it becomes something else. */
class Sight {
  readonly #ports: LibvirtDoorPorts;
  #now: 'nothing' | 'complete' | 'incomplete' | 'away' = 'nothing';

  constructor(ports: LibvirtDoorPorts) {
    this.#ports = ports;
  }

  is(now: 'complete' | 'incomplete' | 'away', error?: FairleadError): void {
    const before = this.#now;
    if (now === before) return;
    this.#now = now;
    const { log, settings } = this.#ports;
    switch (now) {
      case 'complete':
        log.info('domains-read');
        return;
      case 'incomplete':
        log.warn('domains-read-in-part');
        return;
      case 'away': {
        // A host that never had libvirt has nothing to be warned of.
        const level = before === 'nothing' && settings.enabled === 'auto' ? 'info' : 'warn';
        log[level]('domains-not-read', { error });
        return;
      }
    }
  }
}
