// Lint rules for the whole tree. Everything here exists because it once let a real defect through elsewhere:
// swallowed errors, floating promises, non-exhaustive switches.
import tseslint from 'typescript-eslint';
import { documentedExports } from './scripts/documented-exports.mjs';

const RESTRICTED = [
  {
    selector: 'CatchClause > BlockStatement[body.length=0]',
    message: 'A catch must narrow the error, not swallow it.',
  },
  { selector: 'CatchClause[param=null]', message: 'Name the error and narrow it.' },
  { selector: 'Property[key.name="shell"]', message: 'No child is ever started through a shell.' },
];

/** A path with a blank before or behind it is another path: relative, or of another name. */
const PATHS = [
  'Literal[value=/^\\s+\\u002f|^\\u002f\\S*\\s+$/]',
  'TemplateElement[value.raw=/^\\s+\\u002f\\w+\\u002f/]',
].map((selector) => ({
  selector,
  message: 'A path begins with its slash and ends with its last name, without a blank.',
}));

export default tseslint.config(
  { ignores: ['dist/', 'node_modules/', 'bin/', '.cache/', '*.config.*', '.dependency-cruiser.cjs'] },
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/explicit-module-boundary-types': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/no-unnecessary-condition': [
        'error',
        { allowConstantLoopConditions: 'only-allowed-literals' },
      ],
      'no-empty': ['error', { allowEmptyCatch: false }],
      'no-eval': 'error',
      'no-new-func': 'error',
      'no-console': 'error',
      eqeqeq: 'error',
      'prefer-const': 'error',
      'no-restricted-syntax': ['error', ...RESTRICTED],
    },
  },
  {
    files: ['src/**/*.ts'],
    plugins: { house: { rules: { 'documented-exports': documentedExports } } },
    rules: { 'house/documented-exports': 'error', 'no-restricted-syntax': ['error', ...RESTRICTED, ...PATHS] },
  },
  {
    files: ['src/**/*.ts'],
    ignores: ['src/sys/**'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          paths: [
            { name: 'node:child_process', message: 'Only sys/ starts processes.' },
            { name: 'koffi', message: 'Only sys/libc makes foreign calls.' },
          ],
        },
      ],
    },
  },
  {
    files: ['test/**', 'scripts/**', 'bench/**', 'sandbox/**'],
    rules: { 'no-console': 'off', '@typescript-eslint/no-non-null-assertion': 'off' },
  },
  {
    files: ['**/*.js', '**/*.mjs', '**/*.cjs'],
    extends: [tseslint.configs.disableTypeChecked],
    rules: { '@typescript-eslint/explicit-module-boundary-types': 'off' },
  },
);
