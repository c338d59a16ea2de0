import js from '@eslint/js';
import tseslint from 'typescript-eslint';
import { builtinModules } from 'node:module';

// As a regular expression: a glob would take our room `domain` for Node's module of that name.
const nodeBuiltins = `^(node:.*|${builtinModules.join('|')})$`;
const temporal = {
  group: ['@temporalio/*'],
  message: 'src/ compiles without Temporal, so that steps run in the CLI too.',
};
const above = (...rooms) => ({
  group: rooms.map((room) => `**/${room}/**`).concat(rooms.map((room) => `**/${room}`)),
  message:
    'Rooms depend inwards only: domain <- repository, net <- storage, elasticsearch <- steps <- activities, cli.',
});
const outside = above('stack', 'demo', 'bench', 'test');
const sdk = {
  group: ['@aws-sdk/*', 'ali-oss'],
  message: 'A vendor SDK lives in exactly one file, so that a change of vendor is a change of one file.',
};
const sandbox = {
  regex: nodeBuiltins,
  message: 'This code runs in the workflow sandbox, which replays: no I/O, no clock, no Node modules.',
};
const room = (files, patterns) => ({ files, rules: { 'no-restricted-imports': ['error', { patterns }] } });

export default tseslint.config(
  { ignores: ['lib/**', 'node_modules/**', 'test/fixtures/**'] },
  js.configs.recommended,
  ...tseslint.configs.recommended,
  {
    files: ['**/*.ts'],
    languageOptions: { parserOptions: { project: './tsconfig.json' } },
    rules: {
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'separate-type-imports' }],
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      'max-lines-per-function': ['error', { max: 90, skipComments: true, skipBlankLines: true }],
    },
  },
  {
    files: ['**/*.mjs', '**/*.js'],
    languageOptions: {
      globals: { process: 'readonly', console: 'readonly', URL: 'readonly', require: 'readonly', module: 'writable' },
    },
    rules: { '@typescript-eslint/no-require-imports': 'off' },
  },
  { files: ['test/**'], rules: { 'max-lines-per-function': 'off' } },

  room(
    ['src/domain/**'],
    [
      temporal,
      sdk,
      sandbox,
      above('net', 'repository', 'storage', 'elasticsearch', 'steps', 'cli', 'activities', 'workflows', 'worker'),
      outside,
    ],
  ),
  room(
    ['src/net/**'],
    [
      temporal,
      sdk,
      above('repository', 'storage', 'elasticsearch', 'steps', 'cli', 'activities', 'workflows', 'worker'),
      outside,
    ],
  ),
  {
    files: ['src/net/aws-credentials.ts'],
    rules: { 'no-restricted-imports': ['error', { patterns: [temporal, outside] }] },
  },
  room(
    ['src/repository/**'],
    [
      temporal,
      sdk,
      above('net', 'storage', 'elasticsearch', 'steps', 'cli', 'activities', 'workflows', 'worker'),
      outside,
      {
        regex: '^node:(?!zlib$)',
        message: 'The format is pure: bytes in, values out. Only zlib (CRC32, inflate) is needed.',
      },
    ],
  ),
  room(
    ['src/storage/**'],
    [temporal, sdk, above('elasticsearch', 'steps', 'cli', 'activities', 'workflows', 'worker'), outside],
  ),
  room(
    ['src/elasticsearch/**'],
    [temporal, sdk, above('storage', 'steps', 'cli', 'activities', 'workflows', 'worker'), outside],
  ),
  room(['src/steps/**'], [temporal, sdk, above('cli', 'activities', 'workflows', 'worker'), outside]),
  room(['src/*.ts', 'src/cli/**'], [temporal, sdk, above('activities', 'workflows'), outside]),
  room(['activities/**'], [sdk, above('cli', 'workflows', 'worker'), outside]),
  {
    files: ['workflows/**'],
    rules: {
      'no-console': 'error',
      '@typescript-eslint/no-restricted-imports': [
        'error',
        {
          patterns: [
            sdk,
            sandbox,
            {
              group: ['@temporalio/client', '@temporalio/worker', '@temporalio/activity', '@temporalio/testing'],
              message: 'Not available in the workflow sandbox.',
            },
            above('repository', 'net', 'storage', 'elasticsearch', 'steps', 'cli', 'worker'),
            {
              group: ['**/activities', '**/activities/**'],
              allowTypeImports: true,
              message: 'Workflows see activity types only: nothing real crosses into the sandbox.',
            },
            outside,
          ],
        },
      ],
    },
  },
  room(['worker/**'], [sdk, outside]),
);
