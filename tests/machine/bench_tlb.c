/* SPDX-License-Identifier: MIT */
/*
 * How long a TLB lookup takes on this host: Zipf(1.0) over 1 M pages (half of the lookups miss, the worst a branch
 * predictor can meet), a small working set (all hits), and the same Zipf over huge pages. The cost of the loop itself
 * is measured and taken off. Hit rates are exact and the same everywhere; times are the host's.
 */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <pagesim/rng.h>
#include <pagesim/tlb.h>

#define PAGES   (1u << 20)
#define LOOKUPS (1u << 24)
#define STRETCH (1u << 14)

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Zipf(1.0) by inversion over the exact distribution, ranks scattered over the pages. */
static void zipf(u32 *out, size_t n, u32 pages)
{
	double *cdf = malloc(pages * sizeof(*cdf)), sum = 0;
	u32 *where = malloc(pages * sizeof(*where));
	struct ps_rng rng;

	if (!cdf || !where)
		exit(1);
	ps_rng_init(&rng, 1);
	for (u32 i = 0; i < pages; i++) {
		cdf[i] = sum += 1.0 / (i + 1);
		where[i] = i;
	}
	for (u32 i = pages - 1; i; i--) {
		u32 j = (u32)ps_rng_below(&rng, i + 1), t = where[i];

		where[i] = where[j];
		where[j] = t;
	}
	for (size_t k = 0; k < n; k++) {
		double x = ps_rng_double(&rng) * sum;
		u32 lo = 0, hi = pages - 1;

		while (lo < hi) {
			u32 mid = lo + (hi - lo) / 2;

			if (cdf[mid] < x)
				lo = mid + 1;
			else
				hi = mid;
		}
		out[k] = where[lo];
	}
	free(cdf);
	free(where);
}

/* Best of many short stretches: what the code costs when the host does nothing else. */
static double best_of(double best, double start, size_t n)
{
	return fmin(best, (now_ns() - start) / (double)n);
}

static void run(const char *name, const u32 *trace, u64 mask, u64 flags)
{
	double lookup = 1e30, floor = 1e30, insert = 1e30;
	struct ps_tlb_counts c;
	struct ps_tlb tlb;
	u64 sum = 0;

	if (ps_tlb_init(&tlb, NULL, 9))
		exit(1);
	for (size_t at = 0; at < LOOKUPS; at += STRETCH) {
		double start = now_ns();

		for (size_t i = at; i < at + STRETCH; i++) {
			u64 vpn = trace[i] & mask, word = ps_tlb_lookup(&tlb, 1, vpn);

			if (unlikely(!word))
				ps_tlb_fill(&tlb, 1, vpn, vpn, 0, flags);
			sum += word;
		}
		lookup = best_of(lookup, start, STRETCH);
	}
	ps_tlb_counts(&tlb, &c);
	for (size_t at = 0; at < LOOKUPS; at += STRETCH) {
		double start = now_ns();

		for (size_t i = at; i < at + STRETCH; i++)
			sum += (trace[i] & mask) * 3;
		floor = best_of(floor, start, STRETCH);
	}
	for (size_t at = 0; at < LOOKUPS; at += STRETCH) {
		double start = now_ns();

		for (size_t i = at; i < at + STRETCH; i++)
			ps_tlb_insert(&tlb, 2, i, i, 0, flags);
		insert = best_of(insert, start, STRETCH);
	}
	ps_tlb_destroy(&tlb);
	printf("%-12s %6.2f ns/lookup with refill   %6.2f ns/insert   (loop %.2f)   L1 %5.1f%%  L2 %5.1f%%  miss "
	       "%5.1f%%\n",
	       name, lookup, insert, floor, 100.0 * (double)c.l1_hits / LOOKUPS, 100.0 * (double)c.l2_hits / LOOKUPS,
	       100.0 * (double)c.misses / LOOKUPS);
	if (sum == 42)
		puts("");
}

int main(void)
{
	u32 *trace = malloc(LOOKUPS * sizeof(*trace));

	if (!trace)
		return 1;
	zipf(trace, LOOKUPS, PAGES);
	run("zipf 1M 4K", trace, ~0ull, PS_TLB_WRITE);
	run("1024 pages", trace, 1023, PS_TLB_WRITE);
	run("32 pages", trace, 31, PS_TLB_WRITE);
	run("zipf 1M huge", trace, ~0ull, PS_TLB_WRITE | PS_TLB_HUGE);
	free(trace);
	return 0;
}
