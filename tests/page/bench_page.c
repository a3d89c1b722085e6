/* SPDX-License-Identifier: MIT */
/*
 * What the page layer costs on this host: allocating and freeing pages, references, the page lock, the LRU, and setting
 * up a machine of 1 TiB. One task, no listener, lock checker off: as in replay.
 */
#define _POSIX_C_SOURCE 200809L
#include "page/scene.h"

#include <pagesim/page_lock.h>
#include <time.h>

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

#define MEASURE(text, n, statement)                         \
	do {                                                \
		double best_ = 1e18;                        \
		long rep_, i_;                              \
                                                            \
		for (rep_ = 0; rep_ < 5; rep_++) {          \
			double t_ = now_ns();               \
                                                            \
			for (i_ = 0; i_ < (n); i_++)        \
				statement;                  \
			t_ = (now_ns() - t_) / (double)(n); \
			best_ = t_ < best_ ? t_ : best_;    \
		}                                           \
		printf("%-58s %10.1f ns\n", text, best_);   \
	} while (0)

static void open_or_die(struct scene *s, const struct scene_spec *spec)
{
	if (scene_open(s, spec)) {
		fprintf(stderr, "no memory\n");
		exit(1);
	}
}

static struct page *stock[1 << 16];

/* Fresh memory: what a first touch pays for, the host's page faults on mem_map included. */
static void take_and_give(unsigned int order, gfp_t gfp, long nr, const char *text)
{
	double t = now_ns(), u;
	long i;

	for (i = 0; i < nr; i++)
		stock[i] = alloc_pages(gfp, order);
	u = now_ns();
	printf("%-58s %10.1f ns\n", text, (u - t) / (double)nr);
	for (i = 0; i < nr; i++)
		put_page(stock[i]);
	printf("%-58s %10.1f ns\n", "    giving them back", (now_ns() - u) / (double)nr);
}

int main(void)
{
	static const struct scene_spec spec = { .nr_nodes = 2,
						.pages = { 1 << 20, 1 << 20 },
						.cpus = { 8, 8 },
						.no_contents = true,
						.no_lockcheck = true };
	static const struct scene_spec tib = { .nr_nodes = 4,
					       .pages = { 1 << 26, 1 << 26, 1 << 26, 1 << 26 },
					       .cpus = { 16, 16, 16, 16 },
					       .no_contents = true,
					       .no_lockcheck = true };
	struct page *page, *thp;
	struct scene s;
	double t;
	long i;

	t = now_ns();
	open_or_die(&s, &tib);
	printf("%-58s %10.1f us\n", "a machine of 1 TiB, 4 nodes, 64 CPUs: setting it up", (now_ns() - t) / 1000);
	t = now_ns();
	ps_mem_destroy(s.machine);
	ps_mem_init(s.machine, NULL);
	printf("%-58s %10.1f us\n", "    its memory alone, taken down and set up", (now_ns() - t) / 1000);
	scene_free(&s);

	open_or_die(&s, &spec);
	take_and_give(0, GFP_HIGHUSER_MOVABLE, 1 << 16, "order 0, 65536 pages never used before");
	take_and_give(0, GFP_HIGHUSER_MOVABLE, 1 << 16, "order 0, the same once more");
	take_and_give(9, GFP_TRANSHUGE, 512, "order 9, 512 blocks, compound");
	take_and_give(9, GFP_TRANSHUGE, 512, "order 9, the same once more");
	MEASURE("order 0: alloc_page + put_page", 2000000, put_page(alloc_page(GFP_HIGHUSER_MOVABLE)));
	MEASURE("order 0 on another node", 2000000, put_page(__alloc_pages_node(1, GFP_HIGHUSER_MOVABLE, 0)));
	MEASURE("order 9, compound: alloc_pages + put_page", 20000, put_page(alloc_pages(GFP_TRANSHUGE, 9)));
	page = new_anon_page(0);
	thp = new_thp(0);
	MEASURE("get_page + put_page", 10000000, {
		get_page(page);
		put_page(page);
	});
	MEASURE("page_ref_freeze + unfreeze", 10000000, {
		if (page_ref_freeze(page, 1))
			page_ref_unfreeze(page, 1);
	});
	MEASURE("trylock_page + unlock_page", 10000000, {
		if (trylock_page(page))
			unlock_page(page);
	});
	MEASURE("lock_page + unlock_page", 10000000, {
		lock_page(page);
		unlock_page(page);
	});
	MEASURE("total_mapcount of a THP", 200000, (void)*(volatile int *)&(int){ total_mapcount(thp) });
	MEASURE("alloc, LRU (batched), free", 1000000, {
		struct page *p = new_anon_page(0);

		lru_cache_add(p);
		put_page(p);
	});
	for (i = 0; i < 1 << 14; i++) {
		stock[i] = new_anon_page(0);
		lru_cache_add(stock[i]);
	}
	lru_add_drain();
	MEASURE("isolate_lru_page + putback_lru_page", 1 << 18, {
		if (!isolate_lru_page(stock[i_ & 0x3fff]))
			putback_lru_page(stock[i_ & 0x3fff]);
		if (i_ % 0x4000 == 0x3fff)
			lru_add_drain();
	});
	MEASURE("mark_page_accessed", 1 << 20, mark_page_accessed(stock[i_ & 0x3fff]));
	MEASURE("ps_mem_check of 8 GiB, 0.3 GiB of it touched", 5, (void)ps_mem_check(s.machine, NULL, 0));
	scene_free(&s);
	return 0;
}
