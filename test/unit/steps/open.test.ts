import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Config } from '../../../src/config';
import { openDeps } from '../../../src/steps/open';

const NOBODY = new AbortController().signal;

test('opens each name once, and closing ends its connections', async () => {
  const silent = createServer(() => undefined).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
  const config = { cluster: (name: string) => ({ name, url, auth: { type: 'none' } }) } as unknown as Config;
  const deps = openDeps(config);
  expect(deps.cluster('a')).toBe(deps.cluster('a'));

  const asked = once(silent, 'request');
  const answer = deps.cluster('a').repositories(NOBODY);
  await asked;
  await Promise.all([expect(answer).rejects.toThrow(/does not answer/), deps.close()]);
  await new Promise((resolve) => silent.close(resolve));
});
