/* SPDX-License-Identifier: MIT */
/*
 * mprotect and clear_refs: rights taken away at once and everywhere, given back by the next fault or at once where no fault
 * is needed to know.
 */
#include "fixtures/scene_fault.h"

#include <pagesim/mprotect.h>

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

static void protect(u64 addr, u64 n, unsigned int prot)
{
	assert_int_equal(do_mprotect(current->mm, addr, pages(n), prot), 0);
}

/* Both CPUs have written it; after mprotect neither may, at once. */
static void a_right_taken_away_is_gone_at_once_everywhere(void **state)
{
	u64 r = map_filled(4, 1), h = map_huge_filled(1, 1), word;
	struct task_struct *a = current, *t = thread("T", 2);

	(void)state;
	as(t);
	fill(r, 4, 2);
	fill(h, 4, 2);
	as(a);
	protect(r, 4, RO);
	protect(h, H, RO);
	assert_int_equal(try_store(r, 1), -EFAULT);
	assert_int_equal(try_store(h, 1), -EFAULT);
	as(t);
	assert_int_equal(try_store(r + pages(3), 1), -EFAULT);
	assert_int_equal(try_store(h + pages(3), 1), -EFAULT);
	expect_filled(r, 4, 2);
	expect_sound();
	as(a);
	protect(r, 4, 0);
	protect(h, H, 0);
	assert_int_equal(try_load(r, &word), -EFAULT);
	assert_int_equal(try_load(h, &word), -EFAULT);
	as(t);
	assert_int_equal(try_load(r, &word), -EFAULT);
	protect(r, 4, RW);
	protect(h, H, RW);
	expect_filled(r, 4, 2);
	expect_filled(h, 4, 2);
	fill(r, 4, 3);
	as(a);
	expect_filled(r, 4, 3);
}

/* Dirty, soft-dirty and the accessed bit stay as they were, whatever the protection goes through. */
static void what_an_entry_knows_survives(void **state)
{
	u64 r = map_filled(2, 1);
	pte_t before, *ptep = pte_offset_map(&current->mm->pt, pmd_at(r), r);
	const u64 kept = _PAGE_DIRTY | _PAGE_SOFT_DIRTY | _PAGE_ACCESSED | _PAGE_PFN_MASK;

	(void)state;
	set_pte_at(ptep, pte_mkold(*ptep));
	before = *ptep;
	protect(r, 1, RO);
	assert_int_equal(pte_at(r).val & kept, before.val & kept);
	protect(r, 1, 0);
	assert_true(pte_protnone(pte_at(r)));
	assert_int_equal(pte_at(r).val & kept, before.val & kept);
	protect(r, 1, RW);
	assert_int_equal(pte_at(r).val & kept, before.val & kept);
}

/*
 * Given write permission, an entry becomes writable at once if a fault would only do the same: it is dirty already and the
 * page is this mapping's own. A shared page, a clean entry, one that soft-dirty tracking waits for, a huge page: by a fault.
 */
static void write_permission_comes_back_at_once_where_no_fault_is_needed(void **state)
{
	u64 own = map_filled(1, 1), shared, clean = map_filled(1, 1), h = map_huge_filled(1, 1),
	    tracked = map_filled(1, 1);
	pte_t *ptep = pte_offset_map(&current->mm->pt, pmd_at(clean), clean);
	struct task_struct *a = current;

	(void)state;
	set_pte_at(ptep, pte_mkclean(*ptep));
	flush_tlb_page(&current->mm->pt, clean);
	protect(own, 1, RO);
	protect(clean, 1, RO);
	protect(h, H, RO);
	protect(own, 1, RW);
	protect(clean, 1, RW);
	protect(h, H, RW);
	assert_true(pte_write(pte_at(own)));
	assert_false(pte_write(pte_at(clean)));
	assert_false(pmd_write(pmd_at(h)));
	protect(tracked, 1, RO);
	clear_soft_dirty(a->mm);
	protect(tracked, 1, RW);
	assert_false(pte_write(pte_at(tracked)));
	store(tracked, 5);
	assert_true(pte_soft_dirty(pte_at(tracked)));

	shared = map_filled(1, 1);
	protect(shared, 1, RO);
	fork_task("B");
	protect(shared, 1, RW);
	assert_false(pte_write(pte_at(shared)));
	store(shared, 9);
	assert_int_equal(faults_of(PS_FAULT_COW), 1);
}

static void a_part_of_a_huge_page_splits_its_entry(void **state)
{
	u64 h = map_huge_filled(1, 1);

	(void)state;
	protect(h + pages(10), 5, RO);
	assert_true(pmd_table(pmd_at(h)));
	assert_int_equal(vmstat("thp_split_pmd"), 1);
	assert_int_equal(try_store(h + pages(12), 1), -EFAULT);
	store(h + pages(9), 1);
	store(h + pages(15), 1);
	assert_int_equal(current->mm->map_count, 3);
	protect(h + pages(10), 5, RW);
	assert_int_equal(current->mm->map_count, 1);
	assert_int_equal(load(h + pages(12)), word_of(1, 12));
}

/* The zero page may not become writable, whatever mprotect says. */
static void the_zero_page_stays_read_only(void **state)
{
	u64 r = map_at(place(1), 1, RO, 0), h = map_huge(1);

	(void)state;
	load(r);
	protect(r, 1, RW);
	assert_false(pte_write(pte_at(r)));
	store(r, 3);
	load(h);
	protect(h, H, RO);
	protect(h, H, RW);
	assert_true(is_huge_zero_pmd(pmd_at(h)) && !pmd_write(pmd_at(h)));
	store(h, 4);
	assert_int_equal(load(h + pages(1)), 0);
	assert_int_equal(page_word_read(ps_zero_page()), 0);
	assert_int_equal(page_word_read(scene->machine->faults->huge_zero_page), 0);
}

/* Up to a hole: what lies before it has changed, what lies behind has not. */
static void a_hole_ends_it(void **state)
{
	u64 r = map_filled(6, 1);

	(void)state;
	assert_int_equal(do_munmap(current->mm, r + pages(3), PAGE_SIZE), 0);
	assert_int_equal(do_mprotect(current->mm, r, pages(6), RO), -ENOMEM);
	assert_int_equal(try_store(r + pages(2), 1), -EFAULT);
	store(r + pages(4), 1);
	assert_int_equal(do_mprotect(current->mm, r + pages(3), pages(2), RO), -ENOMEM);
	store(r + pages(4), 1);
}

/* A shared mapping of a disk file keeps being told of first writes. */
static void a_disk_file_is_told_after_mprotect_too(void **state)
{
	u64 f = map_file("/d/f", 0, 2, RW, SHARED), t = map_file("/t/f", 0, 2, RW, SHARED);
	struct inode *inode = open_file("/d/f");

	(void)state;
	fill(f, 2, 1);
	fill(t, 2, 1);
	file_fsync(inode);
	protect(f, 2, RO);
	protect(t, 2, RO);
	protect(f, 2, RW);
	protect(t, 2, RW);
	assert_false(pte_write(pte_at(f)));
	assert_true(pte_write(pte_at(t)));
	store(f, 5);
	assert_true(PageDirty(page_at(f)));
	expect_sound();
	iput(inode);
}

/* ---- under migration */

/* Read-only while the page was away: it comes back read-only, exclusive, and the first write reuses it. */
static void a_page_under_migration_comes_back_with_the_new_rights(void **state)
{
	u64 r = map_filled(1, 1), h = map_huge_filled(1, 2);
	struct task_struct *a = current, *migrator = scene_task("migrator", 1);
	struct page *small = page_at(r), *huge = page_at(h);

	(void)state;
	as(migrator);
	lru_add_drain_all();
	get_page(small);
	get_page(huge);
	lock_page(small);
	lock_page_nested(huge);
	try_to_migrate(small, 0, NULL);
	try_to_migrate(huge, 0, NULL);
	as(a);
	protect(r, 1, RO);
	protect(h, H, RO);
	assert_true(is_readable_exclusive_migration_entry(pte_to_swp_entry(pte_at(r))));
	assert_true(is_readable_exclusive_migration_entry(pmd_to_swp_entry(pmd_at(h))));
	assert_true(pte_migration_young(pte_at(r)) && pte_migration_dirty(pte_at(r)) && pte_swp_soft_dirty(pte_at(r)));
	protect(r, 1, RW);
	protect(h, H, RW);
	as(migrator);
	remove_migration_ptes(small, small, false);
	remove_migration_ptes(huge, huge, false);
	unlock_page(huge);
	unlock_page(small);
	put_page(small);
	put_page(huge);
	as(a);
	assert_false(pte_write(pte_at(r)) || pmd_write(pmd_at(h)));
	assert_true(exclusive_at(r) && exclusive_at(h));
	store(r, 7);
	store(h, 8);
	assert_ptr_equal(page_at(r), small);
	assert_true(pmd_trans_huge(pmd_at(h)));
}

/* ---- soft-dirty */

/* Expect: a cleared entry is write-protected; the next write sets the bit again, a read does not. Pinned pages are spared. */
static void soft_dirty_tells_who_was_written_since(void **state)
{
	u64 r = map_filled(4, 1), h = map_huge_filled(1, 2);
	struct page *pinned = grab(r + pages(3), FOLL_PIN | FOLL_WRITE);

	(void)state;
	assert_int_equal(clear_soft_dirty(current->mm), 0);
	assert_false(vma_at(r)->vm_flags & VM_SOFTDIRTY);
	assert_false(pte_soft_dirty(pte_at(r)) || pte_write(pte_at(r)) || pmd_soft_dirty(pmd_at(h)));
	assert_true(pte_soft_dirty(pte_at(r + pages(3))) && pte_write(pte_at(r + pages(3))));
	load(r);
	store(r + pages(1), 5);
	store(h + pages(7), 5);
	assert_false(pte_soft_dirty(pte_at(r)));
	assert_true(pte_soft_dirty(pte_at(r + pages(1))));
	assert_true(pmd_soft_dirty(pmd_at(h)));
	assert_true(exclusive_at(r + pages(1)));
	assert_int_equal(faults_of(PS_FAULT_REUSE), 2);
	drop(pinned, FOLL_PIN);
}

static void soft_dirty_sees_writes_through_stale_translations(void **state)
{
	u64 r = map_filled(1, 1);
	struct task_struct *a = current, *t = thread("T", 3);

	(void)state;
	as(t);
	store(r, 2); /* CPU 3 may write without a walk */
	as(a);
	clear_soft_dirty(a->mm);
	as(t);
	store(r, 3);
	assert_true(pte_soft_dirty(pte_at(r)));
}

/* ---- the pieces NUMA balancing uses */

/* Expect: changed entries are counted in base pages, huge ones besides in NUMA_HUGE_PTE_UPDATES; the count is what changed. */
static void changed_entries_are_counted(void **state)
{
	u64 r = map_filled(5, 1), h = map_huge_filled(1, 1);

	(void)state;
	thread("T", 3);      /* what a lone thread has on its own node needs no hint */
	lru_add_drain_all(); /* a batched page is referenced twice: nobody's in particular */
	scene->machine->faults->numa_balancing = NUMA_BALANCING_NORMAL;
	mmap_read_lock(current->mm);
	assert_int_equal(change_protection(vma_at(r), r, r + pages(5), MM_CP_PROT_NUMA), 5);
	assert_int_equal(change_protection(vma_at(r), r, r + pages(5), MM_CP_PROT_NUMA), 0);
	assert_int_equal(change_protection(vma_at(h), h, h + pages(H), MM_CP_PROT_NUMA), H);
	mmap_read_unlock(current->mm);
	assert_int_equal(vmstat("numa_huge_pte_updates"), 1);
	assert_true(pte_protnone(pte_at(r)) && pmd_protnone(pmd_at(h)));
}

/*
 *      s   a shared mapping of a file opened for reading only       p   a private one       w   shared, opened for writing
 *
 * Expect: s is refused at mmap where it asks for writing, and at mprotect; what lies before it in the range is changed. A
 * private mapping may be written all the same: the file never hears of it.
 */
static void a_file_opened_for_reading_is_never_made_writable(void **state)
{
	struct inode *inode = open_file("/d/f");
	struct mm_struct *mm = current->mm;
	struct task_struct *a = current;
	u64 w = place(4), s = w + pages(2), p;

	(void)state;
	file_extend(inode, pages(4));
	assert_int_equal(do_mmap(mm, s, pages(2), RW, SHARED | MM_MAP_FILE_READ_ONLY, inode, 2), -EACCES);
	assert_null(vma_lookup(mm, s));
	assert_int_equal(do_mmap(mm, s, pages(2), RO, SHARED | MM_MAP_FILE_READ_ONLY, inode, 2), 0);
	assert_int_equal(do_mmap(mm, w, pages(2), RO, SHARED, inode, 0), 0);
	assert_int_equal(vma_at(s)->vm_flags & (VM_SHARED | VM_MAYSHARE | VM_MAYWRITE), VM_MAYSHARE);
	assert_ptr_not_equal(vma_at(s), vma_at(w)); /* one continues the other, and still they are two */
	assert_int_equal(load(s), 0);
	assert_int_equal(do_mprotect(mm, w, pages(4), RW), -EACCES);
	assert_int_equal(vma_at(w)->vm_flags & VM_WRITE, VM_WRITE);
	assert_int_equal(vma_at(s)->vm_flags & VM_WRITE, 0);
	store(w, 1);
	assert_int_equal(try_store(s, 1), -EFAULT);
	assert_int_equal(do_mprotect(mm, s, pages(2), MM_PROT_NONE), 0);
	assert_int_equal(do_mprotect(mm, s, pages(1), RW), -EACCES);
	assert_int_equal(do_mprotect(mm, s, pages(2), RO | MM_PROT_EXEC), 0);
	assert_int_equal(vma_at(s)->vm_flags & VM_ACCESS_FLAGS, VM_READ | VM_EXEC);
	assert_int_equal(do_madvise(mm, s, pages(2), PS_MADV_REMOVE), -EACCES);
	/* A child has no more right than its parent. */
	as(fork_task("B"));
	assert_int_equal(do_mprotect(current->mm, s, pages(2), RW), -EACCES);
	as(a);

	p = place(2);
	assert_int_equal(do_mmap(mm, p, pages(2), RW, MM_MAP_FILE_READ_ONLY, inode, 0), 0);
	store(p, 2);
	assert_int_equal(load(w), 1);
	iput(inode);
	expect_sound();
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, scene_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_right_taken_away_is_gone_at_once_everywhere),
		test(what_an_entry_knows_survives),
		test(write_permission_comes_back_at_once_where_no_fault_is_needed),
		test(a_part_of_a_huge_page_splits_its_entry),
		test(the_zero_page_stays_read_only),
		test(a_hole_ends_it),
		test(a_disk_file_is_told_after_mprotect_too),
		test(a_page_under_migration_comes_back_with_the_new_rights),
		test(soft_dirty_tells_who_was_written_since),
		test(soft_dirty_sees_writes_through_stale_translations),
		test(changed_entries_are_counted),
		test(a_file_opened_for_reading_is_never_made_writable),
	};

	return cmocka_run_group_tests_name("mprotect", tests, NULL, NULL);
}
