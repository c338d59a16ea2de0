/** Both lanes of the transport against a server that is told, byte by byte, what to answer. */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TLSSocket } from 'node:tls';
import fc from 'fast-check';
import { joined, payload } from '../../../src/storage/payload';
import type { HttpReply, HttpRequest, SendOptions, Transport, TransportOptions } from '../../../src/storage/transport';
import { TransportError, openTransport } from '../../../src/storage/transport';
import type { Peer, ReceivedRequest, ScriptedServer } from '../../support/scripted-server';
import { selfSigned, startScripted } from '../../support/scripted-server';

const NEVER = new AbortController().signal;
const GET: HttpRequest = { method: 'GET', path: '/bucket/a%20b?x=1', headers: {} };
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const MIB = 1024 * 1024;

let server: ScriptedServer | undefined;
let transport: Transport | undefined;

afterEach(async () => {
  await transport?.close();
  await server?.stop();
  transport = server = undefined;
});

const textOf = ({ body }: HttpReply) => joined(body).toString('latin1');
/** Memory in pieces of `size`. */
const inPieces = (size: number) => (length: number) =>
  Array.from({ length: Math.ceil(length / size) }, (_, i) => Buffer.alloc(Math.min(size, length - i * size)));
const failure = (work: Promise<unknown>): Promise<TransportError> =>
  work.then(
    (reply) => Promise.reject(new Error(`was answered: ${JSON.stringify(reply)}`)),
    (error: unknown) => error as TransportError,
  );

describe.each(['express', 'undici'] as const)('the %s lane', (lane) => {
  const isExpress = lane === 'express';
  /** Undici takes an answer of 100 for an error, and knows what to do with the others. */
  const interim = isExpress
    ? ['HTTP/1.1 100 Continue\r\n\r\n', 'HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n']
    : ['HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n'];
  /** Left alone, undici opens another one where a request follows in the same turn as the answer before. */
  const ONE = { connections: 1 };

  /** A server by script, and a client of it. */
  async function serve(
    script: (peer: Peer, connection: number) => Promise<void>,
    options: Partial<TransportOptions> & { tls?: Parameters<typeof startScripted>[1] } = {},
  ): Promise<void> {
    const { tls, ...more } = options;
    server = await startScripted(script, tls);
    transport = openTransport({ origin: server.origin, lane, ...more });
  }

  /** Every request is answered so. */
  const answering = (...pieces: readonly (string | Buffer)[]) => {
    return async (peer: Peer) => {
      while (await peer.request()) for (const piece of pieces) await peer.send(piece);
    };
  };

  const send = (request: Partial<HttpRequest> = {}, options: Partial<SendOptions> = {}) =>
    transport!.send({ ...GET, ...request }, { signal: NEVER, ...options });

  describe('an answer', () => {
    test('is a status, headers with names in lower case, and a body in the memory that was given for it', async () => {
      const head =
        'HTTP/1.1 206 Partial Content\r\nContent-LENGTH:10\r\nETag: "a b"  \r\nx-amz-a: 1\r\nX-Amz-A: 2\r\n\r\n';
      await serve(answering(`${head}0123456789`));
      const memory: Buffer[] = [Buffer.alloc(0), Buffer.alloc(3), Buffer.alloc(0), Buffer.alloc(7)];
      const into = jest.fn(() => memory);
      const reply = await send({}, { into });
      const headers = { 'content-length': '10', etag: '"a b"', 'x-amz-a': '2' };
      expect(reply).toEqual({ status: 206, headers, body: memory });
      expect(reply.body[1]).toBe(memory[1]);
      expect(Buffer.concat(memory).toString()).toBe('0123456789');
      expect(into.mock.calls).toEqual([[10, headers]]);
    });

    test('is the same wherever it was cut on the way', async () => {
      const answer = `${interim[0]}HTTP/1.1 200 OK\r\ncontent-length: 12\r\netag: "1"\r\n\r\nhello, world`;
      let cut = 0;
      await serve(async (peer) => {
        while (await peer.request()) {
          await peer.send(answer.slice(0, cut));
          await peer.send(answer.slice(cut));
        }
      }, ONE);
      for (; cut < answer.length; cut++) {
        const reply = await send({}, { into: inPieces(5) });
        expect([cut, reply.status, reply.headers['etag'], textOf(reply)]).toEqual([cut, 200, '"1"', 'hello, world']);
      }
      expect(server!.peers.length).toBe(1);
    });

    test('comes out as it was framed: property', async () => {
      let pieces: Buffer[] = [];
      let ends = false;
      await serve(async (peer) => {
        while (await peer.request()) {
          for (const piece of pieces) await peer.send(piece);
          if (ends) peer.socket.end();
        }
      });
      await fc.assert(
        fc.asyncProperty(
          fc.uint8Array({ maxLength: 300 }),
          fc.constantFrom('length', 'chunked', 'until end'),
          fc.array(fc.nat(1_000), { maxLength: 12 }),
          fc.array(fc.nat(60), { minLength: 1, maxLength: 6 }),
          fc.array(fc.constantFrom(...interim), { maxLength: 2 }),
          async (bytes, framing, cuts, sizes, before) => {
            const body = Buffer.from(bytes);
            const framed = frame(body, framing, sizes);
            pieces = cutAt(Buffer.concat([Buffer.from(before.join('')), framed]), cuts);
            ends = framing === 'until end';
            const into = jest.fn(inPieces(sizes[0]! + 1));
            const reply = await send({}, { into });
            expect(joined(reply.body).equals(body) || (body.length === 0 && reply.body.length === 0)).toBe(true);
            expect(into).toHaveBeenCalledTimes(framing === 'length' ? 1 : 0);
          },
        ),
        { numRuns: 150 },
      );
    });

    test.each([
      ['HEAD', 'HTTP/1.1 200 OK\r\ncontent-length: 77\r\n\r\n', '77'],
      ['GET', 'HTTP/1.1 304 Not Modified\r\netag: "1"\r\n\r\n', undefined],
      ['DELETE', 'HTTP/1.1 204 No Content\r\n\r\n', undefined],
    ] as const)('to %s without a body is whole when its head is', async (method, head, length) => {
      await serve(answering(head), ONE);
      const into = jest.fn(inPieces(1));
      for (let i = 0; i < 2; i++) {
        const reply = await send({ method }, { into });
        expect([
          joined(reply.body.length ? reply.body : [Buffer.alloc(0)]).length,
          reply.headers['content-length'],
        ]).toEqual([0, length]);
      }
      expect(into).not.toHaveBeenCalled();
      expect(server!.peers.length).toBe(1);
    });

    test('that is no success goes into memory of its own', async () => {
      const xml = '<Error><Code>NoSuchKey</Code></Error>';
      await serve(answering(`HTTP/1.1 404 Not Found\r\ncontent-length: ${xml.length}\r\n\r\n${xml}`));
      const into = jest.fn(inPieces(9));
      const reply = await send({}, { into });
      expect([reply.status, textOf(reply), into.mock.calls]).toEqual([404, xml, []]);
    });

    test.each(['content-length: 16777217\r\n\r\n', 'transfer-encoding: chunked\r\n\r\n1000001\r\n', '\r\n'])(
      'larger than any store sends, and not asked for, is given up: %j',
      async (framing) => {
        await serve(async (peer) => {
          await peer.request();
          await peer.send(`HTTP/1.1 400 Bad\r\n${framing}`);
          for (let i = 0; i <= 16; i++) await peer.send(Buffer.alloc(MIB + 1));
          await peer.gone();
        });
        expect(await failure(send())).toMatchObject({ message: expect.stringContaining('larger'), received: 0 });
      },
    );
  });

  describe('a request', () => {
    const record = (requests: ReceivedRequest[]) => async (peer: Peer) => {
      for (let request = await peer.request(); request; request = await peer.request()) {
        requests.push(request);
        await peer.send('HTTP/1.1 204 No Content\r\n\r\n');
      }
    };

    test('is sent as it was signed, with the length of its body', async () => {
      const requests: ReceivedRequest[] = [];
      await serve(record(requests));
      const body = payload(randomBytes(70_000), Buffer.alloc(0), randomBytes(3));
      await send({ method: 'PUT', headers: { host: 'bucket.example', 'x-amz-date': '20260101T000000Z' }, body });
      await send();
      await send({ method: 'POST' });
      expect(requests[0]).toMatchObject({
        line: 'PUT /bucket/a%20b?x=1',
        headers: { host: 'bucket.example', 'x-amz-date': '20260101T000000Z', 'content-length': '70003' },
      });
      expect(requests[0]!.body.equals(Buffer.concat(body.buffers))).toBe(true);
      expect(requests[1]!.headers).toMatchObject({ host: server!.origin.slice('http://'.length) });
      expect(requests[1]!.headers).not.toHaveProperty('content-length');
      expect(requests[2]!.headers).toMatchObject({ 'content-length': '0' });
    });

    test.each([
      { path: '/a b' },
      { path: '/a\r\nx: y' },
      { headers: { 'x-amz-a': 'b\r\nx: y' } },
      { headers: { 'x-amz-a': 'b\u010ax: y' } },
      { headers: { 'x y': 'z' } },
    ] as Partial<HttpRequest>[])('that could be read as two is not sent: %j', async (odd) => {
      const requests: ReceivedRequest[] = [];
      await serve(record(requests));
      expect(await failure(send(odd))).toBeInstanceOf(TransportError);
      await send();
      expect(requests.map(({ line }) => line)).toEqual(['GET /bucket/a%20b?x=1']);
    });
  });

  describe('a connection', () => {
    test('is used again and again, one request at a time', async () => {
      await serve(answering(OK), ONE);
      for (let i = 0; i < 5; i++)
        expect(textOf(await send({ method: 'PUT', body: payload(randomBytes(9)) }))).toBe('ok');
      expect(server!.peers.length).toBe(1);
    });

    test.each([
      'HTTP/1.1 200 OK\r\nConnection: close\r\ncontent-length: 2\r\n\r\nok',
      'HTTP/1.1 200 OK\r\nkeep-alive: timeout=1\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok',
      'HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok',
    ])('is not used again after %j', async (answer) => {
      await serve(answering(answer));
      expect(textOf(await send())).toBe('ok');
      expect(textOf(await send())).toBe('ok');
      expect(server!.peers.length).toBe(2);
    });

    test('that the server ended, or wrote to unasked, while nobody used it is not used again', async () => {
      await serve(async (peer, connection) => {
        await peer.request();
        await peer.send(OK);
        await (connection === 0 ? peer.socket.end() : peer.send('HTTP/1.1 408 Request Timeout\r\n\r\n'));
        if (connection === 0) return;
        await peer.gone();
      });
      for (let i = 0; i < 3; i++) {
        expect(textOf(await send())).toBe('ok');
        await sleep(30);
      }
      expect(server!.peers.length).toBe(3);
    });

    test('with bytes behind the answer is not used again', async () => {
      await serve(answering(`${OK}HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong`));
      expect(textOf(await send({}, { into: inPieces(9) }))).toBe('ok');
      expect(textOf(await send({}, { into: inPieces(9) }))).toBe('ok');
      expect(server!.peers.length).toBe(2);
    });

    test('is waited for in turn when all are in use', async () => {
      const order: string[] = [];
      await serve(
        async (peer) => {
          for (let request = await peer.request(); request; request = await peer.request()) {
            order.push(request.line);
            await sleep(5);
            await peer.send(OK);
          }
        },
        { connections: 2 },
      );
      const paths = Array.from({ length: 9 }, (_, i) => `/${i}`);
      await Promise.all(paths.map((path) => send({ path })));
      expect(order).toEqual(paths.map((path) => `GET ${path}`));
      expect(server!.peers.length).toBe(2);
    });

    test.each(['GET', 'HEAD', 'PUT', 'DELETE', 'POST'] as const)('that ends under a %s', async (method) => {
      const requests: ReceivedRequest[] = [];
      await serve(async (peer, connection) => {
        await peer.request();
        await peer.send(
          connection === 0 ? 'HTTP/1.1 204 OK\r\n\r\n' : 'HTTP/1.1 200 OK\r\netag: "new"\r\ncontent-length: 0\r\n\r\n',
        );
        const request = await peer.request();
        if (request) requests.push(request);
        peer.socket.resetAndDestroy();
      }, ONE);
      await send();
      const work = send({ method, ...(method === 'PUT' ? { body: payload(randomBytes(1000)) } : {}) });
      if (isExpress && method !== 'POST') {
        expect((await work).headers['etag']).toBe('"new"');
        expect(server!.peers.length).toBe(2);
      } else {
        expect(await failure(work)).toBeInstanceOf(TransportError);
        expect(server!.peers.length).toBe(1);
      }
      expect(requests).toHaveLength(1);
    });

    test('that ends under a request is replaced once, not for ever', async () => {
      let requests = 0;
      await serve(async (peer, connection) => {
        if (connection === 0 && (await peer.request())) await peer.send(OK);
        if (await peer.request()) requests += 1;
        peer.socket.end();
      }, ONE);
      await send();
      expect(await failure(send())).toBeInstanceOf(TransportError);
      expect(requests).toBe(isExpress ? 2 : 1);
    });
  });

  describe('a failure', () => {
    test.each([
      ['ends', (peer: Peer) => peer.socket.end()],
      ['is reset', (peer: Peer) => peer.socket.resetAndDestroy()],
    ])(
      'of a connection that %s before the answer, in its head or in its body says how much is there',
      async (_, stop) => {
        const answers = ['', 'HTTP/1.1 200 OK\r\ncontent-le', 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n1234'];
        await serve(async (peer, connection) => {
          await peer.request();
          if (answers[connection]) await peer.send(answers[connection]!);
          await sleep(20);
          stop(peer);
        });
        for (const received of [0, 0, 4]) {
          const memory = Buffer.alloc(10);
          const error = await failure(send({}, { into: () => [memory] }));
          expect(error).toBeInstanceOf(TransportError);
          expect(error).toMatchObject({ received, code: expect.any(String) });
          expect(memory.toString('latin1', 0, received)).toBe('1234'.slice(0, received));
        }
        expect(server!.peers.length).toBe(3);
      },
    );

    test('in the middle of a body without memory of its own counts nothing', async () => {
      await serve(async (peer) => {
        await peer.request();
        await peer.send('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n');
        peer.socket.end();
      });
      expect(await failure(send())).toMatchObject({ received: 0, code: expect.any(String) });
    });

    test.each([
      'SSH-2.0-OpenSSH_9.6\r\n\r\n',
      'HTTP/2 200 OK\r\n\r\n',
      'HTTP/1.1 20 OK\r\n\r\n',
      'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n',
      'HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok',
      'HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\nok',
      'HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok',
      'HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n',
      'HTTP/1.1 200 OK\r\nno colon\r\ncontent-length: 2\r\n\r\nok',
      'HTTP/1.1 200 OK\r\nx : y\r\ncontent-length: 2\r\n\r\nok',
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\nok\r\n',
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nokay\r\n0\r\n\r\n',
      `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(17_000)}\r\n\r\n`,
      `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(17_000)}`,
    ])('is an answer that could be read in two ways: %j', async (answer) => {
      await serve(async (peer) => {
        await peer.request();
        await peer.send(answer);
        await peer.gone();
      });
      const error = await failure(send());
      expect(error).toBeInstanceOf(TransportError);
      expect(error.received).toBe(0);
    });

    test('to connect names its code', async () => {
      await serve(async () => {});
      await server!.stop();
      expect(await failure(send())).toMatchObject({ code: 'ECONNREFUSED', received: 0 });
      server = undefined;
    });
  });

  describe('the time-out', () => {
    const timeouts = { connectMs: 2_000, idleMs: 150 };

    test('ends an exchange without a byte, wherever it stands', async () => {
      const answers = ['', 'HTTP/1.1 200', 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n123'];
      await serve(
        async (peer, connection) => {
          await peer.request();
          await peer.send(answers[connection]!);
          await peer.gone();
        },
        { timeouts },
      );
      for (const received of [0, 0, 3]) {
        expect(await failure(send({}, { into: inPieces(7) }))).toMatchObject({ code: 'ETIMEDOUT', received });
      }
    });

    test('does not end an answer that drips', async () => {
      const body = 'drip drip drip';
      await serve(
        async (peer) => {
          await peer.request();
          for (const byte of `HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n`) await peer.send(byte);
          for (const byte of body) {
            await sleep(40);
            await peer.send(byte);
          }
        },
        { timeouts },
      );
      expect(textOf(await send({}, { into: inPieces(3) }))).toBe(body);
    });

    test('ends a body that nobody reads', async () => {
      await serve(
        async (peer) => {
          peer.socket.pause();
          await peer.gone();
        },
        { timeouts },
      );
      const body = payload(Buffer.alloc(32 * MIB));
      expect(await failure(send({ method: 'PUT', body }))).toMatchObject({ code: 'ETIMEDOUT' });
    });

    test('does not end a body that is read slowly', async () => {
      const bytes = randomBytes(64 * MIB);
      await serve(
        async (peer) => {
          const reading = peer.request();
          for (let i = 0; i < 8; i++) {
            peer.socket.pause();
            await sleep(350);
            peer.socket.resume();
            await sleep(4);
          }
          const { body } = (await reading)!;
          await peer.send(`HTTP/1.1 ${body.equals(bytes) ? 200 : 400} OK\r\ncontent-length: 0\r\n\r\n`);
        },
        { timeouts: { connectMs: 2_000, idleMs: 2_000 } },
      );
      expect((await send({ method: 'PUT', body: payload(bytes) })).status).toBe(200);
    });

    test('to connect bounds TLS too', async () => {
      const silent = await startScripted((peer) => peer.gone());
      try {
        const origin = silent.origin.replace('http:', 'https:');
        transport = openTransport({ origin, lane, timeouts: { connectMs: 150, idleMs: 30_000 } });
        expect(await failure(send())).toMatchObject({ code: 'ETIMEDOUT', received: 0 });
      } finally {
        await silent.stop();
      }
    });
  });

  describe('an answer before the request is whole', () => {
    const refusal = 'HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 6\r\n\r\ndenied';
    const body = payload(Buffer.alloc(5 * MIB), Buffer.alloc(3 * MIB));

    test('is delivered although the connection is reset right behind it', async () => {
      await serve(async (peer) => {
        peer.socket.once('data', () => {
          peer.socket.pause();
          peer.socket.write(refusal);
          // What was not read makes the kernel reset.
          setTimeout(() => peer.socket.destroy(), 5);
        });
        await peer.gone();
      });
      for (let i = 0; i < 20; i++) {
        const reply = await send({ method: 'PUT', body });
        expect([reply.status, textOf(reply)]).toEqual([403, 'denied']);
      }
    });

    test('is delivered, and the connection, on which the rest is awaited, not used again', async () => {
      await serve(async (peer, connection) => {
        if (connection > 0) return answering(OK)(peer);
        peer.socket.once('data', () => {
          peer.socket.pause();
          peer.socket.write(refusal.replace('connection: close\r\n', ''));
        });
        await peer.gone();
      });
      expect((await send({ method: 'PUT', body })).status).toBe(403);
      expect((await send()).status).toBe(200);
      expect(server!.peers.length).toBe(2);
    });
  });

  describe('an abort', () => {
    const reason = new Error('the operator said stop');

    test('before anything rejects with its reason, and nothing is sent', async () => {
      await serve(answering(OK));
      expect(await failure(send({}, { signal: AbortSignal.abort(reason) }))).toBe(reason);
      expect(server!.peers.length).toBe(0);
    });

    test.each([
      ['while the answer is awaited', ''],
      ['in the head', 'HTTP/1.1 200 OK\r\n'],
      ['in the body', 'HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n1234'],
    ])('%s rejects with its reason, and no memory changes afterwards', async (_, begin) => {
      await serve(async (peer, connection) => {
        if (connection > 0) return answering(OK)(peer);
        await peer.request();
        if (begin === '') return peer.gone();
        await peer.send(begin);
        while (!peer.socket.destroyed) await peer.send('x'.repeat(100)).then(() => sleep(1));
      });
      const controller = new AbortController();
      const memory = Buffer.alloc(100_000);
      // Nobody reads what follows an answer that never begins.
      const work = send({}, { signal: controller.signal, into: () => [memory] });
      setTimeout(() => controller.abort(reason), begin.includes('length') ? 40 : 0);
      expect(await failure(work)).toBe(reason);
      const then = Buffer.from(memory);
      await sleep(30);
      expect(memory.equals(then)).toBe(true);
      expect(textOf(await send())).toBe('ok');
    });

    test('of one request in many is of that one only', async () => {
      await serve(async (peer) => {
        for (let request = await peer.request(); request; request = await peer.request()) {
          if (request.line !== 'GET /hangs') await sleep(20).then(() => peer.send(OK));
        }
      });
      const controller = new AbortController();
      const stays = [send(), send()];
      const stopped = failure(send({ path: '/hangs' }, { signal: controller.signal }));
      setTimeout(() => controller.abort(reason), 5);
      expect(await stopped).toBe(reason);
      expect((await Promise.all(stays)).map(textOf)).toEqual(['ok', 'ok']);
    });

    test('while a connection is awaited or made rejects at once, and none is made for those who left', async () => {
      const silent = await startScripted((peer) => peer.gone());
      try {
        const origin = silent.origin.replace('http:', 'https:');
        transport = openTransport({ origin, lane, connections: 1 });
        const controller = new AbortController();
        const outcomes = Array.from({ length: 5 }, () => failure(send({}, { signal: controller.signal })));
        await sleep(30);
        controller.abort(reason);
        for (const outcome of outcomes) expect(await outcome).toBe(reason);
        await sleep(30);
        expect(silent.peers.length).toBeLessThanOrEqual(isExpress ? 1 : 2);
      } finally {
        await silent.stop();
      }
    });

    test('while memory is given rejects with its reason', async () => {
      await serve(answering('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n1234'));
      const controller = new AbortController();
      const into = (length: number) => {
        controller.abort(reason);
        return [Buffer.alloc(length)];
      };
      expect(await failure(send({}, { signal: controller.signal, into }))).toBe(reason);
      expect((await send()).status).toBe(200);
    });

    test('while a body is sent rejects with its reason', async () => {
      await serve(async (peer, connection) => {
        if (connection > 0) return answering(OK)(peer);
        peer.socket.pause();
        await peer.gone();
      });
      const controller = new AbortController();
      setTimeout(() => controller.abort(reason), 20);
      const body = payload(Buffer.alloc(32 * MIB));
      expect(await failure(send({ method: 'PUT', body }, { signal: controller.signal }))).toBe(reason);
      expect((await send()).status).toBe(200);
    });

    test('after the answer changes nothing', async () => {
      await serve(answering(OK), ONE);
      const controller = new AbortController();
      expect((await send({}, { signal: controller.signal })).status).toBe(200);
      controller.abort(reason);
      expect((await send()).status).toBe(200);
      expect(server!.peers.length).toBe(1);
    });
  });

  test('memory that is refused, or has another size, ends the exchange and no other', async () => {
    await serve(answering('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n1234'));
    const refused = new Error('not of this length');
    const refuse = () => {
      throw refused;
    };
    expect(await failure(send({}, { into: refuse }))).toBe(refused);
    for (const size of [3, 5]) {
      const error = await failure(send({}, { into: () => [Buffer.alloc(size)] }));
      expect(error.message).toBe(`memory for ${size} bytes was given to an answer of 4`);
    }
    expect(textOf(await send())).toBe('1234');
  });

  test('closing fails what is in flight and what comes later', async () => {
    await serve((peer) => peer.gone(), { connections: 1 });
    const outcomes = [failure(send()), failure(send())];
    await sleep(20);
    await transport!.close();
    for (const outcome of [...outcomes, failure(send())]) expect(await outcome).toBeInstanceOf(TransportError);
  });

  describe('over TLS', () => {
    const { cert, key } = selfSigned();
    const tls = { cert, key };

    test('trusts its own authority, and nobody else unasked', async () => {
      await serve(answering(OK), { tls });
      expect(await failure(send())).toMatchObject({ code: 'DEPTH_ZERO_SELF_SIGNED_CERT' });
      await transport!.close();
      transport = openTransport({ origin: server!.origin, lane, ca: cert });
      expect(textOf(await send())).toBe('ok');
    });

    test('asks for the name of the origin, and wants to be shown it', async () => {
      const names: (string | false | null)[] = [];
      await serve(
        async (peer) => {
          names.push((peer.socket as TLSSocket & { servername: string | false | null }).servername);
          await answering(OK)(peer);
        },
        { tls },
      );
      for (const [host, code] of [
        ['localhost', undefined],
        ['127.0.0.2', 'ERR_TLS_CERT_ALTNAME_INVALID'],
      ] as const) {
        await transport!.close();
        transport = openTransport({ origin: `https://${host}:${server!.port}`, lane, ca: cert });
        const work = send();
        if (code === undefined) expect(textOf(await work)).toBe('ok');
        else expect(await failure(work)).toMatchObject({ code: expect.stringMatching(/ALTNAME|REFUSED/) });
      }
      expect(names[0]).toBe('localhost');
    });

    test('bodies arrive whole, in both directions, and the second express connection resumes the session', async () => {
      const bytes = randomBytes(3 * MIB + 17);
      const resumed: boolean[] = [];
      await serve(
        async (peer) => {
          resumed.push((peer.socket as TLSSocket).isSessionReused());
          const { body } = (await peer.request())!;
          await peer.send(
            Buffer.concat([Buffer.from(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n`), body]),
          );
          peer.socket.end();
        },
        { tls, ca: cert },
      );
      for (let i = 0; i < 2; i++) {
        const reply = await send(
          { method: 'PUT', body: payload(bytes.subarray(0, 999), bytes.subarray(999)) },
          { into: inPieces(MIB) },
        );
        expect(Buffer.concat(reply.body).equals(bytes)).toBe(true);
        await sleep(20);
      }
      if (isExpress) expect(resumed).toEqual([false, true]);
    });

    test('a refusal in the middle of the body is delivered', async () => {
      await serve(
        async (peer) => {
          peer.socket.once('data', () => {
            peer.socket.pause();
            peer.socket.write('HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbad');
            setTimeout(() => peer.socket.destroy(), 5);
          });
          await peer.gone();
        },
        { tls, ca: cert },
      );
      const body = payload(Buffer.alloc(8 * MIB));
      for (let i = 0; i < 20; i++) expect((await send({ method: 'PUT', body })).status).toBe(400);
    });

    test('a body that ends early fails with what is there', async () => {
      await serve(
        async (peer) => {
          await peer.request();
          await peer.send('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n123456');
          await sleep(20);
          peer.socket.end();
        },
        { tls, ca: cert },
      );
      expect(await failure(send({}, { into: inPieces(4) }))).toMatchObject({ received: 6 });
    });
  });
});

/** An answer with this body. `sizes` are those of the chunks, again and again. */
function frame(body: Buffer, framing: string, sizes: readonly number[]): Buffer {
  if (framing === 'length') {
    return Buffer.concat([Buffer.from(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n`), body]);
  }
  if (framing === 'until end') return Buffer.concat([Buffer.from('HTTP/1.1 200 OK\r\n\r\n'), body]);
  const parts: Buffer[] = [Buffer.from('HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n')];
  for (let at = 0, i = 0; at < body.length; i++) {
    const chunk = body.subarray(at, at + sizes[i % sizes.length]! + 1);
    const extension = i % 2 === 0 ? '' : ';name=value';
    parts.push(Buffer.from(`${chunk.length.toString(16)}${extension}\r\n`), chunk, Buffer.from('\r\n'));
    at += chunk.length;
  }
  parts.push(Buffer.from(sizes.length % 2 === 0 ? '0\r\n\r\n' : '0\r\nx-trailer: y\r\n\r\n'));
  return Buffer.concat(parts);
}

function cutAt(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [...new Set(cuts.map((cut) => cut % bytes.length))].filter((place) => place > 0).sort((a, b) => a - b);
  return [0, ...places].map((place, i) => bytes.subarray(place, places[i]));
}
