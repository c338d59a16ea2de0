// Tiers: `unit` needs no server and stays under a minute; `services` (Temporal, stores) and `clusters` (Elasticsearch too)
// start real ones once and share them; `matrix` (hours) is every pair, step and fault.
const common = {
  testEnvironment: 'node',
  transform: { '^.+\\.ts$': ['@swc/jest', { jsc: { target: 'es2022', parser: { syntax: 'typescript' } } }] },
};

/** Tests of these never touch a cluster, and so never wait for its one snapshot at a time. */
const services = [
  'test/servers/workflows/.*',
  'test/servers/(audit|full-disk|killed-copy|oss-server|oss-server-faults|oss-server-python|oss-store|s3|server-copy|store-proxies)[.]test[.]ts$',
];
const shared = { ...common, globalTeardown: '<rootDir>/test/support/global-teardown.ts' };

module.exports = {
  testTimeout: 300_000,
  projects: [
    { ...common, displayName: 'unit', testMatch: ['<rootDir>/test/unit/**/*.test.ts'] },
    {
      ...shared,
      displayName: 'services',
      globalSetup: '<rootDir>/test/support/services-setup.ts',
      testRegex: services,
    },
    {
      ...shared,
      displayName: 'clusters',
      globalSetup: '<rootDir>/test/support/clusters-setup.ts',
      testMatch: [
        '<rootDir>/test/servers/**/*.test.ts',
        '<rootDir>/test/e2e/**/*.test.ts',
        '<rootDir>/test/faults/**/*.test.ts',
      ],
      testPathIgnorePatterns: ['/node_modules/', ...services],
    },
    {
      ...common,
      displayName: 'matrix',
      // The second runs on every version here, on two in `npm test`.
      testMatch: ['<rootDir>/test/matrix/**/*.test.ts', '<rootDir>/test/servers/elasticsearch.test.ts'],
    },
  ],
};
