import { UnavailableError } from '../../../src/domain/errors';
import type { EventInput } from '../../../src/domain/exchange';
import { notify } from '../../../src/steps/notify';
import { AMigration } from '../../support/a-migration';
import { WebhookReceiver } from '../../support/webhook-receiver';

let pager: WebhookReceiver;
let dns: WebhookReceiver;
beforeEach(async () => {
  [pager, dns] = await Promise.all([WebhookReceiver.start(), WebhookReceiver.start()]);
});
afterEach(() => Promise.all([pager.stop(), dns.stop()]));

const both = { notify: 'pager', cutover: { switchover: { webhook: 'dns' } } };

function tell(migration: AMigration, event: Omit<EventInput, 'plan' | 'at'>, at = 1_700_000_000_000) {
  const url: Record<string, string> = { pager: pager.url, dns: dns.url };
  const config = {
    ...migration.deps.config,
    webhook: (name: string) => ({ name, url: url[name] ?? '', signingKey: () => 'hush' }),
  };
  return notify({ ...migration.deps, config }, { plan: migration.ref, at, ...event }, migration.context());
}

test('an event is small: who, what, when, and nothing that lies in an index', async () => {
  await tell(new AMigration({ movies: {} }, both), { event: 'parked', step: 'verify', code: 'VerificationFailed' });
  expect(pager.received.map(({ body }) => body)).toEqual([
    {
      id: 'run-1/parked/1700000000000',
      event: 'parked',
      at: '2023-11-14T22:13:20.000Z',
      migration: 'm',
      source: 'source',
      target: 'target',
      step: 'verify',
      code: 'VerificationFailed',
    },
  ]);
});

test('a repeated event has the same key and the same body', async () => {
  const migration = new AMigration({ movies: {} }, both);
  const frozen = { event: 'frozen', freeze: 2, deadline: 1_700_000_600_000 } as const;
  await tell(migration, frozen);
  await tell(migration, frozen);
  const [first, again] = pager.received;
  expect(again?.text).toBe(first?.text);
  expect(again?.headers['idempotency-key']).toBe(first?.headers['idempotency-key']);
});

test('the switchover goes to its own webhook, and has one key a freeze whenever it is repeated', async () => {
  const migration = new AMigration({ movies: {} }, both);
  await tell(migration, { event: 'switchover', freeze: 1 });
  await tell(migration, { event: 'switchover', freeze: 1 }, 1_700_000_900_000);
  expect(pager.received).toEqual([]);
  expect(dns.received.map(({ headers }) => headers['idempotency-key'])).toEqual(Array(2).fill('run-1/switchover/1'));
});

test('a plan that names no webhook tells nobody', async () => {
  await tell(new AMigration(), { event: 'done', outcome: 'done' });
  expect(pager.received).toEqual([]);
});

test('a worker whose file describes the webhook otherwise leaves it to another', async () => {
  const migration = new AMigration({ movies: {} }, both);
  migration.deps.config.fingerprint = (kind, name) => (kind === 'webhook' ? 'other' : `${kind}-${name}`);
  await expect(tell(migration, { event: 'done' })).rejects.toThrow(UnavailableError);
  expect(pager.received).toEqual([]);
});
