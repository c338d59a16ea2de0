import { readdirSync } from 'node:fs';
import path from 'node:path';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { BUNDLE, recordedHistory } from '../support/temporal';

const histories = readdirSync(path.join(__dirname, '../histories')).filter((name) => name.endsWith('.json'));

beforeAll(() => {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
});

test('there are recorded histories of all three workflows', () => {
  for (const kind of ['migrate', 'transfer', 'freeze']) {
    expect(histories.some((name) => name.startsWith(kind))).toBe(true);
  }
});

test.each(histories)('%s replays with the present code', async (name) => {
  const { workflowId, history } = recordedHistory(name);
  // The third argument matters: child ids derive from the workflow's own id.
  await Worker.runReplayHistory({ workflowBundle: { codePath: BUNDLE } }, history, workflowId);
});
