// What the scripts are held to beside their types (tsconfig.json): rules that find faults, and the length of lines.
// `web/node_modules/.bin/eslint --config web/eslint.config.mjs web tests crate/tools` in the root of the repository.
import js from '@eslint/js';
import globals from 'globals';

export default [
  // What is built, and projects of others.
  { ignores: ['**/node_modules/', 'web/engine/pkg/', 'tests/embed/*/'] },
  js.configs.recommended,
  {
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      'array-callback-return': 'error',
      curly: ['error', 'multi-line'],
      eqeqeq: 'error',
      'max-len': ['error', {
        code: 120, ignoreUrls: true, ignoreStrings: true, ignoreTemplateLiterals: true, ignoreRegExpLiterals: true,
      }],
      'no-constructor-return': 'error',
      'no-duplicate-imports': 'error',
      'no-self-compare': 'error',
      'no-template-curly-in-string': 'error',
      'no-unmodified-loop-condition': 'error',
      'no-unreachable-loop': 'error',
      'no-var': 'error',
      'prefer-const': 'error',
    },
  },
  {
    files: ['web/*/*.js'],
    languageOptions: { globals: { ...globals.browser, ...globals.worker } },
  },
  {
    // What page/preload.js and page/service-worker.js find: globals.d.ts.
    files: ['web/page/*.js'],
    languageOptions: { globals: { ...globals.serviceworker, fusesMultiplications: 'readonly', buildFor: 'readonly' } },
  },
  {
    // Tests hold functions that run in a page.
    files: ['**/*.mjs'],
    languageOptions: { globals: { ...globals.nodeBuiltin, ...globals.browser } },
  },
];
