// Bodies as real nodes sent them (root_cause dropped).
import { ConfigurationError, UnavailableError } from '../../../src/domain/errors';
import { errorOf, isUnsupported, readRefusal } from '../../../src/elasticsearch/failures';

const body = (type: string, reason: string, caused_by?: object) =>
  JSON.stringify({ error: { root_cause: [], type, reason, ...(caused_by && { caused_by }) } });
const failure = (status: number, text: string, retryAfter?: string) =>
  errorOf(readRefusal(status, text, retryAfter), { cluster: 'source', request: 'GET /' });

describe('who must act', () => {
  test.each([
    [503, 'concurrent_snapshot_execution_exception', ' a snapshot is already running'],
    [503, 'concurrent_snapshot_execution_exception', 'Restore process is already running in this cluster'],
    [500, 'illegal_state_exception', 'trying to modify or unregister repository that is currently used '],
    [
      409,
      'repository_conflict_exception',
      '[eb] trying to modify or unregister repository that is currently used (snapshot restore is in progress)',
    ],
    [400, 'snapshot_in_progress_exception', 'Cannot close indices that are being snapshotted: [[x/uuid]]'],
    [503, 'process_cluster_event_timeout_exception', 'failed to process cluster event (put-mapping) within 30s'],
    [503, 'master_not_discovered_exception', 'null'],
    [429, 'es_rejected_execution_exception', 'rejected execution of ...'],
    [503, 'cluster_block_exception', 'blocked by: [SERVICE_UNAVAILABLE/1/state not recovered / initialized];'],
    [
      429,
      'cluster_block_exception',
      'index [x] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark];',
    ],
    [500, 'null_pointer_exception', 'nobody knows'],
  ])('%i %s: nobody, it passes', (status, type, reason) => {
    const error = failure(status, body(type, reason));
    expect(error).toBeInstanceOf(UnavailableError);
    expect(error.subject).toEqual({ cluster: 'source', request: 'GET /', status, type });
    expect(error.message).toContain(reason);
  });

  test.each([
    [500, 'snapshot_restore_exception', "[r:s1/uuid] cannot restore index [x] because it's open"],
    [500, 'snapshot_restore_exception', 'cannot restore index [t-x] with [5] shard from snapshot with [2] shards'],
    [500, 'repository_exception', '[eb] cannot create snapshot in a readonly repository'],
    [500, 'repository_verification_exception', '[ew] path  is not accessible on master node'],
    [500, 'snapshot_exception', '[r:aa/uuid] Snapshot could not be read'],
    [500, 'corrupt_state_exception', 'checksums do not match'],
    [500, 'no_such_file_exception', '/repo/meta-uuid.dat'],
    [
      400,
      'invalid_snapshot_name_exception',
      '[r:s1]Invalid snapshot name [s1], snapshot with the same name already exists',
    ],
    [
      400,
      'snapshot_name_already_in_use_exception',
      '[r:s1] Invalid snapshot name [s1], snapshot with the same name already exists',
    ],
    [400, 'illegal_argument_exception', 'Unexpected field [mapping_version]'],
    [400, 'parse_exception', 'unknown field name  [min_version]'],
    [404, 'index_not_found_exception', 'no such index [x]'],
    [404, 'repository_missing_exception', '[none] missing'],
    [403, 'cluster_block_exception', 'blocked by: [FORBIDDEN/4/index closed];'],
    [403, 'security_exception', 'action [cluster:admin/snapshot/create] is unauthorized for user [reader]'],
    [401, 'security_exception', 'missing authentication credentials for REST request [/]'],
  ])('%i %s: the operator', (status, type, reason) => {
    const error = failure(status, body(type, reason));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.subject).toMatchObject({ status, type });
    expect(error.message).toContain(reason);
  });

  test('credentials are spoken of when they are refused, and not when an index is blocked', () => {
    expect(failure(403, body('security_exception', 'unauthorized')).message).toContain('correct the credentials');
    expect(failure(403, body('cluster_block_exception', 'index closed')).message).not.toContain('credentials');
  });

  test.each([
    [502, '<html>502 Bad Gateway</html>', UnavailableError],
    [504, '', UnavailableError],
    [408, '', UnavailableError],
    [500, '', UnavailableError],
    [413, 'too large', ConfigurationError],
    [301, '', ConfigurationError],
    [401, '<html>who are you?</html>', ConfigurationError],
    [403, '{"Message":"User: anonymous is not authorized to perform: es:ESHttpGet"}', ConfigurationError],
  ])('%i of a proxy or service', (status, text, expected) => {
    const error = failure(status, text);
    expect(error).toBeInstanceOf(expected);
    expect(error.subject).toMatchObject({ status, type: undefined });
  });
});

describe('what is said', () => {
  test('the reasons from the outermost to the root-most', () => {
    const root = {
      type: 'illegal_argument_exception',
      reason: 'The index [[x/uuid]] was created with version [5.5.2]',
    };
    const error = failure(
      500,
      body('snapshot_restore_exception', 'cannot be upgraded', {
        type: 'illegal_state_exception',
        reason: 'middle',
        caused_by: root,
      }),
    );
    expect(error.message).toContain(`cannot be upgraded: middle: ${root.reason}`);
    expect(error.subject['type']).toBe('snapshot_restore_exception');
  });

  test('the root survives a long chain, and the message stays readable', () => {
    const root = { type: 'x', reason: 'the root' };
    const error = failure(500, body('repository_exception', 'long '.repeat(1_000), root));
    expect(error.message).toContain('the root');
    expect(error.message.length).toBeLessThan(800);
  });

  test.each([
    ['{"error":"Incorrect HTTP method for uri [/] and method [GET]","status":405}', 'Incorrect HTTP method'],
    ['{"Message":"Your request: \'/_tasks\' is not allowed."}', "Your request: '/_tasks' is not allowed."],
    ['<html>no</html>', '<html>no</html>'],
    ['{"error":{"type":"only_a_type"}}', 'only_a_type'],
    ['{"error":{}}', 'no reason given'],
    ['[1]', '[1]'],
    ['', 'status 405'],
  ])('%s is quoted as far as it says something', (text, said) => {
    expect(readRefusal(405, text, undefined).reason).toContain(said);
  });

  test('a page is cut', () => {
    expect(readRefusal(502, 'x'.repeat(10_000), undefined).reason.length).toBeLessThan(600);
  });

  test('how long the server asks to be left alone, in seconds or as a date', () => {
    expect((failure(429, '', '7') as UnavailableError).retryAfterMs).toBe(7_000);
    const inAMinute = new Date(Date.now() + 60_000).toUTCString();
    expect((failure(503, '', inAMinute) as UnavailableError).retryAfterMs).toBeGreaterThan(50_000);
    const past = new Date(Date.now() - 60_000).toUTCString();
    expect((failure(503, '', past) as UnavailableError).retryAfterMs).toBe(0);
    expect((failure(503, '', 'soon') as UnavailableError).retryAfterMs).toBeUndefined();
  });
});

test.each([
  [400, body('illegal_argument_exception', 'request [/x/_block/write] contains ...'), true],
  [403, body('security_exception', 'unauthorized'), true],
  [405, '{"error":"Incorrect HTTP method"}', true],
  [401, '{"Message":"Your request: \'/_tasks\' is not allowed."}', true],
  [401, body('security_exception', 'unable to authenticate user'), false],
  [404, body('index_not_found_exception', 'no such index'), false],
  [429, '', false],
  [500, '', false],
])('%i %s means that there is no such call for us: %s', (status, text, unsupported) => {
  expect(isUnsupported(readRefusal(status, text, undefined))).toBe(unsupported);
});
