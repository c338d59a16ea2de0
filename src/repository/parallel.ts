/**
 * `work` over `items`, at most `limit` at a time; results in the order of the items. After a failure nothing more is
 * started, and the failure is thrown when what runs has ended.
 */
export async function mapInParallel<T, R>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results = new Array<R>(items.length);
  let next = 0;
  const lane = async () => {
    while (next < items.length) {
      const index = next++;
      try {
        results[index] = await work(items[index] as T);
      } catch (error) {
        next = items.length;
        throw error;
      }
    }
  };
  const lanes = await Promise.allSettled(Array.from({ length: Math.min(limit, items.length) }, lane));
  const failed = lanes.find((outcome) => outcome.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  return results;
}
