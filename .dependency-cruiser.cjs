// Who may import whom (ARCHITECTURE.md, "Layers"). A room that needs something it may not import is in the wrong house.
const room = (name, from, allowed) => ({
  name,
  severity: 'error',
  comment: `${from} may import only: itself, ${allowed.join(', ') || 'nothing'}`,
  from: { path: from },
  to: { path: '^(src|sandbox|test|bench|scripts)/', pathNot: [from, ...allowed] },
});
module.exports = {
  forbidden: [
    {
      name: 'no-circular',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    room('core-imports-nothing', '^src/core/', []),
    {
      name: 'core-is-pure',
      severity: 'error',
      from: { path: '^src/(core|backends)/' },
      to: { dependencyTypes: ['core'] },
    },
    room('backends', '^src/backends/', ['^src/core/']),
    room('sys', '^src/sys/', ['^src/core/']),
    room('ledger', '^src/ledger/', ['^src/core/']),
    room('broker-protocol', '^src/broker/protocol\\.ts$', ['^src/core/']),
    room('broker-client', '^src/broker/client\\.ts$', ['^src/broker/protocol\\.ts$', '^src/core/', '^src/sys/']),
    room('broker', '^src/broker/', ['^src/core/', '^src/backends/', '^src/sys/', '^src/config']),
    {
      name: 'engine-sees-ledger-and-broker-as-types-only',
      severity: 'error',
      from: { path: '^src/engine/' },
      to: { path: '^src/(ledger|broker)/', dependencyTypesNot: ['type-only'] },
    },
    room('engine', '^src/engine/', [
      '^src/core/',
      '^src/backends/',
      '^src/ledger/',
      '^src/broker/(client|protocol)\\.ts$',
    ]),
    {
      name: 'engine-is-without-node',
      severity: 'error',
      from: { path: '^src/engine/' },
      to: { dependencyTypes: ['core'] },
    },
    room('doors', '^src/doors/', ['^src/core/', '^src/engine/', '^src/sys/']),
    {
      name: 'doors-know-the-engine-as-a-type',
      severity: 'error',
      from: { path: '^src/doors/' },
      to: { path: '^src/engine/', dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'one-door-knows-no-other',
      severity: 'error',
      from: { path: '^src/doors/([^/]+)/' },
      to: { path: '^src/doors/([^/]+)/', pathNot: '^src/doors/$1/' },
    },
    room('cli', '^src/cli/', ['^src/core/']),
    {
      name: 'one-place-starts-processes',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/sys/run\\.ts$' },
      to: { path: '^(node:)?child_process$' },
    },
    {
      name: 'one-place-calls-foreign-code',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/sys/libc' },
      to: { path: 'node_modules/koffi' },
    },
    {
      name: 'nothing-in-src-knows-the-sandbox',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^(sandbox|test|bench|scripts)/' },
    },
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'require', 'node', 'default'] },
  },
};
