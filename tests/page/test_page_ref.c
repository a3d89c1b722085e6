/* SPDX-License-Identifier: MIT */
/*
 * References, freezing, pins and mapcounts: tables of cases over one page.
 */
#include "page/scene.h"

static int setup(void **state)
{
	return scene_setup_with(state, &(struct scene_spec){ 0 });
}

/* Expect: freeze(n) succeeds exactly when the count is n, and then nobody gets a reference until unfreeze. */
static void freeze_takes_all_references_or_none(void **state)
{
	static const struct {
		int count, freeze;
		bool ok;
	} cases[] = { { 1, 1, true },  { 2, 2, true },  { 2, 1, false },
		      { 1, 2, false }, { 5, 4, false }, { 1025, 1025, true } };
	struct page *page = alloc_page(GFP_KERNEL);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		set_page_count(page, cases[i].count);
		assert_int_equal(page_ref_freeze(page, cases[i].freeze), cases[i].ok);
		if (!cases[i].ok) {
			assert_int_equal(page_ref_count(page), cases[i].count);
			assert_true(get_page_unless_zero(page));
			assert_int_equal(page_ref_count(page), cases[i].count + 1);
			continue;
		}
		assert_int_equal(page_ref_count(page), 0);
		assert_false(get_page_unless_zero(page));
		assert_int_equal(page_ref_count(page), 0);
		page_ref_unfreeze(page, cases[i].count);
		assert_int_equal(page_ref_count(page), cases[i].count);
		assert_true(get_page_unless_zero(page));
		assert_int_equal(page_ref_count(page), cases[i].count + 1);
	}
	set_page_count(page, 1);
	put_page(page);
}

/* Expect: unfreezing what is not frozen, or to nothing, is a bug. */
static void unfreeze_wants_a_frozen_page_and_a_count(void **state)
{
	struct page *page = alloc_page(GFP_KERNEL);

	expect_bug(page_ref_unfreeze(page, 2));
	assert_true(page_ref_freeze(page, 1));
	expect_bug(page_ref_unfreeze(page, 0));
	page_ref_unfreeze(page, 1);
	put_page(page);
}

/* Expect: get and put through a tail count in the head, tails stay 0, and the last put frees all of it. */
static void tails_are_counted_in_the_head(void **state)
{
	struct scene *s = *state;
	struct page *head = alloc_pages(GFP_KERNEL | __GFP_COMP, 3);

	get_page(head + 5);
	assert_int_equal(page_count(head + 2), 2);
	assert_int_equal(page_ref_count(head), 2);
	assert_int_equal(page_ref_count(head + 5), 0);
	put_page(head + 7);
	assert_int_equal(ps_mem_allocated_pages(s->machine), 8);
	put_page(head + 1);
	assert_int_equal(ps_mem_allocated_pages(s->machine), 0);
}

static int warnings;

static void count_warning(void *arg, const struct ps_bug *bug)
{
	if (bug->kind != PS_BUG)
		warnings++;
}

/* Expect: a page without references gives none: get is a bug, try_get warns and refuses, a second put is a bug. */
static void a_free_page_gives_no_reference(void **state)
{
	struct page *page = alloc_page(GFP_KERNEL);
	struct ps_bug_handler old;

	put_page(page);
	assert_false(get_page_unless_zero(page));
	expect_bug(get_page(page));
	expect_bug(put_page(page));
	warnings = 0;
	old = ps_bug_set_handler((struct ps_bug_handler){ count_warning, NULL });
	assert_false(try_get_page(page));
	ps_bug_set_handler(old);
	assert_int_equal(warnings, 1);
	assert_int_equal(page_ref_count(page), 0);
}

/* Expect: a small page looks pinned from 1024 references on, a compound one by its own count of pins. */
static void pins_are_counted_apart_where_there_is_room(void **state)
{
	struct page *small = alloc_page(GFP_KERNEL), *thp = new_thp(0);

	assert_false(page_maybe_dma_pinned(small));
	page_ref_add(small, 1022);
	assert_false(page_maybe_dma_pinned(small));
	page_ref_add(small, 1);
	assert_true(page_maybe_dma_pinned(small)); /* false positive, as in Linux */
	page_ref_sub(small, 1023);
	assert_true(page_pin(small, 2));
	assert_int_equal(page_count(small), 1 + 2 * GUP_PIN_COUNTING_BIAS);
	assert_true(page_maybe_dma_pinned(small));
	page_unpin(small, 2);
	assert_int_equal(page_count(small), 1);

	page_ref_add(thp, 3000);
	assert_false(page_maybe_dma_pinned(thp + 7));
	page_ref_sub(thp, 3000);
	assert_true(page_pin(thp + 7, 3));
	assert_int_equal(page_count(thp), 4);
	assert_int_equal(head_compound_pincount(thp), 3);
	assert_true(page_maybe_dma_pinned(thp + 1));
	page_unpin(thp, 3);
	assert_int_equal(page_count(thp), 1);
	assert_int_equal(vmstat("nr_foll_pin_acquired"), 5);
	assert_int_equal(vmstat("nr_foll_pin_released"), 5);
	put_page(small);
	put_page(thp);
}

/*
 * pte[i]: PTEs that map small page i; pmd: PMDs that map the compound page.
 * Expect: page_mapcount(i) = pte[i] + pmd, total = sum of all, mapped if any.
 */
static void mapcounts_add_up(void **state)
{
	static const struct {
		int pte[4], pmd;
	} cases[] = { { { 0, 0, 0, 0 }, 0 },
		      { { 1, 0, 0, 0 }, 0 },
		      { { 0, 0, 0, 1 }, 0 },
		      { { 0, 0, 0, 0 }, 1 },
		      { { 1, 2, 0, 3 }, 2 } };
	struct page *head = alloc_pages(GFP_KERNEL | __GFP_COMP, 2);
	size_t i;
	int p;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		int sum = cases[i].pmd, mapped = sum ? COMPOUND_MAPPED : 0;

		for (p = 0; p < 4; p++) {
			atomic_set(&head[p]._mapcount, cases[i].pte[p] - 1);
			sum += cases[i].pte[p];
			mapped += cases[i].pte[p] > 0;
		}
		assert_int_equal(nr_pages_mapped_add(head, mapped - head_nr_pages_mapped(head)), mapped);
		atomic_set(compound_mapcount_ptr(head), cases[i].pmd - 1);
		for (p = 0; p < 4; p++)
			assert_int_equal(page_mapcount(head + p), cases[i].pte[p] + cases[i].pmd);
		assert_int_equal(compound_mapcount(head + 3), cases[i].pmd);
		assert_int_equal(total_mapcount(head + 1), sum);
		assert_int_equal(page_mapped(head + 2), sum > 0);
	}
	atomic_set(compound_mapcount_ptr(head), -1);
	nr_pages_mapped_add(head, -head_nr_pages_mapped(head));
	for (p = 0; p < 4; p++)
		page_mapcount_reset(head + p);
	__free_pages(head, 2);

	head = alloc_page(GFP_KERNEL);
	assert_int_equal(page_mapcount(head), 0);
	assert_false(page_mapped(head));
	atomic_inc(&head->_mapcount);
	assert_int_equal(total_mapcount(head), 1);
	assert_int_equal(compound_mapcount(head), 0);
	assert_true(page_mapped(head));
	page_mapcount_reset(head);
	__free_page(head);
}

/* Expect: releasing an array drops one reference each, frees exactly those it was the last of, small and compound. */
static void release_pages_frees_what_nobody_else_has(void **state)
{
	struct scene *s = *state;
	struct page *pages[40];
	int i;

	for (i = 0; i < 40; i++) {
		pages[i] = i % 10 == 9 ? alloc_pages(GFP_KERNEL | __GFP_COMP, 1) : new_anon_page(0);
		if (i % 10 != 9 && i % 3 == 0)
			lru_cache_add(pages[i]);
	}
	lru_add_drain();
	get_page(pages[0]);
	get_page(pages[9]);
	release_pages(pages, 40);
	assert_int_equal(ps_mem_allocated_pages(s->machine), 3);
	assert_int_equal(page_count(pages[0]), 1);
	assert_true(PageLRU(pages[0]));
	release_pages(pages, 1);
	release_pages(pages + 9, 1);
	assert_int_equal(vmstat("nr_inactive_anon"), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, scene_teardown)
	const struct CMUnitTest tests[] = {
		T(freeze_takes_all_references_or_none),
		T(unfreeze_wants_a_frozen_page_and_a_count),
		T(tails_are_counted_in_the_head),
		T(a_free_page_gives_no_reference),
		T(pins_are_counted_apart_where_there_is_room),
		T(mapcounts_add_up),
		T(release_pages_frees_what_nobody_else_has),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
