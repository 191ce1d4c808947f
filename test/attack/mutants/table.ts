// The defects of the driver that Fairlead takes the place of, each put back where Fairlead would have it; and those that
// the attacks found in Fairlead itself. scripts/mutants.ts applies them one at a time and demands that the named tests
// fail. A fragment that is not in its file any more fails too, so the table cannot rot.

import { by, type Mutant } from './mutant.js';

const ATTACK = 'test/unit/attack';
const BACKENDS = 'test/unit/backends';
const BROKER = 'test/unit/broker';
const CORE = 'test/unit/core';
const ENGINE = 'test/unit/engine';
const SYS = 'test/unit/sys';

/** How helpers are started, and with which words. */
const STARTING: readonly Mutant[] = [
  {
    name: 'a blank before the path that tells of systemd',
    claims: ['001-1', '001-2', '002-13', '003-4', '003-6', '003-14'],
    file: 'src/sys/service-manager.ts',
    project: 'fast',
    from: "mark: '/run/systemd/system',",
    to: "mark: ' /run/systemd/system',",
    caughtBy: [
      ...by(`${SYS}/service-manager.test.ts`, 'how helpers are started on this host > looks at one exact path'),
      ...by(`${ATTACK}/source.test.ts`, 'the scan sees the source'),
    ],
  },
  {
    name: 'a state of systemd that nobody knows counts as running',
    claims: ['003-6'],
    file: 'src/sys/service-manager.ts',
    project: 'fast',
    from: "    default:\n      return 'none';",
    to: "    default:\n      return 'systemd';",
    caughtBy: by(
      `${SYS}/service-manager.test.ts`,
      'how helpers are started on this host > is a session when systemctl says %j',
    ),
  },
  {
    name: 'a value may stand where an option is read',
    claims: ['000-10', '001-8', '002-12', '003-1', '003-12', '004-11'],
    file: 'src/core/argv.ts',
    project: 'fast',
    from: "    if (argument.startsWith('-')) throw new RangeError('an operand must not begin with a dash');\n",
    to: '',
    caughtBy: [
      ...by(`${CORE}/argv.test.ts`, 'an argument vector > never has a value where an option is read'),
      ...by(
        `${ATTACK}/r24-units.test.ts`,
        'a value where an option is read > %j is refused before anything is started',
      ),
    ],
  },
  {
    name: 'the service starts without waiting for its helper',
    claims: ['003-5'],
    file: 'src/sys/units-systemd.ts',
    project: 'fast',
    from: "      '--service-type=forking',\n",
    to: '',
    caughtBy: by(`${ATTACK}/r24-units.test.ts`, 'the four argument vectors, %s: > as a service'),
  },
  {
    name: 'scopes are asked of a user manager that nobody has',
    claims: ['003-5'],
    file: 'src/sys/units-systemd.ts',
    project: 'fast',
    from: "        '--scope',\n",
    to: "        '--scope',\n        '--user',\n",
    caughtBy: by(`${ATTACK}/r24-units.test.ts`, 'the four argument vectors, %s: > as a scope'),
  },
  {
    name: 'the helper inherits our environment',
    claims: ['000-17'],
    file: 'src/sys/run.ts',
    project: 'fast',
    from: "{ cwd: '/', env: ENVIRONMENT, detached: true, ...options }",
    to: "{ cwd: '/', detached: true, ...options }",
    caughtBy: by(
      `${SYS}/run.test.ts`,
      'a tool of the system > sees a fixed environment, the root directory, and nothing on standard input, whatever ours are',
    ),
  },
  {
    name: 'a missing helper escapes as a bare error',
    claims: ['000-4', '000-6', '000-16', '001-3', '001-5', '002-11', '003-2'],
    file: 'src/broker/steps/mount-by-helper.ts',
    project: 'fast',
    from: '    return notStarted(context, place, ended);\n  }\n  const',
    to: "    throw new Error('ENOENT');\n  }\n  const",
    caughtBy: [
      ...by(
        `${ATTACK}/r11-outcomes.test.ts`,
        'a mount helper that mounts nothing > and %s is one error, and leaves nothing',
      ),
      ...by(`${BROKER}/steps.test.ts`, 'a mount helper > that is %s is helper-untrusted'),
    ],
  },
];

/** What is let in from outside. */
const PARSING: readonly Mutant[] = [
  {
    name: 'an export may begin with a dash',
    claims: ['000-10', '001-10', '002-2', '002-15', '003-8'],
    file: 'src/backends/quobyte.ts',
    project: 'fast',
    from: "const NAME = '[\\\\p{L}\\\\p{N}_][",
    to: "const NAME = '[",
    caughtBy: by(`${BACKENDS}/quobyte-export.test.ts`, 'an export > is refused: %j'),
  },
  {
    name: 'a disk’s name may lead out of its volume',
    claims: ['000-3', '001-7', '002-15', '003-8', '004-4'],
    file: 'src/core/names.ts',
    project: 'fast',
    from: "  if (text.includes('/')) throw refusal(field, 'must be a single path component, without a slash');\n",
    to: '',
    caughtBy: [
      ...by(`${CORE}/names.test.ts`, 'a disk name > is refused: %j'),
      ...by(
        `${BROKER}/dispatch.test.ts`,
        'volumes are parsed again and placed by the broker alone > the disk %j is refused',
      ),
    ],
  },
  {
    name: 'credentials in a URL are taken off and accepted',
    claims: ['000-14', '004-16'],
    file: 'src/backends/registries.ts',
    project: 'fast',
    from: "  if (text.includes('@'))\n    throw refusal(field, 'must not carry a user or a password; the mount helper has credentials of its own');\n  const parts = text.split(separator);",
    to: "  const parts = text.slice(text.lastIndexOf('@') + 1).split(separator);",
    caughtBy: by(
      `${BACKENDS}/quobyte-export.test.ts`,
      'an export > is refused: %j',
      'an export > says where credentials belong',
    ),
  },
  {
    name: 'any text is a disk format',
    claims: ['000-3'],
    file: 'src/core/disk.ts',
    project: 'fast',
    from: "  return value === undefined ? 'raw' : oneOf(FORMATS, value, field);",
    to: "  return value === undefined ? 'raw' : (value as DiskFormat);",
    caughtBy: [
      ...by(`${CORE}/disk.test.ts`, 'what may be chosen > format: absent is raw, raw and qcow2 are kept, nothing else'),
      ...by(`${ATTACK}/r26-behaviours.test.ts`, 'the visible behaviour of the driver > $number: $what'),
    ],
  },
  {
    name: 'numbers are read as JavaScript reads them',
    claims: ['000-2', '002-5', '003-3'],
    file: 'src/core/numbers.ts',
    project: 'fast',
    from: 'const DECIMAL = /^(?:0|[1-9][0-9]{0,15})$/;',
    to: 'const DECIMAL = /^/;',
    caughtBy: by(`${CORE}/numbers.test.ts`, 'a decimal text > is refused: %j', 'a port > is refused: %j'),
  },
  {
    name: 'cache and io modes are not checked together',
    claims: ['000-8'],
    file: 'src/core/disk.ts',
    project: 'fast',
    from: "pair.io === 'native' && pair.cache !== 'none'",
    to: "pair.io !== 'native' && pair.cache !== 'none'",
    caughtBy: by(`${CORE}/disk.test.ts`, 'cache and io > %s with %s is refused at %s'),
  },
  {
    name: 'two backends may share one mount base',
    claims: ['003-10'],
    file: 'src/config/agree.ts',
    project: 'fast',
    from: 'if (name !== other && (base === otherBase || isBelow(base, otherBase))) {',
    to: 'if (name !== other && isBelow(base, otherBase) && base === otherBase) {',
    caughtBy: by(
      'test/unit/config/parse.test.ts',
      'a mount base > may not be shared between backends or lie in another, nor hold the state',
    ),
  },
  {
    name: 'the broker takes whatever members a request has',
    claims: ['000-11', '000-20', '002-3', '003-1'],
    file: 'src/broker/protocol.ts',
    project: 'fast',
    from: "  step: z.strictObject({ ...head, verb: z.literal('step')",
    to: "  step: z.looseObject({ ...head, verb: z.literal('step')",
    caughtBy: by(
      `${BROKER}/dispatch.test.ts`,
      'requests that are not exactly as the protocol has them end the connection > %s with hostile arguments',
    ),
  },
  {
    name: 'the broker serves whoever connects',
    claims: ['000-11', '003-1'],
    file: 'src/link/session.ts',
    project: 'fast',
    from: "  return peer.uid === agentUid ? 'agent' : null;",
    to: "  return peer.uid === agentUid ? 'agent' : 'root';",
    caughtBy: by(`${BROKER}/dispatch.test.ts`, 'who may speak > %s is cut off before a byte is read'),
  },
];

/** Where a mount may be made. */
const PLACES: readonly Mutant[] = [
  {
    name: 'a link at the leaf is followed: the plan',
    claims: ['000-21', '002-7', '003-9', '004-3', '004-5'],
    file: 'src/core/plan.ts',
    project: 'fast',
    from: "  if (obstruction !== null) return refuse('foreign', observation, obstruction);\n  switch (observation.directory) {",
    to: "  if (obstruction !== null && observation.directory !== 'link') return refuse('foreign', observation, obstruction);\n  switch (observation.directory === 'link' ? 'empty' : observation.directory) {",
    caughtBy: by(`${CORE}/plan.test.ts`, 'a connect > where nothing is mounted and the leaf is %s'),
  },
  {
    name: 'a link at the leaf is followed: the broker',
    claims: ['000-20', '000-21', '002-3', '004-3', '004-5'],
    file: 'src/broker/policy.ts',
    project: 'fast',
    from: '  const obstruction = obstructionAt(directory);\n  if (obstruction !== null) throw foreign(place, obstruction);\n  switch (directory) {',
    to: "  const obstruction = obstructionAt(directory);\n  if (obstruction !== null && directory !== 'link') throw foreign(place, obstruction);\n  switch (directory === 'link' ? 'empty' : directory) {",
    caughtBy: by(
      `${BROKER}/steps.test.ts`,
      'steps out of order, and steps on what is not ours > mount onto a leaf that is %s is refused, and no helper starts',
    ),
  },
  {
    name: 'whoever may write the base is not asked about',
    claims: ['004-2', '002-7', '003-9'],
    file: 'src/sys/soundness.ts',
    project: 'fast',
    from: '    if ((mode & WRITABLE_BY_OTHERS) !== 0 && (isLast || (mode & STICKY) === 0)) {',
    to: '    if (mode < 0) {',
    caughtBy: by(
      `${BROKER}/steps.test.ts`,
      'a base that somebody else could change is refused, whatever the step > ${}: the base %s',
    ),
  },
  {
    name: 'the client configuration is not looked at again',
    claims: ['001-12', '004-7', '004-14', '003-12'],
    file: 'src/broker/policy.ts',
    project: 'fast',
    from: '  if (place.configFile === null) return;',
    to: '  if (place.configFile !== undefined) return;',
    caughtBy: by(
      `${BROKER}/steps.test.ts`,
      'a mount helper > with a client configuration that others can write is not started',
    ),
  },
  {
    name: 'a volume reaches another one of the same digest',
    claims: [],
    file: 'src/engine/context.ts',
    project: 'fast',
    from: '    if (owner === undefined || owner.url === url) return;',
    to: '    if (owner === undefined || owner.url !== "") return;',
    caughtBy: by(
      `${ATTACK}/r06-collision.test.ts`,
      'a second volume with the leaf of the first > is not what a disconnect of the second ends',
      'a second volume with the leaf of the first > is refused too where somebody took the first away for a moment',
    ),
  },
];

/** The same, where only real directories tell. */
const REAL_PLACES: readonly Mutant[] = [
  {
    name: 'a link on the way to the base is followed',
    claims: ['002-3', '004-2', '004-5'],
    file: 'src/sys/libc/files.ts',
    project: 'real',
    from: '  anywhere: RESOLVE.NO_SYMLINKS | RESOLVE.NO_MAGICLINKS,',
    to: '  anywhere: RESOLVE.NO_MAGICLINKS,',
    caughtBy: by(
      'test/real/sys/directories.test.ts',
      'the state of a leaf > is not asked through a base that is or lies behind a link',
    ),
  },
  {
    name: 'leaves are open to all',
    claims: ['004-2'],
    file: 'src/sys/directories.ts',
    project: 'real',
    from: '    chmodSync(handle.path, 0o700);',
    to: '    chmodSync(handle.path, 0o777);',
    caughtBy: by('test/real/sys/directories.test.ts', 'making a leaf > gives mode 0700 under umask %o'),
  },
];

/** What is mounted, and whether it lives. */
const SEEING: readonly Mutant[] = [
  {
    name: 'the mount table is read without undoing its escapes',
    claims: ['001-9', '003-6'],
    file: 'src/core/mountinfo.ts',
    project: 'fast',
    from: "  if (!field.includes('\\\\')) return field;\n  return field.replace(",
    to: "  if (field !== '') return field;\n  return field.replace(",
    caughtBy: by(`${CORE}/mountinfo.test.ts`, 'the mount table > undoes the kernel’s escapes: %s'),
  },
  {
    name: 'any mount of Quobyte’s at the leaf is the right one',
    claims: ['002-19', '003-6'],
    file: 'src/backends/quobyte.ts',
    project: 'fast',
    from: '    return shown.name === asked.name && sameSet(',
    to: '    return shown.name !== "" || sameSet(',
    caughtBy: [
      ...by(`${BACKENDS}/quobyte.test.ts`, 'recognition > does not take %s for it'),
      ...by(`${BROKER}/steps.test.ts`, 'a mount helper > that mounts another volume is undone'),
    ],
  },
  {
    name: 'a label makes a mount',
    claims: ['003-6'],
    file: 'src/backends/quobyte.ts',
    project: 'fast',
    from: "match === null || !FS_TYPES.includes(entry.fsType) || entry.root !== '/'",
    to: "match === null || entry.root !== '/'",
    caughtBy: by(`${BACKENDS}/quobyte.test.ts`, 'recognition > is not taken in by a label on %j'),
  },
  {
    name: 'the order of the registries counts',
    claims: ['003-6'],
    file: 'src/backends/quobyte.ts',
    project: 'fast',
    from: '  return one.size === other.size && [...one].every((member) => other.has(member));',
    to: '  return [...one].join() === [...other].join();',
    caughtBy: [
      ...by(`${BACKENDS}/quobyte.test.ts`, 'recognition > knows its volume as %s'),
      ...by(
        'test/property/backends/quobyte.test.ts',
        'a Quobyte volume > is recognised in any order, case and separator of its registries',
      ),
    ],
  },
  {
    name: 'ENOTCONN is the only errno that means a dead mount',
    claims: ['002-8', '002-9', '002-18', '003-4'],
    file: 'src/backends/judgement.ts',
    project: 'fast',
    from: "  ['ESTALE', 'gone'],\n",
    to: '',
    caughtBy: by(`${BACKENDS}/judgement.test.ts`, 'a probe’s facts > %s of statfs or of the root: %s, dead %s'),
  },
  {
    name: 'an errno without a name in libuv is no errno',
    claims: ['002-9', '002-18'],
    file: 'src/sys/libc/errors.ts',
    project: 'fast',
    from: 'return unnamed === null ? null : errnoName(Number(unnamed[1]));',
    to: 'return null;',
    caughtBy: by(
      `${ATTACK}/r12-errno.test.ts`,
      'the errno of a failure > is found where libuv has no name for it, as for a stale mount',
    ),
  },
  {
    name: 'a dead mount counts as none, and its directory is to be made anew',
    claims: ['002-8', '004-5'],
    file: 'src/core/plan.ts',
    project: 'fast',
    from: '  if (top === undefined) return planFromNothing(observation);',
    to: "  if (top === undefined || observation.judgement?.dead === true) return planFromNothing({ ...observation, directory: 'absent' });",
    caughtBy: [
      ...by(`${CORE}/plan.test.ts`, 'a connect > takes away what is proven dead by the step that proves it again'),
      ...by(`${ATTACK}/r26-behaviours.test.ts`, 'the visible behaviour of the driver > $number: $what'),
    ],
  },
  {
    name: 'a failed validation is swallowed: connect succeeds',
    claims: ['002-10', '002-11', '002-19', '003-14', '004-17'],
    file: 'src/core/plan.ts',
    project: 'fast',
    from: "  if (unusable !== null) return { kind: 'refuse', error: unusable };\n",
    to: '',
    caughtBy: [
      ...by(`${CORE}/plan.test.ts`, 'a connect > is ready only where the right volume is mounted, hardened and usable'),
      ...by(
        `${ENGINE}/requests.test.ts`,
        'a connect > is refused where the volume hangs, is foreign, or does not stay',
      ),
      ...by(`${ATTACK}/r26-behaviours.test.ts`, 'the visible behaviour of the driver > $number: $what'),
    ],
  },
  {
    name: 'search permission is not tested',
    claims: ['001-6', '002-10'],
    file: 'src/backends/judgement.ts',
    project: 'fast',
    from: "(['search', 'write'] as const) : /* write is waived */ (['search'] as const)",
    to: "(['write'] as const) : ([] as const)",
    caughtBy: by(`${BACKENDS}/judgement.test.ts`, 'the permissions > write %s, search %s: %s'),
  },
];

/** What a helper's end means, and what follows. */
const ENDINGS: readonly Mutant[] = [
  {
    name: 'an exit status of 0 or 4 is a mount',
    claims: ['000-4', '000-6', '002-19', '003-11'],
    file: 'src/broker/steps/mount-by-helper.ts',
    project: 'fast',
    from: '  if (seen.top?.recognised === true && (succeeded(ended) || !(await isDead(attempt, seen.top)))) {',
    to: "  if (ended.end === 'exited' && [0, 4].includes(ended.status)) {",
    caughtBy: [
      ...by(
        `${ATTACK}/r11-outcomes.test.ts`,
        'a mount helper that mounts nothing > and ends with status %i has not succeeded',
        'a mount helper that mounts nothing > and %s is one error, and leaves nothing',
      ),
      ...by(
        `${BROKER}/steps.test.ts`,
        'a mount helper > that exits 4 and mounts nothing has failed, and its output is redacted',
      ),
    ],
  },
  {
    name: 'a mount is not waited for when its helper returns early',
    claims: ['002-19', '003-5'],
    file: 'src/broker/steps/mount-by-helper.ts',
    project: 'fast',
    from: '  const patience = succeeded(ended)\n',
    to: '  const patience = !succeeded(ended)\n',
    caughtBy: by(`${BROKER}/steps.test.ts`, 'a mount helper > whose mount appears late is waited for'),
  },
  {
    name: 'the helper has all the time in the world',
    claims: ['000-13', '002-4', '002-16'],
    file: 'src/broker/steps/mount-by-helper.ts',
    project: 'fast',
    from: 'const ended = await within(machine.clock, running, deadline.before(ANSWER_RESERVE_MS));',
    to: 'const ended = await within(machine.clock, running, 3_600_000);',
    caughtBy: by(
      `${ATTACK}/r11-outcomes.test.ts`,
      'a mount helper that mounts nothing > and does not even end is not waited for beyond the budget',
    ),
  },
  {
    name: 'the kernel’s word is taken for an unmount that did not happen',
    claims: ['002-6', '003-11'],
    file: 'src/broker/steps/unmount.ts',
    project: 'fast',
    from: "    if (!stillThere(context, place, mount)) return CHANGED;\n    if (end.end === 'exhausted') {",
    to: "    if (end.end === 'answered' && end.errno === null) return CHANGED;\n    if (end.end === 'exhausted') {",
    caughtBy: by(
      `${BROKER}/steps.test.ts`,
      'the table, not the exit status, says what an unmount did > success with the mount still there is a refusal',
      'the table, not the exit status, says what an unmount did > %s with the mount gone is done',
    ),
  },
  {
    name: 'the exit status of the unmount helper is taken for the truth',
    claims: ['000-5', '002-6', '003-2', '003-11'],
    file: 'src/broker/steps/unmount.ts',
    project: 'fast',
    from: "  if (!stillThere(context, place, mount)) return CHANGED;\n  if (ended.end === 'not-started')",
    to: "  if (ended.end === 'exited' && ended.status === 0) return CHANGED;\n  if (ended.end === 'not-started')",
    caughtBy: by(
      `${ATTACK}/r11-outcomes.test.ts`,
      'an unmount helper that leaves a busy mount > is busy, whatever it says (%j, status %i)',
      'an unmount helper that unmounts > has unmounted, though it ends with status %i and says that it is busy',
    ),
  },
  {
    name: 'busy is what says so in English',
    claims: ['000-5', '003-6', '003-11'],
    file: 'src/broker/steps/unmount.ts',
    project: 'fast',
    from: 'if (found !== LATE && found.holders.length > 0) return busy(attempt);',
    to: "if ('output' in ended && ended.output.includes('Device or resource busy')) return busy(attempt);",
    caughtBy: by(
      `${ATTACK}/r11-outcomes.test.ts`,
      'an unmount helper that leaves a busy mount > is busy, whatever it says (%j, status %i)',
      'an unmount helper that leaves an idle mount > has failed, and is not busy for its words (%j, status %i)',
    ),
  },
  {
    name: 'a failing unmount is nobody’s business',
    claims: ['002-6', '002-17', '003-2'],
    file: 'src/engine/release.ts',
    project: 'fast',
    from: '    if (obstructed !== null) return keepReleasing(context, volume, obstructed);',
    to: "    if (obstructed !== null) return { outcome: 'released', holders: [] };",
    caughtBy: [
      ...by(
        `${ENGINE}/requests.test.ts`,
        'a disconnect > is busy while somebody keeps the mount, names him, and is done when he has gone',
      ),
      ...by(`${ATTACK}/r26-behaviours.test.ts`, 'the visible behaviour of the driver > $number: $what'),
    ],
  },
  {
    name: 'a dead mount that is busy stays for ever',
    claims: ['002-8', '002-17'],
    file: 'src/engine/release.ts',
    project: 'fast',
    from: '  if (deadSteps !== null) return detachDead(context, volume, deadSteps, deadline, listener);\n',
    to: '',
    caughtBy: by(
      `${ENGINE}/journal.test.ts`,
      'the order of what is written and what is done > of a release whose mount is dead and busy: detached after the proof',
    ),
  },
];

/** Sharing, locks and secrets. */
const SHARING: readonly Mutant[] = [
  {
    name: 'a disconnect unmounts although others are attached',
    claims: ['001-13', '002-4', '002-16', '003-10'],
    file: 'src/engine/disconnect.ts',
    project: 'fast',
    from: 'const last = state.attachmentsOf(leaf).length === 1 && !state.holds.has(leaf);',
    to: 'const last = state.attachmentsOf(leaf).length > 0;',
    caughtBy: [
      ...by(
        `${ENGINE}/requests.test.ts`,
        'equal requests at the same time > of two consumers keep the mount until the last has gone',
      ),
      ...by(
        `${ENGINE}/journal.test.ts`,
        'the order of what is written and what is done > of a disconnect that leaves users: its end, and nothing else',
      ),
    ],
  },
  {
    name: 'one lock for all volumes',
    claims: ['000-13'],
    file: 'src/engine/exchange.ts',
    project: 'fast',
    from: 'const unlock = await context.locks.acquireWithin(leaf, deadline).catch(',
    to: "const unlock = await context.locks.acquireWithin('one' as typeof leaf, deadline).catch(",
    caughtBy: by(
      `${ENGINE}/requests.test.ts`,
      'equal requests at the same time > for another volume do not wait for one that hangs',
    ),
  },
  {
    name: 'no lock at all',
    claims: ['000-12', '000-21', '001-13'],
    file: 'src/engine/locks.ts',
    project: 'fast',
    from: '    if (this.#held.has(leaf)) return false;',
    to: '    if (this.#held.size < 0) return false;',
    caughtBy: [
      ...by(
        `${ENGINE}/locks.test.ts`,
        'the lock of a volume > is had by one at a time, in the order of asking, patient or not',
      ),
      ...by(`${ENGINE}/requests.test.ts`, 'equal requests at the same time > have the effect of one'),
    ],
  },
  {
    name: 'a lock is freed at a deadline while the helper may still act',
    claims: ['000-12', '002-16'],
    file: 'src/engine/ensure.ts',
    project: 'fast',
    from: '    await settle(context, volume);\n',
    to: '',
    caughtBy: by(
      `${ENGINE}/journal.test.ts`,
      'a step whose end is unknown > %s keeps the lock until it is settled, then is looked at',
    ),
  },
  {
    name: 'credentials in what a helper says are shown',
    claims: ['000-14', '000-15', '001-11', '004-8', '004-10'],
    file: 'src/core/secrets.ts',
    project: 'fast',
    from: '  shown = shown.replace(/\\S+/g, withoutUserInfo).replace(QUERY, `?${CREDENTIAL}`);\n',
    to: '',
    caughtBy: [
      ...by(`${CORE}/secrets.test.ts`, 'redaction > leaves no credential: %j'),
      ...by(
        'test/property/core/secrets.test.ts',
        'redacted text > has no seeded credential, is one line, and keeps its bound',
      ),
    ],
  },
  {
    name: 'what a helper says in no known form is shown',
    claims: ['000-14', '000-15', '001-11', '004-8', '004-10'],
    file: 'src/core/helper-output.ts',
    project: 'fast',
    from: '(line) => KNOWN.test(line)',
    to: '() => true',
    caughtBy: [
      ...by(`${CORE}/helper-output.test.ts`, 'what a helper printed > is withheld in no known form: %j'),
      ...by(
        `${BROKER}/steps.test.ts`,
        'a mount helper > that says a secret in no known form: only a count leaves the broker; known lines are shown, the rest is kept for root',
      ),
    ],
  },
  {
    name: 'the log names volumes',
    claims: ['000-15', '001-11', '004-8', '004-10'],
    file: 'src/sys/log.ts',
    project: 'fast',
    from: "    if (NAMES_A_VOLUME.has(key)) kept[key] = '[withheld]';\n    else kept",
    to: '    kept',
    caughtBy: by(`${SYS}/log.test.ts`, 'the log > withholds a field named %s'),
  },
  {
    name: 'what is logged is obeyed by a terminal',
    claims: ['000-22'],
    file: 'src/sys/log.ts',
    project: 'fast',
    from: 'text.replace(UNPLAIN, escapeUnits)',
    to: 'text',
    caughtBy: by(`${SYS}/log.test.ts`, 'the log > shows a %s as an escape, and the line still means the same'),
  },
  {
    name: 'what a helper says forges a line',
    claims: ['000-22'],
    file: 'src/core/text.ts',
    project: 'fast',
    from: ".replaceAll('\\\\', '\\\\\\\\').replace(FORBIDDEN_ALL, escapeCharacter)",
    to: ".replaceAll('\\\\', '\\\\\\\\')",
    caughtBy: [
      ...by(`${CORE}/text.test.ts`, 'a log line > shows a %s escaped'),
      ...by(`${CORE}/secrets.test.ts`, 'redaction > gives one line without control characters'),
    ],
  },
];

/** What is not seen counts as gone. */
const UNSEEN: readonly Mutant[] = [
  {
    name: 'a bind is forgotten for the mount that lies on it',
    claims: [],
    file: 'src/broker/bound.ts',
    project: 'fast',
    from: 'this.#notes.keep(place, [...others, { directory, mount }])',
    to: 'this.#notes.keep(place, [{ directory, mount }])',
    caughtBy: by(
      `${BROKER}/bound.test.ts`,
      'a bind that was seen > is ours for %s broker after a mount of the directory that has its name now',
    ),
  },
  {
    name: 'a bind that is not at its leaf counts as gone',
    claims: [],
    file: 'src/broker/sight.ts',
    project: 'fast',
    from: 'mount !== null && !machine.table.has(mount)',
    to: 'mount !== null',
    caughtBy: by(`${BROKER}/bound.test.ts`, 'a bind that was seen > is kept while it is elsewhere and its leaf is %s'),
  },
  {
    name: 'the note of a bind goes with its leaf, wherever the bind is',
    claims: [],
    file: 'src/broker/handlers/inventory.ts',
    project: 'fast',
    from: 'if (outOfSightOf(context, place).length === 0) bound.drop(place)',
    to: 'bound.drop(place)',
    caughtBy: by(`${BROKER}/bound.test.ts`, 'a bind that was seen > is kept while it is elsewhere and its leaf is %s'),
  },
  {
    name: 'a bind that nobody has seen is looked for at its leaf alone',
    claims: [],
    file: 'src/broker/sight.ts',
    project: 'fast',
    from: '(one.mount !== null || isAnywhere())',
    to: 'one.mount !== null',
    caughtBy: by(
      `${BROKER}/bound.test.ts`,
      'a bind that was begun, and that nobody has seen > may be any mount at a directory of the leaf’s name, and any that lies below another',
    ),
  },
  {
    name: 'a hold is given up because its mount is out of sight',
    claims: [],
    file: 'src/core/recover.ts',
    project: 'fast',
    from: "isServed(remains.observation) ? 'keep' : 'forget'",
    to: "'forget'",
    caughtBy: by(
      `${CORE}/recover.test.ts`,
      'what is left of a leaf > is forgotten only when it has no attachment and is not mounted',
    ),
  },
  {
    name: 'a held mount that has come back is taken away',
    claims: [],
    file: 'src/engine/release.ts',
    project: 'fast',
    from: "if (plan.kind !== 'gone' && context.state.isUsed(volume.leaf)) throw isBack(volume);",
    to: '',
    caughtBy: by(
      `${ENGINE}/out-of-sight.test.ts`,
      'a hold whose mount is not at its leaf > is kept when the mount is there again before it is given up',
    ),
  },
  {
    name: 'a base that is renamed back is heard of with the next mount event',
    claims: [],
    file: 'src/broker/handlers/watch.ts',
    project: 'fast',
    from: '  machine.table.forget();\n',
    to: '',
    caughtBy: by(
      `${BROKER}/observe.test.ts`,
      'a watch reads the table anew: a base that was renamed back is heard of without a mount event',
    ),
  },
  {
    name: 'a base that is covered is not heard of',
    claims: [],
    file: 'src/broker/leaf-watch.ts',
    project: 'fast',
    from: 'machine.table.at(mountPoint).map(',
    to: 'machine.table.below(base).filter((one) => one.mountPoint === mountPoint).map(',
    caughtBy: by(`${BROKER}/observe.test.ts`, 'a watch hears of a base that is covered, and of one that is uncovered'),
  },
  {
    name: 'what stands in the place of a leaf is not told',
    claims: [],
    file: 'src/broker/handlers/observe.ts',
    project: 'fast',
    from: 'obstructionAt(sight.directory) ?? NOT_MOUNTED',
    to: 'NOT_MOUNTED',
    caughtBy: by(`${BROKER}/observe.test.ts`, 'where the leaf is %s the reason says so'),
  },
  {
    name: 'the disk that an attachment names is not told',
    claims: [],
    file: 'src/engine/disconnect.ts',
    project: 'fast',
    from: 'disks: [...others]',
    to: 'disks: []',
    caughtBy: by(
      `${ENGINE}/out-of-sight.test.ts`,
      'a disconnect that names another disk than the attachment, or none > is told which, and ends nothing',
    ),
  },
];

/** All of them. */
export const MUTANTS: readonly Mutant[] = [
  ...STARTING,
  ...PARSING,
  ...PLACES,
  ...REAL_PLACES,
  ...SEEING,
  ...ENDINGS,
  ...SHARING,
  ...UNSEEN,
];
