import { SLAB_BYTES, Slabs } from '../../../src/storage/slabs';

const NEVER = new AbortController().signal;
const lengths = (buffers: readonly Buffer[]) => buffers.map(({ length }) => length);

test('memory has exactly the bytes asked for, in slabs of one size', async () => {
  const slabs = new Slabs();
  expect(lengths((await slabs.take(0, NEVER)).buffers)).toEqual([]);
  expect(lengths((await slabs.take(10, NEVER)).buffers)).toEqual([10]);
  expect(lengths((await slabs.take(SLAB_BYTES, NEVER)).buffers)).toEqual([SLAB_BYTES]);
  expect(lengths((await slabs.take(2 * SLAB_BYTES + 1, NEVER)).buffers)).toEqual([SLAB_BYTES, SLAB_BYTES, 1]);
});

test('what is released is used again, the last first', async () => {
  const slabs = new Slabs(2 * SLAB_BYTES);
  const first = await slabs.take(10, NEVER);
  const second = await slabs.take(10, NEVER);
  first.release();
  second.release();
  // A second time says nothing.
  second.release();
  const again = await slabs.take(20, NEVER);
  expect(again.buffers[0]!.buffer).toBe(second.buffers[0]!.buffer);
});

test('the budget is never passed, and a large request is served in its turn', async () => {
  const slabs = new Slabs(4 * SLAB_BYTES);
  const order: string[] = [];
  const one = await slabs.take(3 * SLAB_BYTES, NEVER);
  const large = Promise.resolve(slabs.take(4 * SLAB_BYTES, NEVER)).then((memory) => {
    order.push('large');
    return memory;
  });
  const small = Promise.resolve(slabs.take(1, NEVER)).then((memory) => {
    order.push('small');
    return memory;
  });
  await new Promise(setImmediate);
  expect(order).toEqual([]);
  one.release();
  (await large).release();
  await small;
  expect(order).toEqual(['large', 'small']);
});

test('who gives up while waiting lets the next one pass, and rejects with the reason', async () => {
  const slabs = new Slabs(2 * SLAB_BYTES);
  const held = await slabs.take(SLAB_BYTES, NEVER);
  const controller = new AbortController();
  const reason = new Error('the operator said stop');
  const large = slabs.take(2 * SLAB_BYTES, controller.signal);
  const small = slabs.take(1, NEVER);
  controller.abort(reason);
  await expect(large).rejects.toBe(reason);
  (await small).release();
  held.release();
  (await slabs.take(2 * SLAB_BYTES, NEVER)).release();
  await expect(slabs.take(1, AbortSignal.abort(reason))).rejects.toBe(reason);
});
