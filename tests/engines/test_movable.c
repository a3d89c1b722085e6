/* SPDX-License-Identifier: MIT */
/*
 * Movable pages outside the LRU: the protocol between isolator and owner, with two owners of different kinds, so that
 * nothing is true of balloons only: the balloon, whose contents mean nothing, and a pool that keeps words in its pages and
 * has a table that says where.
 */
#include "fixtures/scene_world.h"

#include <pagesim/balloon.h>
#include <pagesim/contents.h>
#include <pagesim/mutex.h>
#include <pagesim/page_lock.h>

#define BALLOONED 600

static int setup(void **state)
{
	(void)state;
	return scene_world_setup("two-node");
}

/* ---- the second owner: a pool of pages with contents, found through a table */

#define POOL_PAGES 8

struct pool {
	struct page *page[POOL_PAGES];
	bool away[POOL_PAGES];
	unsigned int refuse; /* how often to say -EAGAIN yet */
	unsigned int migrated;
	struct ps_page_owner owner;
};

static struct pool pool;

static unsigned int pool_slot(const struct page *page)
{
	return (unsigned int)page_private(page);
}

static bool pool_isolate(struct page *page)
{
	pool.away[pool_slot(page)] = true;
	return true;
}

static void pool_putback(struct page *page)
{
	pool.away[pool_slot(page)] = false;
}

static const struct movable_operations pool_mops;

static int pool_migrate(struct page *dst, struct page *src, enum migrate_mode mode)
{
	unsigned int slot = pool_slot(src);

	(void)mode;
	if (pool.refuse) {
		pool.refuse--;
		return -EAGAIN;
	}
	copy_highpage(dst, src);
	get_page(dst);
	set_page_private(dst, slot);
	__SetPageMovable(dst, &pool_mops);
	pool.page[slot] = dst;
	pool.away[slot] = false;
	pool.migrated++;
	__ClearPageMovable(src);
	set_page_private(src, 0);
	put_page(src);
	return 0;
}

static const struct movable_operations pool_mops = {
	.isolate_page = pool_isolate,
	.migrate_page = pool_migrate,
	.putback_page = pool_putback,
};

static void pool_visit(struct ps_page_owner *owner, void (*fn)(void *arg, struct page *page), void *arg)
{
	unsigned int i;

	(void)owner;
	for (i = 0; i < POOL_PAGES; i++)
		if (pool.page[i] && !pool.away[i])
			fn(arg, pool.page[i]);
}

static void pool_fill(void)
{
	unsigned int i;

	memset(&pool, 0, sizeof(pool));
	pool.owner.name = "pool";
	pool.owner.visit = pool_visit;
	ps_page_owner_register(&pool.owner);
	for (i = 0; i < POOL_PAGES; i++) {
		struct page *page = alloc_page(GFP_HIGHUSER_MOVABLE);

		assert_non_null(page);
		page_word_write(page, 0xabc00 + i);
		lock_page(page);
		set_page_private(page, i);
		__SetPageMovable(page, &pool_mops);
		unlock_page(page);
		pool.page[i] = page;
	}
}

static void pool_drop(unsigned int slot)
{
	struct page *page = pool.page[slot];

	lock_page(page);
	__ClearPageMovable(page);
	set_page_private(page, 0);
	unlock_page(page);
	pool.page[slot] = NULL;
	put_page(page);
}

static void pool_empty(void)
{
	unsigned int i;

	for (i = 0; i < POOL_PAGES; i++)
		if (pool.page[i])
			pool_drop(i);
	ps_page_owner_unregister(&pool.owner);
}

/* ---- moving, as compaction and offlining would: by frame, to a node */

static struct page *on_node_1(struct page *page, void *arg)
{
	(void)page;
	(void)arg;
	return __alloc_pages(GFP_HIGHUSER_MOVABLE | __GFP_THISNODE, 0, 1, NULL);
}

static int move_list(struct list_head *list, unsigned int *ret_moved)
{
	return migrate_pages(list, on_node_1, NULL, NULL, MIGRATE_SYNC, MR_COMPACTION, ret_moved);
}

static struct page *first_ballooned(void)
{
	struct balloon_dev_info *dev = &scene->machine->engines->balloon->dev;

	return list_first_entry(&dev->pages, struct page, lru);
}

static unsigned long free_pages(void)
{
	drain_all_pages(NULL);
	return (unsigned long)(vmstat("nr_free_pages"));
}

/*
 *   inflate 600 ──> 600 frames offline, managed pages 600 fewer ──> deflate 600 ──> as before
 * Expect the pages to be gone from the free ones, and every count to come back.
 */
static void a_balloon_takes_pages_and_gives_them_back(void **state)
{
	struct zone *zone = &NODE_DATA(0)->node_zones[ZONE_NORMAL];
	unsigned long managed = zone->managed_pages, before = free_pages();

	(void)state;
	assert_int_equal(ps_balloon_inflate(BALLOONED), BALLOONED);
	assert_int_equal(ps_balloon_pages(scene->machine), BALLOONED);
	assert_int_equal(free_pages(), before - BALLOONED);
	assert_int_equal(zone->managed_pages, managed - BALLOONED);
	assert_true(PageOffline(first_ballooned()));
	assert_int_equal(vmstat("balloon_inflate"), BALLOONED);
	expect_sound();

	assert_int_equal(ps_balloon_deflate(100), 100);
	assert_int_equal(ps_balloon_deflate(BALLOONED), BALLOONED - 100);
	assert_int_equal(ps_balloon_deflate(1), 0);
	assert_int_equal(vmstat("balloon_deflate"), BALLOONED);
	assert_int_equal(zone->managed_pages, managed);
	assert_int_equal(free_pages(), before);
}

/* Expect an inflation beyond the machine to end where memory ends, leaving what allocation keeps for emergencies. */
static void a_balloon_stops_where_memory_ends(void **state)
{
	unsigned long before = free_pages();
	long got = ps_balloon_inflate(before + 1);

	(void)state;
	assert_true(got > 0 && (unsigned long)got < before);
	assert_int_equal(ps_balloon_pages(scene->machine), got);
	expect_sound();
	assert_int_equal(ps_balloon_deflate((unsigned long)got), got);
}

/*
 *   balloon: p ... ──isolate──> list ──migrate_pages──> balloon: q (node 1) ...    p freed
 * Expect the new page in the books, the old one free, pgmigrate_success and balloon_migrate up, nr_isolated_* untouched.
 */
static void a_ballooned_page_moves(void **state)
{
	struct page *page, *moved_to;
	unsigned int moved = 0;
	LIST_HEAD(list);

	(void)state;
	assert_int_equal(ps_balloon_inflate(4), 4);
	page = first_ballooned();
	assert_int_equal(page_to_nid(page), 0);
	assert_int_equal(isolate_movable_page(page), 0);
	assert_int_equal(page_ref_count(page), 2);
	assert_int_equal(scene->machine->engines->balloon->dev.isolated_pages, 1);
	list_add(&page->lru, &list);
	assert_int_equal(vmstat("nr_isolated_anon") + vmstat("nr_isolated_file"), 0);

	assert_int_equal(move_list(&list, &moved), 0);
	assert_int_equal(moved, 1);
	assert_true(list_empty(&list));
	assert_int_equal(page_ref_count(page), 0);
	moved_to = first_ballooned();
	assert_int_equal(page_to_nid(moved_to), 1);
	assert_true(PageOffline(moved_to));
	assert_int_equal(page_ref_count(moved_to), 1);
	assert_int_equal(scene->machine->engines->balloon->dev.isolated_pages, 0);
	assert_int_equal(vmstat("pgmigrate_success"), 1);
	assert_int_equal(vmstat("balloon_migrate"), 1);
	assert_int_equal(vmstat("nr_isolated_anon") + vmstat("nr_isolated_file"), 0);
	expect_sound();
	assert_int_equal(ps_balloon_deflate(4), 4);
}

/* Expect ten tries while somebody talks to the host, the page back in the books afterwards, and nothing lost. */
static void a_busy_balloon_keeps_its_page(void **state)
{
	struct ps_balloon *balloon;
	struct page *page;
	LIST_HEAD(list);

	(void)state;
	assert_int_equal(ps_balloon_inflate(1), 1);
	balloon = scene->machine->engines->balloon;
	page = first_ballooned();
	assert_int_equal(isolate_movable_page(page), 0);
	list_add(&page->lru, &list);
	mutex_lock(&balloon->balloon_lock);
	assert_int_equal(move_list(&list, NULL), 1);
	mutex_unlock(&balloon->balloon_lock);
	assert_true(PageIsolated(page));
	assert_int_equal(vmstat("pgmigrate_fail"), 1);
	assert_int_equal(vmstat("balloon_migrate"), 0);

	putback_movable_pages(&list);
	assert_false(PageIsolated(page));
	assert_ptr_equal(first_ballooned(), page);
	assert_int_equal(balloon->dev.isolated_pages, 0);
	expect_sound();
	assert_int_equal(ps_balloon_deflate(1), 1);
}

/* Expect deflation to pass over a page that is being moved, and to take it once it is back. */
static void deflation_passes_isolated_pages_over(void **state)
{
	struct page *page;

	(void)state;
	assert_int_equal(ps_balloon_inflate(2), 2);
	page = first_ballooned();
	assert_int_equal(isolate_movable_page(page), 0);
	assert_int_equal(ps_balloon_deflate(2), 1);
	assert_true(PageOffline(page));
	putback_movable_page(page);
	assert_int_equal(ps_balloon_deflate(2), 1);
}

/* Expect a locked page, a page of the LRU, a free frame and a page isolated already to be left alone, reference and all. */
static void what_cannot_be_isolated_is_left_alone(void **state)
{
	struct task_struct *a = start("A", 0);
	struct page *page, *anon;
	int before;
	u64 r;

	(void)state;
	pool_fill();
	page = pool.page[3];
	lock_page(page);
	assert_int_equal(isolate_movable_page(page), -EBUSY);
	unlock_page(page);
	assert_int_equal(page_ref_count(page), 1);

	assert_int_equal(isolate_movable_page(page), 0);
	assert_int_equal(isolate_movable_page(page), -EBUSY);
	assert_int_equal(page_ref_count(page), 2);
	putback_movable_page(page);

	as(a);
	r = map(1);
	store(r, 1);
	anon = page_at(r);
	before = page_ref_count(anon);
	assert_int_equal(isolate_movable_page(anon), -EBUSY);
	assert_int_equal(page_ref_count(anon), before);
	as(scene->boot);

	pool_drop(3);
	drain_all_pages(NULL);
	assert_int_equal(isolate_movable_page(page), -EBUSY);
	assert_int_equal(page_ref_count(page), 0);
	pool_empty();
}

/*
 * Expect an owner that says -EAGAIN to be asked again, within the ten passes, and the words of the pool to be found through
 * its table afterwards.
 */
static void an_owner_may_ask_for_another_try(void **state)
{
	unsigned int i, moved = 0;
	LIST_HEAD(list);

	(void)state;
	pool_fill();
	for (i = 0; i < POOL_PAGES; i++) {
		assert_int_equal(isolate_movable_page(pool.page[i]), 0);
		list_add_tail(&pool.page[i]->lru, &list);
	}
	pool.refuse = 5;
	assert_int_equal(move_list(&list, &moved), 0);
	assert_int_equal(moved, POOL_PAGES);
	assert_int_equal(pool.migrated, POOL_PAGES);
	for (i = 0; i < POOL_PAGES; i++) {
		assert_int_equal(page_to_nid(pool.page[i]), 1);
		assert_int_equal(page_word_read(pool.page[i]), 0xabc00 + i);
	}
	assert_int_equal(vmstat("pgmigrate_success"), POOL_PAGES);
	assert_int_equal(vmstat("pgmigrate_fail"), 0);
	expect_sound();
	pool_empty();
}

/*
 *   isolated ──owner frees it──> one reference left, no ops
 * Expect migration to find nothing left to move (success without copying), and put back to let go of it without the owner.
 */
static void an_owner_may_free_an_isolated_page(void **state)
{
	struct page *a, *b;
	unsigned int moved = 0;
	LIST_HEAD(list);

	(void)state;
	pool_fill();
	a = pool.page[0];
	b = pool.page[1];
	assert_int_equal(isolate_movable_page(a), 0);
	assert_int_equal(isolate_movable_page(b), 0);
	pool_drop(0);
	pool_drop(1);
	assert_int_equal(page_ref_count(a), 1);

	list_add(&a->lru, &list);
	assert_int_equal(move_list(&list, &moved), 0);
	assert_true(list_empty(&list));
	assert_int_equal(pool.migrated, 0);

	list_add(&b->lru, &list);
	putback_movable_pages(&list);
	drain_all_pages(NULL);
	assert_int_equal(page_ref_count(a), 0);
	assert_int_equal(page_ref_count(b), 0);
	pool_empty();
}

/* Expect one list to hold pages of both owners and of the LRU, and each to go its own way. */
static void a_list_may_hold_all_kinds(void **state)
{
	struct task_struct *a = start("A", 0);
	unsigned int moved = 0;
	struct page *page;
	LIST_HEAD(list);
	u64 r;

	(void)state;
	pool_fill();
	assert_int_equal(ps_balloon_inflate(1), 1);
	as(a);
	r = map(1);
	store(r, 77);
	lru_add_drain_all();
	page = page_at(r);
	get_page(page);
	assert_int_equal(isolate_page_for_migration(page, &list), 0);
	put_page(page);
	as(scene->boot);
	page = first_ballooned();
	assert_int_equal(isolate_movable_page(page), 0);
	list_add_tail(&page->lru, &list);
	assert_int_equal(isolate_movable_page(pool.page[5]), 0);
	list_add_tail(&pool.page[5]->lru, &list);
	assert_int_equal(vmstat("nr_isolated_anon"), 1);

	assert_int_equal(move_list(&list, &moved), 0);
	assert_int_equal(moved, 3);
	assert_int_equal(vmstat("nr_isolated_anon"), 0);
	assert_int_equal(page_to_nid(first_ballooned()), 1);
	assert_int_equal(page_to_nid(pool.page[5]), 1);
	as(a);
	assert_int_equal(page_to_nid(page_at(r)), 1);
	assert_int_equal(load(r), 77);
	as(scene->boot);
	expect_sound();
	assert_int_equal(ps_balloon_deflate(1), 1);
	pool_empty();
}

/* ---- at the same time */

static int setup_shuffled(void **state)
{
	const struct scene_settings settings = { .machine = "two-node", .runtime = { .shuffle = 20000, .seed = 7 } };

	(void)state;
	return scene_world_open(&settings);
}

#define ROUNDS 300

/* What the fibers saw; the host looks at it afterwards. */
static struct {
	unsigned int moved, failed, refused;
	long inflated, deflated;
} seen;

static void breathe(void *arg)
{
	unsigned int i;

	(void)arg;
	for (i = 0; i < ROUNDS; i++) {
		seen.inflated += ps_balloon_inflate(1 + i % 5);
		seen.deflated += ps_balloon_deflate(1 + i % 3);
		seen.deflated += ps_balloon_deflate(1 + i % 2);
	}
}

/* Comes with frame numbers, as compaction does, whatever the frames are at the moment. */
static void sweep(void *arg)
{
	pfn_t first = scene->machine->nodes[0].start_pfn;
	unsigned int i, j;

	(void)arg;
	for (i = 0; i < ROUNDS; i++) {
		unsigned int moved = 0, isolated = 0;
		LIST_HEAD(list);

		for (j = 0; j < 16; j++) {
			struct page *page = pfn_to_page(first + (i * 16 + j) % 64);

			if (isolate_movable_page(page)) {
				seen.refused++;
				continue;
			}
			isolated++;
			list_add(&page->lru, &list);
		}
		if (move_list(&list, &moved))
			putback_movable_pages(&list);
		seen.moved += moved;
		seen.failed += isolated - moved;
		cond_resched();
	}
}

static void spawn(const char *name, void (*fn)(void *), int cpu)
{
	struct task_struct *task = ps_task_new(scene->rt, name, fn, NULL);

	assert_non_null(task);
	task->machine = scene->machine;
	task->stats = scene->stats;
	task->cpu = cpu;
}

/*
 *   two fibers inflate and deflate  ║  two more isolate whatever frames they come by, and migrate what they got
 * Expect no page lost, none twice in the books, and the device to know how many it has, wherever they interrupt each other.
 */
static void inflating_deflating_and_moving_at_the_same_time(void **state)
{
	struct ps_balloon *balloon;
	struct page *page;
	long listed = 0;

	(void)state;
	memset(&seen, 0, sizeof(seen));
	assert_int_equal(ps_balloon_inflate(40), 40);
	seen.inflated = 40;
	spawn("breathe.1", breathe, 0);
	spawn("breathe.2", breathe, 1);
	spawn("sweep.1", sweep, 0);
	spawn("sweep.2", sweep, 1);
	ps_task_leave();
	ps_runtime_run(scene->rt, UINT64_MAX);
	ps_task_enter(scene->boot);

	assert_true(seen.moved > 0);
	assert_true(seen.refused > 0);
	balloon = scene->machine->engines->balloon;
	assert_int_equal(balloon->dev.isolated_pages, 0);
	list_for_each_entry(page, &balloon->dev.pages, lru)
		listed++;
	assert_int_equal(listed, seen.inflated - seen.deflated);
	assert_int_equal(balloon->num_pages, listed);
	assert_int_equal(vmstat("balloon_inflate"), seen.inflated);
	assert_int_equal(vmstat("balloon_deflate"), seen.deflated);
	assert_true(vmstat("balloon_migrate") > 0);
	expect_sound();
	assert_int_equal(ps_balloon_deflate((unsigned long)listed), listed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_balloon_takes_pages_and_gives_them_back, setup, scene_teardown),
		cmocka_unit_test_setup_teardown(a_balloon_stops_where_memory_ends, setup, scene_teardown),
		cmocka_unit_test_setup_teardown(a_ballooned_page_moves, setup, scene_teardown),
		cmocka_unit_test_setup_teardown(a_busy_balloon_keeps_its_page, setup, scene_teardown),
		cmocka_unit_test_setup_teardown(deflation_passes_isolated_pages_over, setup, scene_teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_isolated_is_left_alone, setup, scene_teardown),
		cmocka_unit_test_setup_teardown(an_owner_may_ask_for_another_try, setup, scene_teardown),
		cmocka_unit_test_setup_teardown(an_owner_may_free_an_isolated_page, setup, scene_teardown),
		cmocka_unit_test_setup_teardown(a_list_may_hold_all_kinds, setup, scene_teardown),
		cmocka_unit_test_setup_teardown(inflating_deflating_and_moving_at_the_same_time, setup_shuffled,
						scene_teardown),
	};

	return cmocka_run_group_tests_name("movable", tests, NULL, NULL);
}
