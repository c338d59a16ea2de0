/**
 * Where blobs lie: the port, its adapters, and the two things done with stores. `march` compares what two of them list;
 * `copyFile` moves one file and proves it. Nothing here knows what a snapshot is.
 */
export type {
  BlobChecksums,
  BlobInfo,
  Copier,
  ReadOptions,
  ReadReceipt,
  Store,
  UploadedPart,
  Uploads,
  WriteOptions,
  WriteReceipt,
} from './store';
export type { DirectoryConnection, OssConnection, S3Connection, StoreConnection } from './open';
export { openStore } from './open';
export { openDirectory } from './directory';
export type { S3Options } from './s3';
export type { S3Credentials } from './s3-signer';
export { openS3 } from './s3';
export type { OssOptions } from './oss';
export { openOss } from './oss';
export type { OssCredentials } from './oss-signer';
export type { CopyCursor, CopyFile, CopyOptions, CopySource, CopyTarget, CursorPart } from './copy';
export { listedUploads } from './copy-parts';
export { copyFile, sendSaved } from './copy';
export type { BlobNote } from './held';
export { noteOf, provedAsNoted } from './held';
export type { BlobProof } from './proof';
export { proofOf } from './proof';
export type { Lane } from './engine';
export { Engine, laneOf } from './engine';
export { inParallel, inTurn, mapInParallel } from './parallel';
export type { Clock, Limits } from './pace';
export { Bucket, Pace } from './pace';
export type { Pair } from './march';
export type { Payload } from './payload';
export { joined, payload } from './payload';
export { march } from './march';
export type { Pages } from './listing';
export { listed, Listing } from './listing';
export { readCrc32 } from './sum';
export { readWhole } from './whole';
export { compareKeys, keyBelow } from './keys';
export { combineCrc64, crc64, showCrc64 } from './crc64';
export { combineCrc32, crc32, footerCrc32, showCrc32 } from './crc32';
