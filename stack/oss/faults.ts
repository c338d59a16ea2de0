// The fault script: which requests go wrong, and how. Faults strike requests whose signature is valid, in the order in
// which they arrive; everything else about them is as without the script.
import { z } from 'zod';
import type { Operation } from './address';

const bytes = z.number().int().min(0);
const side = z.enum(['request', 'response']);

const action = z.discriminatedUnion('do', [
  /** Refused without being carried out. Codes that OSS has need no status. */
  z.strictObject({
    do: z.literal('error'),
    code: z.string(),
    status: z.number().int().min(400).max(599).optional(),
    message: z.string().optional(),
  }),
  /** A TCP reset after so many bytes of that body were read or sent; at once on a side without a body. */
  z.strictObject({ do: z.literal('reset'), of: side, afterBytes: bytes }),
  /** Nothing more after so many bytes of that body, nor at all without one; the connection stays open. */
  z.strictObject({ do: z.literal('hang'), of: side, afterBytes: bytes }),
  /** That body moves at this rate. */
  z.strictObject({ do: z.literal('drip'), of: side, bytesPerSecond: z.number().int().min(1) }),
  /**
   * The answer's body ends early. With a Content-Length of what is `sent` it looks complete; with that of the `whole`
   * the connection is closed in the middle.
   */
  z.strictObject({ do: z.literal('truncate'), afterBytes: bytes, contentLength: z.enum(['sent', 'whole']) }),
  /**
   * The lowest bit of one byte is inverted: on its way here before the server computes its checksums (`request`), on
   * disk after that (`stored`), or on its way back (`response`).
   */
  z.strictObject({ do: z.literal('flip'), of: z.enum(['request', 'stored', 'response']), byte: bytes }),
  /** Carried out, then a TCP reset instead of the answer. */
  z.strictObject({ do: z.literal('lose-reply') }),
]);

const fault = z.strictObject({
  /** Every field that is given must fit; none means any request. */
  on: z
    .strictObject({
      /** OSS's name of the call, as `UploadPart`. */
      operation: z.string().optional(),
      method: z.string().optional(),
      bucket: z.string().optional(),
      /** Regular expression, anywhere in the key; a call without a key does not match. */
      key: z.string().refine(isRegExp, 'is not a regular expression').optional(),
      /** The security token of the request, so that one token can expire and the next one work. */
      token: z.string().optional(),
    })
    .default({}),
  /** The first matching request that is struck, counted from 1. */
  nth: z.number().int().min(1).default(1),
  /** How many matching requests in a row are struck; 0 is all from there on. */
  count: z.number().int().min(0).default(1),
  then: action,
});

const script = z.array(fault);

export type FaultAction = z.infer<typeof action>;
/** As a caller writes it: `nth` and `count` default to 1, `on` to every request. */
export type Fault = z.input<typeof fault>;

/** What of a request a fault looks at. */
export interface Subject {
  readonly operation: Operation;
  readonly method: string;
  readonly bucket: string | undefined;
  readonly key: string | undefined;
  readonly token: string | undefined;
}

function isRegExp(text: string): boolean {
  try {
    new RegExp(text);
    return true;
  } catch {
    return false;
  }
}

/** A script and how far it has come. */
export class FaultScript {
  private readonly faults: { readonly fault: z.output<typeof fault>; seen: number; struck: number }[];

  /** Throws an Error that names each thing wrong with the script. */
  constructor(faults: unknown) {
    const parsed = script.safeParse(faults);
    if (!parsed.success) throw new Error(`The fault script is wrong:\n${z.prettifyError(parsed.error)}`);
    this.faults = parsed.data.map((one) => ({ fault: one, seen: 0, struck: 0 }));
  }

  /**
   * What happens to this request. Each fault counts the requests that it matches; when several strike the same one,
   * the first in the script does.
   */
  strike(subject: Subject): FaultAction | undefined {
    let striking: FaultAction | undefined;
    for (const entry of this.faults) {
      const { on, nth, count, then } = entry.fault;
      if (!matches(on, subject)) continue;
      entry.seen++;
      const isDue = entry.seen >= nth && (count === 0 || entry.seen < nth + count);
      if (!isDue || striking !== undefined) continue;
      entry.struck++;
      striking = then;
    }
    return striking;
  }

  /** Each fault with the requests it matched (`seen`) and those it struck. */
  toJSON(): object[] {
    return this.faults.map(({ fault: one, seen, struck }) => ({ ...one, seen, struck }));
  }
}

function matches(on: z.output<typeof fault>['on'], subject: Subject): boolean {
  return (
    (on.operation === undefined || on.operation === subject.operation) &&
    (on.method === undefined || on.method.toUpperCase() === subject.method) &&
    (on.bucket === undefined || on.bucket === subject.bucket) &&
    (on.token === undefined || on.token === subject.token) &&
    (on.key === undefined || (subject.key !== undefined && new RegExp(on.key).test(subject.key)))
  );
}
