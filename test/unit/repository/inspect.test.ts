import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { inspect } from '../../../src/cli/inspect';
import type { InspectOptions } from '../../../src/cli/inspect';
import { ConfigurationError } from '../../../src/domain/errors';
import { readManifest } from '../../../src/repository';
import { openDirectory } from '../../../src/storage/directory';
import { fixture, reader, repositoryOf } from './fixtures';

const root = mkdtempSync(join(tmpdir(), 'snapferry-inspect-'));
afterAll(() => rmSync(root, { recursive: true }));
for (const name of ['5.6.16-rounds', '8.19.0-chunked']) {
  for (const [key, bytes] of fixture(name)) {
    const path = join(root, 'base', name, key);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, bytes);
  }
}

async function inspected(name: string, options: Partial<InspectOptions> = {}): Promise<string[]> {
  const lines: string[] = [];
  const all = { basePath: `base/${name}`, manifest: false, json: false, ...options };
  await inspect(openDirectory(root), all, (line) => lines.push(line), new AbortController().signal);
  return lines;
}

describe('inspect', () => {
  it('lists the snapshots of a repository', async () => {
    const lines = await inspected('5.6.16-rounds');
    expect(lines[0]).toBe('Generation 3, 4 snapshots');
    expect(lines[1]).toMatch(/^SNAPSHOT {3}STATE {4}UUID +INDICES$/);
    expect(lines[2]).toMatch(/^final {6}SUCCESS {2}\S{22} {2}empty, events, orders, recreated$/);
    const json = (await inspected('5.6.16-rounds', { json: true })).map((line) => JSON.parse(line) as unknown);
    expect(json).toContainEqual(
      expect.objectContaining({ name: 'foreign-1', state: 'SUCCESS', indices: ['foreign'], generation: 3 }),
    );
  });

  it('tells of a snapshot its indices, and its blobs and bytes by phase', async () => {
    const lines = await inspected('5.6.16-rounds', { snapshot: 'final' });
    expect(lines.find((line) => line.startsWith('orders '))).toMatch(/ 3 +45 +3 +20 KiB {2}orders-live$/);
    expect(lines.find((line) => line.startsWith('data '))).toMatch(/ 69 +51721 +51 KiB$/);
    expect(lines.at(-1)).toMatch(/^all +96 +84375 +82 KiB$/);
    const [summary] = (await inspected('5.6.16-rounds', { snapshot: 'final', json: true })).map(
      (line) => JSON.parse(line) as { phases: unknown },
    );
    expect(summary?.phases).toContainEqual({ phase: 'data', blobs: 69, bytes: 51721 });
  });

  it('prints the manifest as JSON lines of exactly key, length, crc32 and phase', async () => {
    const blobs = fixture('8.19.0-chunked');
    const manifest = await readManifest(await repositoryOf(blobs), 's1', reader(blobs));
    const lines = await inspected('8.19.0-chunked', { manifest: true, json: true });
    expect(lines).toEqual(
      manifest.blobs.map(
        ({ key, length, crc32, phase }) => `{"key":"${key}","length":${length},"crc32":${crc32},"phase":"${phase}"}`,
      ),
    );
    expect(lines.some((line) => line.includes('"crc32":null'))).toBe(true);
  });

  it('prints the manifest for people with the checksum in hexadecimal', async () => {
    const lines = await inspected('5.6.16-rounds', { manifest: true, snapshot: 'final' });
    expect(lines).toHaveLength(96);
    expect(lines[0]).toMatch(/^data {20,}\d+ {2}[0-9a-f]{8} {2}indices\/\S+\/__0$/);
    expect(lines.at(-1)).toMatch(/^index\.latest +8 {2}- {9}index\.latest$/);
  });

  it('asks which snapshot when there are several', async () => {
    const several = inspected('5.6.16-rounds', { manifest: true });
    await expect(several).rejects.toThrow(ConfigurationError);
    await expect(several).rejects.toThrow('holds final, foreign-1, round-0, round-1: name one with --snapshot');
    await expect(inspected('5.6.16-rounds', { snapshot: 'nope' })).rejects.toThrow("There is no snapshot 'nope'");
  });

  it('refuses a place without a repository', async () => {
    await expect(inspected('nowhere')).rejects.toThrow(ConfigurationError);
    await expect(inspected('', { basePath: '' })).rejects.toThrow('There is no snapshot repository here');
  });
});
