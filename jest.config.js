// Tiers: `unit` needs no server and stays under a minute; `servers` starts real ones once and shares them;
// `matrix` (hours) is every pair, step and fault.
const common = {
  testEnvironment: 'node',
  transform: { '^.+\\.ts$': ['@swc/jest', { jsc: { target: 'es2022', parser: { syntax: 'typescript' } } }] },
};

module.exports = {
  testTimeout: 300_000,
  projects: [
    { ...common, displayName: 'unit', testMatch: ['<rootDir>/test/unit/**/*.test.ts'] },
    {
      ...common,
      displayName: 'servers',
      testMatch: [
        '<rootDir>/test/servers/**/*.test.ts',
        '<rootDir>/test/e2e/**/*.test.ts',
        '<rootDir>/test/faults/**/*.test.ts',
      ],
      globalSetup: '<rootDir>/test/support/global-setup.ts',
      globalTeardown: '<rootDir>/test/support/global-teardown.ts',
    },
    {
      ...common,
      displayName: 'matrix',
      // The second runs on every version here, on two in `npm test`.
      testMatch: ['<rootDir>/test/matrix/**/*.test.ts', '<rootDir>/test/servers/elasticsearch.test.ts'],
    },
  ],
};
