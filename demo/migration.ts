import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { Client, Connection } from '@temporalio/client';
import type { Report } from '../src/domain/exchange';
import type { Status } from '../src/domain/story';
import type { Terminal } from './terminal';

const run = promisify(execFile);

/** The migration as a user drives it: the Temporal CLI to start and steer, the `status` query to watch. */
export class Migration {
  private client: Client | undefined;
  private shown = '';

  constructor(
    private readonly options: {
      readonly cli: string;
      readonly address: string;
      readonly env: NodeJS.ProcessEnv;
      readonly id: string;
      readonly terminal: Terminal;
    },
  ) {}

  start(plan: string): Promise<void> {
    return this.temporal([
      'workflow',
      'start',
      '--type',
      'migrate',
      '--task-queue',
      'snapferry',
      '--workflow-id',
      this.options.id,
      '--fail-existing',
      '--static-summary',
      'movies: Amazon to Alibaba',
      '--input-file',
      plan,
    ]);
  }

  signal(name: string): Promise<void> {
    return this.temporal(['workflow', 'signal', '--workflow-id', this.options.id, '--name', name]);
  }

  /** Shows what changes until `enough`; throws when the migration parks or ends before. */
  async until(enough: (status: Status) => boolean): Promise<void> {
    for (;;) {
      const status = await this.status();
      this.show(status);
      if (status.parked !== undefined)
        throw new Error(`the migration parked at ${status.parked.step}: ${status.parked.why}`);
      if (enough(status)) return;
      await pause(300);
    }
  }

  async result(): Promise<Report> {
    const handle = (await this.connected()).workflow.getHandle(this.options.id);
    const result = handle.result() as Promise<Report>;
    let ended = false;
    void result.then(
      () => (ended = true),
      () => (ended = true),
    );
    while (!ended) {
      this.show(await this.status());
      await pause(300);
    }
    return result;
  }

  async close(): Promise<void> {
    await this.client?.connection.close();
  }

  private async status(): Promise<Status> {
    return (await this.connected()).workflow.getHandle(this.options.id).query<Status>('status');
  }

  private show(status: Status): void {
    const rounds = status.rounds.at(-1);
    const line = `${status.phase}${status.step === undefined ? '' : `: ${status.step}`}`;
    if (line !== this.shown) this.options.terminal.say(line);
    this.shown = line;
    if (rounds !== undefined && rounds !== this.lastRound) this.options.terminal.say(`  ${rounds}`);
    this.lastRound = rounds;
  }

  private lastRound: string | undefined;

  private async connected(): Promise<Client> {
    this.client ??= new Client({ connection: await Connection.connect({ address: this.options.address }) });
    return this.client;
  }

  private async temporal(args: readonly string[]): Promise<void> {
    const { terminal, cli, env } = this.options;
    terminal.typed(`temporal ${args.map((arg) => (/[\s:]/.test(arg) ? `'${arg}'` : arg)).join(' ')}`);
    const { stdout } = await run(cli, args, { env });
    terminal.answer(stdout);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
