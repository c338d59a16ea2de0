import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker';
import { writeFileSync } from 'node:fs';
import path from 'node:path';

/** Where the build puts the workflow bundle: built once, used by every worker and every test. */
export const BUNDLE = path.join(__dirname, '..', 'workflow-bundle.js');

async function main(): Promise<void> {
  const workflowsPath = path.join(__dirname, '../workflows/index.js');
  const { code } = await bundleWorkflowCode({ workflowsPath, logger: new DefaultLogger('WARN') });
  writeFileSync(BUNDLE, code);
}

if (require.main === module) {
  main().catch((error: unknown) => {
    // The bundler's own message names the forbidden import only in its log, so the log stays on.
    console.error(error);
    process.exit(1);
  });
}
