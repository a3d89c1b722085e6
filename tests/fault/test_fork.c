/* SPDX-License-Identifier: MIT */
/*
 * fork: what the child has, what it shares, what it gets of its own at once.
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

/* ---- shared by copy on write */

static void the_child_has_the_parent_s_memory(void **state)
{
	u64 anon = map_filled(4, 1), huge = map_huge_filled(1, 2), untouched = map(4), s = map_shared(4),
	    f = map_file("/d/f", 0, 4, RW, SHARED), p = map_file("/d/f", 0, 4, RW, 0);
	struct task_struct *a = current, *b;

	(void)state;
	fill(s, 4, 3);
	fill(f, 4, 4);
	store(p, 55);
	b = fork_task("B");
	as(b);
	expect_filled(anon, 4, 1);
	expect_filled(huge, H, 2);
	expect_zero(untouched, 4);
	expect_filled(s, 4, 3);
	expect_filled(f, 4, 4);
	assert_int_equal(load(p), 55);
	assert_int_equal(load(p + pages(1)), word_of(4, 1));
	/* Private memory parts, shared memory does not. */
	store(anon, 1);
	store(huge, 2);
	store(s, 3);
	store(p, 4);
	as(a);
	assert_int_equal(load(anon), word_of(1, 0));
	assert_int_equal(load(huge), word_of(2, 0));
	assert_int_equal(load(s), 3);
	assert_int_equal(load(p), 55);
}

/* Expect: both sides write-protected and not exclusive; the child's entries old, the parent's young. */
static void entries_of_private_memory_are_write_protected_on_both_sides(void **state)
{
	u64 r = map_filled(1, 1), h = map_huge_filled(1, 1);
	struct task_struct *a = current, *b = fork_task("B");
	struct page *page = page_at(r);

	(void)state;
	assert_int_equal(page_mapcount(page), 2);
	assert_false(PageAnonExclusive(page) || pte_write(pte_at(r)) || pmd_write(pmd_at(h)));
	assert_true(pte_young(pte_at(r)) && pte_dirty(pte_at(r)));
	assert_false(PageAnonExclusive(page_at(h)));
	as(b);
	assert_false(pte_write(pte_at(r)) || pte_young(pte_at(r)));
	assert_true(pte_dirty(pte_at(r)));
	assert_false(pmd_write(pmd_at(h)) || pmd_young(pmd_at(h)));
	assert_int_equal(get_mm_counter(b->mm, MM_ANONPAGES), 1 + H);
	as(a);
}

/* File pages without private copies are not copied: the child faults them in. A VMA with copies is copied whole. */
static void what_can_be_faulted_in_again_is_not_copied(void **state)
{
	u64 f = map_file("/d/f", 0, 4, RW, SHARED), p = map_file("/d/f", 0, 4, RW, 0),
	    q = map_file("/d/f", 0, 4, RW, 0);
	struct task_struct *b;

	(void)state;
	fill(f, 4, 1);
	expect_filled(p, 4, 1);
	expect_filled(q, 4, 1);
	store(q, 5);
	b = fork_task("B");
	as(b);
	assert_true(pte_none(pte_at(f)) && pte_none(pte_at(p)));
	assert_true(pte_present(pte_at(q)) && pte_present(pte_at(q + pages(1))));
	assert_int_equal(get_mm_counter(b->mm, MM_FILEPAGES), 3);
	assert_int_equal(get_mm_counter(b->mm, MM_ANONPAGES), 1);
}

static void what_is_not_to_be_forked_is_not(void **state)
{
	u64 r = map_filled(4, 1), word;
	struct task_struct *a = current, *b;

	(void)state;
	assert_int_equal(do_madvise(a->mm, r + pages(1), pages(2), PS_MADV_DONTFORK), 0);
	b = fork_task("B");
	as(b);
	assert_int_equal(load(r), word_of(1, 0));
	assert_int_equal(try_load(r + pages(1), &word), -EFAULT);
	assert_int_equal(load(r + pages(3)), word_of(1, 3));
	as(a);
	assert_true(exclusive_at(r + pages(1)));
	assert_int_equal(do_madvise(a->mm, r, pages(4), PS_MADV_DOFORK), 0);
	b = fork_task("C");
	as(b);
	expect_filled(r, 4, 1);
}

static void locks_on_memory_are_not_inherited(void **state)
{
	u64 r = map_filled(2, 1);
	struct task_struct *b;

	(void)state;
	assert_int_equal(do_mlock(current->mm, r, pages(2)), 0);
	b = fork_task("B");
	assert_true(vma_at(r)->vm_flags & VM_LOCKED);
	as(b);
	assert_false(vma_at(r)->vm_flags & VM_LOCKED);
	expect_filled(r, 2, 1);
}

static void the_parent_s_translations_are_flushed(void **state)
{
	u64 r = map_filled(1, 1);
	struct task_struct *a = current, *t = thread("T", 3), *b;

	(void)state;
	as(t);
	store(r, 5); /* writable on CPU 3, too */
	as(a);
	b = fork_task("B");
	as(t);
	store(r, 6);
	as(b);
	assert_int_equal(load(r), 5);
	as(a);
	assert_int_equal(load(r), 6);
}

/* ---- pins */

/* A pinned page is copied for the child at once; the parent keeps the page the device knows, writable. */
static void a_pinned_page_is_copied_at_once(void **state)
{
	u64 r = map_filled(3, 1);
	struct page *pinned = grab(r + pages(1), FOLL_PIN | FOLL_WRITE);
	struct task_struct *a = current, *b = fork_task("B");

	(void)state;
	assert_ptr_equal(page_at(r + pages(1)), pinned);
	assert_true(exclusive_at(r + pages(1)) && pte_write(pte_at(r + pages(1))));
	assert_false(exclusive_at(r));
	as(b);
	assert_ptr_not_equal(page_at(r + pages(1)), pinned);
	assert_true(exclusive_at(r + pages(1)));
	expect_filled(r, 3, 1);
	as(a);
	page_word_write(pinned, 99); /* the device writes */
	assert_int_equal(load(r + pages(1)), 99);
	as(b);
	assert_int_equal(load(r + pages(1)), word_of(1, 1));
	as(a);
	drop(pinned, FOLL_PIN);
}

/* Of a huge page every small page counts as pinned: its PMD is split and all of it copied. */
static void a_pinned_huge_page_is_copied_page_by_page(void **state)
{
	u64 r = map_huge_filled(1, 1);
	struct page *pinned = grab(r + pages(7), FOLL_PIN | FOLL_WRITE), *head = compound_head(pinned);
	struct task_struct *a = current, *b = fork_task("B");
	u64 i;

	(void)state;
	assert_true(pmd_table(pmd_at(r)));
	for (i = 0; i < H; i++)
		assert_ptr_equal(page_at(r + pages(i)), head + i);
	assert_ptr_equal(page_at(r + pages(7)), pinned);
	as(b);
	expect_filled(r, H, 1);
	assert_ptr_not_equal(page_at(r), head);
	assert_int_equal(vmstat("thp_split_pmd"), 1);
	as(a);
	expect_filled(r, H, 1);
	expect_sound();
	drop(pinned, FOLL_PIN);
}

/* ---- under migration */

/* fork copies a migration entry as a shared one; when the page is back both map it, read-only. */
static void a_page_under_migration_is_shared(void **state)
{
	u64 r = map_filled(1, 1), h = map_huge_filled(1, 2);
	struct page *small = page_at(r), *huge = page_at(h);
	struct task_struct *a = current, *b, *migrator = scene_task("migrator", 1);

	(void)state;
	as(migrator);
	lru_add_drain_all();
	get_page(small);
	get_page(huge);
	hold(small, 1);
	hold(huge, 1);
	lock_page(small);
	lock_page_nested(huge);
	try_to_migrate(small, 0, NULL);
	try_to_migrate(huge, 0, NULL);
	as(a);
	b = fork_task("B");
	assert_true(is_readable_migration_entry(pte_to_swp_entry(pte_at(r))));
	assert_true(is_readable_migration_entry(pmd_to_swp_entry(pmd_at(h))));
	assert_true(pte_migration_young(pte_at(r)) && pte_migration_dirty(pte_at(r)) && pte_swp_soft_dirty(pte_at(r)));
	as(migrator);
	remove_migration_ptes(small, small, false);
	remove_migration_ptes(huge, huge, false);
	unlock_page(huge);
	unlock_page(small);
	unhold(small, 1);
	unhold(huge, 1);
	put_page(small);
	put_page(huge);
	as(a);
	assert_int_equal(page_mapcount(small), 2);
	assert_int_equal(compound_mapcount(huge), 2);
	assert_false(pte_write(pte_at(r)) || PageAnonExclusive(small) || PageAnonExclusive(huge));
	as(b);
	expect_filled(r, 1, 1);
	store(r, 9);
	expect_filled(h, H, 2);
	as(a);
	expect_filled(r, 1, 1);
}

/* ---- trees of processes */

/*
 *      A ─ B ─ D
 *        └ C
 * Each writes its own page of four and then exits, in every order. Expect: everybody sees what he should, to the end.
 */
static void families_end_in_any_order(void **state)
{
	static const int orders[][4] = { { 0, 1, 2, 3 }, { 3, 2, 1, 0 }, { 1, 3, 0, 2 }, { 2, 0, 3, 1 } };
	unsigned int o, i, k;

	(void)state;
	for (o = 0; o < ARRAY_SIZE(orders); o++) {
		struct task_struct *t[4];
		bool gone[4] = { false };
		u64 r;

		t[0] = start("A", 0);
		r = map_filled(4, 1);
		t[1] = fork_task("B");
		t[2] = fork_task("C");
		as(t[1]);
		t[3] = fork_task("D");
		for (i = 0; i < 4; i++) {
			as(t[i]);
			store(r + pages(i), 1000 + i);
		}
		for (i = 0; i < 4; i++) {
			exit_task(t[orders[o][i]]);
			gone[orders[o][i]] = true;
			expect_sound();
			for (k = 0; k < 4; k++) {
				u64 p;

				if (gone[k])
					continue;
				as(t[k]);
				for (p = 0; p < 4; p++)
					assert_int_equal(load(r + pages(p)), p == k ? 1000 + k : word_of(1, p));
			}
		}
		as(scene->boot);
	}
}

static void the_last_of_the_threads_ends_the_address_space(void **state)
{
	u64 r = map_filled(1, 1);
	struct task_struct *a = current, *t = thread("T", 1);

	(void)state;
	assert_int_equal(atomic_read(&a->mm->mm_users), 2);
	as(t);
	exit_task(a);
	assert_int_equal(load(r), word_of(1, 0));
	exit_task(t);
	as(scene->boot);
	assert_true(list_empty(&scene->machine->mms->list));
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, scene_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(the_child_has_the_parent_s_memory),
		test(entries_of_private_memory_are_write_protected_on_both_sides),
		test(what_can_be_faulted_in_again_is_not_copied),
		test(what_is_not_to_be_forked_is_not),
		test(locks_on_memory_are_not_inherited),
		test(the_parent_s_translations_are_flushed),
		test(a_pinned_page_is_copied_at_once),
		test(a_pinned_huge_page_is_copied_page_by_page),
		test(a_page_under_migration_is_shared),
		test(families_end_in_any_order),
		test(the_last_of_the_threads_ends_the_address_space),
	};

	return cmocka_run_group_tests_name("fork", tests, NULL, NULL);
}
