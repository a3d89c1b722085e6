/* SPDX-License-Identifier: MIT */
/*
 * The shrinkers of the model: huge pages waiting to be split, huge pages of tmpfs that reach beyond the end of their file, the
 * huge zero page. The relations are those of the transcripts (more/drop-caches-*.pgs).
 */
#include "fixtures/scene_world.h"

#include <pagesim/compound.h>
#include <pagesim/shrinker.h>

static u64 H;

static int setup_on(const char *machine)
{
	if (scene_world_setup(machine))
		return -1;
	start("A", 0);
	H = huge_pages();
	scene->machine->files->tmpfs_huge = SHMEM_HUGE_ADVISE;
	scene->machine->files->shmem_enabled = SHMEM_HUGE_ADVISE;
	return 0;
}

static int setup(void **state)
{
	(void)state;
	return setup_on("two-node");
}

static int setup_tiny(void **state)
{
	(void)state;
	return setup_on("tiny");
}

static unsigned long queued(void)
{
	unsigned long sum = 0;
	nid_t nid;

	for_each_node_mask(nid, scene->machine->memory_nodes) sum +=
		NODE_DATA(nid)->deferred_split_queue.split_queue_len;
	return sum;
}

/* ---- deferred splits */

/* Half of each huge page is unmapped. Expect the other halves to stay, as small pages, and the memory to come back. */
static void partly_unmapped_huge_pages_are_split(void **state)
{
	u64 r = map_huge_filled(3, 1), i;

	(void)state;
	for (i = 0; i < 3; i++)
		assert_int_equal(do_munmap(current->mm, r + pages(i * H), pages(H / 2)), 0);
	assert_int_equal(queued(), 3);
	assert_int_equal(get_mm_counter(current->mm, MM_ANONPAGES), 3 * (H / 2));
	drop_slab();
	assert_int_equal(queued(), 0);
	assert_int_equal(vmstat("thp_split_page"), 3);
	for (i = 0; i < 3; i++) {
		assert_false(PageCompound(page_at(r + pages(i * H + H / 2))));
		assert_int_equal(load(r + pages(i * H + H / 2)), word_of(1, i * H + H / 2));
	}
	expect_sound();
	drain_all_pages(NULL);
	assert_int_equal(ps_mem_allocated_pages(scene->machine), 3 * (H / 2));
}

/* Expect a held one to stay queued, tried once for each round, and split when it is let go. */
static void a_held_page_stays_in_the_queue(void **state)
{
	u64 r = map_huge_filled(1, 1);
	struct page *page;

	(void)state;
	assert_int_equal(do_munmap(current->mm, r, pages(1)), 0);
	page = grab(r + pages(2), FOLL_GET);
	drop_slab();
	assert_int_equal(queued(), 1);
	assert_int_equal(vmstat("thp_split_page_failed"), 1);
	expect_sound();
	drop(page, FOLL_GET);
	drop_slab();
	assert_int_equal(queued(), 0);
	assert_int_equal(vmstat("thp_split_page"), 1);
	assert_int_equal(load(r + pages(2)), word_of(1, 2));
}

/* ---- beyond the end */

/* A mapping of `n` pages of a fresh tmpfs file, with the advice, touched. */
static u64 map_short(const char *path, u64 n)
{
	u64 r = map_file(path, 0, n, RW, SHARED);

	assert_int_equal(do_madvise(current->mm, r, pages(n), PS_MADV_HUGEPAGE), 0);
	fill(r, n, 1);
	return r;
}

/*
 *   file   [0 .. n)      page  [0 ........ H)
 * Expect the huge page to be split, and what lies beyond the end to be free.
 */
static void a_huge_page_beyond_the_end_is_cut(void **state)
{
	u64 n = H / 2, r = map_short("/t/f", n);

	(void)state;
	assert_true(PageCompound(page_at(r)));
	assert_int_equal(vmstat("nr_shmem"), H);
	assert_int_equal(scene->machine->files->tmpfs.shrinklist_len, 1);
	drop_slab();
	assert_int_equal(vmstat("thp_split_page"), 1);
	assert_int_equal(vmstat("nr_shmem"), n);
	assert_int_equal(scene->machine->files->tmpfs.shrinklist_len, 0);
	expect_filled(r, n, 1);
	assert_false(PageCompound(page_at(r)));
	expect_sound();
	drop_slab();
	assert_int_equal(vmstat("thp_split_page"), 1);
}

/* file size in pages -> is the file on the list, is the page split. The kernel's test of the size is off by one. */
static void who_is_on_the_list_and_who_gains(void **state)
{
	static const struct {
		const char *name;
		int size, grown; /* pages less than a huge page's; made larger afterwards to, or -1 */
		bool listed, split;
	} table[] = {
		{ "exactly full", 0, -1, false, false },
		{ "one page short", 1, -1, false, false },
		{ "two pages short", 2, -1, true, true },
		{ "grown meanwhile", 2, 0, true, false },
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		char path[16];
		struct inode *inode;
		s64 split = vmstat("thp_split_page");
		bool listed;

		snprintf(path, sizeof(path), "/t/%u", i);
		map_short(path, H - (u64)table[i].size);
		listed = scene->machine->files->tmpfs.shrinklist_len == 1;
		inode = open_file(path);
		if (table[i].grown >= 0)
			file_extend(inode, pages(H - (u64)table[i].grown));
		drop_slab();
		if (listed != table[i].listed || (vmstat("thp_split_page") - split == 1) != table[i].split)
			fail_msg("%s", table[i].name);
		assert_int_equal(scene->machine->files->tmpfs.shrinklist_len, 0);
		iput(inode);
		expect_sound();
	}
}

/* Held, or locked: it stays listed. Deleted: it is not listed any more. Shared anonymous memory has a list of its own. */
static void a_file_stays_listed_until_it_is_cut_or_gone(void **state)
{
	u64 r = map_short("/t/f", 2), s;
	struct ps_files *files = scene->machine->files;
	struct page *page = grab(r, FOLL_GET);

	(void)state;
	drop_slab();
	assert_int_equal(files->tmpfs.shrinklist_len, 1);
	/* Once for each of the two nodes: the list has no nodes. */
	assert_int_equal(vmstat("thp_split_page_failed"), 2);
	drop(page, FOLL_GET);
	assert_int_equal(do_munmap(current->mm, r, pages(2)), 0);
	assert_int_equal(ps_file_unlink(files, "/t/f"), 0);
	assert_int_equal(files->tmpfs.shrinklist_len, 0);
	drop_slab();
	assert_int_equal(vmstat("thp_split_page"), 0);

	s = map_shared(2);
	assert_int_equal(do_madvise(current->mm, s, pages(2), PS_MADV_HUGEPAGE), 0);
	fill(s, 2, 3);
	assert_int_equal(files->tmpfs.shrinklist_len, 0);
	assert_int_equal(files->anon.shrinklist_len, 1);
	drop_slab();
	assert_int_equal(files->anon.shrinklist_len, 0);
	assert_int_equal(vmstat("nr_shmem"), 2);
	expect_filled(s, 2, 3);
}

/* Without leave to enter the file system nothing is split. */
static void a_caller_within_a_file_system_is_not_served(void **state)
{
	u64 r = map_short("/t/f", 2);

	(void)state;
	assert_int_equal(shrink_slab(GFP_NOFS, 0, 0), 0);
	assert_int_equal(vmstat("thp_split_page"), 0);
	assert_int_equal(shrink_slab(GFP_KERNEL, 0, 0), 1);
	expect_filled(r, 2, 1);
}

/* ---- the huge zero page */

static void an_unused_huge_zero_page_is_given_back(void **state)
{
	u64 r = map_huge(1);

	(void)state;
	expect_zero(r, 1);
	drop_slab();
	assert_non_null(scene->machine->faults->huge_zero_page);
	exit_task(current);
	drop_slab();
	assert_null(scene->machine->faults->huge_zero_page);
	drain_all_pages(NULL);
	assert_int_equal(ps_mem_allocated_pages(scene->machine), 0);
}

/* Every host allocation of a round fails once. Expect nothing lost, and the next round to finish. */
static void shrinking_without_memory_loses_nothing(void **state)
{
	bool done = false;
	u64 n;

	(void)state;
	for (n = 1; !done; n++) {
		u64 r, f;

		setup_on("tiny,0=2M,1=2M");
		r = map_huge_filled(1, 1);
		f = map_short("/t/f", 2);
		assert_int_equal(do_munmap(current->mm, r, pages(1)), 0);
		ps_alloc_fail_nth(n);
		drop_slab();
		done = ps_alloc_fail_nth(0);
		expect_sound();
		drop_slab();
		assert_int_equal(queued(), 0);
		assert_int_equal(vmstat("nr_shmem"), 2);
		expect_filled(f, 2, 1);
		assert_int_equal(load(r + pages(1)), word_of(1, 1));
		scene_close();
	}
	assert_true(n > 2);
}

#define T(name)      cmocka_unit_test_setup_teardown(name, setup, scene_teardown)
#define T_TINY(name) cmocka_unit_test_setup_teardown(name, setup_tiny, scene_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(partly_unmapped_huge_pages_are_split),
		T_TINY(partly_unmapped_huge_pages_are_split),
		T(a_held_page_stays_in_the_queue),
		T(a_huge_page_beyond_the_end_is_cut),
		T_TINY(a_huge_page_beyond_the_end_is_cut),
		T(who_is_on_the_list_and_who_gains),
		T_TINY(a_file_stays_listed_until_it_is_cut_or_gone),
		T(a_caller_within_a_file_system_is_not_served),
		T(an_unused_huge_zero_page_is_given_back),
		cmocka_unit_test(shrinking_without_memory_loses_nothing),
	};

	return cmocka_run_group_tests_name("what shrinks", tests, NULL, NULL);
}
