/* SPDX-License-Identifier: MIT */
/*
 * Taking pages out by range: all of them (truncation), the cheap ones (invalidation), and compound pages that stick
 * out.
 */
#include "cache/scene.h"

#include <pagesim/buffer_head.h>

static void truncation_leaves_nothing_behind_the_end(void **state)
{
	struct inode *inode = file("/d/a");
	struct address_space *mapping = inode->i_mapping;

	(void)state;
	for (pgoff_t i = 0; i < 60; i += i % 7 + 1)
		assert_int_equal(file_write_page(inode, i, i, NULL), 0);
	truncate_inode_pages(mapping, 20);
	assert_false(filemap_range_has_page(mapping, 20, (pgoff_t)-1));
	assert_true(filemap_range_has_page(mapping, 0, 19));
	truncate_inode_pages_range(mapping, 5, 10);
	assert_false(filemap_range_has_page(mapping, 5, 10));
	assert_true(filemap_range_has_page(mapping, 0, 4));
	assert_true(filemap_range_has_page(mapping, 11, 19));
	assert_files_valid();
	truncate_inode_pages(mapping, 0);
	assert_true(xa_empty(&mapping->i_pages));
	iput(inode);
}

static void truncation_takes_shadows_too(void **state)
{
	struct inode *inode = file("/d/a");
	struct address_space *mapping = inode->i_mapping;

	(void)state;
	cached_page(inode, 4, 1);
	for (unsigned long i = 0; i < 30; i += 3)
		xa_store(&mapping->i_pages, i, xa_mk_value(i), 0);
	truncate_inode_pages(mapping, 0);
	assert_true(xa_empty(&mapping->i_pages));
	iput(inode);
}

/*
 *	0 clean		1 dirty		2 locked	3 referenced	4 writeback	5 clean with buffers
 * Expect: invalidation takes 0 and 5.
 */
static void invalidation_takes_what_costs_nothing(void **state)
{
	struct inode *inode = file("/d/a");
	struct address_space *mapping = inode->i_mapping;
	struct page *pages[6];
	unsigned long failed;

	(void)state;
	for (pgoff_t i = 0; i < 6; i++)
		pages[i] = cached_page(inode, i, i);
	lock_page(pages[1]);
	set_page_dirty(pages[1]);
	unlock_page(pages[1]);
	lock_page(pages[2]);
	get_page(pages[3]);
	lock_page_nested(pages[4]);
	set_page_writeback(pages[4]);
	unlock_page(pages[4]);
	lock_page_nested(pages[5]);
	assert_int_equal(create_empty_buffers(pages[5], 12), 0);
	unlock_page(pages[5]);

	assert_int_equal(invalidate_mapping_pages(mapping, 0, (pgoff_t)-1, &failed), 2);
	lru_add_drain_all();
	assert_int_equal(failed, 2);
	assert_int_equal(mapping->nrpages, 4);
	assert_false(filemap_range_has_page(mapping, 0, 0));
	assert_false(filemap_range_has_page(mapping, 5, 5));

	unlock_page(pages[2]);
	put_page(pages[3]);
	end_page_writeback(pages[4]);
	assert_int_equal(invalidate_mapping_pages(mapping, 0, 2, NULL), 1);
	assert_int_equal(invalidate_mapping_pages(mapping, 3, 10, NULL), 2);
	assert_int_equal(mapping->nrpages, 1);
	iput(inode);
}

static void invalidation_keeps_to_its_range(void **state)
{
	struct inode *inode = file("/d/a");
	struct address_space *mapping = inode->i_mapping;
	const pgoff_t n = HPAGE_PMD_NR;
	struct page *head = new_page(HPAGE_PMD_ORDER);

	(void)state;
	assert_int_equal(add_to_page_cache_lru(head, mapping, n, GFP_KERNEL), 0);
	SetPageUptodate(head);
	unlock_page(head);
	lru_add_drain_all();
	put_page(head);
	for (pgoff_t i = 0; i < n; i++)
		cached_page(inode, i, i);
	assert_int_equal(invalidate_mapping_pages(mapping, 1, n, NULL), n - 1);
	assert_int_equal(invalidate_mapping_pages(mapping, n + 1, 3 * n, NULL), 0);
	assert_int_equal(mapping->nrpages, n + 1);
	assert_int_equal(invalidate_mapping_pages(mapping, 0, 2 * n - 1, NULL), n + 1);
	iput(inode);
}

/* ---- compound pages at the ends ---- */

static int split_result, split_calls;

/* Stands for the split engine, which is a higher layer: it refuses, or says it was asked. */
static int fake_split(struct page *page)
{
	assert_true(PageLocked(page));
	split_calls++;
	return split_result;
}

static struct inode *huge_file(struct page **ret_head, const char *path)
{
	struct inode *inode = file(path);
	struct page *page;

	files()->tmpfs_huge = SHMEM_HUGE_ALWAYS;
	inode->i_size = 4 * HPAGE_PMD_NR << PAGE_SHIFT;
	assert_int_equal(shmem_get_page(inode, HPAGE_PMD_NR, SGP_CACHE, SHMEM_HINT_NONE, NULL, &page), 0);
	*ret_head = compound_head(page);
	assert_int_equal(compound_order(*ret_head), HPAGE_PMD_ORDER);
	for (unsigned long i = 0; i < HPAGE_PMD_NR; i++)
		page_word_write(*ret_head + i, 100 + i);
	unlock_page(*ret_head);
	lru_add_drain_all();
	put_page(*ret_head);
	return inode;
}

/*
 *	huge page of n at n..2n-1, dirty, cannot be split; punch n+1..n+2
 * Expect: it stays whole, the punched part reads zero, the rest is as it was.
 */
static void a_huge_page_that_cannot_be_split_is_zeroed_in_part(void **state)
{
	const pgoff_t n = HPAGE_PMD_NR;
	struct page *head;
	struct inode *inode = huge_file(&head, "/t/h");

	(void)state;
	files()->hooks.split_page = fake_split;
	split_calls = 0;
	split_result = -EBUSY;
	set_page_dirty_lock(head);
	assert_int_equal(file_punch_hole(inode, n + 1, n + 3), 0);
	assert_true(split_calls > 0);
	assert_int_equal(inode->i_mapping->nrpages, n);
	for (pgoff_t i = 0; i < n; i++)
		assert_int_equal(page_word_read(head + i), i == 1 || i == 2 ? 0 : 100 + i);
	/* The same from the end of the file. */
	assert_int_equal(file_truncate(inode, (n + 2) << PAGE_SHIFT), 0);
	assert_int_equal(inode->i_mapping->nrpages, n);
	assert_int_equal(page_word_read(head + 3), 0);
	assert_int_equal(page_word_read(head), 100);
	assert_int_equal(file_truncate(inode, 0), 0);
	assert_int_equal(inode->i_mapping->nrpages, 0);
	iput(inode);
}

/* Clean, so its contents are zero anyway. Expect: it goes as a whole. */
static void a_clean_huge_page_that_cannot_be_split_goes(void **state)
{
	const pgoff_t n = HPAGE_PMD_NR;
	struct page *head;
	struct inode *inode = huge_file(&head, "/t/h");

	(void)state;
	assert_int_equal(file_punch_hole(inode, n + 1, n + 2), 0);
	assert_int_equal(inode->i_mapping->nrpages, 0);
	assert_int_equal(vmstat("nr_shmem_hugepages"), 0);
	iput(inode);
}

static void a_huge_page_inside_the_range_goes_without_a_split(void **state)
{
	const pgoff_t n = HPAGE_PMD_NR;
	struct page *head;
	struct inode *inode = huge_file(&head, "/t/h");

	(void)state;
	files()->hooks.split_page = fake_split;
	split_calls = 0;
	set_page_dirty_lock(head);
	assert_int_equal(file_punch_hole(inode, n - 1, 2 * n), 0);
	assert_int_equal(split_calls, 0);
	assert_int_equal(inode->i_mapping->nrpages, 0);
	iput(inode);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_tiny(truncation_leaves_nothing_behind_the_end),
		on_two_nodes(truncation_leaves_nothing_behind_the_end),
		on_tiny(truncation_takes_shadows_too),
		on_tiny(invalidation_takes_what_costs_nothing),
		on_tiny(invalidation_keeps_to_its_range),
		on_two_nodes(invalidation_keeps_to_its_range),
		on_tiny(a_huge_page_that_cannot_be_split_is_zeroed_in_part),
		on_two_nodes(a_huge_page_that_cannot_be_split_is_zeroed_in_part),
		on_two_nodes(a_clean_huge_page_that_cannot_be_split_goes),
		on_two_nodes(a_huge_page_inside_the_range_goes_without_a_split),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
