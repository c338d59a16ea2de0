/** What is done with what a store answers, try by try: a transport that answers as it is told, and S3's table of errors. */
import { inspect } from 'node:util';
import { randomBytes } from 'node:crypto';
import {
  BlobMissingError,
  ConfigurationError,
  RepositoryChangedError,
  UnavailableError,
} from '../../../src/domain/errors';
import { payload } from '../../../src/storage/payload';
import { Requests } from '../../../src/storage/requests';
import type { UnsignedRequest } from '../../../src/storage/requests';
import { errorOf, isThrottle, mayPass } from '../../../src/storage/s3-errors';
import { TransportError } from '../../../src/storage/transport';
import type { HttpReply, HttpRequest, SendOptions, Transport } from '../../../src/storage/transport';

const NEVER = new AbortController().signal;
const BODY = randomBytes(1_000);
const SECRET = 'planted-token';

type Answer = (request: HttpRequest, options: SendOptions) => HttpReply | Promise<HttpReply>;

let sent: HttpRequest[];
let signed: number;

beforeEach(() => {
  sent = [];
  signed = 0;
  // Pauses between tries are as short as they may happen to be.
  jest.spyOn(Math, 'random').mockReturnValue(0.01);
});
afterEach(() => jest.restoreAllMocks());

/** One answer for each try; the last one for all that follow. */
function requests(...answers: Answer[]): Requests {
  let tries = 0;
  const transport: Transport = {
    send: async (request, options) => {
      sent.push(request);
      tries += 1;
      return answers[Math.min(tries, answers.length) - 1]!(request, options);
    },
    close: async () => {},
  };
  return new Requests(transport, {
    description: 's3://bucket',
    sign: async ({ method, key, headers = {}, body }: UnsignedRequest) => ({
      method,
      path: `/${key}`,
      headers: { ...headers, authorization: `${SECRET} ${++signed}` },
      ...(body === undefined ? {} : { body }),
    }),
    errorOf,
    isThrottle,
    mayPass,
  });
}

const refuses = (status: number, code: string): Answer => {
  const text = `<Error><Code>${code}</Code><CanonicalRequest>${SECRET}</CanonicalRequest></Error>`;
  return () => ({ status, headers: {}, body: [Buffer.from(text)] });
};
const ok: Answer = () => ({ status: 200, headers: { etag: '"e"' }, body: [] });
const breaksOff: Answer = () => {
  throw new TransportError('socket hang up', 'ECONNRESET', 0);
};

/** As a store does: the range that was asked for, of which `most` bytes arrive. */
function gives(most = Infinity, blob = BODY, etag = '"e"'): Answer {
  return ({ headers }, { into }) => {
    const match = headers['if-match'];
    if (match !== undefined && match !== etag) return refuses(412, 'PreconditionFailed')({} as never, {} as never);
    const range = /^bytes=(\d+)-(\d*)$/.exec(headers['range'] ?? '');
    const first = Number(range?.[1] ?? 0);
    const bytes = blob.subarray(first, range?.[2] ? Number(range[2]) + 1 : undefined);
    const answer: Record<string, string> = { 'content-length': String(bytes.length), etag };
    if (range) answer['content-range'] = `bytes ${first}-${first + bytes.length - 1}/${blob.length}`;
    const buffers = into!(bytes.length, answer);
    let filled = 0;
    for (const buffer of buffers) filled += bytes.copy(buffer, 0, filled, Math.min(filled + buffer.length, most));
    if (filled < bytes.length) throw new TransportError('terminated', 'UND_ERR_SOCKET', filled);
    return { status: range ? 206 : 200, headers: answer, body: buffers };
  };
}

const send = (to: Requests, signal = NEVER) =>
  to.send({ method: 'PUT', key: 'a', body: payload(Buffer.from('x')) }, { signal, about: { key: 'a' } });
const ranges = () => sent.map(({ headers }) => [headers['range'], headers['if-match']]);

describe('one request and two more tries', () => {
  test.each<[string, Answer]>([
    ['a connection that breaks', breaksOff],
    ['a store that is busy', refuses(503, 'SlowDown')],
    ['a store in trouble', refuses(500, 'InternalError')],
  ])('get past %s', async (_, fails) => {
    await expect(send(requests(fails, fails, ok))).resolves.toMatchObject({ status: 200 });
    expect(sent).toHaveLength(3);
  });

  test.each<[string, Answer]>([
    ['a connection that breaks', breaksOff],
    ['a store that is busy', refuses(503, 'SlowDown')],
  ])('and no more, for %s', async (_, fails) => {
    await expect(send(requests(fails))).rejects.toThrow(UnavailableError);
    expect(sent).toHaveLength(3);
  });

  test('each is signed anew', async () => {
    await send(requests(breaksOff, breaksOff, ok));
    expect(new Set(sent.map(({ headers }) => headers['authorization'])).size).toBe(3);
  });

  test('what the operator must mend is asked once', async () => {
    await expect(send(requests(refuses(403, 'AccessDenied')))).rejects.toThrow(ConfigurationError);
    await expect(send(requests(refuses(404, 'NoSuchUpload')))).rejects.toThrow(BlobMissingError);
    expect(sent).toHaveLength(2);
  });

  test('answers that ask to slow down are counted, those that a second try got past too', async () => {
    const busy = requests(refuses(503, 'SlowDown'), refuses(429, 'TooManyRequests'), ok, refuses(500, 'InternalError'));
    await send(busy);
    await expect(send(busy)).rejects.toThrow(UnavailableError);
    expect(busy.throttled).toBe(2);
    const alsoReading = requests(refuses(400, 'SlowDown'), gives());
    await alsoReading.read('a', {}, { signal: NEVER });
    expect(alsoReading.throttled).toBe(1);
  });

  test('a signal ends the pause between them with its reason', async () => {
    jest.spyOn(Math, 'random').mockReturnValue(0.999);
    const controller = new AbortController();
    const reason = new Error('the operator said stop');
    const busy = requests(() => {
      setImmediate(() => controller.abort(reason));
      return refuses(503, 'SlowDown')({} as never, {} as never);
    });
    await expect(send(busy, controller.signal)).rejects.toBe(reason);
    expect(sent).toHaveLength(1);
  });

  test('a signal that fires while credentials are fetched sends nothing', async () => {
    const reason = new Error('the operator said stop');
    await expect(send(requests(ok), AbortSignal.abort(reason))).rejects.toBe(reason);
    expect(sent).toHaveLength(0);
  });

  test('no secret of a request or an answer gets into an error', async () => {
    for (const answer of [refuses(403, 'SignatureDoesNotMatch'), breaksOff]) {
      const error: unknown = await send(requests(answer)).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ subject: { store: 's3://bucket', key: 'a' } });
      expect(inspect(error, { depth: 9, showHidden: true }) + JSON.stringify(error)).not.toContain(SECRET);
    }
  });
});

describe('a body that breaks off', () => {
  test('is asked for from where it broke, of the same blob, into the memory that waits for it', async () => {
    const memory = [Buffer.alloc(350), Buffer.alloc(1), Buffer.alloc(649)];
    const into = jest.fn(() => memory);
    const receipt = await requests(gives(300), gives(60), gives()).read('a', { into }, { signal: NEVER });
    expect(ranges()).toEqual([
      [undefined, undefined],
      ['bytes=300-999', '"e"'],
      ['bytes=360-999', '"e"'],
    ]);
    expect(into).toHaveBeenCalledTimes(1);
    expect(receipt).toEqual({ buffers: memory, etag: 'e', headers: expect.objectContaining({ etag: '"e"' }) });
    expect(Buffer.concat(memory).equals(BODY)).toBe(true);
  });

  test('of a range goes on inside that range', async () => {
    const options = { offset: 100, length: 500, ifMatch: 'e' };
    const { buffers } = await requests(gives(20), gives()).read('a', options, { signal: NEVER });
    expect(ranges()).toEqual([
      ['bytes=100-599', '"e"'],
      ['bytes=120-599', '"e"'],
    ]);
    expect(Buffer.concat(buffers).equals(BODY.subarray(100, 600))).toBe(true);
  });

  test('is not given up while it moves on, however often it breaks', async () => {
    const { buffers } = await requests(gives(100)).read('a', {}, { signal: NEVER });
    expect(sent.length).toBeGreaterThan(3);
    expect(Buffer.concat(buffers).equals(BODY)).toBe(true);
  });

  test('is given up when three tries in a row bring nothing', async () => {
    const reading = requests(gives(10), breaksOff).read('a', {}, { signal: NEVER });
    await expect(reading).rejects.toThrow(UnavailableError);
    expect(sent).toHaveLength(4);
  });

  test('is not completed with the bytes of another blob', async () => {
    const other = randomBytes(1_000);
    const replaced = requests(gives(10), gives(Infinity, other, '"f"')).read('a', {}, { signal: NEVER });
    await expect(replaced).rejects.toThrow(RepositoryChangedError);
    // Nor where a gateway passes over the condition.
    const careless: Answer = (request, options) =>
      gives(Infinity, other, '"f"')({ ...request, headers: { range: request.headers['range']! } }, options);
    const unnoticed = requests(gives(10), careless).read('a', {}, { signal: NEVER });
    await expect(unnoticed).rejects.toThrow(RepositoryChangedError);
  });
});

describe('an answer that is not what was asked for', () => {
  const says =
    (headers: Record<string, string>): Answer =>
    (_, { into }) => ({ status: 206, headers, body: into!(Number(headers['content-length']), headers) });

  test.each<[string, Record<string, string>]>([
    ['another range', { 'content-length': '5', 'content-range': 'bytes 0-4/1000' }],
    ['the whole blob', { 'content-length': '1000' }],
    ['less than the range', { 'content-length': '4', 'content-range': 'bytes 5-8/9' }],
  ])('%s is no success', async (_, headers) => {
    const reading = requests(says(headers)).read('a', { offset: 5, length: 5 }, { signal: NEVER });
    await expect(reading).rejects.toThrow(UnavailableError);
  });

  test('a body without a length is no success', async () => {
    const endless: Answer = () => ({ status: 200, headers: {}, body: [BODY] });
    await expect(requests(endless).read('a', {}, { signal: NEVER })).rejects.toThrow(UnavailableError);
  });

  test('a blob that is not there is said at once', async () => {
    await expect(requests(refuses(404, 'NoSuchKey')).read('a', {}, { signal: NEVER })).rejects.toThrow(
      BlobMissingError,
    );
    expect(sent).toHaveLength(1);
  });

  test('nothing is asked for no bytes', async () => {
    expect((await requests(ok).read('a', { offset: 5, length: 0 }, { signal: NEVER })).buffers).toEqual([]);
    expect(sent).toHaveLength(0);
  });
});
