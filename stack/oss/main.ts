// The server as a program: its options are JSON in SNAPFERRY_OSS, because arguments of a program are for all to see.
import path from 'node:path';
import { createControlServer } from './control';
import type { Controlled } from './control';
import { FaultScript } from './faults';
import type { OssOptions } from './index';
import { createOssServer } from './server';
import { Storage } from './storage';
import { Uploads } from './uploads';

const LOOPBACK = '127.0.0.1';

async function main(): Promise<void> {
  process.umask(0); // what it makes is for a node, another user, to write and delete
  const options = JSON.parse(process.env.SNAPFERRY_OSS ?? '') as OssOptions & { port: number; controlPort: number };
  const { accessKeyId, secretAccessKey, region, sessionTokens } = options;
  const storage = await Storage.open(path.resolve(options.root));
  const service = { storage, uploads: await Uploads.open(storage), region };
  const controlled: Controlled = { script: new FaultScript(options.faults ?? []), traffic: {}, policy: options.policy };
  const keys = { accessKeyId, secretAccessKey, region, ...(sessionTokens && { sessionTokens }) };
  const { traffic } = controlled;
  const now = { script: () => controlled.script, policy: () => controlled.policy };
  createOssServer({ keys, service, traffic, ...now }).listen(options.port, LOOPBACK, () => {
    createControlServer(controlled).listen(options.controlPort, LOOPBACK); // last: it answers once all is ready
  });
}

void main();
