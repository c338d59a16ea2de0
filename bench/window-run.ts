// Whole migrations on real nodes, as a user runs them, of an index of some size and always the same last round.
import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FreezeWindow } from '../src/domain/exchange';
import { freePort, startElasticsearch } from '../stack';
import type { ElasticsearchServer } from '../stack';
import { Ferry } from '../test/support/ferry';
import type { FerryOptions } from '../test/support/ferry';
import { http } from '../test/support/writers';

const SHARDS = 5;
/** Random, so that neither side can make less of it; about 1 KiB with what Elasticsearch adds. */
const DOCUMENT_BYTES = 500;
const BULK = 1_000;
const BULKS_AT_ONCE = 2;
/** What is written before the last round, and before the one before it. */
const DELTA = { appended: 600, updated: 300, deleted: 100 } as const;

export type Replicas = 'before' | 'after';

/** A single source node and a target of two, so that it has a place for replicas. */
export class WindowBench {
  private constructor(
    private readonly source: ElasticsearchServer,
    private readonly target: readonly ElasticsearchServer[],
    private readonly servers: NonNullable<FerryOptions['servers']>,
  ) {}

  static async open(from: string, to: string, servers: NonNullable<FerryOptions['servers']>): Promise<WindowBench> {
    const pathRepo = [servers.buckets];
    const port = await freePort();
    const both = {
      'discovery.type': 'zen',
      'cluster.name': `window-${port}`,
      [Number(to.split('.')[0]) >= 7 ? 'discovery.seed_hosts' : 'discovery.zen.ping.unicast.hosts']:
        `127.0.0.1:${port}`,
      ...(Number(to.split('.')[0]) >= 7 ? { 'cluster.initial_master_nodes': 'first' } : {}),
    };
    const [source, first] = await Promise.all([
      startElasticsearch({ version: from, pathRepo }),
      startElasticsearch({
        version: to,
        pathRepo,
        settings: { ...both, 'node.name': 'first', 'transport.tcp.port': String(port) },
      }),
    ]);
    const second = await startElasticsearch({
      version: to,
      pathRepo,
      settings: { ...both, 'node.name': 'second', 'node.master': 'false' },
    });
    return new WindowBench(source, [first, second], servers);
  }

  async close(): Promise<void> {
    await Promise.all([this.source, ...this.target].map((node) => node.stop()));
  }

  /** An index of so many documents on the source, with one replica wanted, and no merge under way. */
  async fill(index: string, documents: number): Promise<void> {
    await http(`${this.source.url}/${index}`, 'PUT', {
      settings: { number_of_shards: SHARDS, number_of_replicas: 1, 'index.refresh_interval': '5s' },
    });
    let next = 0;
    const client = async () => {
      while (next < documents) {
        const from = next;
        next += BULK;
        await this.bulk(index, ids(from, Math.min(BULK, documents - from)), 'index');
      }
    };
    await Promise.all(Array.from({ length: BULKS_AT_ONCE }, client));
    await http(`${this.source.url}/${index}/_flush`, 'POST');
    await this.merged(index);
  }

  /** Baseline, one round of the delta, then the freeze with another delta to move. Puts both sides back. */
  async run(index: string, documents: number, replicas: Replicas): Promise<FreezeWindow> {
    const ferry = await Ferry.create({
      ...{ source: this.source.url, target: this.target[0]!.url, indices: [index], servers: this.servers },
      plan: { rounds: { every: '1h' }, cutover: { approval: false, replicas } },
    });
    try {
      await ferry.startWorker();
      await ferry.start();
      await ferry.rounds(1);
      await this.delta(index, documents);
      await ferry.signal('run-round');
      await ferry.rounds(2);
      await this.delta(index, documents);
      await ferry.signal('freeze-writes');
      const { freezeWindow } = await ferry.result();
      if (freezeWindow === undefined) throw new Error('the report tells no freeze window');
      return freezeWindow;
    } finally {
      await ferry.close();
      for (const side of ['source', 'target'] as const) await rm(ferry.files(side), { recursive: true, force: true });
      await http(`${this.source.url}/${index}/_settings`, 'PUT', { 'index.blocks.write': null });
      await http(`${this.target[0]!.url}/${index}`, 'DELETE');
    }
  }

  private async delta(index: string, documents: number): Promise<void> {
    const any = (count: number) => Array.from({ length: count }, () => `d${Math.floor(Math.random() * documents)}`);
    const mark = randomBytes(4).toString('hex');
    await this.bulk(index, ids(0, DELTA.appended, mark), 'index');
    await this.bulk(index, any(DELTA.updated), 'index');
    await this.bulk(index, any(DELTA.deleted), 'delete');
    await this.merged(index);
  }

  private async bulk(index: string, documents: readonly string[], operation: 'index' | 'delete'): Promise<void> {
    const type = Number(this.source.version.split('.')[0]) >= 7 ? {} : { _type: 'doc' };
    const lines = documents.flatMap((_id) => [
      { [operation]: { _index: index, ...type, _id } },
      ...(operation === 'index' ? [{ n: _id.length, text: randomBytes(DOCUMENT_BYTES).toString('base64') }] : []),
    ]);
    const response = await fetch(`${this.source.url}/_bulk`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-ndjson' },
      body: lines.map((line) => `${JSON.stringify(line)}\n`).join(''),
    });
    const items = ((await response.json()) as { items?: Record<string, { status: number }>[] }).items ?? [];
    const refused = items.find((item) => ![200, 201, 404].includes(Object.values(item)[0]?.status ?? 500));
    if (items.length !== documents.length || refused !== undefined) {
      throw new Error(`a bulk was refused: ${response.status} ${JSON.stringify(refused)}`);
    }
  }

  /** What a merge writes anew is no part of the delta. */
  private async merged(index: string): Promise<void> {
    for (;;) {
      await http(`${this.source.url}/${index}/_refresh`, 'POST');
      const stats = (await http(`${this.source.url}/${index}/_stats/merge`)) as {
        _all: { primaries: { merges: { current: number } } };
      };
      if (stats._all.primaries.merges.current === 0) return;
      await sleep(250);
    }
  }
}

function ids(from: number, count: number, mark = ''): string[] {
  return Array.from({ length: count }, (_, n) => `d${mark}${from + n}`);
}
