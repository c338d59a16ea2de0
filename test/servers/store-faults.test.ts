/** Each fault of the OSS server's script once, and bad input, while a repository is copied. The matrix is every phase. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { MigrationError } from '../../src/domain/errors';
import { BlobMissingError, ConfigurationError } from '../../src/domain/errors';
import type { FaultAction } from '../../stack';
import { FaultyStores, TOKENS } from '../support/faulty-stores';
import type { Faults, Journey } from '../support/faulty-stores';
import { OSS_KEYS } from '../support/oss';
import { combinations, struck } from '../support/store-faults';
import { testServers } from '../support/temporal';

const { buckets, elasticsearch } = testServers();

let stores: FaultyStores;
beforeAll(async () => {
  const root = mkdtempSync(path.join(buckets, 'oss-faults-'));
  stores = await FaultyStores.start(root, elasticsearch['5.6.16'] as string);
});
afterAll(() => stores?.stop());
afterEach(async () => {
  await stores.setFaults('source');
  await stores.setFaults('target');
});
// Pauses between tries are a share of this.
beforeEach(() => void jest.spyOn(Math, 'random').mockReturnValue(0));

const failureOf = (work: Promise<unknown>) =>
  work.then(
    () => Promise.reject(new Error('it did not fail')),
    (error: unknown) => error as MigrationError,
  );

describe('a round ends right, or it stops and says why', () => {
  const all = new Map(combinations('round').map(([title, ...rest]) => [title, rest]));
  test.each([
    'listing the source: 503 TotalQpsLimitExceeded',
    'index-N of the source: one bit of the response',
    'metadata of the source: an answer cut short, as its length says',
    'small blobs of the source: a response that drips',
    'parts of a large blob of the source: one bit of the response',
    'parts of a large blob of the source: a reset in the middle of the response',
    'small blobs: permission withdrawn',
    'small blobs: one bit of the request',
    'parts: a request that hangs',
    'parts: the bucket deleted',
    'an upload, completed: an answer lost',
    'resume: what a lost answer made, looked at: an answer lost',
    'metadata: 500 InternalError',
    'clean-up: uploads, aborted: a token that expired, until it is renewed',
    'index-N: an answer lost',
    'index.latest, read back: an answer cut short, whatever its length says',
  ])('%s', async (title) => {
    const [phase, fault] = all.get(title)!;
    await struck(stores, 'round', phase, fault);
  });
});

test('a bit that flips at the source, on the way from it, to the target, and at the target is four messages', async () => {
  const { large } = stores;
  const small = [...stores.manifest.blobs].find(({ key }) => key !== large && /\/__/.test(key))!.key;
  const flip = (of: 'request' | 'response' | 'stored'): FaultAction => ({ do: 'flip', of, byte: 30 });
  const said: string[] = [];
  const run = async (arrange: (journey: Journey) => Faults) => {
    const journey = await stores.journey(true);
    const error = await journey.round(arrange(journey)).then(
      () => undefined,
      (reason: unknown) => reason as Error,
    );
    expect(journey.isPublished() ? journey.wrong() : []).toEqual([]);
    said.push((error ?? journey.retried[0])!.message);
  };
  await run((journey) => {
    const file = journey.file('source', small);
    const bytes = readFileSync(file);
    bytes[30]! ^= 1;
    writeFileSync(file, bytes);
    return { source: [], target: [] };
  });
  await run(() => ({
    source: [{ on: { operation: 'GetObject', key: `${small}$` }, then: flip('response') }],
    target: [],
  }));
  await run(() => ({
    source: [],
    target: [{ on: { operation: 'PutObject', key: `^to/${small}$` }, count: 0, then: flip('request') }],
  }));
  await run(() => ({ source: [], target: [{ on: { operation: 'UploadPart' }, nth: 2, then: flip('stored') }] }));
  expect(said).toEqual([
    expect.stringMatching(
      `^The bytes in the source are not those that the snapshot names: restore it, .*key=from/${small}`,
    ),
    expect.stringMatching(
      `^Bytes were changed on their way from the source: they are read again\\. .*key=from/${small}`,
    ),
    expect.stringMatching(`^Bytes were changed on their way to the store, .*key=to/${small}`),
    expect.stringMatching(`^The store holds other bytes than were sent: it damaged them\\. .*key=to/${large}`),
  ]);
});

describe('bad input', () => {
  test('a blob that vanished at the source between planning and copying is named, and nothing is published', async () => {
    const journey = await stores.journey(true);
    const key = stores.manifest.blobs.find((blob) => /\/__/.test(blob.key) && blob.key !== stores.large)!.key;
    const error = await failureOf(journey.round(undefined, () => rmSync(journey.file('source', key))));
    expect(error).toBeInstanceOf(BlobMissingError);
    expect(error.subject).toMatchObject({ store: journey.source.store.description, key: `from/${key}` });
    expect(error.message).toContain('find out who deletes there');
    expect(journey.isPublished()).toBe(false);
  });

  test('other bytes under the same key at the target are replaced', async () => {
    const journey = await stores.journey();
    await journey.round(undefined, () => {
      for (const { key, length } of stores.manifest.blobs.filter((blob) => /\/__/.test(blob.key))) {
        mkdirSync(path.dirname(journey.file('target', key)), { recursive: true });
        writeFileSync(journey.file('target', key), Buffer.alloc(length, 'x'));
      }
    });
    expect(journey.wrong()).toEqual([]);
  });

  test('a bucket that is deleted in the middle is named, with what to do', async () => {
    const journey = await stores.journey();
    const error = await failureOf(
      journey.round(undefined, () => rmSync(journey.folder('target'), { recursive: true })),
    );
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain('There is no such bucket: correct its name, or create it.');
    expect(error.subject).toMatchObject({ store: journey.target.store.description, code: 'NoSuchBucket' });
  });

  test('two workers that copy the same blobs at once both end right', async () => {
    const journey = await stores.journey();
    const other = journey.again();
    await Promise.all([journey.copy(), other.copy()]);
    expect(journey.wrong()).toEqual([]);
    expect(await journey.unfinished()).toEqual([]);
  });

  test('a token that expires in the middle is replaced by the next one, without a stop', async () => {
    const journey = await stores.journey();
    const [first, second] = TOKENS;
    let signed = 0;
    const { accessKeyId, secretAccessKey: accessKeySecret } = OSS_KEYS;
    const credentials = async () => {
      const securityToken = ++signed < 32 ? first.token : second.token;
      return { accessKeyId, accessKeySecret, securityToken };
    };
    const expires = { on: first, nth: 30, count: 0, then: { do: 'error', code: 'SecurityTokenExpired' } } as const;
    await journey.again({ credentials }).copy({ source: [], target: [expires] });
    const [script] = await stores.server.target.faults();
    expect(script!.struck).toBeGreaterThan(0);
    expect(journey.wrong()).toEqual([]);
  });
});
