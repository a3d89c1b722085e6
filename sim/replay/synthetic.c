/* SPDX-License-Identifier: MIT */
/*
 * Numbers by a rule. Zipf draws by the alias method: the n weights are cut up and laid into n columns of equal height, so
 * that every column holds at most two ranks. A draw picks a column and a height in it:
 *
 *      height
 *      2^64 +----+----+----+----+
 *           | a  | a  | a  |    |      the upper part of a column belongs to its alias,
 *           +----+    +----+ d  |      the lower part to the column's own rank
 *           | b  +----+ c  |    |
 *           |    | .. |    |    |
 *         0 +----+----+----+----+
 *
 * Weights are integers (2^58 / (k + 1), rounded down), and so are heights: no host computes other columns.
 *
 * Sources: Walker 1977 (alias method), Vose 1991 (building it in linear time).
 */
#include <pagesim/synthetic.h>

#include <string.h>

#include <pagesim/alloc.h>
#include <pagesim/replay.h>

__extension__ typedef unsigned __int128 u128;

struct column {
	u64 own; /* heights below are the column's own rank, those above the alias */
	u32 alias;
	u32 reserved;
};

struct ps_zipf {
	u64 n;
	struct column column[];
};

/* The sum of all weights stays below 2^63 for n < 2^32: 2^58 (ln n + 1) < 2^58 * 24. */
static u64 weight(u64 k)
{
	return (1ULL << 58) / (k + 1);
}

struct ps_zipf *ps_zipf_new(u64 n)
{
	struct ps_zipf *zipf;
	u32 *work;  /* light ranks from the front, heavy ones from the back */
	u128 *left; /* of each rank's weight times n, what is not laid out yet; a column holds `total` */
	u64 total = 0, light = 0, heavy = n, k;

	if (!n || n > UINT32_MAX)
		return NULL;
	zipf = (struct ps_zipf *)ps_calloc(1, sizeof(*zipf) + n * sizeof(zipf->column[0]));
	left = (u128 *)ps_calloc(n, sizeof(*left));
	work = (u32 *)ps_calloc(n, sizeof(*work));
	if (!zipf || !left || !work) {
		ps_free(zipf);
		zipf = NULL;
		goto out_free;
	}
	zipf->n = n;
	for (k = 0; k < n; k++)
		total += weight(k);
	for (k = 0; k < n; k++) {
		left[k] = (u128)weight(k) * n;
		zipf->column[k].own = UINT64_MAX;
		zipf->column[k].alias = (u32)k;
		work[left[k] < total ? light++ : --heavy] = (u32)k;
	}
	/* A light rank's column is filled up by a heavy one, which is light itself when less than a column is left of it. */
	while (light && heavy < n) {
		u32 l = work[--light], h = work[heavy];

		zipf->column[l].own = (u64)((left[l] << 64) / total);
		zipf->column[l].alias = h;
		left[h] -= total - left[l];
		if (left[h] < total) {
			heavy++;
			work[light++] = h;
		}
	}
out_free:
	ps_free(work);
	ps_free(left);
	return zipf;
}

u64 ps_zipf_next(const struct ps_zipf *zipf, struct ps_rng *rng)
{
	u128 draw = (u128)ps_rng_next(rng) * zipf->n;
	u64 k = (u64)(draw >> 64);

	return (u64)draw <= zipf->column[k].own ? k : zipf->column[k].alias;
}

u64 ps_zipf_weight(const struct ps_zipf *zipf, u64 k)
{
	u128 sum = 0;
	u64 i;

	if (k >= zipf->n)
		return 0;
	for (i = 0; i < zipf->n; i++) {
		if (i == k)
			sum += zipf->column[i].own;
		if (zipf->column[i].alias == k)
			sum += UINT64_MAX - zipf->column[i].own;
	}
	return (u64)(sum / zipf->n);
}

void ps_zipf_free(struct ps_zipf *zipf)
{
	ps_free(zipf);
}

/* Where rank k lies: a seeded permutation. Return: NULL without memory. */
static u32 *scatter(u64 n, struct ps_rng *rng)
{
	u32 *page = (u32 *)ps_calloc(n, sizeof(*page));
	u64 i;

	if (!page)
		return NULL;
	for (i = 0; i < n; i++)
		page[i] = (u32)i;
	for (i = n - 1; i; i--) {
		u64 j = ps_rng_below(rng, i + 1);
		u32 t = page[i];

		page[i] = page[j];
		page[j] = t;
	}
	return page;
}

bool ps_synthetic_write(const struct ps_synthetic_settings *settings, struct ps_trace_writer *writer, GError **error)
{
	u64 first = settings->first_vpn ? settings->first_vpn : 0x10000;
	struct ps_event event = { .kind = PS_EVENT_START, .other = PS_TASK_NONE, .tid = 1, .name = "synthetic" };
	struct ps_zipf *zipf = NULL;
	u32 *page = NULL;
	struct ps_rng rng, writes;
	bool ok = false;
	u64 i;

	if (!settings->pages || settings->pages > UINT32_MAX || settings->write_per_mille > 1000 ||
	    first + settings->pages > (1ULL << 35)) {
		g_set_error(
			error, PS_REPLAY_ERROR, PS_REPLAY_ERROR_ARGUMENT,
			"synthetic trace: 1 to 2^32 - 1 pages below 2^35 and at most 1000 writes of 1000 are possible");
		return false;
	}
	ps_rng_init(&rng, settings->seed);
	ps_rng_init(&writes, settings->seed + 1);
	if (settings->pattern == PS_SYNTHETIC_ZIPF)
		zipf = ps_zipf_new(settings->pages);
	if (settings->pattern == PS_SYNTHETIC_ZIPF && !settings->ranked)
		page = scatter(settings->pages, &rng);
	if (settings->pattern == PS_SYNTHETIC_ZIPF && (!zipf || (!settings->ranked && !page))) {
		g_set_error(error, PS_REPLAY_ERROR, PS_REPLAY_ERROR_MEMORY, "synthetic trace: out of memory");
		goto out_free;
	}
	ps_trace_writer_event(writer, &event);
	memset(&event, 0, sizeof(event));
	event.kind = PS_EVENT_MMAP;
	event.name = "";
	event.vpn = first;
	event.pages = settings->pages;
	event.prot = PS_PROT_READ | PS_PROT_WRITE;
	ps_trace_writer_event(writer, &event);
	for (i = 0; i < settings->accesses; i++) {
		bool write = settings->write_per_mille && ps_rng_below(&writes, 1000) < settings->write_per_mille;
		u64 at;

		switch (settings->pattern) {
		case PS_SYNTHETIC_ZIPF:
			at = ps_zipf_next(zipf, &rng);
			at = page ? page[at] : at;
			break;
		case PS_SYNTHETIC_UNIFORM:
			at = ps_rng_below(&rng, settings->pages);
			break;
		default:
			at = i % settings->pages;
			break;
		}
		ps_trace_writer_access(writer, 0, first + at, write ? PS_ACCESS_WRITE : PS_ACCESS_READ, i);
	}
	memset(&event, 0, sizeof(event));
	event.kind = PS_EVENT_EXIT;
	event.name = "";
	event.time = settings->accesses;
	ps_trace_writer_event(writer, &event);
	ok = ps_trace_writer_ok(writer, error);
out_free:
	ps_free(page);
	ps_zipf_free(zipf);
	return ok;
}
