/* SPDX-License-Identifier: MIT */
/*
 * Dirty and under writeback: flag, tag and counters at every step, who waits and who is woken, and errors.
 */
#include "cache/scene.h"

/* What a page and the counters say. */
struct wb_state {
	int dirty, writeback, tag_dirty, tag_towrite, tag_writeback;
	int nr_dirty, nr_writeback, nr_pending;
};

static struct wb_state look(struct page *page)
{
	struct xarray *pages = &page->mapping->i_pages;
	struct wb_state s = {
		.dirty = PageDirty(page),
		.writeback = PageWriteback(page),
		.tag_dirty = xa_get_mark(pages, page->index, PAGECACHE_TAG_DIRTY),
		.tag_towrite = xa_get_mark(pages, page->index, PAGECACHE_TAG_TOWRITE),
		.tag_writeback = xa_get_mark(pages, page->index, PAGECACHE_TAG_WRITEBACK),
		.nr_dirty = (int)vmstat("nr_dirty"),
		.nr_writeback = (int)vmstat("nr_writeback"),
		.nr_pending = (int)vmstat("nr_zone_write_pending"),
	};

	return s;
}

#define expect_state(page, ...)                                            \
	do {                                                               \
		struct wb_state is_ = look(page), want_ = { __VA_ARGS__ }; \
                                                                           \
		assert_memory_equal(&is_, &want_, sizeof(is_));            \
	} while (0)

/* Expect: the diagram of writeback.h, arrow by arrow. */
static void flag_tag_and_counters_change_step_by_step(void **state)
{
	struct inode *inode = file("/d/a");
	struct page *page = cached_page(inode, 5, 1);
	struct address_space *mapping = inode->i_mapping;

	(void)state;
	get_page(page);
	lock_page(page);
	expect_state(page, .dirty = false);
	assert_true(set_page_dirty(page));
	assert_false(set_page_dirty(page));
	expect_state(page, .dirty = true, .tag_dirty = true, .nr_dirty = 1, .nr_pending = 1);
	tag_pages_for_writeback(mapping, 0, 10);
	expect_state(page, .dirty = true, .tag_dirty = true, .tag_towrite = true, .nr_dirty = 1, .nr_pending = 1);
	assert_true(clear_page_dirty_for_io(page));
	assert_false(clear_page_dirty_for_io(page));
	/* Cleaned, and still to be found by a sync. */
	expect_state(page, .tag_dirty = true, .tag_towrite = true);
	set_page_writeback(page);
	expect_state(page, .writeback = true, .tag_writeback = true, .nr_writeback = 1, .nr_pending = 1);
	/* Dirtied while it is written. */
	set_page_dirty(page);
	expect_state(page, .dirty = true, .writeback = true, .tag_dirty = true, .tag_writeback = true, .nr_dirty = 1,
		     .nr_writeback = 1, .nr_pending = 2);
	end_page_writeback(page);
	expect_state(page, .dirty = true, .tag_dirty = true, .nr_dirty = 1, .nr_pending = 1);
	cancel_dirty_page(page);
	expect_state(page, .tag_dirty = true);
	assert_int_equal(vmstat("nr_written"), 1);
	assert_int_equal(vmstat("nr_dirtied"), 2);
	unlock_page(page);
	put_page(page);
	iput(inode);
}

static void a_page_not_written_after_all_is_dirty_again(void **state)
{
	struct inode *inode = file("/d/a");
	struct page *page = cached_page(inode, 5, 1);
	struct writeback_control wbc = { 0 };

	(void)state;
	get_page(page);
	lock_page(page);
	set_page_dirty(page);
	clear_page_dirty_for_io(page);
	assert_true(redirty_page_for_writepage(&wbc, page));
	expect_state(page, .dirty = true, .tag_dirty = true, .nr_dirty = 1, .nr_pending = 1);
	assert_int_equal(wbc.pages_skipped, 1);
	/* Counted as dirtied once. */
	assert_int_equal(vmstat("nr_dirtied"), 1);
	unlock_page(page);
	put_page(page);
	iput(inode);
}

static void tmpfs_pages_are_dirty_without_tag_or_counter(void **state)
{
	struct inode *inode = file("/t/a");
	struct page *page;

	(void)state;
	assert_int_equal(file_write_page(inode, 3, 1, NULL), 0);
	page = find_lock_page(inode->i_mapping, 3);
	expect_state(page, .dirty = true);
	assert_true(clear_page_dirty_for_io(page));
	expect_state(page, .dirty = false);
	assert_true(set_page_dirty(page));
	unlock_page(page);
	assert_false(set_page_dirty_lock(page));
	put_page(page);
	iput(inode);
}

static void anonymous_pages_are_dirty_by_flag_alone(void **state)
{
	struct page *page = new_anon_page(0);

	(void)state;
	page->mapping = (struct address_space *)(0x1000 | PAGE_MAPPING_ANON);
	assert_null(page_mapping(page));
	assert_true(set_page_dirty(page));
	assert_false(set_page_dirty(page));
	assert_true(PageDirty(page));
	assert_int_equal(vmstat("nr_dirty"), 0);
	page->mapping = NULL;
	ClearPageDirty(page);
	put_page(page);
}

/* A page removed while dirty: Expect: the counters go with it. */
static void truncation_takes_the_counters_along(void **state)
{
	struct inode *inode = file("/d/a");

	(void)state;
	for (pgoff_t i = 0; i < 10; i++)
		assert_int_equal(file_write_page(inode, i, i, NULL), 0);
	assert_int_equal(vmstat("nr_dirty"), 10);
	file_truncate(inode, 3 << PAGE_SHIFT);
	assert_int_equal(vmstat("nr_dirty"), 3);
	assert_int_equal(vmstat("nr_zone_write_pending"), 3);
	assert_files_valid();
	file_truncate(inode, 0);
	assert_int_equal(vmstat("nr_dirty"), 0);
	iput(inode);
}

/* ---- the hook ---- */

static struct page *mkclean_page;
static int mkclean_calls, mkclean_result;

static int mkclean(struct page *page)
{
	mkclean_page = page;
	mkclean_calls++;
	return mkclean_result;
}

/* A page whose flag is clean and whose page table entry is not. Expect: it is written. */
static void what_page_tables_know_is_asked_before_writing(void **state)
{
	struct inode *inode = file("/d/a");
	struct page *page = cached_page(inode, 5, 1);

	(void)state;
	files()->hooks.page_mkclean = mkclean;
	mkclean_calls = 0;
	mkclean_result = 1;
	get_page(page);
	lock_page(page);
	assert_true(clear_page_dirty_for_io(page));
	assert_int_equal(mkclean_calls, 1);
	assert_ptr_equal(mkclean_page, page);
	mkclean_result = 0;
	assert_false(clear_page_dirty_for_io(page));
	unlock_page(page);
	put_page(page);
	iput(inode);
}

/* ---- the device ---- */

/*
 * Expect: with completions held back a sync waits; the tags say where; completion ends all of it and the contents
 * are on the disk.
 */
static void writeback_lasts_until_the_device_is_done(void **state)
{
	struct inode *inode = file("/d/a");
	struct page *page;
	u64 word;

	(void)state;
	for (pgoff_t i = 0; i < 5; i++)
		assert_int_equal(file_write_page(inode, i, 100 + i, NULL), 0);
	assert_int_equal(ps_file_writeback_begin(inode), 0);
	assert_int_equal(vmstat("nr_writeback"), 5);
	assert_int_equal(vmstat("nr_dirty"), 0);
	assert_int_equal(files()->disk.nr_pending, 5);
	assert_true(mapping_tagged(inode->i_mapping, PAGECACHE_TAG_WRITEBACK));
	assert_false(mapping_tagged(inode->i_mapping, PAGECACHE_TAG_DIRTY));
	assert_files_valid();
	/* Nothing under writeback is dropped. */
	file_fadvise_dontneed(inode, 0, (pgoff_t)-1);
	assert_int_equal(inode->i_mapping->nrpages, 5);
	assert_int_equal(ps_disk_complete(&files()->disk, 2), 2);
	assert_int_equal(vmstat("nr_writeback"), 3);
	assert_int_equal(ps_file_writeback_end(inode), 0);
	assert_int_equal(vmstat("nr_writeback"), 0);
	page = find_get_page(inode->i_mapping, 0);
	assert_int_equal(page_count(page), 3);
	assert_false(PageDirty(page));
	put_page(page);
	file_fadvise_dontneed(inode, 0, (pgoff_t)-1);
	assert_int_equal(inode->i_mapping->nrpages, 0);
	for (pgoff_t i = 0; i < 5; i++) {
		assert_int_equal(file_read_page(inode, i, &word, NULL), 1);
		assert_int_equal(word, 100 + i);
	}
	iput(inode);
}

/*
 * Expect: stored to while it is written, a page is dirty again and the next sync writes it; both contents were legal
 * on the disk.
 */
static void a_store_during_writeback_is_not_lost(void **state)
{
	struct inode *inode = file("/d/a");
	struct page *page;
	u64 word;

	(void)state;
	assert_int_equal(file_write_page(inode, 0, 1, NULL), 0);
	assert_int_equal(ps_file_writeback_begin(inode), 0);
	page = find_lock_page(inode->i_mapping, 0);
	page_word_write(page, 2);
	set_page_dirty(page);
	unlock_page(page);
	put_page(page);
	assert_int_equal(ps_file_writeback_end(inode), 0);
	assert_int_equal(vmstat("nr_dirty"), 1);
	assert_int_equal(file_fsync(inode), 0);
	file_fadvise_dontneed(inode, 0, 0);
	assert_int_equal(file_read_page(inode, 0, &word, NULL), 1);
	assert_int_equal(word, 2);
	iput(inode);
}

static void a_write_error_is_reported_once_and_nothing_hangs(void **state)
{
	struct inode *inode = file("/d/a");

	(void)state;
	assert_int_equal(file_write_page(inode, 0, 1, NULL), 0);
	assert_int_equal(file_write_page(inode, 1, 2, NULL), 0);
	files()->disk.fail_writes = 1;
	assert_int_equal(file_fsync(inode), -EIO);
	assert_int_equal(file_fsync(inode), 0);
	assert_int_equal(vmstat("nr_writeback"), 0);
	assert_files_valid();
	iput(inode);
}

static struct inode *wb_inode;
static unsigned int wb_done;

static void syncer(void *arg)
{
	(void)arg;
	assert_int_equal(file_fsync(wb_inode), 0);
	/* The promise of fsync. */
	if (vmstat("nr_writeback"))
		fail_msg("fsync returned with pages under writeback");
	wb_done++;
}

static void waiter(void *arg)
{
	struct page *page = find_get_page(wb_inode->i_mapping, (pgoff_t)(uintptr_t)arg);

	wait_on_page_writeback(page);
	if (PageWriteback(page))
		fail_msg("woken too early");
	put_page(page);
	wb_done++;
}

static void completer(void *arg)
{
	(void)arg;
	while (wb_done < 5) {
		ps_disk_complete(&files()->disk, 1);
		ps_sleep_until(ps_now() + 1000);
	}
}

/* Expect: two syncs and three waiters all wake, under any order of steps (O9: no wake-up is lost). */
static void everybody_who_waits_for_writeback_is_woken(void **state)
{
	(void)state;
	for (u64 seed = 1; seed <= 10; seed++) {
		const struct scene_spec spec = {
			.nr_nodes = 1, .pages = { 256 }, .cpus = { 2 }, .pt_bits = 2, .shuffle = 10000
		};
		struct scene *s;
		void *scene = NULL;

		assert_int_equal(cache_setup_with(&scene, &spec), 0);
		s = (struct scene *)scene;
		wb_inode = file("/d/race");
		wb_done = 0;
		for (pgoff_t i = 0; i < 6; i++)
			assert_int_equal(file_write_page(wb_inode, i, i, NULL), 0);
		files()->disk.deferred = true;
		filemap_fdatawrite_range(wb_inode->i_mapping, 0, 2, WB_SYNC_NONE);
		assert_int_equal(vmstat("nr_writeback"), 3);
		ps_task_new(s->rt, "sync", syncer, NULL);
		ps_task_new(s->rt, "sync", syncer, NULL);
		for (uintptr_t i = 0; i < 3; i++)
			ps_task_new(s->rt, "waiter", waiter, (void *)i);
		ps_task_new(s->rt, "device", completer, NULL);
		ps_task_leave();
		ps_runtime_run(s->rt, UINT64_MAX);
		ps_task_enter(s->task);
		assert_int_equal(wb_done, 5);
		assert_int_equal(vmstat("nr_writeback"), 0);
		files()->disk.deferred = false;
		iput(wb_inode);
		cache_teardown(&scene);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_tiny(flag_tag_and_counters_change_step_by_step),
		on_tiny(a_page_not_written_after_all_is_dirty_again),
		on_tiny(tmpfs_pages_are_dirty_without_tag_or_counter),
		on_tiny(anonymous_pages_are_dirty_by_flag_alone),
		on_tiny(truncation_takes_the_counters_along),
		on_tiny(what_page_tables_know_is_asked_before_writing),
		on_tiny(writeback_lasts_until_the_device_is_done),
		on_tiny(a_store_during_writeback_is_not_lost),
		on_tiny(a_write_error_is_reported_once_and_nothing_hangs),
		cmocka_unit_test(everybody_who_waits_for_writeback_is_woken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
