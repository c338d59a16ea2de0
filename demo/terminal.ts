import type { ChildProcess } from 'node:child_process';
import readline from 'node:readline';

/** What the demo prints. With `--json` everything but the last line goes to stderr. */
export class Terminal {
  private readonly startedAt = Date.now();

  constructor(private readonly json: boolean) {}

  title(text: string): void {
    this.line(`\n${text}\n${'='.repeat(text.length)}`);
  }

  say(text: string): void {
    const seconds = ((Date.now() - this.startedAt) / 1000).toFixed(1).padStart(6);
    this.line(`${seconds} s  ${text}`);
  }

  list(rows: readonly (readonly [string, string])[]): void {
    const width = Math.max(...rows.map(([name]) => name.length));
    for (const [name, value] of rows) this.line(`          ${name.padEnd(width)}  ${value}`);
  }

  /** A command as typed. */
  typed(command: string): void {
    this.line(`\n          $ ${command}`);
  }

  answer(text: string): void {
    for (const line of text.trimEnd().split('\n')) this.line(`            ${line}`);
  }

  table(header: readonly string[], rows: readonly (readonly string[])[]): void {
    const widths = header.map((name, column) => Math.max(name.length, ...rows.map((row) => row[column]?.length ?? 0)));
    const format = (row: readonly string[]) =>
      `  ${row.map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join('   ')}`;
    this.line('');
    this.line(format(header));
    this.line(`  ${widths.map((width) => '-'.repeat(width)).join('   ')}`);
    for (const row of rows) this.line(format(row));
  }

  gap(): void {
    this.line('');
  }

  result(value: object): void {
    if (this.json) process.stdout.write(`${JSON.stringify(value)}\n`);
  }

  /** Shows a long-running command and waits until it says that it is ready; repeats what it says from then on. */
  async command(typed: string, child: ChildProcess): Promise<void> {
    this.typed(`${typed} &`);
    let ready = 0;
    await new Promise<void>((resolve, reject) => {
      for (const stream of [child.stdout, child.stderr]) {
        if (stream === null) continue;
        readline.createInterface({ input: stream }).on('line', (line) => {
          this.answer(line);
          if (line.includes('worker ready') && (ready += 1) === 2) resolve();
        });
      }
      child.once('exit', (code) => reject(new Error(`the worker ended with exit code ${code}`)));
    });
  }

  private line(text: string): void {
    (this.json ? process.stderr : process.stdout).write(`${text}\n`);
  }
}
