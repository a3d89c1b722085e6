/* SPDX-License-Identifier: MIT */
/*
 * The buddy allocator against a model that is only a table of who owns each frame; the frontier; stealing between
 * migratetypes; isolated pageblocks.
 */
#include "page/scene.h"
#include "page/buddy.h"

#include <pagesim/rng.h>

static int setup_small(void **state)
{
	/* 2-bit tables: pageblocks of 4 frames, blocks of up to 8; two nodes whose ends are aligned to 4 frames only. */
	return scene_setup_with(state, &(struct scene_spec){ .nr_nodes = 2,
							     .pages = { 124, 60 },
							     .cpus = { 1, 1 },
							     .pt_bits = 2,
							     .min_free_kbytes = 4,
							     .pcp_high = -1 });
}

static int setup_large(void **state)
{
	return scene_setup_with(
		state, &(struct scene_spec){ .nr_nodes = 1, .pages = { 16384 }, .cpus = { 2 }, .pcp_high = -1 });
}

static int setup_mixed(void **state)
{
	return scene_setup_with(
		state, &(struct scene_spec){
			       .nr_nodes = 2, .pages = { 9216, 4096 }, .cpus = { 2, 1 }, .movable_percent = 30 });
}

struct block {
	struct page *page;
	unsigned int order;
};

/*
 * One model for three machines: `owner` says which allocation has each frame. `steps` random allocations and frees of
 * random order, type and node; each answer is checked against the table.
 */
static void random_steps(struct scene *s, unsigned int steps, u64 seed)
{
	static const gfp_t gfps[] = { GFP_KERNEL, GFP_HIGHUSER_MOVABLE, GFP_KERNEL | __GFP_RECLAIMABLE,
				      GFP_HIGHUSER_MOVABLE | __GFP_COMP, GFP_ATOMIC | __GFP_COMP };
	unsigned long max_pfn = s->machine->max_pfn, live = 0, n, i;
	u32 *owner = calloc(max_pfn, sizeof(*owner));
	struct block *blocks = calloc(steps, sizeof(*blocks));
	unsigned int step, nr = 0;
	struct ps_rng rng;

	assert_non_null(owner);
	assert_non_null(blocks);
	ps_rng_init(&rng, seed);
	for (step = 0; step < steps; step++) {
		/* Waves: fill up for a while, then empty. */
		bool give = nr && ps_rng_below(&rng, 100) < (step / 512 % 2 ? 70 : 30);

		s->task->cpu = (int)ps_rng_below(&rng, s->machine->nr_cpus);
		if (give) {
			n = ps_rng_below(&rng, nr);
			for (i = 0; i < 1UL << blocks[n].order; i++) {
				assert_int_equal(page_word_read(blocks[n].page + i),
						 (u64)(uintptr_t)blocks[n].page + i);
				owner[page_to_pfn(blocks[n].page) + i] = 0;
			}
			__free_pages(blocks[n].page, blocks[n].order);
			live -= 1UL << blocks[n].order;
			blocks[n] = blocks[--nr];
		} else {
			unsigned int order = (unsigned int)ps_rng_below(&rng, 4);
			gfp_t gfp = gfps[ps_rng_below(&rng, ARRAY_SIZE(gfps))];
			nid_t nid = (nid_t)ps_rng_below(&rng, s->machine->nr_nodes);
			struct page *page;

			if (!ps_rng_below(&rng, 16))
				order = (unsigned int)ps_rng_below(&rng, MAX_ORDER);
			page = __alloc_pages_node(nid, gfp, order);
			if (!page)
				continue;
			assert_int_equal(page_to_pfn(page) & ((1UL << order) - 1), 0);
			for (i = 0; i < 1UL << order; i++) {
				assert_int_equal(owner[page_to_pfn(page) + i], 0);
				owner[page_to_pfn(page) + i] = step + 1;
				page_word_write(page + i, (u64)(uintptr_t)page + i);
			}
			blocks[nr++] = (struct block){ page, order };
			live += 1UL << order;
		}
		if (step % 256 == 0) {
			scene_check(s);
			assert_int_equal(ps_mem_allocated_pages(s->machine), live);
		}
	}
	while (nr--)
		__free_pages(blocks[nr].page, blocks[nr].order);
	free(owner);
	free(blocks);
	drain_all_pages(NULL);
	assert_int_equal(nr_free_pages(), s->machine->total_pages);
	scene_check(s);
}

static void random_allocations_agree_with_a_table_on_a_tiny_machine(void **state)
{
	u64 seed;

	for (seed = 1; seed <= 20; seed++)
		random_steps(*state, 3000, seed);
}

static void random_allocations_agree_with_a_table_without_pcp_lists(void **state)
{
	random_steps(*state, 20000, 7);
}

static void random_allocations_agree_with_a_table_with_pcp_lists_and_movable_zones(void **state)
{
	random_steps(*state, 20000, 8);
}

/* **Return:** free blocks of an order in a zone. */
static unsigned long nr_free(struct zone *zone, unsigned int order)
{
	return zone->free_area[order].nr_free;
}

/*
 *   | carved |            never touched            |
 * Expect: one page carves one block of the highest order and touches no struct page behind it; everything freed again
 * merges back into that block.
 */
static void memory_is_carved_one_block_at_a_time_and_merges_back(void **state)
{
	struct zone *zone = &NODE_DATA(0)->node_zones[ZONE_NORMAL];
	struct page *pages[1025];
	unsigned int order;
	int i;

	assert_int_equal(zone->frontier, zone->zone_start_pfn);
	pages[0] = alloc_page(GFP_HIGHUSER_MOVABLE);
	assert_int_equal(page_to_pfn(pages[0]), zone->zone_start_pfn);
	assert_int_equal(zone->frontier, zone->zone_start_pfn + 1024);
	assert_int_equal(pages[0][1024].flags, 0);
	assert_null(pfn_to_online_page(zone->frontier));
	assert_ptr_equal(pfn_to_online_page(zone->frontier - 1), pages[0] + 1023);
	for (i = 1; i < 1025; i++) {
		pages[i] = alloc_page(GFP_HIGHUSER_MOVABLE);
		assert_ptr_equal(pages[i], pages[0] + i);
	}
	assert_int_equal(zone->frontier, zone->zone_start_pfn + 2048);
	for (i = 0; i < 1025; i++)
		put_page(pages[(i * 367) % 1025]);
	for (order = 0; order < 10; order++)
		assert_int_equal(nr_free(zone, order), 0);
	assert_int_equal(nr_free(zone, 10), 2);
}

/* Expect: with tiny geometry the end of a node that is not aligned to a block of the highest order is carved in smaller ones, all usable. */
static void an_unaligned_end_of_a_zone_is_used_up(void **state)
{
	struct zone *zone = &NODE_DATA(1)->node_zones[ZONE_NORMAL];
	struct page *pages[64];
	int i;

	for (i = 0; i < 64; i++) {
		pages[i] = __alloc_pages_node(1, GFP_ATOMIC | __GFP_THISNODE | __GFP_MEMALLOC, 0);
		if (!pages[i])
			break;
	}
	assert_int_equal(i, 60);
	assert_int_equal(zone->frontier, zone_end_pfn(zone));
	while (i--)
		put_page(pages[i]);
	/* 60 = 7 x 8 + 4 */
	assert_int_equal(nr_free(zone, 3), 7);
	assert_int_equal(nr_free(zone, 2), 1);
	assert_int_equal(nr_free(zone, 1), 0);
	assert_int_equal(nr_free(zone, 0), 0);
}

/*
 *   zone: one carved block of 1024, all movable
 * Expect: an unmovable page takes the largest block of another type and its pageblocks change type; the next unmovable
 * page comes from the same pageblock, a movable one does not.
 */
static void an_unmovable_request_takes_whole_pageblocks(void **state)
{
	struct page *movable = alloc_page(GFP_HIGHUSER_MOVABLE), *a, *b, *c;

	a = alloc_page(GFP_KERNEL);
	assert_int_equal(get_pageblock_migratetype(movable), MIGRATE_MOVABLE);
	assert_int_equal(get_pageblock_migratetype(a), MIGRATE_UNMOVABLE);
	assert_true(page_to_pfn(a) >> pageblock_order != page_to_pfn(movable) >> pageblock_order);
	b = alloc_page(GFP_KERNEL);
	assert_int_equal(page_to_pfn(b) >> pageblock_order, page_to_pfn(a) >> pageblock_order);
	c = alloc_page(GFP_HIGHUSER_MOVABLE);
	assert_int_equal(page_to_pfn(c) >> pageblock_order, page_to_pfn(movable) >> pageblock_order);
	put_page(a);
	put_page(b);
	put_page(c);
	put_page(movable);
}

/* Expect: unmovable requests carve memory as they need it, not all there is. */
static void an_unmovable_request_carves_one_block(void **state)
{
	struct zone *zone = &NODE_DATA(0)->node_zones[ZONE_NORMAL];
	struct page *page = alloc_page(GFP_KERNEL), *other;

	assert_int_equal(zone->frontier, zone->zone_start_pfn + 1024);
	assert_int_equal(get_pageblock_migratetype(page), MIGRATE_UNMOVABLE);
	other = alloc_page(GFP_KERNEL | __GFP_RECLAIMABLE);
	assert_int_equal(zone->frontier, zone->zone_start_pfn + 2048);
	assert_int_equal(get_pageblock_migratetype(other), MIGRATE_RECLAIMABLE);
	put_page(page);
	put_page(other);
}

/*
 *   all memory in use but the odd frames of one movable pageblock, whose even frames are on the LRU
 * Expect: a reclaimable request of order 0 gets one of them. It may take all free frames of the block (half a pageblock:
 * the block becomes reclaimable); a movable request then falls back to them and leaves the type alone.
 */
static void half_a_pageblock_free_is_enough_to_take_it_over(void **state)
{
	struct scene *s = *state;
	struct zone *zone = &NODE_DATA(0)->node_zones[ZONE_NORMAL];
	struct page **pages = calloc(16384, sizeof(*pages)), *block, *taken, *movable;
	unsigned long nr = 0, i;

	for (;;) {
		struct page *page = alloc_pages(GFP_HIGHUSER_MOVABLE | __GFP_MEMALLOC, 0);

		if (!page)
			break;
		pages[nr++] = page;
	}
	assert_int_equal(nr, 16384);
	block = pages[0];
	for (i = 1; i < 512; i += 2)
		put_page(block + i);
	assert_int_equal(nr_free(zone, 0), 256);
	assert_int_equal(get_pageblock_migratetype(block), MIGRATE_MOVABLE);

	taken = alloc_page(GFP_ATOMIC | __GFP_RECLAIMABLE | __GFP_MEMALLOC);
	assert_non_null(taken);
	assert_int_equal(get_pageblock_migratetype(block), MIGRATE_RECLAIMABLE);
	movable = alloc_page(GFP_HIGHUSER_MOVABLE | __GFP_MEMALLOC);
	assert_non_null(movable);
	assert_int_equal(get_pageblock_migratetype(block), MIGRATE_RECLAIMABLE);
	scene_check(s);
	put_page(taken);
	put_page(movable);
	for (i = 0; i < nr; i++)
		if (!(pages[i] > block && pages[i] < block + 512 && (pages[i] - block) % 2))
			put_page(pages[i]);
	free(pages);
}

/*
 *   | pageblock 0: isolated | pageblock 1 |   one free block of 1024 covers both
 * Expect: the block is cut, the isolated half is not counted and never handed out, pages freed into it do not come back,
 * and when it is no longer isolated both halves are one block again.
 */
static void an_isolated_pageblock_gives_nothing(void **state)
{
	struct zone *zone = &NODE_DATA(0)->node_zones[ZONE_NORMAL];
	struct page *first = alloc_page(GFP_HIGHUSER_MOVABLE), *page;
	unsigned long all = nr_free_pages() + 1;

	assert_int_equal(isolate_pageblock(first), 0);
	assert_int_equal(isolate_pageblock(first), -EBUSY);
	assert_int_equal(get_pageblock_migratetype(first), MIGRATE_ISOLATE);
	assert_int_equal(nr_free_pages(), all - 512);
	scene_check(*state);
	put_page(first);
	assert_int_equal(nr_free_pages(), all - 512);
	page = alloc_page(GFP_HIGHUSER_MOVABLE);
	assert_true(page_to_pfn(page) >> pageblock_order != page_to_pfn(first) >> pageblock_order);
	scene_check(*state);
	put_page(page);
	unisolate_pageblock(first, MIGRATE_MOVABLE);
	assert_int_equal(nr_free_pages(), all);
	assert_int_equal(nr_free(zone, 10), 1);
	assert_int_equal(nr_free(zone, 9), 0);
}

/* Expect: a pageblock nobody has touched can be isolated; its struct pages are initialised by that. */
static void an_untouched_pageblock_can_be_isolated(void **state)
{
	struct zone *zone = &NODE_DATA(0)->node_zones[ZONE_NORMAL];
	struct page *page = pfn_to_page(zone->zone_start_pfn + 3000);

	assert_int_equal(isolate_pageblock(page), 0);
	assert_int_equal(zone->frontier, zone->zone_start_pfn + 3072);
	assert_int_equal(zone->nr_isolate_pageblock, 1);
	assert_int_equal(nr_free_pages(), 16384 - 512);
	scene_check(*state);
	unisolate_pageblock(page, MIGRATE_MOVABLE);
	assert_int_equal(nr_free_pages(), 16384);
}

/*
 * Regression by design of Linux commit 51bb1a4093cc (stale type on a per-CPU list):
 *   1 a page is freed to a per-CPU list as movable   2 its pageblock is isolated   3 the list is drained
 * Expect: the page goes to the isolated list, not the movable one.
 */
static void a_page_freed_before_its_block_was_isolated_is_isolated_too(void **state)
{
	struct page *page = alloc_page(GFP_HIGHUSER_MOVABLE | __GFP_THISNODE);
	struct zone *zone = page_zone(page);

	put_page(page);
	assert_true(zone->per_cpu_pageset[0].count > 0);
	assert_int_equal(isolate_pageblock(page), 0);
	drain_all_pages(NULL);
	scene_check(*state);
	unisolate_pageblock(page, MIGRATE_MOVABLE);
}

/* Expect: compaction's way of taking a known free block: whole, off the counters, and back again. */
static void a_known_free_block_can_be_taken_and_put_back(void **state)
{
	struct page *page = alloc_pages(GFP_HIGHUSER_MOVABLE, 9);
	struct zone *zone = page_zone(page);
	unsigned long free_pages;

	__free_pages(page, 9);
	free_pages = nr_free_pages();
	spin_lock(&zone->lock);
	assert_true(PageBuddy(page));
	assert_int_equal(buddy_order(page), 10);
	assert_int_equal(__isolate_free_page(page, 10), 1024);
	spin_unlock(&zone->lock);
	assert_int_equal(nr_free_pages(), free_pages - 1024);
	spin_lock(&zone->lock);
	__putback_isolated_page(page, 10, MIGRATE_MOVABLE);
	spin_unlock(&zone->lock);
	assert_int_equal(nr_free_pages(), free_pages);
}

int main(void)
{
#define T(name, setup) cmocka_unit_test_setup_teardown(name, setup, scene_teardown)
	const struct CMUnitTest tests[] = {
		T(random_allocations_agree_with_a_table_on_a_tiny_machine, setup_small),
		T(random_allocations_agree_with_a_table_without_pcp_lists, setup_large),
		T(random_allocations_agree_with_a_table_with_pcp_lists_and_movable_zones, setup_mixed),
		T(memory_is_carved_one_block_at_a_time_and_merges_back, setup_large),
		T(an_unaligned_end_of_a_zone_is_used_up, setup_small),
		T(an_unmovable_request_takes_whole_pageblocks, setup_large),
		T(an_unmovable_request_carves_one_block, setup_large),
		T(half_a_pageblock_free_is_enough_to_take_it_over, setup_large),
		T(an_isolated_pageblock_gives_nothing, setup_large),
		T(an_untouched_pageblock_can_be_isolated, setup_large),
		T(a_page_freed_before_its_block_was_isolated_is_isolated_too, setup_mixed),
		T(a_known_free_block_can_be_taken_and_put_back, setup_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
