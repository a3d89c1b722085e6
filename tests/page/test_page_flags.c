/* SPDX-License-Identifier: MIT */
/*
 * What is packed into struct page: flags with their policies, node, zone and last_cpupid above them, page types beside
 * the mapcount, and the low bits of `mapping`.
 */
#include "page/scene.h"

static int setup(void **state)
{
	return scene_setup_with(
		state, &(struct scene_spec){
			       .nr_nodes = 2, .pages = { 4096, 4096 }, .cpus = { 1, 1 }, .movable_percent = 50 });
}

/*
 *   head ─ tail ─ tail ─ tail       a flag of policy PF_HEAD set through a tail is the head's.
 * Expect: SetPageReferenced(tail) marks the head, PageReferenced of every page says so, the tail's own word is untouched.
 */
static void a_flag_of_the_head_is_everybodys(void **state)
{
	struct page *head = alloc_pages(GFP_KERNEL | __GFP_COMP, 2);
	unsigned long tail_flags = head[3].flags;

	SetPageReferenced(head + 3);
	assert_true(head->flags & PS_PG(referenced));
	assert_true(PageReferenced(head + 1));
	assert_int_equal(head[3].flags, tail_flags);
	assert_true(TestClearPageReferenced(head + 2));
	assert_false(PageReferenced(head));
	__free_pages(head, 2);
}

/* Expect: PF_NO_TAIL flags can be read through a tail, and changing them through one is a bug. */
static void a_flag_that_tails_may_not_change_is_guarded(void **state)
{
	struct page *head = alloc_pages(GFP_KERNEL | __GFP_COMP, 2);

	SetPageSwapBacked(head);
	assert_true(PageSwapBacked(head + 1));
	expect_bug(SetPageSwapBacked(head + 1));
	expect_bug(ClearPageMlocked(head + 3));
	expect_bug(SetPageWaiters(head + 1));
	expect_bug(SetPageReserved(head));
	expect_bug(SetPageUptodate(head + 1));
	ClearPageSwapBacked(head);
	__free_pages(head, 2);
}

/* Expect: test-and-set and test-and-clear return what was there. */
static void test_and_change_returns_the_old_value(void **state)
{
	struct page *page = alloc_page(GFP_KERNEL);

	assert_false(TestSetPageDirty(page));
	assert_true(TestSetPageDirty(page));
	assert_true(TestClearPageDirty(page));
	assert_false(TestClearPageDirty(page));
	assert_false(TestSetPageWriteback(page));
	assert_true(PageWriteback(page));
	assert_true(TestClearPageWriteback(page));
	__free_page(page);
}

/* Expect: the swap cache bit counts only on a swap-backed page; without that the bit is "checked" of a file system. */
static void the_swapcache_bit_needs_swapbacked(void **state)
{
	struct page *page = alloc_page(GFP_KERNEL);

	SetPageChecked(page);
	assert_false(PageSwapCache(page));
	SetPageSwapBacked(page);
	assert_true(PageSwapCache(page));
	ClearPageSwapCache(page);
	assert_false(PageChecked(page));
	__free_page(page);
}

/* Expect: node and zone are what the machine says for every page, and setting every flag does not change them. */
static void node_and_zone_survive_all_flags(void **state)
{
	gfp_t gfps[] = { GFP_KERNEL, GFP_HIGHUSER_MOVABLE };
	int nid, i;

	for (nid = 0; nid < 2; nid++)
		for (i = 0; i < 2; i++) {
			struct page *page = __alloc_pages_node(nid, gfps[i] | __GFP_THISNODE, 0);
			unsigned long flags = page->flags;

			assert_int_equal(page_to_nid(page), nid);
			assert_int_equal(page_to_nid(page), pfn_to_nid(page_to_pfn(page)));
			assert_int_equal(page_zonenum(page), i ? ZONE_MOVABLE : ZONE_NORMAL);
			assert_true(zone_spans_pfn(page_zone(page), page_to_pfn(page)));
			page->flags |= (1UL << NR_PAGEFLAGS) - 1;
			assert_int_equal(page_cpupid_xchg_last(page, 0), (int)LAST_CPUPID_MASK);
			assert_int_equal(page_to_nid(page), nid);
			assert_int_equal(page_zonenum(page), i ? ZONE_MOVABLE : ZONE_NORMAL);
			page->flags = flags;
			__free_page(page);
		}
}

/* Expect: last_cpupid keeps CPU and the low bits of the pid, starts unset, and is unset again in the next life. */
static void last_cpupid_is_exchanged_and_forgotten_on_free(void **state)
{
	struct page *page = alloc_page(GFP_KERNEL);
	int cpupid = cpu_pid_to_cpupid(37, 1000);

	assert_true(cpupid_pid_unset(page_cpupid_last(page)));
	assert_true(cpupid_cpu_unset(page_cpupid_last(page)));
	page_cpupid_xchg_last(page, cpupid);
	assert_int_equal(cpupid_to_cpu(page_cpupid_last(page)), 37);
	assert_int_equal(cpupid_to_pid(page_cpupid_last(page)), 1000 & LAST_PID_MASK);
	assert_int_equal(page_cpupid_xchg_last(page, 5), cpupid);
	__free_page(page);
	assert_true(cpupid_pid_unset(page_cpupid_last(page)));
}

/* Expect: a page type needs mapcount -1, clears its bit, and is not taken for a mapping. */
static void page_types_live_in_the_mapcount_of_unmapped_pages(void **state)
{
	struct page *page = alloc_page(GFP_KERNEL);

	assert_false(page_has_type(page));
	__SetPageOffline(page);
	assert_true(PageOffline(page));
	assert_false(PageBuddy(page));
	assert_true(page_has_type(page));
	expect_bug(__SetPageOffline(page));
	__ClearPageOffline(page);
	expect_bug(__ClearPageOffline(page));
	assert_false(page_has_type(page));
	atomic_inc(&page->_mapcount);
	assert_false(PageBuddy(page));
	assert_false(page_has_type(page));
	atomic_dec(&page->_mapcount);
	__free_page(page);
}

/* Expect: each kind of mapping is told by its low bits, also through a tail where that is meant. */
static void mapping_bits_tell_what_owns_the_page(void **state)
{
	static char owner[16] __attribute__((aligned(16)));
	struct {
		const char *name;
		unsigned long bits;
		bool anon, ksm, movable;
	} cases[] = {
		{ "file", 0, false, false, false },
		{ "anon", PAGE_MAPPING_ANON, true, false, false },
		{ "movable", PAGE_MAPPING_MOVABLE, false, false, true },
		{ "ksm", PAGE_MAPPING_KSM, true, true, false },
	};
	struct page *head = alloc_pages(GFP_KERNEL | __GFP_COMP, 2);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		head->mapping = (struct address_space *)((unsigned long)owner + cases[i].bits);
		assert_int_equal(PageAnon(head + 1), cases[i].anon);
		assert_int_equal(PageKsm(head + 2), cases[i].ksm);
		assert_int_equal(__PageMovable(head), cases[i].movable);
		assert_ptr_equal(page_rmapping(head + 3), owner);
		assert_ptr_equal(page_anon_vma(head + 1), cases[i].bits == PAGE_MAPPING_ANON ? (void *)owner : NULL);
	}
	head->mapping = NULL;
	__free_pages(head, 2);
}

/* Expect: only an anonymous page can be exclusive, each small page of a THP for itself. */
static void exclusive_is_for_anonymous_pages(void **state)
{
	struct page *head = alloc_pages(GFP_KERNEL | __GFP_COMP, 2);

	expect_bug(PageAnonExclusive(head));
	head->mapping = (struct address_space *)PAGE_MAPPING_ANON;
	SetPageAnonExclusive(head + 2);
	assert_true(PageAnonExclusive(head + 2));
	assert_false(PageAnonExclusive(head));
	ClearPageAnonExclusive(head + 2);
	head->mapping = NULL;
	__free_pages(head, 2);
}

/* Expect: the zero page is reserved, referenced, full of zeroes, outside all zones, and no walk over frames finds it. */
static void the_zero_page_belongs_to_nobody(void **state)
{
	struct page *zero = ZERO_PAGE(0);

	assert_true(is_zero_page(zero));
	assert_true(PageReserved(zero));
	assert_int_equal(page_count(zero), 1);
	assert_int_equal(page_mapcount(zero), 0);
	assert_int_equal(page_word_read(zero), 0);
	assert_null(pfn_to_online_page(page_to_pfn(zero)));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, scene_teardown)
	const struct CMUnitTest tests[] = {
		T(a_flag_of_the_head_is_everybodys),
		T(a_flag_that_tails_may_not_change_is_guarded),
		T(test_and_change_returns_the_old_value),
		T(the_swapcache_bit_needs_swapbacked),
		T(node_and_zone_survive_all_flags),
		T(last_cpupid_is_exchanged_and_forgotten_on_free),
		T(page_types_live_in_the_mapcount_of_unmapped_pages),
		T(mapping_bits_tell_what_owns_the_page),
		T(exclusive_is_for_anonymous_pages),
		T(the_zero_page_belongs_to_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
