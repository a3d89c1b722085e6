/* SPDX-License-Identifier: MIT */
/*
 * Compound pages: what is where in head and tails, what their end takes apart, and the deferred split queue.
 */
#include "page/scene.h"

static int setup(void **state)
{
	return scene_setup_with(state,
				&(struct scene_spec){ .nr_nodes = 2, .pages = { 8192, 8192 }, .cpus = { 1, 1 } });
}

/* Expect: for every order the head knows order and size, every tail knows the head, and nothing else is set. */
static void every_order_has_a_head_and_tails(void **state)
{
	unsigned int order, i;

	for (order = 1; order < MAX_ORDER; order++) {
		struct page *head = alloc_pages(GFP_KERNEL | __GFP_COMP, order);

		assert_non_null(head);
		assert_true(PageHead(head) && PageTransHuge(head) && PageCompound(head) && !PageTail(head));
		assert_int_equal(compound_order(head), order);
		assert_int_equal(compound_nr(head), 1UL << order);
		assert_int_equal(thp_size(head), PAGE_SIZE << order);
		assert_int_equal(head_compound_mapcount(head), 0);
		assert_int_equal(head_compound_pincount(head), 0);
		for (i = 1; i < 1U << order; i++) {
			assert_true(PageTail(head + i) && PageTransTail(head + i) && PageCompound(head + i));
			assert_ptr_equal(compound_head(head + i), head);
			assert_int_equal(page_ref_count(head + i), 0);
			assert_int_equal(page_mapcount(head + i), 0);
			if (i > 2)
				assert_ptr_equal(head[i].mapping, TAIL_MAPPING);
		}
		__free_pages(head, order);
		for (i = 0; i < 1U << order; i++) {
			assert_false(PageCompound(head + i));
			assert_null(head[i].mapping);
		}
	}
}

/* Expect: order > 0 without __GFP_COMP gives separate pages, of which the first is counted. */
static void without_comp_the_pages_are_separate(void **state)
{
	struct scene *s = *state;
	struct page *page = alloc_pages(GFP_KERNEL, 2);
	int i;

	for (i = 0; i < 4; i++) {
		assert_false(PageCompound(page + i));
		assert_int_equal(page_ref_count(page + i), i == 0);
	}
	split_page(page, 2);
	for (i = 0; i < 4; i++) {
		assert_int_equal(page_ref_count(page + i), 1);
		put_page(page + i);
	}
	assert_int_equal(ps_mem_allocated_pages(s->machine), 0);
}

/* Expect: freeing a block whose first page somebody still holds frees the others; that one goes with its last reference. */
static void a_held_first_page_of_a_block_outlives_the_rest(void **state)
{
	struct scene *s = *state;
	struct page *page = alloc_pages(GFP_KERNEL, 3);

	get_page(page);
	__free_pages(page, 3);
	assert_int_equal(ps_mem_allocated_pages(s->machine), 1);
	put_page(page);
	assert_int_equal(ps_mem_allocated_pages(s->machine), 0);
}

/* Expect: a held compound page is not freed in part. */
static void a_held_compound_page_stays_whole(void **state)
{
	struct scene *s = *state;
	struct page *page = alloc_pages(GFP_KERNEL | __GFP_COMP, 3);

	get_page(page);
	__free_pages(page, 3);
	assert_int_equal(ps_mem_allocated_pages(s->machine), 8);
	put_page(page);
	assert_int_equal(ps_mem_allocated_pages(s->machine), 0);
}

/*
 *   queue of node 1:  A B C      put B, then queue B's order again
 * Expect: queued once however often asked, each on its node's queue, counted once, and taken off when freed.
 */
static void a_freed_thp_leaves_the_split_queue(void **state)
{
	struct page *thp[3];
	struct deferred_split *queue;
	int i;

	for (i = 0; i < 3; i++) {
		thp[i] = new_thp(1);
		deferred_split_huge_page(thp[i]);
		deferred_split_huge_page(thp[i]);
	}
	queue = get_deferred_split_queue(thp[0]);
	assert_ptr_equal(queue, &NODE_DATA(1)->deferred_split_queue);
	assert_int_equal(queue->split_queue_len, 3);
	assert_int_equal(vmstat("thp_deferred_split_page"), 3);
	assert_int_equal(NODE_DATA(0)->deferred_split_queue.split_queue_len, 0);
	put_page(thp[1]);
	assert_int_equal(queue->split_queue_len, 2);
	scene_check(*state);
	put_page(thp[0]);
	put_page(thp[2]);
	assert_true(list_empty(&queue->split_queue));
}

/* Expect: a THP in the swap cache is not queued. */
static void a_thp_in_the_swap_cache_is_not_queued(void **state)
{
	struct page *thp = new_thp(0);

	SetPageSwapCache(thp);
	deferred_split_huge_page(thp);
	assert_int_equal(NODE_DATA(0)->deferred_split_queue.split_queue_len, 0);
	ClearPageSwapCache(thp);
	put_page(thp);
}

/* Expect: freeing a compound page that is mapped by a PMD, pinned, locked, or whose tail was tampered with, is a bug. */
static void what_is_still_used_cannot_be_freed(void **state)
{
	struct scene *s = *state;
	struct page *thp = new_thp(0);

	s->may_leak = true;
	atomic_set(compound_mapcount_ptr(thp), 0);
	expect_bug(put_page(thp));
	atomic_set(compound_mapcount_ptr(thp), -1);

	thp = new_thp(0);
	nr_pages_mapped_add(thp, 1);
	expect_bug(put_page(thp));
	nr_pages_mapped_add(thp, -1);

	thp = new_thp(0);
	atomic_set(compound_pincount_ptr(thp), 1);
	expect_bug(put_page(thp));
	atomic_set(compound_pincount_ptr(thp), 0);

	thp = new_thp(0);
	__SetPageLocked(thp);
	expect_bug(put_page(thp));
	__ClearPageLocked(thp);

	thp = new_thp(0);
	thp[17].mapping = NULL;
	expect_bug(put_page(thp));

	thp = new_thp(0);
	set_compound_head(thp + 5, thp + 4);
	expect_bug(put_page(thp));

	thp = new_thp(0);
	atomic_inc(&thp[9]._mapcount);
	expect_bug(put_page(thp));
}

/* The frames of those are half taken apart: there is nothing to check at the end. */
static int teardown_broken(void **state)
{
	struct scene *s = *state;

	scene_free(s);
	free(s);
	return 0;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, scene_teardown)
	const struct CMUnitTest tests[] = {
		T(every_order_has_a_head_and_tails),
		T(without_comp_the_pages_are_separate),
		T(a_held_first_page_of_a_block_outlives_the_rest),
		T(a_held_compound_page_stays_whole),
		T(a_freed_thp_leaves_the_split_queue),
		T(a_thp_in_the_swap_cache_is_not_queued),
		cmocka_unit_test_setup_teardown(what_is_still_used_cannot_be_freed, setup, teardown_broken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
