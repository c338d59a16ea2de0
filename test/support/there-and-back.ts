import { createHmac } from 'node:crypto';
import { freePort } from '../../stack/ports';
import type { Report } from '../../src/domain/exchange';
import { Ferry } from './ferry';
import type { FerryOptions } from './ferry';
import { WebhookReceiver } from './webhook-receiver';
import { http } from './writers';

const KEY = 'a-key-of-webhooks';
/** Of the operations that clients send to the target after the switch. */
const LATE = 5;

/** What one saw who cut over, wrote on the target, and went back. */
export interface Journey {
  /** Of the receiver, in order, each once; of those at one moment the order is not said. */
  readonly events: readonly string[];
  readonly report: Report;
  readonly refusedNumber: string;
  /** Whether each side took a write, at each stop. */
  readonly writable: Readonly<Record<'watching' | 'agreeing' | 'back', { source: boolean; target: boolean }>>;
  readonly aliases: Readonly<Record<'watching' | 'back', boolean>>;
  /** Of the target's index: the plan sets `-1` for the rounds, the source has none. */
  readonly refreshInterval: Readonly<Record<'watching' | 'back', string | undefined>>;
  readonly metrics: string;
  /** Everything that was recorded or printed. */
  readonly told: string;
}

/**
 * Cuts `index` (which has the alias `<index>-live`) over with webhooks, metrics and watch, writes on the target, and
 * goes back. `type` is where documents lie: `doc` up to 6, `_doc` from 7 on.
 */
export async function thereAndBack(
  options: Pick<FerryOptions, 'source' | 'target' | 'servers'>,
  index: string,
  type: string,
): Promise<Journey> {
  const receiver = await WebhookReceiver.start();
  // The first word of all is lost on its way: it comes again with the same key.
  receiver.answers.push(503);
  const port = await freePort();
  const ferry = await Ferry.create({
    ...options,
    indices: [index],
    connections: { webhooks: { hook: { url: receiver.url, signingKey: { env: 'HOOK_KEY' } } } },
    environment: { HOOK_KEY: KEY, SNAPFERRY_METRICS: `127.0.0.1:${port}` },
    plan: {
      rounds: { every: '1h' },
      restore: { settings: { 'index.refresh_interval': -1 }, keepSettings: ['index.refresh_interval'] },
      notify: 'hook',
      cutover: { approval: true, watch: '1h', switchover: { webhook: 'hook' } },
    },
  });
  try {
    await ferry.startWorker();
    await ferry.start();
    await ferry.rounds(1);
    await ferry.signal('freeze-writes');
    await ferry.until(({ phase }) => phase === 'awaiting approval');
    const metrics = await scraped(port, ferry.id);
    await ferry.update('approve', { who: 'the test', why: 'green' });
    await ferry.until(({ phase }) => phase === 'watching');
    const { source, target } = options;
    const put = (url: string, id: string) => http(`${url}/${index}/${type}/${id}`, 'PUT', { n: 0 });
    const takes = async (url: string) => {
      const [answer] = await Promise.allSettled([put(url, 'late-0')]);
      return answer?.status === 'fulfilled';
    };
    const both = async () => ({ source: await takes(source), target: await takes(target) });
    const hasAlias = async () => JSON.stringify(await http(`${target}/${index}/_alias`)).includes(`${index}-live`);
    const refresh = async () => {
      const answer = await http(`${target}/${index}/_settings?flat_settings=true`);
      return (answer as Record<string, { settings: Record<string, string> }>)[index]?.settings[
        'index.refresh_interval'
      ];
    };
    const watching = await both();
    const refreshed = await refresh();
    for (let id = 1; id < LATE; id += 1) await put(target, `late-${id}`);
    const isAliased = await hasAlias();
    const by = { who: 'the test', why: 'the new side is slow' };
    const refusedNumber = await ferry.update('rollback', { acceptLosing: 0, ...by }).then(String, messagesOf);
    const agreeing = await both();
    await ferry.update('rollback', { acceptLosing: LATE, ...by });
    const report = await ferry.result();
    const back = await both();
    refuseForged(receiver);
    return {
      events: receiver.events,
      report,
      refusedNumber,
      writable: { watching, agreeing, back },
      aliases: { watching: isAliased, back: await hasAlias() },
      refreshInterval: { watching: refreshed, back: await refresh() },
      metrics,
      told: (await ferry.histories()).text + ferry.output.join(''),
    };
  } finally {
    await ferry.close();
    await receiver.stop();
  }
}

function messagesOf(error: unknown): string {
  const texts: string[] = [];
  for (let at = error; at instanceof Error; at = at.cause) texts.push(at.message);
  return texts.join(': ');
}

/** What Prometheus gets once the freeze is in it. */
async function scraped(port: number, migration: string): Promise<string> {
  for (let looks = 0; ; looks += 1) {
    const text = await fetch(`http://127.0.0.1:${port}/metrics`).then((answer) => answer.text());
    const frozen = new RegExp(`^snapferry_frozen_seconds\\{[^}]*migration="${migration}"[^}]*\\} [0-9.]*[1-9]`, 'm');
    if (frozen.test(text)) return text;
    if (looks === 300) throw new Error(`the freeze is not in the metrics: ${text.replace(/^temporal_.*\n/gm, '')}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** As docs/operations.md tells receivers. */
function refuseForged(receiver: WebhookReceiver): void {
  for (const { headers, text } of receiver.received) {
    const expected = createHmac('sha256', KEY).update(`${String(headers['x-snapferry-timestamp'])}.${text}`);
    if (headers['x-snapferry-signature'] !== `sha256=${expected.digest('hex')}`) throw new Error(`forged: ${text}`);
  }
  const [first, second] = receiver.received.filter(({ body }) => body['event'] === 'freezing');
  if (first === undefined || second?.text !== first.text)
    throw new Error('the lost message did not come again as it was');
}
