/* SPDX-License-Identifier: MIT */
/*
 * madvise: what each advice does to a range, across VMAs and holes, and what it refuses. (DONTNEED and REMOVE are in
 * test_zap.c.)
 */
#include "fixtures/scene_fault.h"

#include <pagesim/compound.h>

static u64 H;

static int setup(void **state)
{
	(void)state;
	if (scene_fault_setup("two-node"))
		return -1;
	start("A", 0);
	H = huge_pages();
	return 0;
}

/*
 *      [ a ) hole [ b )       advice over all of it
 * Expect: both advised, -ENOMEM at the end.
 */
static void a_hole_is_reported_after_the_rest_was_advised(void **state)
{
	u64 r = map_filled(9, 1);

	(void)state;
	assert_int_equal(do_munmap(current->mm, r + pages(3), pages(3)), 0);
	assert_int_equal(do_madvise(current->mm, r, pages(9), PS_MADV_DONTFORK), -ENOMEM);
	assert_true((vma_at(r)->vm_flags & VM_DONTCOPY) && (vma_at(r + pages(8))->vm_flags & VM_DONTCOPY));
	assert_int_equal(do_madvise(current->mm, r, pages(9), PS_MADV_DONTNEED), -ENOMEM);
	expect_zero(r, 3);
	expect_zero(r + pages(6), 3);
	assert_int_equal(do_madvise(current->mm, r + pages(3), pages(2), PS_MADV_HUGEPAGE), -ENOMEM);
	assert_int_equal(do_madvise(current->mm, r, pages(9), PS_MADV_DONTNEED), -ENOMEM);
	assert_int_equal(do_madvise(current->mm, r, pages(9), PS_MADV_POPULATE_WRITE), -ENOMEM);
	assert_true(pte_write(pte_at(r + pages(2))));
	assert_true(pte_write(pte_at(r + pages(6))));
}

static void bad_ranges_are_refused(void **state)
{
	u64 r = map(4);

	(void)state;
	assert_int_equal(do_madvise(current->mm, r + 1, PAGE_SIZE, PS_MADV_DONTNEED), -EINVAL);
	assert_int_equal(do_madvise(current->mm, r, 0, PS_MADV_DONTNEED), 0);
	assert_int_equal(do_madvise(current->mm, r, ~0ULL & PAGE_MASK, PS_MADV_DONTNEED), -EINVAL);
	assert_int_equal(do_madvise(current->mm, r, 1, PS_MADV_WILLNEED), 0);
}

static void advice_on_huge_pages_replaces_the_other(void **state)
{
	u64 r = map(4);

	(void)state;
	assert_int_equal(do_madvise(current->mm, r, pages(4), PS_MADV_HUGEPAGE), 0);
	assert_true(vma_at(r)->vm_flags & VM_HUGEPAGE);
	assert_int_equal(do_madvise(current->mm, r + pages(1), pages(1), PS_MADV_NOHUGEPAGE), 0);
	assert_int_equal(current->mm->map_count, 3);
	assert_true(vma_at(r + pages(1))->vm_flags & VM_NOHUGEPAGE);
	assert_false(vma_at(r + pages(1))->vm_flags & VM_HUGEPAGE);
	assert_int_equal(do_madvise(current->mm, r, pages(4), PS_MADV_HUGEPAGE), 0);
	assert_int_equal(current->mm->map_count, 1);
}

/* ---- populate */

static void populating_is_reading_or_writing_every_page(void **state)
{
	u64 r = map(4), ro = map_at(place(4), 4, RO, 0), none = map_at(place(4), 4, 0, 0),
	    f = map_file("/d/f", 0, 4, RW, SHARED), i;
	struct mm_struct *mm = current->mm;

	(void)state;
	assert_int_equal(do_madvise(mm, r, pages(4), PS_MADV_POPULATE_READ), 0);
	for (i = 0; i < 4; i++)
		assert_true(is_zero_pte(pte_at(r + pages(i))));
	assert_int_equal(do_madvise(mm, r, pages(4), PS_MADV_POPULATE_WRITE), 0);
	for (i = 0; i < 4; i++)
		assert_true(pte_write(pte_at(r + pages(i))) && pte_dirty(pte_at(r + pages(i))));
	assert_int_equal(do_madvise(mm, ro, pages(4), PS_MADV_POPULATE_READ), 0);
	assert_int_equal(do_madvise(mm, ro, pages(4), PS_MADV_POPULATE_WRITE), -EINVAL);
	assert_int_equal(do_madvise(mm, none, pages(4), PS_MADV_POPULATE_READ), -EINVAL);
	assert_int_equal(do_madvise(mm, f, pages(4), PS_MADV_POPULATE_WRITE), 0);
	for (i = 0; i < 4; i++)
		assert_true(pte_write(pte_at(f + pages(i))));
	assert_int_equal(vmstat("nr_dirty"), 4);
}

static void populating_beyond_the_end_of_a_file_fails(void **state)
{
	u64 f = map_file("/d/f", 0, 4, RW, SHARED);
	struct inode *inode = open_file("/d/f");

	(void)state;
	assert_int_equal(file_truncate(inode, pages(2)), 0);
	assert_int_equal(do_madvise(current->mm, f, pages(4), PS_MADV_POPULATE_READ), -EFAULT);
	assert_true(pte_present(pte_at(f + pages(1))));
	iput(inode);
}

/* ---- remove */

static void a_hole_is_punched_into_shared_memory_only(void **state)
{
	u64 anon = map(4), s = map_shared(4), priv = map_file("/t/f", 0, 4, RW, 0), locked = map_shared(4);
	struct mm_struct *mm = current->mm;

	(void)state;
	fill(s, 4, 1);
	assert_int_equal(do_mlock(mm, locked, pages(4)), 0);
	assert_int_equal(do_madvise(mm, anon, pages(4), PS_MADV_REMOVE), -EINVAL);
	assert_int_equal(do_madvise(mm, priv, pages(4), PS_MADV_REMOVE), -EACCES);
	assert_int_equal(do_madvise(mm, locked, pages(4), PS_MADV_REMOVE), -EINVAL);
	assert_int_equal(do_madvise(mm, s + pages(1), pages(2), PS_MADV_REMOVE), 0);
	assert_int_equal(load(s), word_of(1, 0));
	expect_zero(s + pages(1), 2);
	assert_int_equal(load(s + pages(3)), word_of(1, 3));
}

static void locked_memory_is_not_thrown_away(void **state)
{
	u64 r = map_filled(6, 1);

	(void)state;
	assert_int_equal(do_mlock(current->mm, r + pages(2), pages(2)), 0);
	assert_int_equal(do_madvise(current->mm, r, pages(6), PS_MADV_DONTNEED), -EINVAL);
	expect_zero(r, 2); /* before the locked part: done */
	assert_int_equal(load(r + pages(2)), word_of(1, 2));
	assert_int_equal(load(r + pages(5)), word_of(1, 5));
}

/* ---- free and cold */

/* Lazily freed: clean, on the file lists, without swap backing; a write takes it back. Contents stay until reclaim comes. */
static void freed_memory_is_clean_until_written(void **state)
{
	u64 r = map_filled(2, 1);
	struct page *page = page_at(r);

	(void)state;
	assert_int_equal(do_madvise(current->mm, r, pages(2), PS_MADV_FREE), 0);
	lru_add_drain_all();
	assert_false(PageSwapBacked(page) || PageDirty(page) || pte_dirty(pte_at(r)));
	assert_int_equal(vmstat("pglazyfree"), 2);
	expect_filled(r, 2, 1);
	store(r, 5);
	assert_true(pte_dirty(pte_at(r)));
	expect_sound();
}

static void what_others_map_is_not_freed_lazily(void **state)
{
	u64 r = map_filled(1, 1);

	(void)state;
	fork_task("B");
	ClearPageDirty(page_at(r));
	SetPageDirty(page_at(r));
	assert_int_equal(do_madvise(current->mm, r, pages(1), PS_MADV_FREE), 0);
	assert_true(PageSwapBacked(page_at(r)));
	assert_int_equal(do_madvise(current->mm, map_shared(1), pages(1), PS_MADV_FREE), -EINVAL);
}

static void cold_memory_is_old_and_inactive(void **state)
{
	u64 r = map_filled(1, 1), h = map_huge_filled(1, 2);
	struct page *page = page_at(r), *head = page_at(h);

	(void)state;
	lru_add_drain_all();
	activate_page(page);
	activate_page(head);
	lru_add_drain_all();
	assert_true(PageActive(page) && PageActive(head));
	assert_int_equal(do_madvise(current->mm, r, pages(1), PS_MADV_COLD), 0);
	assert_int_equal(do_madvise(current->mm, h, pages(H), PS_MADV_COLD), 0);
	lru_add_drain_all();
	assert_false(PageActive(page) || PageActive(head) || pte_young(pte_at(r)) || pmd_young(pmd_at(h)));
	expect_filled(r, 1, 1);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, scene_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_hole_is_reported_after_the_rest_was_advised),
		test(bad_ranges_are_refused),
		test(advice_on_huge_pages_replaces_the_other),
		test(populating_is_reading_or_writing_every_page),
		test(populating_beyond_the_end_of_a_file_fails),
		test(a_hole_is_punched_into_shared_memory_only),
		test(locked_memory_is_not_thrown_away),
		test(freed_memory_is_clean_until_written),
		test(what_others_map_is_not_freed_lazily),
		test(cold_memory_is_old_and_inactive),
	};

	return cmocka_run_group_tests_name("madvise", tests, NULL, NULL);
}
