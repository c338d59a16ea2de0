import { createHmac } from 'node:crypto';
import { ConfigurationError, UnavailableError } from '../../../src/domain/errors';
import { callWebhook } from '../../../src/net/webhook';
import { WebhookReceiver } from '../../support/webhook-receiver';

let receiver: WebhookReceiver;
beforeEach(async () => {
  receiver = await WebhookReceiver.start();
});
afterEach(() => receiver.stop());

const message = { id: 'run-1/frozen/5', body: { event: 'frozen', migration: 'move' } };
const call = (url = receiver.url, signal = new AbortController().signal) =>
  callWebhook({ name: 'pager', url, signingKey: () => 'hush' }, message, signal);

async function failure(promise: Promise<void>): Promise<Error> {
  return promise.then(
    () => {
      throw new Error('it was taken');
    },
    (error: Error) => error,
  );
}

test('a message carries its key, and a signature that the receiver can compute', async () => {
  await call();
  const [{ headers, text, body }] = receiver.received as [WebhookReceiver['received'][number]];
  expect(body).toEqual({ id: 'run-1/frozen/5', event: 'frozen', migration: 'move' });
  expect(headers['idempotency-key']).toBe('run-1/frozen/5');
  const timestamp = headers['x-snapferry-timestamp'] as string;
  expect(Math.abs(Number(timestamp) - Date.now() / 1000)).toBeLessThan(60);
  const expected = createHmac('sha256', 'hush').update(timestamp).update('.').update(text).digest('hex');
  expect(headers['x-snapferry-signature']).toBe(`sha256=${expected}`);
});

test.each([
  [401, 'signingKey'],
  [403, 'signingKey'],
  [404, 'correct its url'],
  [302, 'redirect'],
  [400, 'what its receiver says'],
])('status %i is for the operator', async (status, remedy) => {
  receiver.answers.push(status);
  const error = await failure(call());
  expect(error).toBeInstanceOf(ConfigurationError);
  expect(error.message).toContain(remedy);
  expect(error.message).toContain(`[webhook=pager, status=${status}]`);
  expect(error.message).not.toContain('secret-path');
});

test.each([500, 503, 429, 408])('status %i is tried again, when the receiver asked for it', async (status) => {
  receiver.answers.push(status);
  receiver.headers = { 'retry-after': '7' };
  const error = await failure(call());
  expect(error).toBeInstanceOf(UnavailableError);
  expect((error as UnavailableError).retryAfterMs).toBe(7_000);
});

test('no receiver is tried again, and said without the path of its url', async () => {
  const { url } = receiver;
  await receiver.stop();
  receiver = await WebhookReceiver.start();
  const error = await failure(call(url));
  expect(error).toBeInstanceOf(UnavailableError);
  expect(error.message).toContain('ECONNREFUSED');
  expect(error.message).not.toContain('secret-path');
});

test('one that never answers ends with its caller', async () => {
  receiver.answers.push(null);
  const caller = new AbortController();
  const sent = failure(call(receiver.url, caller.signal));
  while (receiver.received.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  caller.abort(new Error('stop'));
  expect((await sent).message).toBe('stop');
});
