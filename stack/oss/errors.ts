// OSS's refusals: code, status, sentence and EC, as its error pages give them (help: "OSS error codes", one page per EC).

interface Refusal {
  readonly status: number;
  readonly message: string;
  readonly ec?: string;
}

/** Sent where no page names an EC: there is always one in an answer, and no client may read anything into this one. */
const UNDOCUMENTED_EC = '0000-00000000';

const SLOW_DOWN = { status: 503, message: 'Please reduce your request rate.' };
const KEY_RULE = 'The specified object is not valid.';

/** Codes that the server itself answers with, and those that a fault script needs only a name for. */
const REFUSALS: Readonly<Record<string, Refusal>> = {
  AccessDenied: { status: 403, message: 'You have no right to access this object.' },
  BadRequest: { status: 400, message: 'The request is malformed.' },
  BucketAlreadyExists: { status: 409, message: 'The requested bucket name is not available.' },
  BucketNotEmpty: { status: 409, message: 'The bucket you tried to delete is not empty.' },
  EntityTooLarge: { status: 400, message: 'Your proposed upload exceeds the maximum allowed size.' },
  EntityTooSmall: {
    status: 400,
    message: 'Your proposed upload smaller than the minimum allowed size.',
    ec: '0042-00000213',
  },
  FileAlreadyExists: { status: 409, message: 'The object you specified already exists.', ec: '0026-00000002' },
  InternalError: { status: 500, message: 'We encountered an internal error. Please try again.' },
  InvalidAccessKeyId: {
    status: 403,
    message: 'The OSS Access Key Id you provided does not exist in our records.',
    ec: '0002-00000902',
  },
  InvalidArgument: { status: 400, message: 'The argument is invalid.' },
  InvalidBucketName: { status: 400, message: 'The specified bucket is not valid.' },
  InvalidDigest: { status: 400, message: 'The Content-MD5 you specified was invalid.' },
  InvalidObjectName: { status: 400, message: KEY_RULE },
  InvalidObjectState: { status: 403, message: "The operation is not valid for the object's state." },
  InvalidPart: {
    status: 400,
    message:
      'One or more of the specified parts could not be found or the specified entity tag might not have matched the ' +
      "part's entity tag.",
  },
  InvalidPartOrder: { status: 400, message: 'The list of parts was not in ascending order.' },
  InvalidRange: { status: 416, message: 'The requested range cannot be satisfied.' },
  InvalidSecurityToken: { status: 403, message: 'The security token you provided is invalid.', ec: '0002-00000008' },
  MalformedXML: { status: 400, message: 'The XML you provided was not well-formed.' },
  MethodNotAllowed: { status: 405, message: 'The specified method is not allowed against this resource.' },
  MissingArgument: { status: 400, message: 'A required argument is missing.' },
  NoSuchBucket: { status: 404, message: 'The specified bucket does not exist.', ec: '0015-00000101' },
  NoSuchKey: { status: 404, message: 'The specified key does not exist.', ec: '0026-00000001' },
  NoSuchLifecycle: { status: 404, message: 'No Row found in Lifecycle Table.' },
  NoSuchServerSideEncryptionRule: { status: 404, message: 'The server side encryption rule is not found.' },
  NoSuchUpload: {
    status: 404,
    message:
      'The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or ' +
      'completed.',
    ec: '0017-00000244',
  },
  NotImplemented: {
    status: 501,
    message: 'A header or parameter you provided implies functionality that is not here.',
  },
  NotModified: { status: 304, message: 'Not Modified' },
  PreconditionFailed: { status: 412, message: 'At least one of the pre-conditions you specified did not hold.' },
  PublicEndpointForbidden: {
    status: 400,
    message: 'Data operations through the default public endpoint are forbidden for this account.',
    ec: '0048-00000401',
  },
  RequestTimeTooSkewed: {
    status: 403,
    message: 'The difference between the request time and the current time is too large.',
    ec: '0002-00000504',
  },
  SecurityTokenExpired: { status: 403, message: 'The security token you provided has expired.', ec: '0002-00000007' },
  SignatureDoesNotMatch: {
    status: 403,
    message:
      'The request signature we calculated does not match the signature you provided. Check your key and signing ' +
      'method.',
    ec: '0002-00000201',
  },
  // The seven that ask to slow down.
  ActiveRequestLimitExceeded: SLOW_DOWN,
  DownloadTrafficRateLimitExceeded: SLOW_DOWN,
  MetaOperationQpsLimitExceeded: SLOW_DOWN,
  PartitionQpsLimitted: SLOW_DOWN,
  ServiceUnavailable: SLOW_DOWN,
  TotalQpsLimitExceeded: { ...SLOW_DOWN, ec: '0004-00000302' },
  UploadTrafficRateLimitExceeded: SLOW_DOWN,
};

export interface RefusalOptions {
  readonly status?: number;
  readonly message?: string;
  readonly ec?: string;
  /** Further elements of the XML, as `<Key>`. */
  readonly details?: Readonly<Record<string, string>>;
}

/** A request that OSS refuses; becomes its XML, or the `x-oss-err` header where an answer has no body. */
export class OssError extends Error {
  readonly status: number;
  readonly ec: string;
  readonly details: Readonly<Record<string, string>>;

  /** `code` without an entry above needs a status, else it is a 400. */
  constructor(
    readonly code: string,
    options: RefusalOptions = {},
  ) {
    const known: Refusal = REFUSALS[code] ?? { status: 400, message: code };
    super(options.message ?? known.message);
    this.status = options.status ?? known.status;
    this.ec = options.ec ?? known.ec ?? UNDOCUMENTED_EC;
    this.details = options.details ?? {};
  }
}

/** InvalidArgument as OSS words it: which one, and what was given. */
export function invalidArgument(name: string, value: string, message?: string, ec?: string): OssError {
  return new OssError('InvalidArgument', {
    ...(message === undefined ? {} : { message }),
    ...(ec === undefined ? {} : { ec }),
    details: { ArgumentName: name, ArgumentValue: value },
  });
}
