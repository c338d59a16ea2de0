import { inspect } from 'node:util';
import { ConfigurationError } from '../../../src/domain/errors';
import { openStore } from '../../../src/storage';

const credentials = () => ({ accessKeyId: 'AKIA', secretAccessKey: 'planted-secret' });

test('a store is described without its secrets, by inspection and as JSON too', () => {
  const store = openStore({ type: 's3', bucket: 'snapshots', region: 'eu-west-1', credentials });
  expect(store.description).toBe('s3://snapshots');
  expect(inspect(store, { depth: 9, showHidden: true }) + JSON.stringify(store)).not.toContain('planted-secret');
});

test('a directory is described by its absolute path', () => {
  expect(openStore({ type: 'directory', path: '/srv/snapshots/' }).description).toBe('dir:/srv/snapshots');
});

test('an endpoint that is no URL is refused before anything connects', () => {
  const connection = { type: 's3', bucket: 'b', region: 'r', endpoint: 'localhost', credentials } as const;
  expect(() => openStore(connection)).toThrow(ConfigurationError);
});

test('a store of type oss is described without its secrets, too', () => {
  const oss = () => ({ accessKeyId: 'LTAI', accessKeySecret: 'planted-secret' });
  const store = openStore({ type: 'oss', bucket: 'snapshots', region: 'cn-hangzhou', credentials: oss });
  expect(store.description).toBe('oss://snapshots');
  expect(inspect(store, { depth: 9, showHidden: true }) + JSON.stringify(store)).not.toContain('planted-secret');
});
