/* SPDX-License-Identifier: MIT */
/*
 * Two operations of the cache on the same page, the first interrupted by the second at each of its schedule points in
 * turn (see preempt_everywhere). What may come out is in the comment above each case.
 */
#include "cache/scene.h"

#include <pagesim/buffer_head.h>

static struct inode *inode;
static int victim_err;
static bool ran, cut_done;

static void enough(unsigned long points, unsigned long at_least)
{
	print_message("             %lu preemptions\n", points);
	assert_true(points >= at_least);
}

static void put_inode(void)
{
	assert_true(ran);
	iput(inode);
}

/* ---- lookup | removal and reuse of the frame ---- */

static void one_cached_page(void)
{
	ran = cut_done = false;
	inode = file("/d/r");
	cached_page(inode, 3, 30);
}

static void look_up(void)
{
	struct page *page = find_get_page(inode->i_mapping, 3);

	ran = true;
	/* The old page, which nobody reuses while it is held, or nothing. */
	if (page && page_word_read(page) != 30)
		fail_msg("found a page that holds %llx", (unsigned long long)page_word_read(page));
	if (page)
		put_page(page);
}

static void remove_and_reuse(void)
{
	struct page *page = find_lock_page(inode->i_mapping, 3);

	delete_from_page_cache(page);
	unlock_page(page);
	put_page(page);
	/* The frame freed last is the first to be handed out. */
	cached_page(inode, 50, 500);
}

static void a_lookup_never_returns_a_recycled_frame(void **state)
{
	(void)state;
	enough(preempt_everywhere(one_cached_page, look_up, remove_and_reuse, put_inode), 8);
}

static void look_up_and_lock(void)
{
	struct page *page = find_lock_page(inode->i_mapping, 3);

	ran = true;
	if (!page)
		return;
	if (page->mapping != inode->i_mapping || page->index != 3)
		fail_msg("locked a page that is not there any more");
	unlock_page(page);
	put_page(page);
}

static void a_locked_lookup_returns_a_page_of_the_file(void **state)
{
	(void)state;
	enough(preempt_everywhere(one_cached_page, look_up_and_lock, remove_and_reuse, put_inode), 10);
}

static void two_adds(void)
{
	ran = cut_done = false;
	inode = file("/d/r");
}

static void add_one(void)
{
	struct page *page = new_page(0);
	int err = add_to_page_cache_lru(page, inode->i_mapping, 3, GFP_KERNEL);

	if (err != 0 && err != -EEXIST)
		fail_msg("add: %d", err);
	if (!err)
		unlock_page(page);
	put_page(page);
	ran = true;
}

static void exactly_one_page(void)
{
	assert_int_equal(inode->i_mapping->nrpages, 1);
	put_inode();
}

static void of_two_adds_one_wins(void **state)
{
	(void)state;
	enough(preempt_everywhere(two_adds, add_one, add_one, exactly_one_page), 15);
}

/* ---- fault | truncation ---- */

static void four_pages_on_disk(void)
{
	ran = cut_done = false;
	inode = file("/d/r");
	for (pgoff_t i = 0; i < 4; i++)
		assert_int_equal(file_write_page(inode, i, 10 + i, NULL), 0);
	assert_int_equal(file_fsync(inode), 0);
	file_fadvise_dontneed(inode, 0, 2);
}

static void four_pages_of_tmpfs(void)
{
	ran = cut_done = false;
	inode = file("/t/r");
	files()->tmpfs_huge = SHMEM_HUGE_ADVISE;
	file_extend(inode, 4 << PAGE_SHIFT);
}

/*
 * Indices 2 (not cached) and 3 (cached, when on disk). A page got is locked: truncation waits, and takes it
 * afterwards.
 */
static void fault_at(pgoff_t index)
{
	struct page *page;
	int err = file_fault(inode, index, SHMEM_HINT_HUGEPAGE, NULL, &page, NULL);

	ran = true;
	if (err == -EFAULT)
		return;
	if (err)
		fail_msg("fault: %d", err);
	if (page_mapping(page) != inode->i_mapping || page_to_pgoff(page) != index)
		fail_msg("fault returned a page that is not there any more");
	/* Locked as it is, truncation could not have passed it: it was never cached when truncation looked. */
	if (cut_done)
		fail_msg("preempted at point %lu: a fault succeeded behind the end", preemption.at);
	unlock_page(compound_head(page));
	put_page(page);
}

static void fault_uncached(void)
{
	fault_at(2);
}

static void fault_cached(void)
{
	fault_at(3);
}

static void cut_to_one(void)
{
	file_truncate(inode, 1 << PAGE_SHIFT);
	cut_done = true;
}

/*
 * A fault of a disk file that passed its first size check may still add a page behind the new end (Linux does too): it
 * must be clean and read zero. tmpfs takes such a page out again. Without a split hook a huge page that sticks out and
 * is clean goes as a whole.
 */
static void nothing_behind_the_end(void)
{
	pgoff_t start = i_size_pages(inode);
	struct page *page;

	while (find_get_pages_range(inode->i_mapping, &start, (pgoff_t)-2, 1, &page)) {
		if (inode->kind == PS_FILE_TMPFS)
			fail_msg("preempted at point %lu: a page behind the end", preemption.at);
		assert_false(PageDirty(page));
		assert_int_equal(page_word_read(page), 0);
		put_page(page);
	}
	put_inode();
}

static void a_fault_leaves_no_data_behind_the_end(void **state)
{
	(void)state;
	enough(preempt_everywhere(four_pages_on_disk, fault_uncached, cut_to_one, nothing_behind_the_end), 40);
	enough(preempt_everywhere(four_pages_on_disk, fault_cached, cut_to_one, nothing_behind_the_end), 10);
	enough(preempt_everywhere(four_pages_of_tmpfs, fault_uncached, cut_to_one, nothing_behind_the_end), 40);
	/* And the truncation interrupted by the fault. */
	enough(preempt_everywhere(four_pages_on_disk, cut_to_one, fault_uncached, nothing_behind_the_end), 40);
	enough(preempt_everywhere(four_pages_on_disk, cut_to_one, fault_cached, nothing_behind_the_end), 40);
	enough(preempt_everywhere(four_pages_of_tmpfs, cut_to_one, fault_uncached, nothing_behind_the_end), 3);
}

static void write_fault(void)
{
	struct page *page;

	if (!file_fault(inode, 3, 0, NULL, &page, NULL)) {
		unlock_page(page);
		if (!file_page_mkwrite(inode, page)) {
			page_word_write(page, 77);
			set_page_dirty(page);
			unlock_page(page);
		}
		put_page(page);
	}
	ran = true;
}

static void a_write_fault_and_truncation_keep_the_counters(void **state)
{
	(void)state;
	enough(preempt_everywhere(four_pages_on_disk, write_fault, cut_to_one, nothing_behind_the_end), 40);
	enough(preempt_everywhere(four_pages_on_disk, cut_to_one, write_fault, nothing_behind_the_end), 40);
}

/* ---- sync, store, drop ---- */

static void sync_it(void)
{
	victim_err = file_fsync(inode);
	ran = true;
	if (victim_err)
		fail_msg("fsync: %d", victim_err);
}

static void drop_it(void)
{
	file_fadvise_dontneed(inode, 0, (pgoff_t)-1);
	ran = true;
}

static void four_dirty_pages(void)
{
	ran = cut_done = false;
	inode = file("/d/r");
	for (pgoff_t i = 0; i < 4; i++)
		assert_int_equal(file_write_page(inode, i, 10 + i, NULL), 0);
}

/*
 * Index 3 was stored 77 by a write fault, the others are as written. Expect: so they are in the cache, and after a
 * sync on the disk.
 */
static void nothing_is_lost(void)
{
	for (int pass = 0; pass < 2; pass++) {
		for (pgoff_t i = 0; i < 4; i++) {
			u64 word;

			assert_int_equal(file_read_page(inode, i, &word, NULL), 1);
			assert_int_equal(word, i == 3 ? 77 : 10 + i);
		}
		assert_int_equal(file_fsync(inode), 0);
		assert_int_equal(vmstat("nr_dirty"), 0);
		file_fadvise_dontneed(inode, 0, (pgoff_t)-1);
		assert_int_equal(inode->i_mapping->nrpages, 0);
	}
	put_inode();
}

static void a_store_beside_a_sync_or_a_drop_is_not_lost(void **state)
{
	(void)state;
	enough(preempt_everywhere(four_dirty_pages, sync_it, write_fault, nothing_is_lost), 100);
	enough(preempt_everywhere(four_dirty_pages, write_fault, sync_it, nothing_is_lost), 40);
	enough(preempt_everywhere(four_pages_on_disk, drop_it, write_fault, nothing_is_lost), 20);
	enough(preempt_everywhere(four_pages_on_disk, write_fault, drop_it, nothing_is_lost), 40);
}

/* A store without the page lock, as a page table entry's dirty bit gives it: reference, store, dirty, drop. */
static void store_by_reference(void)
{
	struct page *page = find_get_page(inode->i_mapping, 3);

	ran = true;
	if (!page) {
		write_fault();
		return;
	}
	page_word_write(page, 77);
	set_page_dirty(page);
	put_page(page);
}

static void a_holder_s_store_is_not_dropped(void **state)
{
	(void)state;
	enough(preempt_everywhere(four_pages_on_disk, drop_it, store_by_reference, nothing_is_lost), 20);
}

static void cut_to_nothing(void)
{
	file_truncate(inode, 0);
	ran = true;
}

static void nothing_dirty(void)
{
	assert_int_equal(vmstat("nr_dirty"), 0);
	assert_int_equal(vmstat("nr_writeback"), 0);
	assert_int_equal(inode->i_mapping->nrpages, 0);
	put_inode();
}

static void a_sync_beside_a_truncation_keeps_the_counters(void **state)
{
	(void)state;
	enough(preempt_everywhere(four_dirty_pages, sync_it, cut_to_nothing, nothing_dirty), 100);
	enough(preempt_everywhere(four_dirty_pages, cut_to_nothing, sync_it, nothing_dirty), 100);
}

/* ---- writeback: the end | those who wait ---- */

static void one_page_under_writeback(void)
{
	ran = cut_done = false;
	inode = file("/d/r");
	assert_int_equal(file_write_page(inode, 0, 1, NULL), 0);
	assert_int_equal(ps_file_writeback_begin(inode), 0);
}

static void wait_for_it(void)
{
	struct page *page = find_get_page(inode->i_mapping, 0);

	if (page) {
		wait_on_page_writeback(page);
		if (PageWriteback(page))
			fail_msg("woken too early");
		put_page(page);
	}
	ran = true;
}

static void end_it(void)
{
	ps_file_writeback_end(inode);
}

/* Expect: the waiter wakes; the page, truncated by the waiter's neighbour, is not touched after it is freed. */
static void no_wakeup_is_lost(void **state)
{
	(void)state;
	enough(preempt_everywhere(one_page_under_writeback, wait_for_it, end_it, put_inode), 8);
	enough(preempt_everywhere(one_page_under_writeback, end_it, wait_for_it, put_inode), 15);
	enough(preempt_everywhere(one_page_under_writeback, end_it, cut_to_nothing, put_inode), 15);
	enough(preempt_everywhere(one_page_under_writeback, cut_to_nothing, end_it, put_inode), 15);
}

/* ---- buffers: lookup | freeing, dirtying | freeing ---- */

static void one_page_with_buffers(void)
{
	struct page *page;

	ran = cut_done = false;
	inode = file("/d/r");
	inode->i_blkbits = 10;
	page = cached_page(inode, 0, 1);
	lock_page(page);
	assert_int_equal(create_empty_buffers(page, 10), 0);
	unlock_page(page);
}

static void look_up_block(void)
{
	struct buffer_head *bh = find_get_block(inode->i_mapping, 0, 2);

	ran = true;
	if (!bh)
		return;
	if (bh->b_offset != 2048)
		fail_msg("a recycled buffer");
	put_bh(bh);
}

static void free_ring(void)
{
	struct page *page = find_lock_page(inode->i_mapping, 0);

	try_to_release_page(page, 0);
	unlock_page(page);
	put_page(page);
	ran = true;
}

static void dirty_by_reference(void)
{
	struct page *page = find_get_page(inode->i_mapping, 0);

	set_page_dirty(page);
	put_page(page);
	ran = true;
}

static void a_held_buffer_is_never_freed(void **state)
{
	(void)state;
	enough(preempt_everywhere(one_page_with_buffers, look_up_block, free_ring, put_inode), 10);
	enough(preempt_everywhere(one_page_with_buffers, free_ring, look_up_block, put_inode), 10);
}

/* Expect: buffers and page agree: a dirty page without buffers, or with dirty ones (the validator looks). */
static void dirtying_beside_freeing_buffers_agrees(void **state)
{
	(void)state;
	enough(preempt_everywhere(one_page_with_buffers, dirty_by_reference, free_ring, put_inode), 10);
	enough(preempt_everywhere(one_page_with_buffers, free_ring, dirty_by_reference, put_inode), 10);
}

/* ---- huge | small ---- */

static void fault_huge(void)
{
	struct page *page;

	if (file_fault(inode, 1, SHMEM_HINT_HUGEPAGE, NULL, &page, NULL))
		fail_msg("fault failed");
	unlock_page(compound_head(page));
	put_page(page);
	ran = true;
}

static void fault_small(void)
{
	struct page *page;

	if (file_fault(inode, 2, SHMEM_HINT_NONE, NULL, &page, NULL))
		fail_msg("fault failed");
	if (page_to_pgoff(page) != 2)
		fail_msg("page of %llu", (unsigned long long)page_to_pgoff(page));
	unlock_page(compound_head(page));
	put_page(page);
	ran = true;
}

static void one_huge_or_two_small(void)
{
	assert_true(inode->i_mapping->nrpages == HPAGE_PMD_NR || inode->i_mapping->nrpages == 2);
	put_inode();
}

static void a_huge_and_a_small_fault_agree_who_was_first(void **state)
{
	(void)state;
	enough(preempt_everywhere(four_pages_of_tmpfs, fault_huge, fault_small, one_huge_or_two_small), 40);
	enough(preempt_everywhere(four_pages_of_tmpfs, fault_small, fault_huge, one_huge_or_two_small), 30);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_lookup_never_returns_a_recycled_frame),
		cmocka_unit_test(a_locked_lookup_returns_a_page_of_the_file),
		cmocka_unit_test(of_two_adds_one_wins),
		cmocka_unit_test(a_fault_leaves_no_data_behind_the_end),
		cmocka_unit_test(a_write_fault_and_truncation_keep_the_counters),
		cmocka_unit_test(a_store_beside_a_sync_or_a_drop_is_not_lost),
		cmocka_unit_test(a_holder_s_store_is_not_dropped),
		cmocka_unit_test(a_sync_beside_a_truncation_keeps_the_counters),
		cmocka_unit_test(no_wakeup_is_lost),
		cmocka_unit_test(a_held_buffer_is_never_freed),
		cmocka_unit_test(dirtying_beside_freeing_buffers_agrees),
		cmocka_unit_test(a_huge_and_a_small_fault_agree_who_was_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
