import type { Client } from './client';

/**
 * A client of the source that remembers every write the source acknowledged. Writes until the source refuses: that is
 * the freeze. Whatever was acknowledged must be on the target in the end.
 */
export class Writer {
  readonly acknowledged = new Map<string, string>();
  refusedAt: number | undefined;
  private running: Promise<void> | undefined;
  private stopped = false;

  constructor(
    private readonly source: Client,
    private readonly index: string,
  ) {}

  async createIndex(): Promise<void> {
    await this.source.call('PUT', `/${this.index}`, { settings: { number_of_shards: 2, number_of_replicas: 0 } });
  }

  async write(titles: readonly string[]): Promise<void> {
    for (const title of titles) {
      if (!(await this.put(`m${this.acknowledged.size + 1}`, title))) throw new Error(`the source refused ${title}`);
    }
  }

  /** Writes in the background until the source refuses or `stop`. */
  start(): void {
    this.running = this.loop();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await this.running;
  }

  /** Acknowledged documents that the target does not hold with exactly that content. */
  async missingOn(target: Client): Promise<number> {
    let missing = 0;
    const ids = [...this.acknowledged.keys()];
    for (let from = 0; from < ids.length; from += 500) {
      const answer = (await target.call('POST', `/${this.index}/movie/_mget`, {
        ids: ids.slice(from, from + 500),
      })) as {
        docs: { _id: string; found?: boolean; _source?: { title?: string } }[];
      };
      for (const doc of answer.docs) {
        if (doc.found !== true || doc._source?.title !== this.acknowledged.get(doc._id)) missing += 1;
      }
    }
    return missing;
  }

  private async loop(): Promise<void> {
    while (!this.stopped) {
      const number = this.acknowledged.size + 1;
      if (!(await this.put(`m${number}`, `Film ${number}`))) {
        this.refusedAt = Date.now();
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  private async put(id: string, title: string): Promise<boolean> {
    const { status } = await this.source.send('PUT', `/${this.index}/movie/${id}`, { title });
    if (status < 300) this.acknowledged.set(id, title);
    return status < 300;
  }
}
