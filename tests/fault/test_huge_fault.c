/* SPDX-License-Identifier: MIT */
/*
 * Faults on huge pages: when one is used, what it is when it cannot be, the huge zero page, and writes to shared ones.
 */
#include "fixtures/scene_fault.h"

#include <pagesim/compound.h>

static u64 H; /* pages of a huge page */

static int setup_on(const char *machine)
{
	if (scene_fault_setup(machine))
		return -1;
	start("A", 0);
	H = huge_pages();
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

/* ---- when */

/* Settings, advice and place decide together. */
static void a_huge_page_comes_when_wanted_allowed_and_fitting(void **state)
{
	static const struct {
		const char *name;
		enum thp_mode mode;
		int advice; /* 0 none, 1 hugepage, -1 nohugepage */
		u64 first,
			pages; /* of a huge page's worth: VMA from `first` pages after a boundary, in quarters of a huge page */
		bool huge;
	} table[] = {
		{ "madvise, not advised", THP_MADVISE, 0, 0, 4, false },
		{ "madvise, advised", THP_MADVISE, 1, 0, 4, true },
		{ "always", THP_ALWAYS, 0, 0, 4, true },
		{ "always, advised against", THP_ALWAYS, -1, 0, 4, false },
		{ "never, advised", THP_NEVER, 1, 0, 4, false },
		{ "too short", THP_ALWAYS, 0, 0, 3, false },
		{ "across a boundary", THP_ALWAYS, 0, 2, 4, false },
		{ "one fits in the middle", THP_ALWAYS, 0, 2, 8, true },
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		u64 n = table[i].pages * H / 4, base = place(4 * H), r = base + pages(table[i].first * H / 4);
		u64 touched = table[i].first ? base + pages(H) : r;

		scene->machine->faults->thp_enabled = table[i].mode;
		map_at(r, n, RW, 0);
		if (table[i].advice)
			assert_int_equal(do_madvise(current->mm, r, pages(n),
						    table[i].advice > 0 ? PS_MADV_HUGEPAGE : PS_MADV_NOHUGEPAGE),
					 0);
		store(touched, 7);
		if (pmd_trans_huge(pmd_at(touched)) != table[i].huge)
			fail_msg("%s", table[i].name);
		assert_int_equal(get_mm_counter(current->mm, MM_ANONPAGES), table[i].huge ? H : 1);
		assert_int_equal(load(touched), 7);
		expect_sound();
		assert_int_equal(do_munmap(current->mm, r, pages(n)), 0);
	}
	assert_int_equal(vmstat("thp_fault_alloc"), 3);
	assert_int_equal(vmstat("thp_fault_fallback"), 0);
}

static void the_checks_of_a_vma(void **state)
{
	u64 base = place(4 * H), r = map_at(base + pages(1), 2 * H, RW, 0);
	struct vm_area_struct *vma = vma_at(r);

	(void)state;
	scene->machine->faults->thp_enabled = THP_ALWAYS;
	assert_false(transhuge_vma_suitable(vma, r));
	assert_true(transhuge_vma_suitable(vma, base + pages(H)));
	assert_false(transhuge_vma_suitable(vma, base + pages(2 * H)));
	assert_true(hugepage_vma_check(vma, true, true));
	/* Who collapses finds nothing in a VMA that was never faulted into; a fault is about to. */
	assert_false(hugepage_vma_check(vma, false, true));
	store(r, 1);
	assert_true(hugepage_vma_check(vma, false, true));
	scene->machine->faults->thp_enabled = THP_NEVER;
	assert_false(hugepage_vma_check(vma, false, true));
	assert_true(hugepage_vma_check(vma, false, false));
}

/* ---- what it is */

static void a_huge_page_is_mapped_by_one_entry(void **state)
{
	u64 r = map_huge(1);
	struct page *head;

	(void)state;
	store(r + pages(H - 1), 9);
	assert_true(pmd_trans_huge(pmd_at(r)) && pmd_write(pmd_at(r)) && pmd_dirty(pmd_at(r)));
	head = compound_head(page_at(r));
	assert_ptr_equal(page_at(r), head);
	assert_ptr_equal(page_at(r + pages(H - 1)), head + H - 1);
	assert_int_equal(page_ref_count(head), 1);
	assert_true(PageAnonExclusive(head));
	assert_int_equal(vmstat("nr_anon_transparent_hugepages"), 1);
	assert_int_equal(faults_of(PS_FAULT_THP), 1);
	assert_int_equal(load(r), 0);
	assert_int_equal(load(r + pages(H - 1)), 9);
	fill(r, H, 3);
	expect_filled(r, H, 3);
	assert_int_equal(vmstat("pgfault"), 1);
}

/* The TLB holds one translation for the whole page. */
static void one_translation_serves_all_its_pages(void **state)
{
	u64 r = map_huge_filled(1, 1);
	struct ps_tlb *tlb = &scene->machine->cpus[0].tlb;
	struct ps_tlb_item item;
	u32 cursor = 0, n = 0;

	(void)state;
	while (ps_tlb_next(tlb, &cursor, &item)) {
		n++;
		assert_int_equal(item.npages, H);
		assert_int_equal(item.vpn << PAGE_SHIFT, r);
	}
	assert_int_equal(n, 1);
}

/* ---- the huge zero page */

/*
 *      A reads: the huge zero page. A writes one page: the PMD is split, that page is A's, the others are small zero pages.
 */
static void reading_untouched_huge_memory_maps_zeroes(void **state)
{
	u64 r = map_huge(1);

	(void)state;
	expect_zero(r, H);
	assert_true(is_huge_zero_pmd(pmd_at(r)));
	assert_int_equal(get_mm_counter(current->mm, MM_ANONPAGES), 0);
	assert_int_equal(vmstat("thp_zero_page_alloc"), 1);
	assert_int_equal(scene->machine->faults->huge_zero_users, 1);
	assert_int_equal(shrink_huge_zero_page(scene->machine), 0); /* in use */
	expect_sound();
	store(r + pages(2), 5);
	assert_true(pmd_table(pmd_at(r)));
	assert_int_equal(load(r + pages(2)), 5);
	assert_true(is_zero_pte(pte_at(r + pages(1))));
	assert_int_equal(get_mm_counter(current->mm, MM_ANONPAGES), 1);
	assert_int_equal(load(r + pages(1)), 0);
}

/* One huge zero page for all, given back when the last address space that used it has gone. */
static void the_huge_zero_page_is_shared_and_given_back(void **state)
{
	u64 r = map_huge(1);
	struct task_struct *a = current, *b;
	struct page *zero;

	(void)state;
	load(r);
	zero = scene->machine->faults->huge_zero_page;
	b = fork_task("B");
	assert_int_equal(scene->machine->faults->huge_zero_users, 2);
	start("C", 0);
	r = map_huge(1);
	load(r);
	assert_ptr_equal(scene->machine->faults->huge_zero_page, zero);
	assert_int_equal(vmstat("thp_zero_page_alloc"), 1);
	exit_task(current);
	exit_task(b);
	exit_task(a);
	as(scene->boot);
	assert_int_equal(shrink_huge_zero_page(scene->machine), 512);
	assert_null(scene->machine->faults->huge_zero_page);
	assert_int_equal(shrink_huge_zero_page(scene->machine), 0);
}

static void without_use_zero_page_reading_allocates(void **state)
{
	u64 r = map_huge(1);

	(void)state;
	scene->machine->faults->no_zero_page = true;
	load(r);
	assert_false(is_huge_zero_pmd(pmd_at(r)));
	assert_int_equal(vmstat("thp_fault_alloc"), 1);
	assert_true(pmd_write(pmd_at(r))); /* ready for the write that will come */
}

/* ---- fallback */

/* No huge page is free. Expect: small pages, THP_FAULT_FALLBACK, and nothing allocated for nothing. */
static void without_a_free_huge_page_small_ones_serve(void **state)
{
	u64 filler = map(140), r = place(H), n = 0, i;

	(void)state;
	/* Take all there is; then let go of every fifth page of some. */
	while (!try_store(filler + pages(n), 1))
		n++;
	assert_true(n > 40 && n < 140);
	for (i = 0; i < 20; i += 5)
		assert_int_equal(do_munmap(current->mm, filler + pages(i), PAGE_SIZE), 0);
	map_at(r, H, RW, 0);
	assert_int_equal(do_madvise(current->mm, r, pages(H), PS_MADV_HUGEPAGE), 0);
	store(r, 3);
	assert_true(pmd_table(pmd_at(r)));
	assert_int_equal(vmstat("thp_fault_alloc"), 0);
	assert_int_equal(vmstat("thp_fault_fallback"), 1);
	assert_int_equal(load(r), 3);
}

/* ---- writes to shared huge pages */

/* Both still have it: the writer's PMD is split and one small page copied; the huge page stays the other's. */
static void a_shared_huge_page_is_copied_page_by_page(void **state)
{
	u64 r = map_huge_filled(1, 1);
	struct task_struct *a = current, *b = fork_task("B");
	struct page *head = compound_head(page_at(r));

	(void)state;
	as(b);
	store(r + pages(3), 77);
	assert_true(pmd_table(pmd_at(r)));
	assert_int_equal(faults_of(PS_FAULT_COW), 1);
	assert_ptr_not_equal(page_at(r + pages(3)), head + 3);
	assert_ptr_equal(page_at(r + pages(4)), head + 4);
	assert_int_equal(vmstat("thp_split_pmd"), 1);
	assert_int_equal(load(r + pages(3)), 77);
	assert_int_equal(load(r + pages(2)), word_of(1, 2));
	expect_sound();
	as(a);
	assert_true(pmd_trans_huge(pmd_at(r)));
	expect_filled(r, H, 1);
}

static void the_last_owner_reuses_a_huge_page_whole(void **state)
{
	u64 r = map_huge_filled(1, 1);
	struct task_struct *a = current, *b = fork_task("B");
	struct page *head = page_at(r);

	(void)state;
	assert_false(PageAnonExclusive(head));
	as(b);
	exit_task(b);
	as(a);
	store(r, 5);
	assert_ptr_equal(page_at(r), head);
	assert_true(pmd_trans_huge(pmd_at(r)) && pmd_write(pmd_at(r)) && PageAnonExclusive(head));
	assert_int_equal(faults_of(PS_FAULT_REUSE), 1);
	assert_int_equal(vmstat("thp_split_pmd"), 0);
}

/* Write-protected but exclusive (after mprotect): reused without asking who else has it. */
static void an_exclusive_huge_page_is_reused_though_held(void **state)
{
	u64 r = map_huge_filled(1, 1);
	struct page *held = grab(r, FOLL_GET);

	(void)state;
	assert_int_equal(do_mprotect(current->mm, r, pages(H), RO), 0);
	assert_int_equal(do_mprotect(current->mm, r, pages(H), RW), 0);
	assert_false(pmd_write(pmd_at(r)));
	store(r, 5);
	assert_true(pmd_trans_huge(pmd_at(r)));
	assert_ptr_equal(page_at(r), held);
	drop(held, FOLL_GET);
}

/* ---- files */

static void a_huge_file_page_is_mapped_whole(void **state)
{
	u64 r;

	(void)state;
	scene->machine->files->tmpfs_huge = SHMEM_HUGE_ALWAYS;
	r = map_file("/t/f", 0, H, RW, SHARED);
	store(r + pages(1), 5);
	assert_true(pmd_trans_huge(pmd_at(r)));
	assert_int_equal(vmstat("thp_file_alloc"), 1);
	assert_int_equal(vmstat("thp_file_mapped"), 1);
	assert_int_equal(get_mm_counter(current->mm, MM_SHMEMPAGES), H);
	assert_int_equal(load(r + pages(1)), 5);
	/* Another mapping, not aligned with the file: small entries of the same pages. */
	r = place(2 * H) + pages(1);
	{
		struct inode *inode = open_file("/t/f");

		assert_int_equal(do_mmap(current->mm, r, pages(H), RW, SHARED, inode, 0), 0);
		iput(inode);
	}
	assert_int_equal(load(r + pages(1)), 5);
	assert_true(pmd_table(pmd_at(r + pages(1))));
	assert_int_equal(vmstat("thp_file_mapped"), 1);
}

/* Private: only the written page is copied, read pages are the file's, by small entries (a huge one could not be in part). */
static void a_private_mapping_of_a_huge_file_page(void **state)
{
	u64 s, p;

	(void)state;
	scene->machine->files->tmpfs_huge = SHMEM_HUGE_ALWAYS;
	s = map_file("/t/f", 0, H, RW, SHARED);
	fill(s, H, 1);
	p = map_file("/t/f", 0, H, RW, 0);
	expect_filled(p, 4, 1);
	store(p + pages(1), 9);
	assert_int_equal(load(p + pages(1)), 9);
	assert_int_equal(load(s + pages(1)), word_of(1, 1));
	assert_int_equal(load(p), word_of(1, 0));
	assert_int_equal(load(p + pages(H - 1)), word_of(1, H - 1));
	expect_sound();
}

#define test(name)      cmocka_unit_test_setup_teardown(name, setup, scene_teardown)
#define test_tiny(name) cmocka_unit_test_setup_teardown(name, setup_tiny, scene_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_huge_page_comes_when_wanted_allowed_and_fitting),
		test(the_checks_of_a_vma),
		test(a_huge_page_is_mapped_by_one_entry),
		test(one_translation_serves_all_its_pages),
		test(reading_untouched_huge_memory_maps_zeroes),
		test(the_huge_zero_page_is_shared_and_given_back),
		test(without_use_zero_page_reading_allocates),
		test_tiny(without_a_free_huge_page_small_ones_serve),
		test(a_shared_huge_page_is_copied_page_by_page),
		test(the_last_owner_reuses_a_huge_page_whole),
		test(an_exclusive_huge_page_is_reused_though_held),
		test(a_huge_file_page_is_mapped_whole),
		test(a_private_mapping_of_a_huge_file_page),
	};

	return cmocka_run_group_tests_name("faults on huge pages", tests, NULL, NULL);
}
