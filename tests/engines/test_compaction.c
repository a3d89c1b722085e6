/* SPDX-License-Identifier: MIT */
/*
 * Compaction. The relations are those seen on a real Linux 6.1: a checkerboard is squeezed within its node, pinned pages are
 * passed over without a failure, page cache that nobody maps moves too; an allocation that finds pages but no block gets one.
 */
#include "fixtures/scene_world.h"

#include <pagesim/balloon.h>
#include <pagesim/compaction.h>
#include <pagesim/compound.h>
#include <pagesim/reclaim.h>

static u64 H;

static int setup_with(const struct scene_settings *settings)
{
	if (scene_world_open(settings))
		return -1;
	if (ps_reclaim_init(scene->machine))
		return -1;
	start("A", 0);
	H = huge_pages();
	return 0;
}

static int setup(void **state)
{
	const struct scene_settings settings = { .machine = "linux-6.1" };

	(void)state;
	return setup_with(&settings);
}

static int setup_small(void **state)
{
	const struct scene_settings settings = { .machine = "two-node,0=32M,1=32M" };

	(void)state;
	return setup_with(&settings);
}

static int setup_tiny(void **state)
{
	const struct scene_settings settings = { .machine = "tiny" };

	(void)state;
	return setup_with(&settings);
}

static int teardown(void **state)
{
	struct task_struct *before = ps_current;

	as(scene->boot);
	ps_reclaim_destroy(scene->machine);
	as(before);
	return scene_teardown(state);
}

/* n pages on a node, every second one given back. */
static u64 checkerboard(u64 n, nid_t nid)
{
	u64 r = map(n), i;

	set_policy(MPOL_BIND, nid, NUMA_NO_NODE);
	fill(r, n, 1);
	for (i = 0; i < n; i += 2)
		assert_int_equal(do_madvise(current->mm, r + pages(i), PAGE_SIZE, PS_MADV_DONTNEED), 0);
	set_policy(MPOL_DEFAULT, NUMA_NO_NODE, NUMA_NO_NODE);
	drain_all_pages(NULL);
	return r;
}

static pfn_t *frames_of(u64 r, u64 n)
{
	pfn_t *frames = (pfn_t *)calloc(n, sizeof(*frames));
	u64 i;

	assert_non_null(frames);
	for (i = 1; i < n; i += 2)
		frames[i] = page_to_pfn(page_at(r + pages(i)));
	return frames;
}

static u64 frames_changed(u64 r, u64 n, const pfn_t *frames)
{
	u64 i, changed = 0;

	for (i = 1; i < n; i += 2)
		changed += page_to_pfn(page_at(r + pages(i))) != frames[i];
	return changed;
}

static void expect_words(u64 r, u64 n)
{
	u64 i;

	for (i = 1; i < n; i += 2)
		assert_int_equal(load(r + pages(i)), word_of(1, i));
}

static unsigned long free_blocks(nid_t nid)
{
	const struct zone *zone = &NODE_DATA(nid)->node_zones[ZONE_NORMAL];
	unsigned long n = 0;
	unsigned int order;

	for (order = pageblock_order; order < MAX_ORDER; order++)
		n += zone->free_area[order].nr_free << (order - pageblock_order);
	return n;
}

/*
 *   . x . x . x . x . x . x        . . . . . . x x x x x x
 * A checkerboard of 20,480 pages. Expect hundreds of pages to change frame and none its node, whole blocks to be free, and a
 * second run to have nothing left to do.
 */
static void a_checkerboard_is_squeezed_within_its_node(void **state)
{
	const u64 n = 20480;
	u64 r = checkerboard(n, 2), i, changed;
	pfn_t *frames = frames_of(r, n);
	unsigned long blocks = free_blocks(2);

	(void)state;
	assert_int_equal(ps_compact_node(2), 0);
	changed = frames_changed(r, n, frames);
	assert_true(changed > 400);
	assert_true(changed <= n / 4 + H);
	assert_int_equal(vmstat("pgmigrate_success"), changed);
	for (i = 1; i < n; i += 2)
		assert_int_equal(node_at(r + pages(i)), 2);
	expect_words(r, n);
	drain_all_pages(NULL);
	assert_true(free_blocks(2) >= blocks + changed / (H / 2) - 2);
	/* Each page that moved was taken, and a frame for it. */
	assert_true(vmstat("compact_isolated") >= 2 * (s64)changed);
	assert_true(vmstat("compact_migrate_scanned") >= (s64)changed);
	assert_true(vmstat("compact_free_scanned") >= (s64)changed);
	assert_int_equal(vmstat("nr_isolated_anon"), 0);
	expect_sound();
	free(frames);
	frames = frames_of(r, n);
	assert_int_equal(ps_compact_node(2), 0);
	assert_true(frames_changed(r, n, frames) <= H);
	free(frames);
	/* Asked for by a task that waits for nothing: no stall is counted. */
	assert_int_equal(vmstat("compact_stall"), 0);
}

/* 200 of them are pinned. Expect none of those to move, and none to be counted as failed: they are not even taken. */
static void pinned_pages_are_passed_over(void **state)
{
	const u64 n = 20480;
	u64 r = checkerboard(n, 2), i;
	pfn_t *frames = frames_of(r, n);
	struct page *page[50];
	s64 failed;

	(void)state;
	/* As many as the test can hold; in the blocks that are emptied first. */
	for (i = 0; i < ARRAY_SIZE(page); i++)
		page[i] = grab(r + pages(1 + 2 * i), FOLL_PIN | FOLL_WRITE);
	assert_int_equal(ps_compact_node(2), 0);
	for (i = 0; i < ARRAY_SIZE(page); i++)
		assert_int_equal(page_to_pfn(page[i]), frames[1 + 2 * i]);
	assert_true(frames_changed(r, n, frames) > 400);
	/* What fails is the last page, for which no frame is left when the scanners meet. */
	failed = vmstat("pgmigrate_fail");
	assert_true(failed <= 1);
	for (i = 0; i < ARRAY_SIZE(page); i++) {
		assert_ptr_equal(page_at(r + pages(1 + 2 * i)), page[i]);
		drop(page[i], FOLL_PIN);
	}
	expect_words(r, n);
	free(frames);
}

/* A file's pages that nobody maps. Expect them to move, and to be found in the cache with their words. */
static void page_cache_that_nobody_maps_moves(void **state)
{
	const u64 n = 2048;
	u64 r = map(n), f = map_file("/d/f", 0, n, RW, SHARED), i, moved = 0;
	struct address_space *mapping = vma_at(f)->vm_mapping;
	pfn_t *frames = (pfn_t *)calloc(n, sizeof(*frames));

	(void)state;
	assert_non_null(frames);
	/* One by one, so that they lie between each other. */
	for (i = 0; i < n; i++) {
		store(r + pages(i), 1);
		store(f + pages(i), word_of(1, i));
	}
	ihold(mapping->host);
	file_fsync(mapping->host);
	assert_int_equal(do_munmap(current->mm, f, pages(n)), 0);
	assert_int_equal(do_munmap(current->mm, r, pages(n)), 0);
	lru_add_drain_all();
	drain_all_pages(NULL);
	for (i = 0; i < n; i++) {
		struct page *page = find_get_page(mapping, i);

		assert_non_null(page);
		assert_false(page_mapped(page));
		frames[i] = page_to_pfn(page);
		put_page(page);
	}
	assert_int_equal(ps_compact_node(0), 0);
	for (i = 0; i < n; i++) {
		struct page *page = find_get_page(mapping, i);

		assert_non_null(page);
		moved += page_to_pfn(page) != frames[i];
		assert_int_equal(page_word_read(page), word_of(1, i));
		assert_int_equal(page_to_nid(page), 0);
		put_page(page);
	}
	assert_true(moved > 400);
	assert_int_equal(vmstat("pgmigrate_success"), moved);
	free(frames);
	iput(mapping->host);
	expect_sound();
}

/* Huge pages are what compaction is for: it leaves them. Locked memory it moves. Inflated frames it moves through the balloon. */
static void what_else_moves_and_what_does_not(void **state)
{
	const u64 n = 4096;
	u64 huge = map_huge_filled(2, 5), r, k, i;
	pfn_t frame = page_to_pfn(page_at(huge));

	(void)state;
	r = checkerboard(n, 0);
	k = map(n);
	assert_int_equal(ps_balloon_inflate(512), 512);
	assert_int_equal(do_mlock(current->mm, r + pages(1), PAGE_SIZE), 0);
	assert_int_equal(do_munmap(current->mm, k, pages(n)), 0);
	ps_compact_nodes();
	assert_int_equal(page_to_pfn(page_at(huge)), frame);
	assert_true(PageMlocked(page_at(r + pages(1))));
	expect_words(r, n);
	for (i = 0; i < 2 * H; i++)
		assert_int_equal(load(huge + pages(i)), word_of(5, i));
	expect_sound();
	assert_int_equal(ps_balloon_deflate(512), 512);
	assert_int_equal(ps_compact_node(17), -ENOENT);
	assert_int_equal(ps_compact_node(-1), -ENOENT);
}

/* ---- direct compaction */

/* Takes node 0 and 1 full with a checkerboard: free pages, but no block. Return: its address, *ret_n its pages. */
static u64 scatter(u64 *ret_n)
{
	u64 r = map(20000), n = 0, i;

	while (nr_free_pages() > 900 && n < 20000) {
		store(r + pages(n), word_of(1, n));
		n++;
	}
	for (i = 0; i < n; i += 2)
		assert_int_equal(do_madvise(current->mm, r + pages(i), PAGE_SIZE, PS_MADV_DONTNEED), 0);
	lru_add_drain_all();
	drain_all_pages(NULL);
	*ret_n = n;
	return r;
}

/* Expect a huge page for who may wait, by compaction, counted; and small ones for who may not. */
static void an_allocation_that_finds_no_block_makes_one(void **state)
{
	struct zone *zone = &NODE_DATA(0)->node_zones[ZONE_NORMAL];
	struct page *page;
	u64 n, r = scatter(&n);

	(void)state;
	assert_int_equal(free_blocks(0), 0);
	assert_true(fragmentation_index(zone, pageblock_order) > 500);
	assert_int_equal(compaction_suitable(zone, pageblock_order, ALLOC_WMARK_MIN, ZONE_MOVABLE), COMPACT_CONTINUE);
	assert_null(alloc_pages(GFP_TRANSHUGE_LIGHT, pageblock_order));
	assert_int_equal(vmstat("compact_stall"), 0);
	page = alloc_pages(GFP_TRANSHUGE, pageblock_order);
	assert_non_null(page);
	assert_true(vmstat("compact_stall") >= 1);
	assert_int_equal(vmstat("compact_success"), 1);
	assert_int_equal(vmstat("compact_stall"), vmstat("compact_success") + vmstat("compact_fail"));
	put_page(page);
	expect_words(r, n);
	expect_sound();
}

/* By the setting of defrag: expect a huge page at a fault, or at least none made by waiting. */
static void a_fault_compacts_as_defrag_says(void **state)
{
	u64 n, r = scatter(&n), h = map_huge(1);

	(void)state;
	scene->machine->faults->thp_defrag = THP_DEFRAG_NEVER;
	store(h, 1);
	assert_false(pmd_trans_huge(pmd_at(h)));
	assert_int_equal(vmstat("thp_fault_fallback"), 1);
	assert_int_equal(vmstat("compact_stall"), 0);
	assert_int_equal(do_munmap(current->mm, h, pages(H)), 0);
	h = map_huge(1);
	scene->machine->faults->thp_defrag = THP_DEFRAG_MADVISE;
	store(h, 1);
	assert_true(pmd_trans_huge(pmd_at(h)));
	assert_true(vmstat("compact_stall") >= 1);
	expect_words(r, n);
	expect_sound();
}

/* Expect requests after a failure to be passed over, twice as many after the next, and all to be served after a success. */
static void failures_are_not_repeated_at_once(void **state)
{
	struct zone *zone = &NODE_DATA(0)->node_zones[ZONE_NORMAL];
	unsigned int shift, i;

	(void)state;
	assert_false(compaction_deferred(zone, 9));
	zone->compact_order_failed = 10;
	for (shift = 1; shift <= COMPACT_MAX_DEFER_SHIFT + 2; shift++) {
		unsigned int passed = 0;

		defer_compaction(zone, 9);
		assert_int_equal(zone->compact_order_failed, 9);
		assert_false(compaction_deferred(zone, 8)); /* smaller ones may be had */
		for (i = 0; i < 200 && compaction_deferred(zone, 9); i++)
			passed++;
		assert_int_equal(passed, (1u << ps_min(shift, COMPACT_MAX_DEFER_SHIFT)) - 1);
	}
	compaction_defer_reset(zone, 9, true);
	assert_false(compaction_deferred(zone, 9));
	assert_int_equal(zone->compact_defer_shift, 0);
	assert_int_equal(zone->compact_order_failed, 10);
}

/* Too little free memory to move anything to. Expect compaction to be skipped without a try. */
static void without_room_it_is_not_tried(void **state)
{
	struct zone *zone = &NODE_DATA(0)->node_zones[ZONE_NORMAL];
	u64 r = map(20000), n = 0;

	(void)state;
	while (!try_store(r + pages(n), word_of(1, n)))
		n++;
	drain_all_pages(NULL);
	assert_int_equal(compaction_suitable(zone, pageblock_order, ALLOC_WMARK_MIN, ZONE_MOVABLE), COMPACT_SKIPPED);
	assert_null(alloc_pages(GFP_TRANSHUGE | __GFP_NORETRY, pageblock_order));
	assert_int_equal(vmstat("compact_stall"), 0);
}

/*
 *   node 0  [huge page]  ──move_pages──>  node 1  k . k . k . k     k: the kernel's, which cannot move
 * Expect the huge page to be split and moved in pieces, since no block can be had or made.
 */
static void a_huge_page_moves_in_pieces_where_no_block_can_be_made(void **state)
{
	u64 r = map_huge_filled(1, 1), n = 0, i;
	struct page **kernel = (struct page **)calloc(16384, sizeof(*kernel));
	int status;

	(void)state;
	assert_non_null(kernel);
	while (n < 16384 && (kernel[n] = __alloc_pages(GFP_NOWAIT | __GFP_THISNODE | __GFP_NOWARN, 0, 1, NULL)))
		n++;
	for (i = 0; i < n; i += 2)
		__free_page(kernel[i]);
	drain_all_pages(NULL);
	assert_int_equal(move(r, 1, 1, &status), 0);
	assert_int_equal(status, 1);
	for (i = 0; i < H; i++)
		assert_int_equal(node_at(r + pages(i)), 1);
	assert_int_equal(vmstat("thp_migration_fail"), 1);
	assert_int_equal(vmstat("thp_migration_split"), 1);
	assert_int_equal(vmstat("thp_split_page"), 1);
	assert_true(vmstat("compact_stall") >= 1);
	assert_int_equal(vmstat("compact_success"), 0);
	expect_filled(r, H, 1);
	for (i = 1; i < n; i += 2)
		__free_page(kernel[i]);
	free(kernel);
}

/* Every host allocation of a run fails once. Expect all words and counts to be right, whatever it came to. */
static void compacting_without_memory_loses_nothing(void **state)
{
	const struct scene_settings settings = { .machine = "tiny" };
	bool done = false;
	u64 k;

	for (k = 1; !done; k++) {
		u64 r, f;

		assert_int_equal(setup_with(&settings), 0);
		r = checkerboard(24, 0);
		f = map_file("/d/f", 0, 4, RW, SHARED);
		fill(f, 4, 3);
		ps_alloc_fail_nth(k);
		ps_compact_nodes();
		done = ps_alloc_fail_nth(0);
		expect_words(r, 24);
		expect_filled(f, 4, 3);
		expect_sound();
		teardown(state);
	}
}

/* ---- beside others */

static struct {
	u64 r, n;
	unsigned int running, wrong;
} beside;

static void compactor(void *arg)
{
	(void)arg;
	while (beside.running > 1) {
		ps_compact_nodes();
		cond_resched();
	}
	beside.running--;
}

static void toucher(void *arg)
{
	u64 first = (u64)(uintptr_t)arg, i, round, word;

	current->cpu = (int)first;
	for (round = 0; round < 6; round++)
		for (i = first; i < beside.n; i += 2) {
			u64 addr = beside.r + pages(i);

			beside.wrong += try_store(addr, word_of(round, i)) != 0;
			cond_resched();
			beside.wrong += try_load(addr, &word) || word != word_of(round, i);
			/* Every other time it goes and comes back elsewhere. */
			if (i % 4 < 2 && round < 5)
				beside.wrong += do_madvise(current->mm, addr, PAGE_SIZE, PS_MADV_DONTNEED) != 0;
		}
	beside.running--;
}

/* Stopped at random between any two steps. Expect no store to be lost. */
static void no_store_is_lost_beside_compaction(void **state)
{
	u64 seed;

	for (seed = 1; seed <= 60; seed++) {
		const struct scene_settings settings = { .machine = "tiny,0=512K,1=512K",
							 .runtime = { .seed = seed, .shuffle = 6000 } };
		struct task_struct *task[3], *a;
		unsigned int i;

		assert_int_equal(setup_with(&settings), 0);
		a = current;
		beside.n = 10 * H;
		beside.r = map(beside.n);
		beside.wrong = 0;
		beside.running = ARRAY_SIZE(task);
		for (i = 0; i < ARRAY_SIZE(task); i++) {
			task[i] = ps_task_new(scene->rt, "racer", i ? toucher : compactor, (void *)(uintptr_t)(i == 2));
			assert_non_null(task[i]);
			task[i]->mm = a->mm;
			mmget(a->mm);
		}
		ps_task_leave();
		ps_runtime_run(scene->rt, UINT64_MAX);
		ps_task_enter(a);
		assert_int_equal(beside.running, 0);
		assert_int_equal(beside.wrong, 0);
		for (i = 0; i < ARRAY_SIZE(task); i++) {
			mmput(a->mm);
			ps_task_free(task[i]);
		}
		for (i = 0; i < beside.n; i++)
			assert_int_equal(load(beside.r + pages(i)), word_of(5, i));
		expect_sound();
		teardown(state);
	}
}

#define T(name)       cmocka_unit_test_setup_teardown(name, setup, teardown)
#define T_SMALL(name) cmocka_unit_test_setup_teardown(name, setup_small, teardown)
#define T_TINY(name)  cmocka_unit_test_setup_teardown(name, setup_tiny, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_checkerboard_is_squeezed_within_its_node),
		T(pinned_pages_are_passed_over),
		T(page_cache_that_nobody_maps_moves),
		T(what_else_moves_and_what_does_not),
		T_SMALL(an_allocation_that_finds_no_block_makes_one),
		T_SMALL(a_fault_compacts_as_defrag_says),
		T_TINY(failures_are_not_repeated_at_once),
		T_SMALL(without_room_it_is_not_tried),
		T_SMALL(a_huge_page_moves_in_pieces_where_no_block_can_be_made),
		cmocka_unit_test(compacting_without_memory_loses_nothing),
		cmocka_unit_test(no_store_is_lost_beside_compaction),
	};

	return cmocka_run_group_tests_name("compaction", tests, NULL, NULL);
}
