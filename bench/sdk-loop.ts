// The copier that one writes in an afternoon: the AWS SDK on both sides, 32 objects at a time, whole in memory.
import { GetObjectCommand, paginateListObjectsV2, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';

const AT_ONCE = 32;

async function main([from = '', source = '', to = '', target = '']: readonly string[]): Promise<void> {
  const [reader, writer] = [clientOf(from), clientOf(to)];
  const keys: string[] = [];
  for await (const page of paginateListObjectsV2({ client: reader }, { Bucket: source })) {
    keys.push(...(page.Contents ?? []).map(({ Key }) => Key!));
  }
  let next = 0;
  const lane = async () => {
    while (next < keys.length) {
      const Key = keys[next++]!;
      const { Body } = await reader.send(new GetObjectCommand({ Bucket: source, Key }));
      await writer.send(new PutObjectCommand({ Bucket: target, Key, Body: await Body!.transformToByteArray() }));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
}

function clientOf(endpoint: string): S3Client {
  const checksums = {
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  } as const;
  return new S3Client({ endpoint, forcePathStyle: true, ...checksums });
}

void main(process.argv.slice(2)).catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
