/* SPDX-License-Identifier: MIT */
/*
 * A histogram with one bucket per power of two: latencies and sizes of any magnitude in 65 counters, added in a few
 * instructions, exact in count, sum, smallest and largest, and within a factor of two for percentiles (usually far
 * closer: a percentile is interpolated inside its bucket and clamped to what was seen). Integers only, so the same
 * values give the same answer on any host.
 *
 *   bucket 0: the value 0        bucket b: 2^(b-1) .. 2^b - 1
 *
 * Locking: the owner's.
 *
 * Layer: stats
 */
#ifndef PAGESIM_HISTOGRAM_H
#define PAGESIM_HISTOGRAM_H

#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PS_HISTOGRAM_BUCKETS 65

/** struct ps_histogram - all zero is an empty one. @smallest and @largest mean nothing while @count is 0. */
struct ps_histogram {
	u64 count;
	u64 sum;
	u64 smallest;
	u64 largest;
	u64 bucket[PS_HISTOGRAM_BUCKETS];
};

/** ps_histogram_bucket - the bucket @value falls into. */
static inline unsigned ps_histogram_bucket(u64 value)
{
	return value ? 64u - (unsigned)__builtin_clzll(value) : 0;
}

/** ps_histogram_add_many - @value was seen @n times (n > 0). The sum wraps at 2^64. */
static inline void ps_histogram_add_many(struct ps_histogram *h, u64 value, u64 n)
{
	if (!h->count || value < h->smallest)
		h->smallest = value;
	if (value > h->largest)
		h->largest = value;
	h->count += n;
	h->sum += value * n;
	h->bucket[ps_histogram_bucket(value)] += n;
}

static inline void ps_histogram_add(struct ps_histogram *h, u64 value)
{
	ps_histogram_add_many(h, value, 1);
}

/** ps_histogram_merge - everything @from has seen, @into has seen as well. */
void ps_histogram_merge(struct ps_histogram *into, const struct ps_histogram *from);
/**
 * ps_histogram_percentile - a value that @per_mille thousandths of what was seen do not exceed.
 * @per_mille: 0 = smallest, 500 = median, 990 = p99, 1000 = largest; more counts as 1000.
 * Return: 0 when empty.
 */
u64 ps_histogram_percentile(const struct ps_histogram *h, unsigned per_mille);
/** ps_histogram_mean - sum / count, rounded to nearest; 0 when empty. */
u64 ps_histogram_mean(const struct ps_histogram *h);

#ifdef __cplusplus
}
#endif

#endif
