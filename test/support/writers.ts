/**
 * Clients of a source cluster that remember what the cluster acknowledged: documents indexed, updated and deleted, in
 * several indices, until the cluster refuses. Afterwards they know what a target must hold, and what must not be back.
 */
export class Writers {
  /** index -> id -> the acknowledged source, or null when the delete was acknowledged. */
  readonly acknowledged = new Map<string, Map<string, Readonly<Record<string, unknown>> | null>>();
  /** Ids with a request in flight that got no clear answer: either state is right. */
  private readonly unclear = new Set<string>();
  private running: Promise<unknown> = Promise.resolve();
  private stopped = false;
  private counter = 0;

  constructor(
    private readonly url: string,
    /** 5 and 6 need a mapping type, 7 and newer refuse one. */
    private readonly major: number,
  ) {}

  async createIndex(
    index: string,
    settings: Readonly<Record<string, unknown>>,
    extra: Readonly<Record<string, unknown>> = {},
  ): Promise<void> {
    await http(`${this.url}/${encodeURIComponent(index)}`, 'PUT', {
      settings: { number_of_replicas: 0, ...settings },
      ...extra,
    });
    this.acknowledged.set(index, new Map());
  }

  /** One bulk: new documents, then updates and deletes of earlier ones of this index. Returns false when refused. */
  async bulk(index: string, size: number): Promise<boolean> {
    const known = this.acknowledged.get(index) as Map<string, Readonly<Record<string, unknown>> | null>;
    const operations: { id: string; source: Readonly<Record<string, unknown>> | null }[] = [];
    const touched = new Set<string>();
    const ids = [...known.keys()];
    for (let i = 0; i < size; i += 1) {
      this.counter += 1;
      const old = ids[(this.counter * 7919) % Math.max(1, ids.length)];
      const kind = this.counter % 10;
      const id = kind < 7 || old === undefined ? `d${this.counter}` : old;
      if (touched.has(id) || this.unclear.has(`${index}/${id}`)) continue;
      touched.add(id);
      operations.push({
        id,
        source:
          kind === 9 && old !== undefined
            ? null
            : { n: this.counter, text: `text ${this.counter} ${'x'.repeat(this.counter % 50)}` },
      });
    }
    for (const { id } of operations) this.unclear.add(`${index}/${id}`);
    return this.send(index, known, operations);
  }

  /** Writes with so many clients at once until the source refuses or `stop`. */
  start(clients: number, bulkSize: number, into: (index: string) => boolean = () => true): void {
    const indices = [...this.acknowledged.keys()].filter(into);
    const client = async (number: number) => {
      for (let turn = number; !this.stopped; turn += 1) {
        const index = indices[turn % indices.length] as string;
        if (!(await this.bulk(index, bulkSize))) return;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    };
    this.running = Promise.all(Array.from({ length: clients }, (_, number) => client(number)));
  }

  /** Waits until every client was refused or told to stop. */
  async stop(): Promise<void> {
    this.stopped = true;
    await this.running;
  }

  /** Operations that were acknowledged, an update or delete of the same document counted anew. */
  operations = 0;

  get total(): number {
    return [...this.acknowledged.values()].reduce((sum, docs) => sum + docs.size, 0);
  }

  /** Sentences: acknowledged writes that `url` lacks or holds otherwise, and deleted documents that are back. */
  async differences(url: string, rename: (index: string) => string = (index) => index): Promise<string[]> {
    const found: string[] = [];
    for (const [index, docs] of this.acknowledged) {
      const name = encodeURIComponent(rename(index));
      await http(`${url}/${name}/_refresh`, 'POST');
      const ids = [...docs.keys()].filter((id) => !this.unclear.has(`${index}/${id}`));
      for (let from = 0; from < ids.length; from += 1_000) {
        const answer = (await http(`${url}/${name}/_mget`, 'POST', {
          ids: ids.slice(from, from + 1_000),
        })) as {
          docs: { _id: string; found?: boolean; _source?: unknown }[];
        };
        for (const doc of answer.docs) {
          const wanted = docs.get(doc._id) ?? null;
          const held = doc.found === true ? doc._source : null;
          if (JSON.stringify(held) !== JSON.stringify(wanted)) {
            found.push(
              `${index}/${doc._id}: ${wanted === null ? 'deleted, but back' : held === null ? 'missing' : 'other content'}`,
            );
          }
        }
      }
    }
    return found;
  }

  private async send(
    index: string,
    known: Map<string, Readonly<Record<string, unknown>> | null>,
    operations: readonly { readonly id: string; readonly source: Readonly<Record<string, unknown>> | null }[],
  ): Promise<boolean> {
    const meta = (id: string) => ({ _index: index, _id: id, ...(this.major >= 7 ? {} : { _type: 'doc' }) });
    const lines = operations.flatMap(({ id, source }) =>
      source === null ? [{ delete: meta(id) }] : [{ index: meta(id) }, source],
    );
    const response = await fetch(`${this.url}/_bulk`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-ndjson' },
      body: lines.map((line) => `${JSON.stringify(line)}\n`).join(''),
    }).catch(() => undefined);
    if (response?.ok !== true) return false;
    const { items } = (await response.json()) as { items: Record<string, { status: number }>[] };
    let refused = false;
    items.forEach((item, at) => {
      const { id, source } = operations[at] as (typeof operations)[number];
      const status = Object.values(item)[0]?.status ?? 500;
      this.unclear.delete(`${index}/${id}`);
      if (status < 300 || (source === null && status === 404)) {
        known.set(id, source);
        this.operations += 1;
      } else refused = true;
    });
    return !refused;
  }
}

export async function http(url: string, method = 'GET', body?: object): Promise<unknown> {
  const response = await fetch(url, {
    method,
    ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${url}: ${response.status} ${text.slice(0, 500)}`);
  return text === '' ? undefined : (JSON.parse(text) as unknown);
}
