/* SPDX-License-Identifier: MIT */
/*
 * From an address to its page: looking without faulting, and getting or pinning what a device will read or write.
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

/* ---- follow_page */

/* What move_pages and its kin see of an address: FOLL_GET | FOLL_DUMP. */
static void looking_tells_page_nothing_or_error(void **state)
{
	u64 r = map(4), h = map_huge(1), z = map_huge(1), s = map_shared(4);
	static const unsigned int dump = FOLL_GET | FOLL_DUMP;
	struct page *page;
	unsigned int i;
	const struct {
		const char *name;
		u64 addr;
		unsigned int flags;
		int error;
		bool page;
	} table[] = {
		{ "a page", r, dump, 0, true },
		{ "the zero page", r + pages(1), dump, -EFAULT, false },
		{ "the zero page, no dump", r + pages(1), FOLL_GET, 0, true },
		{ "a hole in anonymous memory", r + pages(2), dump, -EFAULT, false },
		{ "a hole in anonymous memory, no dump", r + pages(2), FOLL_GET, 0, false },
		{ "a tail of a huge page", h + pages(3), dump, 0, true },
		{ "the huge zero page", z, dump, -EFAULT, false },
		{ "the huge zero page, no dump", z, FOLL_GET, 0, true },
		{ "shared memory", s, dump, 0, true },
		{ "a hole in shared memory", s + pages(1), dump, 0, false },
	};

	(void)state;
	store(r, 1);
	load(r + pages(1));
	store(h, 1);
	load(z);
	store(s, 1);
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		int error;

		page = (struct page *)&table;
		error = follow_page(vma_at(table[i].addr), table[i].addr, table[i].flags, &page);
		if (error != table[i].error || (!error && !!page != table[i].page))
			fail_msg("%s: %d", table[i].name, error);
		if (error) {
			assert_ptr_equal(page, table);
			continue;
		}
		if (page)
			put_page(page);
	}
	/* PROT_NONE: present, but not for looking. */
	assert_int_equal(do_mprotect(current->mm, r, pages(1), 0), 0);
	assert_int_equal(follow_page(vma_at(r), r, dump, &page), 0);
	assert_null(page);
}

static void looking_without_get_takes_no_reference(void **state)
{
	u64 r = map_filled(1, 1);
	struct page *page = NULL;

	(void)state;
	lru_add_drain_all();
	assert_int_equal(follow_page(vma_at(r), r, 0, &page), 0);
	assert_ptr_equal(page, page_at(r));
	assert_int_equal(page_ref_count(page), 1);
}

/* ---- get_user_pages */

static void getting_faults_in_what_is_missing(void **state)
{
	u64 r = map(8);
	struct page *got[8];
	unsigned int i;

	(void)state;
	assert_int_equal(get_user_pages(current->mm, r, 8, FOLL_GET | FOLL_WRITE, got), 8);
	for (i = 0; i < 8; i++) {
		assert_ptr_equal(page_at(r + pages(i)), got[i]);
		assert_true(pte_write(pte_at(r + pages(i))));
		put_user_page(got[i], FOLL_GET, false);
	}
	/* For reading: the zero page. */
	r = map(1);
	assert_int_equal(get_user_pages(current->mm, r, 1, FOLL_GET, got), 1);
	assert_true(is_zero_page(got[0]));
	put_user_page(got[0], FOLL_GET, false);
}

static void the_first_address_that_fails_ends_it(void **state)
{
	u64 r = map_at(place(8), 4, RW, 0);
	struct page *got[8];

	(void)state;
	assert_int_equal(get_user_pages(current->mm, r + pages(2), 6, FOLL_GET | FOLL_WRITE, got), 2);
	put_user_page(got[0], FOLL_GET, false);
	put_user_page(got[1], FOLL_GET, false);
	assert_int_equal(get_user_pages(current->mm, r + pages(4), 1, FOLL_GET, got), -EFAULT);
	assert_int_equal(do_mprotect(current->mm, r, pages(4), RO), 0);
	assert_int_equal(get_user_pages(current->mm, r, 1, FOLL_GET | FOLL_WRITE, got), -EFAULT);
	assert_int_equal(do_mprotect(current->mm, r, pages(4), 0), 0);
	assert_int_equal(get_user_pages(current->mm, r, 1, FOLL_GET, got), -EFAULT);
}

/* A pin of a small page counts 1024 references; of a huge page one, and one pincount. Counted as acquired and released. */
static void a_pin_is_counted_by_the_size_of_the_page(void **state)
{
	u64 r = map_filled(1, 1), h = map_huge_filled(1, 1);
	struct page *small = page_at(r), *head = page_at(h), *got;

	(void)state;
	lru_add_drain_all();
	got = grab(r, FOLL_PIN | FOLL_WRITE);
	assert_int_equal(page_ref_count(small), 1 + GUP_PIN_COUNTING_BIAS);
	assert_true(page_maybe_dma_pinned(small));
	drop(got, FOLL_PIN);
	assert_int_equal(page_ref_count(small), 1);
	got = grab(h + pages(9), FOLL_PIN | FOLL_WRITE);
	assert_ptr_equal(got, head + 9);
	assert_int_equal(page_ref_count(head), 2);
	assert_int_equal(head_compound_pincount(head), 1);
	drop(got, FOLL_PIN);
	assert_int_equal(head_compound_pincount(head), 0);
	assert_int_equal(vmstat("nr_foll_pin_acquired"), 2);
	assert_int_equal(vmstat("nr_foll_pin_released"), 2);
}

/* ---- pins and sharing */

/* Shared by fork: a pin for writing copies, a pin for reading too (unsharing); what is pinned is the pinner's own. */
static void what_is_pinned_is_exclusive(void **state)
{
	u64 r = map_filled(3, 1), h = map_huge_filled(1, 2);
	struct task_struct *a = current, *b = fork_task("B");
	struct page *original = page_at(r), *second = page_at(r + pages(1)), *head = page_at(h), *p, *q, *huge;

	(void)state;
	as(b);
	p = grab(r, FOLL_PIN | FOLL_WRITE);
	assert_ptr_not_equal(p, original);
	q = grab(r + pages(1), FOLL_PIN);
	assert_ptr_not_equal(q, second);
	assert_false(pte_write(pte_at(r + pages(1)))); /* unshared, not written */
	assert_true(exclusive_at(r) && exclusive_at(r + pages(1)));
	assert_int_equal(page_word_read(q), word_of(1, 1));
	huge = grab(h + pages(2), FOLL_PIN);
	assert_ptr_not_equal(huge, head + 2);
	assert_true(pmd_table(pmd_at(h)));
	expect_filled(r, 3, 1);
	expect_filled(h, H, 2);
	expect_sound();
	drop(p, FOLL_PIN);
	drop(q, FOLL_PIN);
	drop(huge, FOLL_PIN);
	/* A mere get shares. */
	p = grab(r + pages(2), FOLL_GET);
	as(a);
	assert_ptr_equal(p, page_at(r + pages(2)));
	drop(p, FOLL_GET);
}

/* The last owner's page is made exclusive in place when it is pinned for reading. */
static void unsharing_reuses_what_nobody_else_has(void **state)
{
	u64 r = map_filled(1, 1);
	struct task_struct *a = current, *b = fork_task("B");
	struct page *original = page_at(r), *p;

	(void)state;
	exit_task(b);
	as(a);
	lru_add_drain_all();
	assert_false(exclusive_at(r));
	p = grab(r, FOLL_PIN);
	assert_ptr_equal(p, original);
	assert_true(exclusive_at(r));
	assert_false(pte_write(pte_at(r)));
	drop(p, FOLL_PIN);
}

/* ---- files */

/* 6.1 lets a device have the pages of any file for ever; that of a disk file is writable and dirty from then on. */
static void long_term_pins_are_for_any_file(void **state)
{
	u64 t = map_file("/t/f", 0, 1, RW, SHARED), d = map_file("/d/f", 0, 1, RW, SHARED);
	struct page *p, *q;

	(void)state;
	p = grab(d, FOLL_PIN | FOLL_WRITE | FOLL_LONGTERM);
	q = grab(t, FOLL_PIN | FOLL_WRITE | FOLL_LONGTERM);
	assert_true(PageDirty(p) && pte_write(pte_at(d)));
	expect_sound();
	drop(p, FOLL_PIN);
	drop(q, FOLL_PIN);
}

static void who_wrote_says_so_when_letting_go(void **state)
{
	u64 t = map_file("/t/f", 0, 1, RW, SHARED);
	struct page *p;

	(void)state;
	load(t);
	assert_int_equal(get_user_pages(current->mm, t, 1, FOLL_GET, &p), 1);
	assert_false(PageDirty(p));
	put_user_page(p, FOLL_GET, true);
	assert_true(PageDirty(p));
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, scene_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(looking_tells_page_nothing_or_error),      test(looking_without_get_takes_no_reference),
		test(getting_faults_in_what_is_missing),        test(the_first_address_that_fails_ends_it),
		test(a_pin_is_counted_by_the_size_of_the_page), test(what_is_pinned_is_exclusive),
		test(unsharing_reuses_what_nobody_else_has),    test(long_term_pins_are_for_any_file),
		test(who_wrote_says_so_when_letting_go),
	};

	return cmocka_run_group_tests_name("get_user_pages", tests, NULL, NULL);
}
