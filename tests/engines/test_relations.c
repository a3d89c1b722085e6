/* SPDX-License-Identifier: MIT */
/*
 * What was seen on a real Linux 6.1, too noisy for a transcript: the relations of reference/linux-6.1/relations.md, at the real
 * sizes of the golden guest (machine linux-6.1: 768M, 512M, 256M). Exact numbers are those of the row where it gives one;
 * ranges are wide enough for what the row calls "about" and no wider.
 *
 * row                                      test
 *   whole node full, swap on               a_full_node_with_swap_takes_everything, whole_huge_pages_are_swapped_for_it
 *   whole node full, swap off              a_full_node_without_swap_ends_the_call
 *   no free huge page on the target        without_a_free_huge_page_it_moves_in_pieces
 *   unmapped page cache                    cached_pages_nobody_maps_stay
 *   compaction of a node                   tests/engines/test_compaction.c
 *   balloon                                inflated_frames_are_offline_and_move
 *   NUMA balancing mode 1                  tests/policy/test_numa_balancing.c, mode_1_brings_all_pages_to_the_task
 *   NUMA balancing mode 2                  same, mode_2_promotes_from_the_slow_tier_only
 *   demotion on, slow-tier node            demotion_goes_to_the_slow_node; tests/engines/test_reclaim.c
 *   demotion off, CPU-less node            without_a_slow_node_memory_goes_to_swap
 *   offline of a movable block             what_offlining_asks_of_the_engine (offlining itself is not modelled)
 *   long-term pin in ZONE_MOVABLE          tests/engines/test_longterm_pin.c
 *   a page written during three moves      a_page_written_without_pause_moves_three_times
 *   a pinned page named in move_pages      a_pinned_page_is_taken_down_ten_times
 *   fresh page before the batch is drained a_fresh_page_is_in_a_batch_of_fifteen
 *   cost                                   a_page_costs_the_same_in_batches_of_any_size, a_huge_page_is_cheaper_by_the_page,
 *                                          a_pair_by_two_migrations_costs_two_pages
 */
#include "fixtures/scene_world.h"
#include "fixtures/swap_verbs.h"

#include <pagesim/balloon.h>
#include <pagesim/gfp.h>
#include <pagesim/reclaim.h>
#include <pagesim/swap_cache.h>
#include <pagesim/tracepoint.h>

static const struct scene_layer layers[] = {
	{ "swap", ps_swap_init, ps_swap_destroy },
	{ "files", ps_files_init, ps_files_destroy },
	{ "mms", ps_mms_init, ps_mms_destroy },
	{ "rmap", ps_rmap_init, ps_rmap_destroy },
	{ "faults", ps_faults_init, ps_faults_destroy },
	{ "engines", ps_engines_init, ps_engines_destroy },
	{ "reclaim", ps_reclaim_init, ps_reclaim_destroy },
	{ 0 },
};

#define MIB     256ull /* pages */
#define OVERFUL (300 * MIB)

static struct ps_vmstat before;
static u64 H;

static void mark(void)
{
	ps_vmstat_snapshot(scene->stats, NUMA_NO_NODE, &before);
}

/* How a counter changed since mark(). */
static s64 since(const char *name)
{
	return vmstat(name) - before.value[ps_vmstat_find(name)];
}

/* Kernel threads finish what they are at. */
static void settle(void)
{
	struct task_struct *task = current;

	ps_task_leave();
	ps_runtime_run(scene->rt, UINT64_MAX);
	ps_task_enter(task);
}

static int open_with(const struct scene_settings *settings)
{
	if (scene_open(settings, layers))
		return -1;
	scene->check = scene_check_world;
	scene->exit_task = verbs_exit_mm;
	scene->expect_empty = verbs_expect_empty;
	start("A", 0);
	H = huge_pages();
	mark();
	return 0;
}

static int setup(void **state)
{
	const struct scene_settings settings = { .machine = "linux-6.1" };

	(void)state;
	return open_with(&settings);
}

static void slow_node_2(struct ps_machine_spec *spec)
{
	spec->node[2].kind = PS_MEMORY_CXL;
}

static int setup_slow(void **state)
{
	const struct scene_settings settings = { .machine = "linux-6.1", .change = slow_node_2 };

	(void)state;
	return open_with(&settings);
}

static int teardown(void **state)
{
	settle();
	return scene_teardown(state);
}

/* Memory that lies on one node. */
static u64 map_on(nid_t nid, u64 n, u64 seed)
{
	u64 addr;

	set_policy(MPOL_BIND, nid, NUMA_NO_NODE);
	addr = map_filled(n, seed);
	assert_int_equal(set_mempolicy(MPOL_DEFAULT, NULL), 0);
	return addr;
}

static u64 map_huge_on(nid_t nid, u64 n, u64 seed)
{
	u64 addr;

	set_policy(MPOL_BIND, nid, NUMA_NO_NODE);
	addr = map_huge_filled(n, seed);
	assert_int_equal(set_mempolicy(MPOL_DEFAULT, NULL), 0);
	return addr;
}

static u64 count_on(nid_t nid, u64 addr, u64 n)
{
	u64 i, found = 0;

	for (i = 0; i < n; i++)
		found += node_at(addr + pages(i)) == nid;
	return found;
}

static u64 count_swapped(u64 addr, u64 n)
{
	u64 i, found = 0;

	for (i = 0; i < n; i++)
		found += swapped_at(addr + pages(i));
	return found;
}

/* How many of the statuses are this one. */
static u64 count_status(const int *status, u64 n, int what)
{
	u64 i, found = 0;

	for (i = 0; i < n; i++)
		found += status[i] == what;
	return found;
}

/* move_pages that only asks. Return: how many answers are this one. */
static u64 count_answers(u64 addr, u64 n, int what)
{
	struct ps_move *moves = calloc(n, sizeof(*moves));
	u64 i, found = 0;

	assert_non_null(moves);
	for (i = 0; i < n; i++)
		moves[i].addr = addr + pages(i);
	assert_int_equal(ps_move_pages(current->mm, moves, n, true, false), 0);
	for (i = 0; i < n; i++)
		found += moves[i].status == what;
	free(moves);
	return found;
}

static s64 oom_failures(void)
{
	return (s64)scene->machine->reclaim->oom_failures + since("oom_kill");
}

/* ---- a whole node full */

/*
 *   node 0: 300 MiB  ──move_pages──>  node 2: 256 MiB
 * Expect -ENOMEM, no status written, some 58,900 pages moved, one failure, the others where they were, nobody killed. Who
 * then wants a page of that node and no other is out of luck.
 */
static void a_full_node_without_swap_ends_the_call(void **state)
{
	u64 r = map_on(0, OVERFUL, 1), moved, more, i;
	int *status = calloc(OVERFUL, sizeof(*status)), error = 0;

	(void)state;
	assert_non_null(status);
	mark();
	assert_int_equal(move(r, OVERFUL, 2, status), -ENOMEM);
	assert_int_equal(count_status(status, OVERFUL, PS_STATUS_UNSET), OVERFUL);
	moved = count_on(2, r, OVERFUL);
	assert_in_range(moved, 58000, 63500);
	assert_int_equal(count_on(0, r, OVERFUL), OVERFUL - moved);
	assert_int_equal(count_on(2, r, moved), moved);
	assert_int_equal(since("pgmigrate_success"), moved);
	assert_int_equal(since("pgmigrate_fail"), 1);
	assert_int_equal(oom_failures(), 0);
	expect_sound();

	set_policy(MPOL_BIND, 2, NUMA_NO_NODE);
	more = map(4096);
	for (i = 0; i < 4096 && !error; i++)
		error = try_store(more + pages(i), 1);
	assert_int_equal(error, -ENOMEM);
	assert_true(oom_failures() > 0);
	expect_filled(r, OVERFUL, 1);
	free(status);
}

/*
 * The same with 256 MiB of swap. Expect success and every status the node, while some 17,000 of the pages that were moved
 * are swapped out meanwhile: who asks afterwards hears -ENOENT.
 */
static void a_full_node_with_swap_takes_everything(void **state)
{
	u64 r, out;
	int *status = calloc(OVERFUL, sizeof(*status));

	(void)state;
	assert_non_null(status);
	swap_on(256 * MIB);
	r = map_on(0, OVERFUL, 1);
	mark();
	assert_int_equal(move(r, OVERFUL, 2, status), 0);
	assert_int_equal(count_status(status, OVERFUL, 2), OVERFUL);
	assert_int_equal(since("pgmigrate_success"), OVERFUL);
	assert_int_equal(since("pgmigrate_fail"), 0);
	settle();
	out = count_swapped(r, OVERFUL);
	assert_in_range(out, 14000, 20000);
	assert_true(since("pswpout") >= (s64)out);
	assert_int_equal(count_answers(r, OVERFUL, -ENOENT), out);
	assert_int_equal(count_answers(r, OVERFUL, 2), OVERFUL - out);
	assert_int_equal(oom_failures(), 0);
	expect_sound();
	expect_filled(r, OVERFUL, 1);
	free(status);
}

/* Expect huge pages that nobody used lately to be swapped out whole when the node they are on is filled. */
static void whole_huge_pages_are_swapped_for_it(void **state)
{
	u64 h, r;

	(void)state;
	swap_on(256 * MIB);
	h = map_huge_on(2, 60, 2);
	r = map_on(0, 200 * MIB, 1);
	mark();
	assert_int_equal(move(r, 200 * MIB, 2, NULL), 0);
	settle();
	assert_true(since("thp_swpout") >= 1);
	assert_int_equal(since("thp_swpout_fallback"), 0);
	assert_true(since("pswpout") >= since("thp_swpout") * (s64)H);
	expect_sound();
	expect_filled(h, 60 * H, 2);
	expect_filled(r, 200 * MIB, 1);
}

/* ---- no free huge page */

/*
 *   node 2: every other frame is the kernel's, for good: x.x.x.x.x.x.x.x
 * Expect a huge page that is to go there to be split and moved as small pages; the call and every status say it worked.
 */
static void without_a_free_huge_page_it_moves_in_pieces(void **state)
{
	const gfp_t gfp = __GFP_MEMALLOC | __GFP_THISNODE | __GFP_NORETRY | __GFP_NOWARN;
	u64 r = map_huge_on(0, 2, 4);
	int status[2];
	struct page *page, *next;
	LIST_HEAD(taken);

	(void)state;
	while ((page = __alloc_pages(gfp, 0, 2, NULL)))
		list_add(&page->lru, &taken);
	list_for_each_entry_safe(page, next, &taken, lru) {
		if (page_to_pfn(page) % 2)
			continue;
		list_del(&page->lru);
		__free_page(page);
	}
	drain_all_pages(NULL);
	mark();
	assert_int_equal(move(r, 1, 2, &status[0]), 0);
	assert_int_equal(move(r + pages(H), 1, 2, &status[1]), 0);
	assert_int_equal(status[0], 2);
	assert_int_equal(status[1], 2);
	assert_int_equal(count_on(2, r, 2 * H), 2 * H);
	assert_int_equal(since("thp_migration_fail"), 2);
	assert_int_equal(since("thp_migration_split"), 2);
	assert_int_equal(since("thp_migration_success"), 0);
	assert_int_equal(since("thp_split_page"), 2);
	assert_int_equal(since("pgmigrate_success"), 2 * (s64)H);
	expect_filled(r, 2 * H, 4);
	list_for_each_entry_safe(page, next, &taken, lru) {
		list_del(&page->lru);
		__free_page(page);
	}
}

/* ---- unmapped page cache */

/* Expect everything that goes by address spaces to pass cached pages by that none of them maps. */
static void cached_pages_nobody_maps_stay(void **state)
{
	u64 r, i;
	int status[64];
	struct inode *inode;
	nodemask_t from = nodes_of(2, NUMA_NO_NODE), to = nodes_of(1, NUMA_NO_NODE);

	(void)state;
	set_policy(MPOL_BIND, 2, NUMA_NO_NODE);
	r = map_file("/d/f", 0, 64, RW, SHARED);
	fill(r, 64, 1);
	assert_int_equal(do_munmap(current->mm, r, pages(64)), 0);
	assert_int_equal(set_mempolicy(MPOL_DEFAULT, NULL), 0);
	inode = open_file("/d/f");
	assert_int_equal(do_mmap(current->mm, r, pages(64), RW, SHARED, inode, 0), 0);
	mark();

	assert_int_equal(move(r, 64, 1, status), 0);
	for (i = 0; i < 64; i++)
		assert_int_equal(status[i], -ENOENT);
	assert_int_equal(ps_mbind(current->mm, r, pages(64), MPOL_BIND, &to, MPOL_MF_MOVE_ALL | MPOL_MF_STRICT), 0);
	assert_int_equal(ps_migrate_pages(current->mm, &from, &to), 0);
	assert_int_equal(since("pgmigrate_success") + since("pgmigrate_fail"), 0);
	/* There they still are. */
	expect_filled(r, 64, 1);
	assert_int_equal(count_on(2, r, 64), 64);
	iput(inode);
}

/* ---- balloon */

/* Expect each frame of a large balloon to be offline, and those that are moved as compaction would to be so afterwards. */
static void inflated_frames_are_offline_and_move(void **state)
{
	struct migration_target_control mtc = { .nid = 1, .gfp_mask = GFP_HIGHUSER_MOVABLE };
	struct balloon_dev_info *dev;
	struct page *page, *next;
	unsigned int moved, n = 0;
	LIST_HEAD(list);

	(void)state;
	assert_int_equal(ps_balloon_inflate(20480), 20480);
	dev = &scene->machine->engines->balloon->dev;
	list_for_each_entry(page, &dev->pages, lru) {
		assert_true(PageOffline(page) && !PageLRU(page));
		n++;
	}
	assert_int_equal(n, 20480);
	mark();
	n = 0;
	list_for_each_entry_safe(page, next, &dev->pages, lru) {
		if (n == 612)
			break;
		assert_int_equal(isolate_movable_page(page), 0);
		list_add_tail(&page->lru, &list);
		n++;
	}
	assert_int_equal(migrate_pages(&list, alloc_migration_target, NULL, &mtc, MIGRATE_SYNC, MR_COMPACTION, &moved),
			 0);
	assert_int_equal(moved, 612);
	assert_int_equal(since("balloon_migrate"), 612);
	assert_int_equal(since("pgmigrate_success"), 612);
	n = 0;
	list_for_each_entry(page, &dev->pages, lru) {
		assert_true(PageOffline(page));
		n += page_to_nid(page) == 1;
	}
	assert_int_equal(n, 612);
	expect_sound();
	assert_int_equal(ps_balloon_deflate(20480), 20480);
}

/* ---- demotion */

/*
 *   node 1 (512 MiB, a task there)   ──demotion──>   node 2 (256 MiB, slow, no CPUs)          swap 256 MiB
 * Expect node 1 to be relieved through migration, by its kswapd and by who allocates; huge pages to go down whole; advice to
 * page out to mean swap all the same.
 */
static void demotion_goes_to_the_slow_node(void **state)
{
	u64 h, r, i, down = 0, thps;
	s64 demoted;

	(void)state;
	swap_on(256 * MIB);
	scene->machine->reclaim->demotion_enabled = true;
	current->cpu = 1;
	h = map_huge_on(1, 80, 2);
	thps = (u64)vmstat("nr_anon_transparent_hugepages");
	assert_int_equal(thps, 80);
	mark();
	r = map_on(1, 430 * MIB, 1);
	settle();
	assert_true(since("pgdemote_kswapd") > 0);
	assert_true(since("pgdemote_direct") > 0);
	demoted = since("pgdemote_kswapd") + since("pgdemote_direct");
	assert_int_equal(since("pgmigrate_success"), demoted);
	for (i = 0; i < 80; i++)
		down += node_at(h + pages(i * H)) == 2;
	assert_in_range(down, 20, 80);
	assert_int_equal(since("thp_migration_success"), down);
	assert_int_equal(since("thp_split_page"), 0);
	assert_int_equal(vmstat("nr_anon_transparent_hugepages"), thps);
	assert_int_equal(count_on(1, r, 430 * MIB) + count_on(2, r, 430 * MIB), 430 * MIB);
	expect_sound();

	mark();
	lru_add_drain_all();
	assert_int_equal(do_madvise(current->mm, r, pages(256), PS_MADV_PAGEOUT), 0);
	assert_int_equal(since("pgdemote_kswapd") + since("pgdemote_direct"), 0);
	assert_int_equal(since("pswpout"), 256);
	assert_int_equal(count_swapped(r, 256), 256);
	expect_filled(h, 80 * H, 2);
	expect_filled(r, 430 * MIB, 1);
}

/*
 * Node 2 has no CPUs but was there at boot, so it is of the same tier as the others; or demotion is off.
 * Expect what does not fit on node 1 to be swapped, and nothing to be demoted.
 */
static void expect_swap_instead(void)
{
	u64 n = 520 * MIB, r;

	swap_on(256 * MIB);
	current->cpu = 1;
	mark();
	r = map_on(1, n, 1);
	settle();
	assert_int_equal(since("pgdemote_kswapd") + since("pgdemote_direct"), 0);
	assert_int_equal(since("pgmigrate_success"), 0);
	assert_int_equal(count_on(2, r, n), 0);
	assert_true(count_swapped(r, n) >= n - 512 * MIB);
	assert_true(since("pswpout") > 0);
	assert_int_equal(since("pgsteal_kswapd") + since("pgsteal_direct"), since("pswpout"));
	assert_int_equal(oom_failures(), 0);
}

static void without_a_slow_node_memory_goes_to_swap(void **state)
{
	(void)state;
	scene->machine->reclaim->demotion_enabled = true;
	assert_false(can_demote(1));
	expect_swap_instead();
}

static void with_demotion_off_memory_goes_to_swap(void **state)
{
	(void)state;
	assert_false(can_demote(1));
	expect_swap_instead();
}

/* ---- offline */

/* One round over a node as offlining makes it: isolates whatever is on the LRU, and migrates it elsewhere. */
static long offline_round(nid_t nid)
{
	struct ps_node *node = &scene->machine->nodes[nid];
	struct migration_target_control mtc = { .nid = nid,
						.gfp_mask = GFP_USER | __GFP_MOVABLE | __GFP_RETRY_MAYFAIL };
	nodemask_t elsewhere = nodes_of(0, 1);
	pfn_t pfn;
	LIST_HEAD(list);
	long left;

	mtc.nmask = &elsewhere;
	lru_add_drain_all();
	for (pfn = node->start_pfn; pfn < node->start_pfn + node->present_pages; pfn++) {
		struct page *page = pfn_to_page(pfn);

		if (PageTail(page) || !PageLRU(page) || !get_page_unless_zero(page))
			continue;
		isolate_page_for_migration(page, &list);
		put_page(page);
	}
	if (list_empty(&list))
		return 0;
	left = migrate_pages(&list, alloc_migration_target, NULL, &mtc, MIGRATE_SYNC, MR_MEMORY_HOTPLUG, NULL);
	if (left)
		putback_movable_pages(&list);
	return left;
}

/*
 *   node 2: [anon][THP][mlocked][tmpfs][disk, clean, dirty; each mapped, and not]      one of the pages is in a pipe
 * Expect all of them to leave, contents intact, the huge page whole; the one that is held to stay until it is let go, however
 * often it is tried.
 */
static void what_offlining_asks_of_the_engine(void **state)
{
	static const char *const path[] = { "/t/mapped", "/t/cached",       "/d/mapped",
					    "/d/cached", "/d/mapped-clean", "/d/cached-clean" };
	u64 anon, huge, locked, file[ARRAY_SIZE(path)], i;
	struct inode *inode[ARRAY_SIZE(path)];
	struct page *held;
	int round;

	(void)state;
	set_policy(MPOL_BIND, 2, NUMA_NO_NODE);
	anon = map_filled(1000, 1);
	huge = map_huge_filled(4, 2);
	locked = map(100);
	assert_int_equal(do_mlock(current->mm, locked, pages(100)), 0);
	fill(locked, 100, 3);
	for (i = 0; i < ARRAY_SIZE(path); i++) {
		file[i] = map_file(path[i], 0, 200, RW, SHARED);
		fill(file[i], 200, 10 + i);
		inode[i] = open_file(path[i]);
		if (strstr(path[i], "clean"))
			assert_int_equal(file_fsync(inode[i]), 0);
		if (strstr(path[i], "cached"))
			assert_int_equal(do_munmap(current->mm, file[i], pages(200)), 0);
	}
	assert_int_equal(set_mempolicy(MPOL_DEFAULT, NULL), 0);
	held = grab(anon + pages(7), FOLL_GET);
	assert_int_equal(page_to_nid(held), 2);
	mark();

	for (round = 0; round < 5; round++)
		assert_int_equal(offline_round(2), 1);
	assert_int_equal(since("thp_migration_success"), 4);
	assert_int_equal(since("thp_split_page"), 0);
	assert_int_equal(since("pgmigrate_success"), 999 + 4 * (s64)H + 100 + (s64)ARRAY_SIZE(path) * 200);
	assert_ptr_equal(page_at(anon + pages(7)), held);
	expect_sound();
	drop(held, FOLL_GET);
	assert_int_equal(offline_round(2), 0);
	assert_int_equal(offline_round(2), 0);
	assert_int_equal(since("pgmigrate_success"), 1000 + 4 * (s64)H + 100 + (s64)ARRAY_SIZE(path) * 200);

	assert_int_equal(count_on(2, anon, 1000) + count_on(2, huge, 4 * H) + count_on(2, locked, 100), 0);
	assert_true(pmd_trans_huge(pmd_at(huge + pages(3 * H))));
	assert_true(PageMlocked(page_at(locked)));
	expect_filled(anon, 1000, 1);
	expect_filled(huge, 4 * H, 2);
	expect_filled(locked, 100, 3);
	for (i = 0; i < ARRAY_SIZE(path); i++) {
		if (strstr(path[i], "cached"))
			assert_int_equal(do_mmap(current->mm, file[i], pages(200), RW, SHARED, inode[i], 0), 0);
		expect_filled(file[i], 200, 10 + i);
		assert_int_equal(count_on(2, file[i], 200), 0);
		iput(inode[i]);
	}
}

/* ---- races and holds */

/* Two threads of A: one writes all the time and looks whether its last word is there, the other moves the pages. */
static struct {
	u64 addr, pages;
	bool moved;
	unsigned long written, lost, failed, meanwhile;
} race;

static void writes(void *arg)
{
	u64 word = 0, seen, i;

	(void)arg;
	do {
		word++;
		for (i = 0; i < race.pages; i++) {
			if (ps_mmu_store(race.addr + pages(i), word) || ps_mmu_load(race.addr + pages(i), &seen) ||
			    seen != word)
				race.lost++;
			race.written++;
		}
		cond_resched();
	} while (!race.moved);
	for (i = 0; i < race.pages; i++)
		race.lost += ps_mmu_load(race.addr + pages(i), &seen) || seen != word;
}

static void moves_three_times(void *arg)
{
	static const nid_t to[] = { 1, 2, 0 };
	unsigned long before_move;
	unsigned int i, j;

	(void)arg;
	for (i = 0; i < ARRAY_SIZE(to); i++) {
		struct ps_move m[64];

		before_move = race.written;
		for (j = 0; j < race.pages; j++)
			m[j] = (struct ps_move){ .addr = race.addr + pages(j),
						 .node = to[i],
						 .status = PS_STATUS_UNSET };
		race.failed += ps_move_pages(current->mm, m, race.pages, false, false) != 0;
		for (j = 0; j < race.pages; j++)
			race.failed += m[j].status != to[i];
		race.meanwhile += race.written - before_move;
	}
	race.moved = true;
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

/* Expect all moves to succeed and no write to be lost, wherever the two interrupt each other. */
static void a_page_written_without_pause_moves_three_times(void **state)
{
	static const u64 sizes[] = { 1, 16, 64 };
	unsigned int seed, i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (seed = 1; seed <= 10; seed++) {
			const struct scene_settings settings = { .machine = "linux-6.1",
								 .runtime = { .shuffle = 20000, .seed = seed } };
			struct task_struct *a, *writer, *mover;

			assert_int_equal(open_with(&settings), 0);
			a = current;
			memset(&race, 0, sizeof(race));
			race.pages = sizes[i];
			race.addr = map_on(0, race.pages, 1);
			lru_add_drain_all();
			mark();
			writer = thread_of_a("writer", writes, 0);
			mover = thread_of_a("mover", moves_three_times, 1);
			ps_task_leave();
			ps_runtime_run(scene->rt, UINT64_MAX);
			ps_task_enter(a);
			assert_true(race.moved);
			assert_int_equal(race.failed, 0);
			assert_int_equal(race.lost, 0);
			assert_true(race.meanwhile > 0);
			assert_int_equal(count_on(0, race.addr, race.pages), race.pages);
			assert_int_equal(since("pgmigrate_success"), 3 * (s64)race.pages);
			assert_int_equal(since("pgmigrate_fail"), 0);
			ps_task_free(writer);
			ps_task_free(mover);
			teardown(NULL);
		}
	}
}

static void count_event(void *arg, enum ps_tracepoint tracepoint, const void *event)
{
	(void)tracepoint;
	(void)event;
	++*(unsigned int *)arg;
}

/*
 * Expect the entry to be taken and flushed ten times, for ten targets, and the page where it was in the end. Of a page with a
 * mere reference it is replaced by a migration entry and back ten times; that of a pinned one comes back at once, for what a
 * device may write does not become shared.
 */
static void a_pinned_page_is_taken_down_ten_times(void **state)
{
	static const unsigned int kinds[] = { FOLL_PIN | FOLL_WRITE | FOLL_LONGTERM, FOLL_PIN | FOLL_WRITE, FOLL_GET };
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		u64 r = map_on(0, 1, 1);
		unsigned int down = 0, up = 0;
		struct ps_probe set = { .tracepoint = PS_TP_set_migration_pte, .fn = count_event, .arg = &down };
		struct ps_probe removed = { .tracepoint = PS_TP_remove_migration_pte, .fn = count_event, .arg = &up };
		struct page *page = grab(r, kinds[i]);
		int status;

		assert_int_equal(ps_probe_register(scene->stats, &set), 0);
		assert_int_equal(ps_probe_register(scene->stats, &removed), 0);
		mark();
		assert_int_equal(move(r, 1, 1, &status), 1);
		assert_int_equal(status, PS_STATUS_UNSET);
		assert_ptr_equal(page_at(r), page);
		assert_int_equal(since("nr_tlb_local_flush_one"), 10);
		assert_int_equal(since("pgalloc_normal"), 10);
		assert_int_equal(down, kinds[i] & FOLL_PIN ? 0 : 10);
		assert_int_equal(up, kinds[i] & FOLL_PIN ? 0 : 10);
		assert_int_equal(since("pgmigrate_fail"), 1);
		assert_int_equal(since("pgmigrate_success"), 0);
		assert_int_equal(ps_probe_unregister(scene->stats, &set), 0);
		assert_int_equal(ps_probe_unregister(scene->stats, &removed), 0);
		drop(page, kinds[i]);
		assert_int_equal(move(r, 1, 1, &status), 0);
		assert_int_equal(status, 1);
		expect_filled(r, 1, 1);
	}
}

/*
 * Expect pages of faults in a row to have the batch's reference and not to be on the LRU; the fifteenth to flush them all; and
 * move_pages not to care, for it drains first.
 */
static void a_fresh_page_is_in_a_batch_of_fifteen(void **state)
{
	u64 r = map(20), i;
	int status[20];

	(void)state;
	lru_add_drain_all();
	for (i = 0; i < 20; i++) {
		u64 j, flushed = (i + 1) / 15 * 15;

		store(r + pages(i), i + 1);
		for (j = 0; j <= i; j++) {
			assert_int_equal(page_count(page_at(r + pages(j))), j < flushed ? 1 : 2);
			assert_int_equal(PageLRU(page_at(r + pages(j))), j < flushed);
		}
	}
	mark();
	assert_int_equal(move(r, 20, 1, status), 0);
	for (i = 0; i < 20; i++) {
		assert_int_equal(status[i], 1);
		assert_int_equal(page_count(page_at(r + pages(i))), 1);
		assert_true(PageLRU(page_at(r + pages(i))));
	}
	assert_int_equal(since("pgmigrate_success"), 20);
	assert_int_equal(since("pgmigrate_fail"), 0);
}

/* ---- cost */

/* Moves n pages in calls of `batch`. Return: ns in all. */
static u64 time_of_moves(u64 addr, u64 n, u64 batch, nid_t nid)
{
	ps_ns_t begin = current->now;
	u64 i;

	for (i = 0; i < n; i += batch)
		assert_int_equal(move(addr + pages(i), batch, nid, NULL), 0);
	return current->now - begin;
}

#define MOVED 16384ull

/* Expect the same time per page, within the 6% that were seen, however many pages a call names. */
static void a_page_costs_the_same_in_batches_of_any_size(void **state)
{
	u64 r = map_on(0, MOVED, 1), batch, ns, least = UINT64_MAX, most = 0;

	(void)state;
	lru_add_drain_all();
	for (batch = 64; batch <= MOVED; batch *= 4) {
		ns = time_of_moves(r, MOVED, batch, 1);
		least = ns < least ? ns : least;
		most = ns > most ? ns : most;
		time_of_moves(r, MOVED, MOVED, 0);
	}
	if (most * 100 > least * 106)
		fail_msg("a page takes %lu to %lu ns", (unsigned long)(least / MOVED), (unsigned long)(most / MOVED));
}

/* Expect a huge page to take less than half of what its 512 pages take one by one. */
static void a_huge_page_is_cheaper_by_the_page(void **state)
{
	u64 r = map_on(0, MOVED, 1), h = map_huge_on(0, MOVED / H, 2), small, huge;

	(void)state;
	lru_add_drain_all();
	small = time_of_moves(r, MOVED, MOVED, 1);
	huge = time_of_moves(h, MOVED, MOVED, 1);
	if (huge * 2 >= small)
		fail_msg("512 pages take %lu ns, a huge page %lu", (unsigned long)(small / (MOVED / H)),
			 (unsigned long)(huge / (MOVED / H)));
}

/*
 * Two pages change nodes by two migrations: 24.5 us in batches, when a page takes 12; 52 us, one pair at a time.
 * Expect in batches what two pages take, and one by one more than that.
 */
static void a_pair_by_two_migrations_costs_two_pages(void **state)
{
	u64 a = map_on(0, 4096, 1), b = map_on(1, 4096, 2), page, pair, single = 0, i;

	(void)state;
	lru_add_drain_all();
	page = (time_of_moves(a, 4096, 4096, 1) + time_of_moves(a, 4096, 4096, 0)) / 2;
	pair = time_of_moves(a, 4096, 64, 1) + time_of_moves(b, 4096, 64, 0);
	if (pair * 100 < page * 196 || pair * 100 > page * 212)
		fail_msg("a page takes %lu ns, a pair %lu", (unsigned long)(page / 4096), (unsigned long)(pair / 4096));
	for (i = 0; i < 4096; i++)
		single += time_of_moves(a + pages(i), 1, 1, 0) + time_of_moves(b + pages(i), 1, 1, 1);
	if (single * 10 < pair * 15)
		fail_msg("a pair takes %lu ns in batches, %lu alone", (unsigned long)(pair / 4096),
			 (unsigned long)(single / 4096));
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_full_node_without_swap_ends_the_call),
		test(a_full_node_with_swap_takes_everything),
		test(whole_huge_pages_are_swapped_for_it),
		test(without_a_free_huge_page_it_moves_in_pieces),
		test(cached_pages_nobody_maps_stay),
		test(inflated_frames_are_offline_and_move),
		cmocka_unit_test_setup_teardown(demotion_goes_to_the_slow_node, setup_slow, teardown),
		test(without_a_slow_node_memory_goes_to_swap),
		cmocka_unit_test_setup_teardown(with_demotion_off_memory_goes_to_swap, setup_slow, teardown),
		test(what_offlining_asks_of_the_engine),
		cmocka_unit_test(a_page_written_without_pause_moves_three_times),
		test(a_pinned_page_is_taken_down_ten_times),
		test(a_fresh_page_is_in_a_batch_of_fifteen),
		test(a_page_costs_the_same_in_batches_of_any_size),
		test(a_huge_page_is_cheaper_by_the_page),
		test(a_pair_by_two_migrations_costs_two_pages),
	};

	return cmocka_run_group_tests_name("relations", tests, NULL, NULL);
}
