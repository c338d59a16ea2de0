#!/usr/bin/env node
const main = '../lib/src/cli/main.js';

function isBuilt() {
  try {
    return require.resolve(main) !== '';
  } catch {
    return false;
  }
}

if (isBuilt()) {
  require(main).start(require('../package.json').version);
} else {
  console.error('snapferry: it is not built yet: run npm ci in the checkout, then npm run build');
  process.exitCode = 1;
}
