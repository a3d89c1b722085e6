/* SPDX-License-Identifier: MIT */
/*
 * Reading log2 histograms. A percentile walks to the bucket that holds the wanted rank and goes as deep into it as the
 * rank is deep in the bucket's count.
 */
#include <pagesim/histogram.h>

__extension__ typedef unsigned __int128 u128;

void ps_histogram_merge(struct ps_histogram *into, const struct ps_histogram *from)
{
	if (!from->count)
		return;
	if (!into->count || from->smallest < into->smallest)
		into->smallest = from->smallest;
	if (from->largest > into->largest)
		into->largest = from->largest;
	into->count += from->count;
	into->sum += from->sum;
	for (unsigned b = 0; b < PS_HISTOGRAM_BUCKETS; b++)
		into->bucket[b] += from->bucket[b];
}

u64 ps_histogram_percentile(const struct ps_histogram *h, unsigned per_mille)
{
	u64 rank, below = 0, value;
	unsigned b;

	if (!h->count)
		return 0;
	if (!per_mille)
		return h->smallest;
	if (per_mille >= 1000)
		return h->largest;
	/* The rank-th smallest, counted from 1: ceil(count * per_mille / 1000) without overflow. */
	rank = h->count / 1000 * per_mille + (h->count % 1000 * per_mille + 999) / 1000;
	for (b = 0; below + h->bucket[b] < rank; b++)
		below += h->bucket[b];
	if (!b)
		return 0;
	/* Bucket b begins at 2^(b-1) and is as wide. */
	value = 1ull << (b - 1);
	value += (u64)((u128)(value - 1) * (rank - below) / h->bucket[b]);
	if (value < h->smallest)
		value = h->smallest;
	if (value > h->largest)
		value = h->largest;
	return value;
}

u64 ps_histogram_mean(const struct ps_histogram *h)
{
	return h->count ? h->sum / h->count + (h->sum % h->count >= h->count - h->count / 2) : 0;
}
