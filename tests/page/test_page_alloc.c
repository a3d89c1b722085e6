/* SPDX-License-Identifier: MIT */
/*
 * From which zone a page comes, when an allocation fails, what the slow path calls, and how per-CPU lists behave.
 */
#include "page/scene.h"

/* Take every page an allocation with these flags can get from one node. **Return:** how many. */
static unsigned long take_all(nid_t nid, gfp_t gfp, struct list_head *list)
{
	unsigned long nr = 0;
	struct page *page;

	while ((page = __alloc_pages_node(nid, gfp, 0))) {
		list_add(&page->lru, list);
		nr++;
	}
	return nr;
}

static void give_all(struct list_head *list)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, list, lru) {
		list_del(&page->lru);
		put_page(page);
	}
}

/* Zonelists */

/*
 * Four nodes; 2 and 3 have no CPUs. Distances from 0: 1 is 21, 2 and 3 are 17; from 1: 0 is 21, 2 and 3 are 28.
 */
static int setup_four(void **state)
{
	return scene_setup_with(state, &(struct scene_spec){ .nr_nodes = 4,
							     .pages = { 2048, 2048, 2048, 2048 },
							     .cpus = { 1, 1, 0, 0 },
							     .movable_percent = 50,
							     .distance = { { 10, 21, 17, 17 },
									   { 21, 10, 28, 28 },
									   { 17, 28, 10, 12 },
									   { 17, 28, 12, 10 } } });
}

/*
 * Expect: nearest first, movable zone before normal on each node; among equals the higher number and the one without
 * CPUs; node 1 prefers 3 over 2, which node 0 has chosen already.
 */
static void zonelists_go_by_distance(void **state)
{
	static const int expect[4][4] = { { 0, 2, 3, 1 }, { 1, 0, 3, 2 }, { 2, 3, 0, 1 }, { 3, 2, 0, 1 } };
	int nid, i;

	for (nid = 0; nid < 4; nid++) {
		const struct zonelist *list = &NODE_DATA(nid)->node_zonelists[ZONELIST_FALLBACK];

		assert_int_equal(list->nr, 8);
		for (i = 0; i < 8; i++) {
			assert_int_equal(list->zones[i]->node, expect[nid][i / 2]);
			assert_int_equal(list->zones[i]->zid, i % 2 ? ZONE_NORMAL : ZONE_MOVABLE);
		}
		list = &NODE_DATA(nid)->node_zonelists[ZONELIST_NOFALLBACK];
		assert_int_equal(list->nr, 2);
		assert_int_equal(list->zones[0]->node, nid);
	}
}

/* Four nodes, all equally far apart; node 2 has no CPUs. */
static int setup_equal(void **state)
{
	return scene_setup_with(
		state,
		&(struct scene_spec){ .nr_nodes = 4, .pages = { 2048, 2048, 2048, 2048 }, .cpus = { 1, 1, 0, 1 } });
}

/* Expect: a node without CPUs before those with, higher numbers before lower ones. */
static void equally_near_nodes_are_not_equal(void **state)
{
	static const int expect[4][4] = { { 0, 2, 1, 3 }, { 1, 2, 3, 0 }, { 2, 3, 0, 1 }, { 3, 2, 0, 1 } };
	int nid, i;

	for (nid = 0; nid < 4; nid++) {
		const struct zonelist *list = &NODE_DATA(nid)->node_zonelists[ZONELIST_FALLBACK];

		assert_int_equal(list->nr, 4);
		for (i = 0; i < 4; i++)
			assert_int_equal(list->zones[i]->node, expect[nid][i]);
	}
}

/* Expect: which zones a request may use: by flags and node mask; numa_* say where it was wanted and where it came from. */
static void flags_and_masks_choose_the_zone(void **state)
{
	static const struct {
		gfp_t gfp;
		nid_t preferred;
		u64 mask;
		nid_t node;
		enum zone_type zone;
	} cases[] = {
		{ GFP_KERNEL, 0, ~0UL, 0, ZONE_NORMAL },
		{ GFP_HIGHUSER_MOVABLE, 0, ~0UL, 0, ZONE_MOVABLE },
		{ GFP_HIGHUSER, 0, ~0UL, 0, ZONE_NORMAL },
		{ GFP_KERNEL | __GFP_MOVABLE, 0, ~0UL, 0, ZONE_NORMAL },
		{ GFP_HIGHUSER_MOVABLE, 0, 0xa, 3, ZONE_MOVABLE },
		{ GFP_KERNEL, 1, 0xc, 3, ZONE_NORMAL },
		{ GFP_HIGHUSER_MOVABLE | __GFP_THISNODE, 3, ~0UL, 3, ZONE_MOVABLE },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		nodemask_t mask = ps_nodemask(cases[i].mask);
		struct page *page = __alloc_pages(cases[i].gfp, 0, cases[i].preferred, &mask);

		assert_non_null(page);
		assert_int_equal(page_to_nid(page), cases[i].node);
		assert_int_equal(page_zonenum(page), cases[i].zone);
		put_page(page);
	}
	assert_null(__alloc_pages(GFP_KERNEL, 0, 0, &(nodemask_t){ 0 }));
	assert_null(__alloc_pages(GFP_KERNEL | __GFP_THISNODE, 0, 0, &(nodemask_t){ 2 }));
	assert_int_equal(vmstat("pgalloc_movable"), 3);
	assert_int_equal(vmstat("pgalloc_normal"), 4);
	assert_int_equal(vmstat("pgfree"), 7);
	/* The preferred zone is the first allowed one, so none of these missed. */
	assert_int_equal(vmstat("numa_hit"), 7);
	assert_int_equal(vmstat("numa_miss"), 0);
	assert_int_equal(vmstat("numa_local"), 4);
	assert_int_equal(vmstat("numa_other"), 3);
}

/*
 * Fill node after node with movable pages.
 * Expect: they come in zonelist order, each node's movable zone before its normal one; the next is used when the one
 * before would fall below its low watermark.
 */
static void a_full_node_overflows_to_the_nearest(void **state)
{
	struct zone *normal0 = &NODE_DATA(0)->node_zones[ZONE_NORMAL],
		    *movable0 = &NODE_DATA(0)->node_zones[ZONE_MOVABLE];
	unsigned long low = low_wmark_pages(normal0), reserve = (unsigned long)normal0->lowmem_reserve[ZONE_MOVABLE];
	LIST_HEAD(pages);
	bool normal = false;
	struct page *page;

	assert_true(reserve > 0);
	for (;;) {
		page = alloc_page(GFP_HIGHUSER_MOVABLE);
		list_add(&page->lru, &pages);
		if (page_to_nid(page) != 0)
			break;
		if (page_zonenum(page) == ZONE_NORMAL) {
			normal = true;
			assert_true(zone_page_state(movable0, NR_FREE_PAGES) <= low_wmark_pages(movable0));
		} else {
			assert_false(normal);
		}
	}
	assert_true(normal);
	assert_int_equal(page_to_nid(page), 2);
	/* A refill of a per-CPU list is checked once: it may go below by a batch. */
	assert_true(zone_page_state(normal0, NR_FREE_PAGES) <= low + reserve);
	assert_true(zone_page_state(normal0, NR_FREE_PAGES) + 64 >= low + reserve);
	assert_int_equal(vmstat("numa_miss"), 1);
	assert_int_equal(vmstat("numa_foreign"), 1);
	/* A kernel allocation could not have used the movable zone: nothing is reserved against it. */
	page = alloc_page(GFP_KERNEL);
	assert_int_equal(page_to_nid(page), 0);
	put_page(page);
	give_all(&pages);
}

/* Watermarks */

static int setup_marks(void **state)
{
	/* 64 MiB: min 512 pages. No per-CPU lists: every page is checked. */
	return scene_setup_with(state, &(struct scene_spec){ .min_free_kbytes = 2048, .pcp_high = -1 });
}

/* Expect: Linux's formulas for one zone of 16384 pages, min_free_kbytes 2048, scale factor 10. */
static void watermarks_follow_the_formula(void **state)
{
	const struct zone *zone = &NODE_DATA(0)->node_zones[ZONE_NORMAL];

	assert_int_equal(min_wmark_pages(zone), 512);
	assert_int_equal(low_wmark_pages(zone), 640);
	assert_int_equal(high_wmark_pages(zone), 768);
	assert_int_equal(wmark_pages(zone, WMARK_PROMO), 896);
}

static int setup_default_marks(void **state)
{
	return scene_setup_with(state,
				&(struct scene_spec){ .nr_nodes = 2, .pages = { 262144, 524288 }, .cpus = { 4, 0 } });
}

/*
 * 3 GiB in two zones. sqrt(3 GiB in KiB x 16) = 7094 KiB; THP asks for 11 pageblocks of 2 MiB per zone = 45056 KiB.
 * Expect: the latter, divided by size; batch 63; high = low watermark per CPU of the node, or of all for a node without.
 */
static void default_reserves_are_those_of_linux_with_huge_pages(void **state)
{
	const struct zone *a = &NODE_DATA(0)->node_zones[ZONE_NORMAL], *b = &NODE_DATA(1)->node_zones[ZONE_NORMAL];

	assert_int_equal(this_mem()->min_free_kbytes, 45056);
	assert_int_equal(min_wmark_pages(a), 11264 / 3);
	assert_int_equal(min_wmark_pages(b), 11264 * 2 / 3);
	assert_int_equal(low_wmark_pages(a), 11264 / 3 + 11264 / 3 / 4);
	assert_int_equal(a->pageset_batch, 63);
	assert_int_equal(a->pageset_high, low_wmark_pages(a) / 4);
	assert_int_equal(b->pageset_high, low_wmark_pages(b) / 4);
}

/*
 * One node, nobody to reclaim.
 * Expect: how many pages stay free when an allocation of each kind fails: min for GFP_KERNEL, half of it with __GFP_HIGH,
 * three quarters of that for GFP_ATOMIC, nothing with __GFP_MEMALLOC.
 */
static void each_kind_of_allocation_has_its_reserve(void **state)
{
	static const struct {
		const char *name;
		gfp_t gfp;
		unsigned long left;
	} cases[] = {
		{ "kernel", GFP_KERNEL, 512 },
		{ "nowait", GFP_NOWAIT, 512 },
		{ "movable", GFP_HIGHUSER_MOVABLE, 512 },
		{ "high", GFP_NOWAIT | __GFP_HIGH, 256 },
		{ "atomic", GFP_ATOMIC, 192 },
		{ "atomic, no reserves", GFP_ATOMIC | __GFP_NOMEMALLOC, 256 },
		{ "memalloc", GFP_NOWAIT | __GFP_MEMALLOC, 0 },
		{ "nofail", GFP_KERNEL | __GFP_NOFAIL, 0 },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		LIST_HEAD(pages);

		take_all(0, cases[i].gfp, &pages);
		if (nr_free_pages() != cases[i].left)
			print_error("%s\n", cases[i].name);
		assert_int_equal(nr_free_pages(), cases[i].left);
		give_all(&pages);
	}
}

/*
 *   half of memory free, but no two neighbours
 * Expect: order 0 succeeds, order 1 fails although there are pages enough, and the check says so.
 */
static void enough_pages_without_a_block_is_not_enough(void **state)
{
	struct zone *zone = &NODE_DATA(0)->node_zones[ZONE_NORMAL];
	struct page *page, *next;
	LIST_HEAD(pages);

	take_all(0, GFP_HIGHUSER_MOVABLE | __GFP_MEMALLOC, &pages);
	list_for_each_entry_safe(page, next, &pages, lru)
		if (page_to_pfn(page) % 2) {
			list_del(&page->lru);
			put_page(page);
		}
	assert_int_equal(nr_free_pages(), 8192);
	assert_true(zone_watermark_ok(zone, 0, low_wmark_pages(zone), ZONE_MOVABLE, 0));
	assert_false(zone_watermark_ok(zone, 1, low_wmark_pages(zone), ZONE_MOVABLE, 0));
	assert_null(alloc_pages(GFP_NOWAIT, 1));
	page = alloc_page(GFP_NOWAIT);
	assert_non_null(page);
	put_page(page);
	give_all(&pages);
}

/* Expect: an order no block can have is refused with a warning. */
static void impossible_orders_are_refused(void **state)
{
	struct ps_bug_handler old = ps_bug_set_handler((struct ps_bug_handler){ catch_bug, NULL });

	assert_null(alloc_pages(GFP_KERNEL, MAX_ORDER));
	ps_bug_set_handler(old);
}

/* The slow path */

static char calls[256];
static struct page *victim;
static int helps_at;

static void say(const char *what)
{
	strncat(calls, what, sizeof(calls) - strlen(calls) - 1);
}

static void hook_wake(struct zone *zone, const struct ps_alloc_context *ac)
{
	say("k");
}

static unsigned long hook_reclaim(const struct ps_alloc_context *ac)
{
	say("r");
	if (!victim || (helps_at && --helps_at))
		return 0;
	put_page(victim);
	victim = NULL;
	return 1;
}

static enum compact_result hook_compact(const struct ps_alloc_context *ac, int attempt)
{
	char text[] = { 'c', (char)('0' + attempt), 0 };

	say(text);
	return ac->order == HPAGE_PMD_ORDER ? COMPACT_SKIPPED : COMPACT_COMPLETE;
}

static bool hook_oom(const struct ps_alloc_context *ac)
{
	say("o");
	if (!victim)
		return false;
	put_page(victim);
	victim = NULL;
	return true;
}

static void hook_failed(const struct ps_alloc_context *ac)
{
	say("!");
}

/*
 * All memory above min is taken; one page more is asked for.
 * Expect, per kind of request, who is called in which order: k kswapd woken, c compaction (with effort), r reclaim,
 * o the OOM killer, ! the failure is told.
 */
static void the_slow_path_calls_for_help_in_order(void **state)
{
	static const struct {
		const char *name;
		gfp_t gfp;
		unsigned int order;
		bool have_victim;
		const char *expect;
		bool ok;
	} cases[] = {
		{ "may not wait", GFP_NOWAIT, 0, false, "kk!", false },
		{ "silent", GFP_NOWAIT | __GFP_NOWARN, 0, false, "kk", false },
		{ "no kswapd", __GFP_DIRECT_RECLAIM | __GFP_NORETRY, 0, false, "r!", false },
		{ "reclaim helps", GFP_KERNEL, 0, true, "kkr", true },
		{ "no retry", GFP_KERNEL | __GFP_NORETRY, 0, false, "kkr!", false },
		{ "huge, light", GFP_TRANSHUGE_LIGHT, 9, false, "", false },
		{ "huge, compaction skipped", GFP_TRANSHUGE | __GFP_NORETRY, 9, false, "c0", false },
		{ "huge", GFP_TRANSHUGE, 9, false, "c0rc1", false },
		{ "costly, may fail", GFP_KERNEL, 4, false, "kc0krc1!", false },
		{ "nothing helps", GFP_KERNEL, 0, false, "kkro!", false },
		{ "rather fail than kill", GFP_KERNEL | __GFP_RETRY_MAYFAIL, 0, false, "kkr!", false },
		{ "this node only: no kill", GFP_KERNEL | __GFP_THISNODE, 0, false, "kkr!", false },
	};
	static const struct ps_reclaim_ops ops = { .wake_kswapd = hook_wake,
						   .direct_reclaim = hook_reclaim,
						   .direct_compact = hook_compact,
						   .out_of_memory = hook_oom };
	static const struct ps_page_ops page_ops = { .alloc_failed = hook_failed };
	struct scene *s = *state;
	LIST_HEAD(pages);
	size_t i;

	take_all(0, GFP_NOWAIT, &pages);
	ps_mem_set_reclaim_ops(s->machine, &ops);
	ps_mem_set_page_ops(s->machine, &page_ops);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct page *page;

		calls[0] = 0;
		helps_at = 0;
		if (cases[i].have_victim) {
			victim = list_first_entry(&pages, struct page, lru);
			list_del(&victim->lru);
		}
		page = alloc_pages(cases[i].gfp, cases[i].order);
		if (strcmp(calls, cases[i].expect))
			print_error("%s: %s\n", cases[i].name, calls);
		assert_string_equal(calls, cases[i].expect);
		assert_int_equal(page != NULL, cases[i].ok);
		if (page)
			list_add(&page->lru, &pages);
	}
	ps_mem_set_reclaim_ops(s->machine, NULL);
	ps_mem_set_page_ops(s->machine, NULL);
	give_all(&pages);
}

/* Expect: the OOM killer's success starts the search again; compaction that ran is counted, and its outcome. */
static void a_kill_is_followed_by_another_try(void **state)
{
	static const struct ps_reclaim_ops ops = { .direct_compact = hook_compact, .out_of_memory = hook_oom };
	struct scene *s = *state;
	struct page *page;
	LIST_HEAD(pages);

	take_all(0, GFP_NOWAIT, &pages);
	ps_mem_set_reclaim_ops(s->machine, &ops);
	victim = list_first_entry(&pages, struct page, lru);
	list_del(&victim->lru);
	calls[0] = 0;
	page = alloc_page(GFP_KERNEL);
	assert_non_null(page);
	assert_string_equal(calls, "o");
	put_page(page);
	assert_null(alloc_pages(GFP_KERNEL | __GFP_NORETRY, 1));
	assert_int_equal(vmstat("compact_stall"), vmstat("compact_fail"));
	assert_true(vmstat("compact_fail") > 0);
	assert_int_equal(vmstat("compact_success"), 0);
	ps_mem_set_reclaim_ops(s->machine, NULL);
	give_all(&pages);
}

/* Per-CPU lists */

static int setup_pcp(void **state)
{
	return scene_setup_with(state,
				&(struct scene_spec){ .nr_nodes = 2, .pages = { 262144, 262144 }, .cpus = { 2, 0 } });
}

/*
 * Expect: the first page of a CPU brings a batch with it, the next ones come from there without touching the zone;
 * frees go back to the list; above `high` a batch goes back to the zone; a drain empties it, and only then are the
 * pages free in the eyes of NR_FREE_PAGES.
 */
static void a_cpu_keeps_a_batch(void **state)
{
	struct page *page = alloc_page(GFP_HIGHUSER_MOVABLE), *more[600];
	struct zone *zone = page_zone(page);
	struct per_cpu_pages *pcp = &zone->per_cpu_pageset[0];
	int i;

	assert_int_equal(pcp->count, pcp->batch - 1);
	assert_int_equal(nr_free_pages_node(0), 262144 - (unsigned long)pcp->batch);
	for (i = 0; i < pcp->batch - 1; i++)
		more[i] = alloc_page(GFP_HIGHUSER_MOVABLE);
	assert_int_equal(pcp->count, 0);
	assert_int_equal(nr_free_pages_node(0), 262144 - (unsigned long)pcp->batch);
	put_page(page);
	assert_int_equal(pcp->count, 1);
	while (i--)
		put_page(more[i]);
	assert_int_equal(pcp->count, pcp->batch);
	drain_local_pages(NULL);
	assert_int_equal(pcp->count, 0);
	assert_int_equal(nr_free_pages_node(0), 262144);
}

/* Expect: lists never grow beyond high, the longer the run of frees the more goes back at once, and pages freed on
 * another CPU are found by drain_all_pages. */
static void lists_stay_below_high(void **state)
{
	struct scene *s = *state;
	static struct page *pages[4096];
	struct per_cpu_pages *pcp;
	int i, factor;

	for (i = 0; i < 4096; i++)
		pages[i] = alloc_page(GFP_HIGHUSER_MOVABLE);
	pcp = &page_zone(pages[0])->per_cpu_pageset[1];
	s->task->cpu = 1;
	for (i = 0; i < 4096; i++) {
		put_page(pages[i]);
		assert_true(pcp->count <= pcp->high);
	}
	assert_true(pcp->count > 0);
	factor = pcp->free_factor;
	assert_true(factor > 1);
	put_page(alloc_page(GFP_HIGHUSER_MOVABLE));
	assert_int_equal(pcp->free_factor, factor / 2);
	s->task->cpu = 0;
	drain_all_pages(page_zone(pages[0]));
	assert_int_equal(pcp->count, 0);
	assert_int_equal(nr_free_pages_node(0), 262144);
}

/* Expect: THPs and small orders go through the lists, other orders straight to the zone. */
static void some_orders_are_cached(void **state)
{
	static const struct {
		unsigned int order;
		bool cached;
	} cases[] = { { 0, true }, { 1, true }, { 3, true }, { 4, false }, { 8, false }, { 9, true }, { 10, false } };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct page *page = alloc_pages(GFP_HIGHUSER_MOVABLE | __GFP_COMP, cases[i].order);
		struct per_cpu_pages *pcp = &page_zone(page)->per_cpu_pageset[0];
		int before = pcp->count;

		__free_pages(page, cases[i].order);
		assert_int_equal(pcp->count - before, cases[i].cached ? 1 << cases[i].order : 0);
		assert_int_equal(pcp_allowed_order(cases[i].order), cases[i].cached);
	}
}

/* Expect: a disabled zone keeps nothing back, and an enabled one does again. */
static void lists_can_be_switched_off(void **state)
{
	struct page *page = alloc_page(GFP_HIGHUSER_MOVABLE);
	struct zone *zone = page_zone(page);

	zone_pcp_disable(zone);
	assert_int_equal(zone->per_cpu_pageset[0].count, 0);
	put_page(page);
	assert_int_equal(zone->per_cpu_pageset[0].count, 0);
	assert_int_equal(nr_free_pages_node(0), 262144);
	zone_pcp_enable(zone);
	page = alloc_page(GFP_HIGHUSER_MOVABLE);
	put_page(page);
	assert_true(zone->per_cpu_pageset[0].count > 1);
}

/* What must not be */

/* Expect: freeing a page that is mapped, locked, on a list, or free already, is a bug that names the page. */
static void freeing_what_is_in_use_is_a_bug(void **state)
{
	struct page *page = alloc_page(GFP_KERNEL);

	atomic_inc(&page->_mapcount);
	expect_bug(put_page(page));
	page_mapcount_reset(page);
	set_page_count(page, 1);

	SetPagePrivate(page);
	expect_bug(put_page(page));
	ClearPagePrivate(page);
	set_page_count(page, 1);

	page->mapping = (struct address_space *)page;
	expect_bug(put_page(page));
	page->mapping = NULL;
	set_page_count(page, 1);

	put_page(page);
	expect_bug(free_unref_page(page + 1, 0) /* a free frame of the same batch: on a list already */;
		   put_page(page));
}

/* Expect: a page whose free frame was written to (count, flags) is noticed when it is handed out. */
static void a_tampered_free_page_is_noticed(void **state)
{
	struct page *page = alloc_page(GFP_KERNEL);

	put_page(page);
	page_ref_inc(page);
	expect_bug(alloc_page(GFP_KERNEL));
}

static int teardown_broken(void **state)
{
	struct scene *s = *state;

	scene_free(s);
	free(s);
	return 0;
}

/* Expect: a machine whose memory cannot be set up for want of host memory is left without any, and nothing leaks. */
static void a_failed_setup_leaves_nothing_behind(void **state)
{
	static const struct scene_spec specs[] = {
		{ .nr_nodes = 2, .pages = { 2048, 2048 }, .cpus = { 1, 1 }, .movable_percent = 50 },
		{ .contents = PS_CONTENTS_BYTES },
	};
	struct ps_alloc_counts before, after;
	size_t i;
	u64 n;

	for (i = 0; i < ARRAY_SIZE(specs); i++) {
		bool done = false;

		for (n = 1; !done; n++) {
			struct scene s;
			int ret;

			ps_alloc_counts(&before);
			ps_alloc_fail_nth(n);
			ret = scene_open(&s, &specs[i]);
			done = ps_alloc_fail_nth(0);
			if (ret) {
				assert_int_equal(ret, -ENOMEM);
				assert_true(!s.machine || !s.machine->mem);
			}
			scene_free(&s);
			ps_alloc_counts(&after);
			assert_int_equal(after.live, before.live);
		}
		assert_true(n > 8);
	}
}

/* Expect: with contents `bytes` the host's memory running out is an allocation that fails, no more. */
static void no_host_memory_for_bytes_is_no_page(void **state)
{
	struct page *page;

	ps_alloc_fail_nth(1);
	page = alloc_page(GFP_NOWAIT);
	assert_false(ps_alloc_fail_nth(0));
	/* One carving failed; the next try of the same request may have succeeded. */
	if (page)
		put_page(page);
	page = alloc_page(GFP_NOWAIT);
	assert_non_null(page);
	put_page(page);
}

static int setup_bytes(void **state)
{
	return scene_setup_with(state, &(struct scene_spec){ .contents = PS_CONTENTS_BYTES });
}

int main(void)
{
#define T(name, setup) cmocka_unit_test_setup_teardown(name, setup, scene_teardown)
	const struct CMUnitTest tests[] = {
		T(zonelists_go_by_distance, setup_four),
		T(equally_near_nodes_are_not_equal, setup_equal),
		T(flags_and_masks_choose_the_zone, setup_four),
		T(a_full_node_overflows_to_the_nearest, setup_four),
		T(watermarks_follow_the_formula, setup_marks),
		T(default_reserves_are_those_of_linux_with_huge_pages, setup_default_marks),
		T(each_kind_of_allocation_has_its_reserve, setup_marks),
		T(enough_pages_without_a_block_is_not_enough, setup_marks),
		T(impossible_orders_are_refused, setup_marks),
		T(the_slow_path_calls_for_help_in_order, setup_marks),
		T(a_kill_is_followed_by_another_try, setup_marks),
		T(a_cpu_keeps_a_batch, setup_pcp),
		T(lists_stay_below_high, setup_pcp),
		T(some_orders_are_cached, setup_pcp),
		T(lists_can_be_switched_off, setup_pcp),
		cmocka_unit_test_setup_teardown(freeing_what_is_in_use_is_a_bug, setup_pcp, teardown_broken),
		cmocka_unit_test_setup_teardown(a_tampered_free_page_is_noticed, setup_pcp, teardown_broken),
		cmocka_unit_test(a_failed_setup_leaves_nothing_behind),
		T(no_host_memory_for_bytes_is_no_page, setup_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
