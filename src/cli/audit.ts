import { audit as inspected } from '../steps/audit';
import type { AuditLine, AuditProof, AuditSign } from '../steps/audit';
import type { AuditPlan, WantedRound } from '../steps/audit-expected';
import { expectProofs, expectRound, expectSnapshots, expectWhole } from '../steps/audit-expected';
import { Engine } from '../storage';
import type { CopySource, CopyTarget } from '../storage';
import { EvidenceFile } from './evidence';
import { amount, count, Meter } from './meter';
import type { LongTerminal } from './meter';

export interface AuditCommand {
  readonly target: CopyTarget;
  /** Who says what the target is to hold. */
  readonly by:
    | { readonly kind: 'snapshots'; readonly source: CopySource; readonly snapshot?: string; readonly evidence: string }
    | { readonly kind: 'whole'; readonly source: CopySource; readonly evidence: string }
    | { readonly kind: 'evidence'; readonly evidence: string }
    | ({ readonly kind: 'round' } & WantedRound);
  readonly deep: boolean;
  readonly json: boolean;
  /** Bytes a second at most. */
  readonly bytesPerSecond?: number;
}

/** The target is not whole, or it could not be found out whether it is. */
export class NotWholeError extends Error {}

/**
 * `snapferry audit`: one line for each blob, and a last one with what they come to. Writes nothing anywhere. Throws
 * `NotWholeError` at the end when a blob differs, is missing or could not be read, and what the `expect…` functions throw.
 */
export async function audit(command: AuditCommand, terminal: LongTerminal, signal: AbortSignal): Promise<void> {
  const { deep, json, bytesPerSecond } = command;
  const plan = await planOf(command, signal);
  const engine = new Engine(bytesPerSecond === undefined ? {} : { limits: { bytesPerSecond } });
  const meter = new Meter(plan.all, terminal, deep ? 'bytes' : 'blobs');
  const tally = new Tally();
  try {
    for (const note of plan.notes) meter.say(note);
    for await (const line of inspected(engine, plan.subject, { deep, signal })) {
      tally.add(line);
      meter.clear();
      terminal.out(json ? JSON.stringify(line) : shown(line));
      meter.add({ blobs: 1, bytes: line.length });
    }
  } finally {
    meter.end();
  }
  terminal.out(json ? JSON.stringify({ summary: tally.summary }) : tally.sentence(deep));
  if (!tally.isWhole) throw new NotWholeError(`the target is not whole: ${tally.faults}`);
}

function planOf({ by, target }: AuditCommand, signal: AbortSignal): Promise<AuditPlan> | AuditPlan {
  switch (by.kind) {
    case 'snapshots':
      return expectSnapshots(by.source, target, by.snapshot, new EvidenceFile(by.evidence).read(), signal);
    case 'whole':
      return expectWhole(by.source, target, new EvidenceFile(by.evidence).read(), signal);
    case 'evidence':
      return expectProofs(target, new EvidenceFile(by.evidence).read());
    case 'round':
      return expectRound(target, by, signal);
  }
}

/** `= key` as `rclone check --combined` has it, with what there is to say of it behind. */
function shown({ sign, key, proof, why }: AuditLine): string {
  const remark = why ?? (proof === undefined ? undefined : REMARKS[proof]);
  return `${sign} ${printable(key)}${remark === undefined ? '' : `  (${remark})`}`;
}

/** Of a blob whose bytes nobody has seen, that is said in the same breath. */
const REMARKS: Partial<Record<AuditProof, string>> = {
  etag: 'unchanged since it was proved',
  length: 'length only',
};

/** A key may hold anything; a line is to be one. */
function printable(key: string): string {
  // eslint-disable-next-line no-control-regex -- those are what must not reach a terminal
  return /[\u0000-\u001f\u007f]/.test(key) ? JSON.stringify(key) : key;
}

const SIGNS: readonly AuditSign[] = ['=', '*', '-', '+', '!'];
const FAULTS: readonly (readonly [AuditSign, string])[] = [
  ['-', 'missing'],
  ['*', 'different'],
  ['!', 'not readable'],
];

/** How many blobs came to what. */
class Tally {
  readonly #signs = new Map<AuditSign, { blobs: number; bytes: number }>();
  readonly #proofs = new Map<AuditProof, number>();

  add({ sign, length, proof }: AuditLine): void {
    const { blobs, bytes } = this.#of(sign);
    this.#signs.set(sign, { blobs: blobs + 1, bytes: bytes + length });
    if (proof !== undefined) this.#proofs.set(proof, (this.#proofs.get(proof) ?? 0) + 1);
  }

  get isWhole(): boolean {
    return FAULTS.every(([sign]) => this.#of(sign).blobs === 0);
  }

  get faults(): string {
    const found = FAULTS.filter(([sign]) => this.#of(sign).blobs > 0);
    return found.map(([sign, name]) => `${amount(this.#of(sign))} ${name}`).join(', ');
  }

  get summary() {
    const signs = Object.fromEntries(SIGNS.map((sign) => [sign, this.#of(sign)]));
    return { whole: this.isWhole, signs, proofs: Object.fromEntries(this.#proofs) };
  }

  sentence(deep: boolean): string {
    const unproved = this.#proofs.get('length') ?? 0;
    const length = unproved === 0 ? '' : `, ${count(unproved)} of them by length only`;
    const advice = unproved === 0 || deep ? '' : ' (--deep reads them)';
    const extra = this.#of('+').blobs === 0 ? '' : `; ${amount(this.#of('+'))} there belong to nothing`;
    const faults = this.isWhole ? '' : `; ${this.faults}`;
    return `${amount(this.#of('='))} whole${length}${advice}${faults}${extra}`;
  }

  #of(sign: AuditSign): { blobs: number; bytes: number } {
    return this.#signs.get(sign) ?? { blobs: 0, bytes: 0 };
  }
}
