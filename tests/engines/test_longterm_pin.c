/* SPDX-License-Identifier: MIT */
/*
 * Long-term pins and ZONE_MOVABLE: relation "long-term pin in ZONE_MOVABLE" of reference/linux-6.1/relations.md, and the
 * rules behind it.
 *
 *      node 0: [ ZONE_NORMAL 50% | ZONE_MOVABLE 50% ]   user memory comes from the right part first, pins live in the left
 */
#include "fixtures/scene_world.h"

#include <pagesim/gfp.h>

#define PIN (FOLL_PIN | FOLL_WRITE | FOLL_LONGTERM)

static u64 H;

static void half_movable(struct ps_machine_spec *spec)
{
	spec->movable_percent = 50;
}

static int setup(void **state)
{
	const struct scene_settings settings = { .machine = "two-node", .change = half_movable };

	(void)state;
	if (scene_world_open(&settings))
		return -1;
	start("A", 0);
	H = huge_pages();
	return 0;
}

static bool movable_at(u64 addr)
{
	return page_zonenum(page_at(addr)) == ZONE_MOVABLE;
}

/* Expect a page to leave ZONE_MOVABLE before it is pinned, on its node, with what is in it; a short pin leaves it there. */
static void a_small_page_is_moved_out_first(void **state)
{
	u64 r = map_filled(2, 1);
	struct page *page, *before = page_at(r);

	(void)state;
	assert_true(movable_at(r) && movable_at(r + pages(1)));
	page = grab(r, FOLL_PIN | FOLL_WRITE);
	assert_ptr_equal(page, before);
	drop(page, FOLL_PIN);
	assert_int_equal(vmstat("pgmigrate_success"), 0);
	page = grab(r, PIN);
	assert_ptr_not_equal(page, before);
	assert_ptr_equal(page, page_at(r));
	assert_int_equal(page_zonenum(page), ZONE_NORMAL);
	assert_int_equal(page_to_nid(page), 0);
	assert_true(page_maybe_dma_pinned(page) && exclusive_at(r));
	assert_int_equal(vmstat("pgmigrate_success"), 1);
	assert_int_equal(vmstat("nr_isolated_anon"), 0);
	assert_true(movable_at(r + pages(1)));
	expect_filled(r, 2, 1);
	expect_sound();
	/* There it stays: the next pin finds nothing to do. */
	drop(page, FOLL_PIN);
	assert_ptr_equal(grab(r, PIN), page);
	assert_int_equal(vmstat("pgmigrate_success"), 1);
	drop(page, FOLL_PIN);
}

/* Expect the whole huge page to move, still huge, when one piece of it is pinned, or all of them. */
static void a_huge_page_is_moved_out_whole(void **state)
{
	u64 r = map_huge_filled(2, 3), i;
	struct page **got = calloc(H, sizeof(struct page *)), *page;

	(void)state;
	assert_non_null(got);
	assert_int_equal(do_munmap(current->mm, r + pages(H), pages(H)), 0);
	assert_true(pmd_trans_huge(pmd_at(r)));
	/* A huge page of a fault is not from there: make it be. */
	if (!movable_at(r))
		assert_int_equal(move(r, 1, 1, NULL), 0);
	assert_true(movable_at(r));
	i = (u64)vmstat("thp_migration_success");
	page = grab(r + pages(7), PIN);
	assert_int_equal(vmstat("thp_migration_success"), i + 1);
	assert_int_equal(vmstat("thp_migration_split"), 0);
	assert_true(pmd_trans_huge(pmd_at(r)));
	assert_false(movable_at(r));
	assert_ptr_equal(page, page_at(r + pages(7)));
	expect_filled(r, H, 3);
	drop(page, FOLL_PIN);
	/* All pieces: one page. */
	assert_int_equal(move(r, 1, 1, NULL), 0);
	assert_true(movable_at(r));
	i = (u64)vmstat("thp_migration_success");
	assert_int_equal(get_user_pages(current->mm, r, H, PIN, got), H);
	hold(got[0], (long)H);
	assert_int_equal(vmstat("thp_migration_success"), i + 1);
	assert_false(movable_at(r));
	expect_sound();
	unhold(got[0], (long)H);
	for (i = 0; i < H; i++)
		put_user_page(got[i], PIN, false);
	free(got);
}

/* Expect what the pin's own faults bring to come from elsewhere at once: holes, and copies of pages that others share. */
static void what_is_faulted_in_for_a_pin_is_never_movable(void **state)
{
	u64 r = map(2);
	struct page *hole, *copy;

	(void)state;
	store(r + pages(1), 5);
	fork_task("B");
	assert_true(movable_at(r + pages(1)));
	hole = grab(r, PIN);
	copy = grab(r + pages(1), PIN);
	assert_int_equal(page_zonenum(hole), ZONE_NORMAL);
	assert_int_equal(page_zonenum(copy), ZONE_NORMAL);
	assert_int_equal(vmstat("pgmigrate_success"), 0);
	assert_int_equal(current->flags & PF_MEMALLOC_PIN, 0);
	drop(hole, FOLL_PIN);
	drop(copy, FOLL_PIN);
}

/* Expect shared memory to move too, for all who map it. */
static void shared_memory_is_moved_for_everybody(void **state)
{
	u64 r = map_shared(4);
	struct task_struct *a = current, *b;
	struct page *page;

	(void)state;
	fill(r, 4, 2);
	b = fork_task("B");
	as(b);
	expect_filled(r, 4, 2);
	as(a);
	assert_true(movable_at(r + pages(2)));
	page = grab(r + pages(2), PIN);
	assert_int_equal(page_zonenum(page), ZONE_NORMAL);
	as(b);
	assert_ptr_equal(page_at(r + pages(2)), page);
	expect_filled(r, 4, 2);
	as(a);
	drop(page, FOLL_PIN);
}

/* Expect -ENOMEM, and nothing pinned, if somebody's hold keeps one of the pages where it is. */
static void a_page_that_cannot_move_refuses_the_pin(void **state)
{
	u64 r = map_filled(4, 1);
	struct page *held = grab(r + pages(2), FOLL_GET), *got[4];
	u64 i;

	(void)state;
	assert_int_equal(get_user_pages(current->mm, r, 4, PIN, got), -ENOMEM);
	assert_int_equal(current->flags & PF_MEMALLOC_PIN, 0);
	lru_add_drain_all();
	for (i = 0; i < 4; i++)
		assert_int_equal(page_count(page_at(r + pages(i))), i == 2 ? 2 : 1);
	assert_true(movable_at(r + pages(2)));
	assert_false(movable_at(r));
	expect_filled(r, 4, 1);
	expect_sound();
	drop(held, FOLL_GET);
	assert_int_equal(get_user_pages(current->mm, r, 4, PIN, got), 4);
	for (i = 0; i < 4; i++) {
		assert_int_equal(page_zonenum(got[i]), ZONE_NORMAL);
		put_user_page(got[i], PIN, false);
	}
}

/* Expect the zero page to be pinned as it is, fresh pages (still in a CPU's batch) to be found, files to move. */
static void every_kind_is_dealt_with(void **state)
{
	u64 r = map(16), t = map_file("/t/f", 0, 1, RW, SHARED), i;
	struct page *got[16], *page;

	(void)state;
	store(t, 9);
	load(r);
	for (i = 1; i < 16; i++)
		store(r + pages(i), i);
	assert_false(PageLRU(page_at(r + pages(15))));
	assert_int_equal(get_user_pages(current->mm, r, 16, FOLL_PIN | FOLL_LONGTERM, got), 16);
	for (i = 0; i < 16; i++) {
		assert_int_not_equal(page_zonenum(got[i]), ZONE_MOVABLE);
		put_user_page(got[i], FOLL_PIN, false);
	}
	assert_int_equal(vmstat("pgmigrate_success"), 15);
	page = grab(t, PIN);
	assert_int_equal(page_zonenum(page), ZONE_NORMAL);
	assert_int_equal(load(t), 9);
	drop(page, FOLL_PIN);
}

/* ---- at the same time */

#define RACED 8ull

static struct {
	u64 addr;
	unsigned int running;
	unsigned long pinned, refused, moved, wrong;
} race;

/* Pins, looks, lets go. */
static void pins(void *arg)
{
	struct page *got[RACED];
	unsigned int round;
	long n;
	u64 i;

	(void)arg;
	for (round = 0; round < 60; round++) {
		n = get_user_pages(current->mm, race.addr, RACED, PIN, got);
		if (n < 0) {
			race.wrong += n != -ENOMEM;
			race.refused++;
			continue;
		}
		for (i = 0; i < (u64)n; i++) {
			race.wrong += page_zonenum(got[i]) == ZONE_MOVABLE || page_word_read(got[i]) != word_of(1, i);
			put_user_page(got[i], PIN, false);
		}
		race.pinned++;
	}
	race.running--;
}

/* Moves them to where ZONE_MOVABLE has room, again and again; not for ever, for a pin has no end while somebody is faster. */
static void moves(void *arg)
{
	struct ps_move m[RACED];
	unsigned int round = 0;
	u64 i;

	(void)arg;
	while (race.running && round < 2000) {
		nid_t nid = (nid_t)(round++ % 2);

		for (i = 0; i < RACED; i++)
			m[i] = (struct ps_move){ .addr = race.addr + pages(i), .node = nid, .status = PS_STATUS_UNSET };
		if (ps_move_pages(current->mm, m, RACED, false, false) < 0)
			race.wrong++;
		for (i = 0; i < RACED; i++)
			race.moved += m[i].status == nid;
		cond_resched();
	}
}

static struct task_struct *thread_of_a(const char *name, void (*fn)(void *), int cpu)
{
	struct task_struct *task = ps_task_new(scene->rt, name, fn, NULL);

	assert_non_null(task);
	task->machine = scene->machine;
	task->stats = scene->stats;
	task->cpu = cpu;
	task->mm = current->mm;
	return task;
}

/*
 * Two pin what a third moves, interrupting each other anywhere. Expect what is pinned never to be in ZONE_MOVABLE, and to
 * hold its words; no pin is refused for another reason than that a page would not move.
 */
static void pinning_what_others_move(void **state)
{
	unsigned int seed, i;

	(void)state;
	for (seed = 1; seed <= 20; seed++) {
		const struct scene_settings settings = { .machine = "two-node",
							 .change = half_movable,
							 .runtime = { .shuffle = seed % 2 ? 20000 : 0, .seed = seed } };
		struct task_struct *a, *task[3];

		assert_int_equal(scene_world_open(&settings), 0);
		a = start("A", 0);
		memset(&race, 0, sizeof(race));
		race.addr = map_filled(RACED, 1);
		race.running = 2;
		task[0] = thread_of_a("pins.1", pins, 0);
		task[1] = thread_of_a("pins.2", pins, 1);
		task[2] = thread_of_a("moves", moves, 1);
		ps_task_leave();
		ps_runtime_run(scene->rt, UINT64_MAX);
		ps_task_enter(a);
		assert_int_equal(race.running, 0);
		assert_int_equal(race.wrong, 0);
		assert_true(race.pinned > 0);
		assert_true(race.moved > 0);
		expect_filled(race.addr, RACED, 1);
		for (i = 0; i < ARRAY_SIZE(task); i++)
			ps_task_free(task[i]);
		scene_close();
	}
}

/* Expect a pin without host memory to be refused or to succeed, never to leave anything behind. */
static void host_memory_may_run_out_meanwhile(void **state)
{
	bool done = false;
	u64 n;

	(void)state;
	for (n = 1; !done; n++) {
		u64 r = map_filled(4, 1), i;
		struct page *got[4];
		long ret;

		ps_alloc_fail_nth(n);
		ret = get_user_pages(current->mm, r, 4, PIN, got);
		done = ps_alloc_fail_nth(0);
		if (ret < 0)
			assert_int_equal(ret, -ENOMEM);
		for (i = 0; ret > 0 && i < (u64)ret; i++)
			put_user_page(got[i], PIN, false);
		assert_int_equal(current->flags & PF_MEMALLOC_PIN, 0);
		expect_filled(r, 4, 1);
		expect_sound();
		assert_int_equal(do_munmap(current->mm, r, pages(4)), 0);
	}
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, scene_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_small_page_is_moved_out_first),
		test(a_huge_page_is_moved_out_whole),
		test(what_is_faulted_in_for_a_pin_is_never_movable),
		test(shared_memory_is_moved_for_everybody),
		test(a_page_that_cannot_move_refuses_the_pin),
		test(every_kind_is_dealt_with),
		cmocka_unit_test(pinning_what_others_move),
		test(host_memory_may_run_out_meanwhile),
	};

	return cmocka_run_group_tests_name("longterm-pin", tests, NULL, NULL);
}
