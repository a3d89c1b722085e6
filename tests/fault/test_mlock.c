/* SPDX-License-Identifier: MIT */
/*
 * mlock and munlock: pages are faulted in and leave the evictable lists; each page is counted once however many lock it.
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

static void expect_mlocked(s64 n)
{
	lru_add_drain_all();
	assert_int_equal(vmstat("nr_mlock"), n);
	assert_int_equal(vmstat("nr_unevictable"), n);
}

static void locked_memory_is_there_and_unevictable(void **state)
{
	u64 r = map(4), i;

	(void)state;
	store(r + pages(1), 5);
	assert_int_equal(do_mlock(current->mm, r, pages(4)), 0);
	expect_mlocked(4);
	for (i = 0; i < 4; i++) {
		assert_true(PageMlocked(page_at(r + pages(i))) && PageUnevictable(page_at(r + pages(i))));
		assert_int_equal(load(r + pages(i)), i == 1 ? 5 : 0);
	}
	assert_int_equal(do_munlock(current->mm, r + pages(1), pages(2)), 0);
	expect_mlocked(2);
	assert_int_equal(current->mm->map_count, 3);
	assert_int_equal(do_munlock(current->mm, r, pages(4)), 0);
	expect_mlocked(0);
	assert_int_equal(current->mm->map_count, 1);
}

static void what_is_faulted_in_later_is_locked(void **state)
{
	u64 r = map(4);

	(void)state;
	assert_int_equal(do_mlock(current->mm, r, pages(4)), 0);
	vma_at(r)->vm_flags &= ~VM_LOCKED; /* so that DONTNEED takes it */
	assert_int_equal(do_munlock(current->mm, r, pages(4)), 0);
	vma_at(r)->vm_flags |= VM_LOCKED;
	lru_add_drain_all();
	store(r, 1);
	assert_true(vmstat("nr_mlock") >= 1);
	assert_int_equal(do_munmap(current->mm, r, pages(4)), 0);
	expect_mlocked(0);
}

static void unmapping_unlocks(void **state)
{
	u64 r = map(8), h = map_huge(1);

	(void)state;
	assert_int_equal(do_mlock(current->mm, r, pages(8)), 0);
	assert_int_equal(do_mlock(current->mm, h, pages(H)), 0);
	expect_mlocked(8 + (s64)H);
	assert_int_equal(do_munmap(current->mm, r + pages(2), pages(2)), 0);
	expect_mlocked(6 + (s64)H);
	exit_task(current);
	as(scene->boot);
	expect_mlocked(0);
}

/* A page shared by two who lock it: unevictable until the second unlocks. */
static void a_page_is_locked_until_the_last_unlocks(void **state)
{
	u64 f = map_file("/t/f", 0, 1, RW, SHARED);
	struct task_struct *a = current, *b = fork_task("B");
	struct page *page;

	(void)state;
	assert_int_equal(do_mlock(a->mm, f, pages(1)), 0);
	page = page_at(f);
	as(b);
	assert_int_equal(do_mlock(b->mm, f, pages(1)), 0);
	expect_mlocked(1);
	as(a);
	assert_int_equal(do_munlock(a->mm, f, pages(1)), 0);
	lru_add_drain_all();
	assert_true(PageMlocked(page));
	as(b);
	assert_int_equal(do_munlock(b->mm, f, pages(1)), 0);
	expect_mlocked(0);
}

/* A huge page is locked where a PMD maps it, not where PTEs do. */
static void a_huge_page_is_locked_by_its_PMD_only(void **state)
{
	u64 h = map_huge_filled(1, 1);
	struct page *head = page_at(h);

	(void)state;
	assert_int_equal(do_mlock(current->mm, h, pages(H)), 0);
	expect_mlocked((s64)H);
	assert_true(PageMlocked(head));
	assert_int_equal(do_mprotect(current->mm, h, pages(3), RO), 0); /* splits the PMD */
	expect_mlocked(0);
	assert_false(PageMlocked(head));
	expect_filled(h, H, 1);
}

/* Private file pages: a lock on writable memory copies them at once. */
static void locking_writable_private_memory_makes_the_copies(void **state)
{
	u64 s = map_file("/d/f", 0, 2, RW, SHARED), p = map_file("/d/f", 0, 2, RW, 0);

	(void)state;
	fill(s, 2, 1);
	assert_int_equal(do_mlock(current->mm, p, pages(2)), 0);
	assert_true(PageAnon(page_at(p)) && PageAnon(page_at(p + pages(1))));
	expect_filled(p, 2, 1);
	store(s, 9);
	assert_int_equal(load(p), word_of(1, 0));
}

static void what_cannot_be_locked_says_why(void **state)
{
	u64 r = map(4), none = map_at(place(4), 4, 0, 0), f = map_file("/d/f", 0, 4, RW, SHARED);
	struct inode *inode = open_file("/d/f");
	struct mm_struct *mm = current->mm;

	(void)state;
	assert_int_equal(do_mlock(mm, r, ~0ULL & PAGE_MASK), -EINVAL);
	assert_int_equal(do_mlock(mm, r, ~0ULL), 0);         /* rounded up that is nothing at all */
	assert_int_equal(do_mlock(mm, r + 1, PAGE_SIZE), 0); /* the two pages that are touched */
	assert_true(pte_present(pte_at(r + pages(1))) && pte_none(pte_at(r + pages(2))));
	assert_int_equal(do_munlock(mm, r + PAGE_SIZE - 1, 2), 0);
	assert_int_equal(do_mlock(mm, r, pages(40)), -ENOMEM); /* a hole behind it */
	assert_true(vma_at(r)->vm_flags & VM_LOCKED);
	assert_int_equal(do_mlock(mm, none, pages(4)), -ENOMEM); /* nothing can be faulted in, but it is locked */
	assert_true(vma_at(none)->vm_flags & VM_LOCKED);
	assert_int_equal(file_truncate(inode, pages(1)), 0);
	assert_int_equal(do_mlock(mm, f, pages(4)), -ENOMEM);
	assert_int_equal(do_munlock(mm, r, pages(40)), -ENOMEM);
	assert_int_equal(do_mlock(mm, r, 0), 0);
	iput(inode);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, scene_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(locked_memory_is_there_and_unevictable),
		test(what_is_faulted_in_later_is_locked),
		test(unmapping_unlocks),
		test(a_page_is_locked_until_the_last_unlocks),
		test(a_huge_page_is_locked_by_its_PMD_only),
		test(locking_writable_private_memory_makes_the_copies),
		test(what_cannot_be_locked_says_why),
	};

	return cmocka_run_group_tests_name("mlock", tests, NULL, NULL);
}
