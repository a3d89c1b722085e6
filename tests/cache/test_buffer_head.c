/* SPDX-License-Identifier: MIT */
/*
 * Buffer heads: the ring and its reference, freeing, the locks migration takes, and a lookup that knows private_lock
 * only.
 */
#include "cache/scene.h"

#include <pagesim/buffer_head.h>

/* A file of 1 KiB blocks (four buffers a page), or of 4 KiB blocks (one). */
static struct inode *block_file(unsigned int blkbits)
{
	struct inode *inode = file("/d/b");

	inode->i_blkbits = (u8)blkbits;
	return inode;
}

static unsigned int ring_size(struct page *page)
{
	struct buffer_head *head = page_buffers(page), *bh = head;
	unsigned int n = 0;

	do {
		assert_ptr_equal(bh->b_page, page);
		n++;
	} while ((bh = bh->b_this_page) != head);
	return n;
}

static void a_ring_holds_one_reference_of_its_page(void **state)
{
	(void)state;
	for (unsigned int blkbits = 9; blkbits <= 12; blkbits++) {
		struct inode *inode = block_file(blkbits);
		struct page *page = cached_page(inode, 0, 1);

		lock_page(page);
		assert_int_equal(page_count(page), 1);
		assert_int_equal(create_empty_buffers(page, blkbits), 0);
		assert_int_equal(page_count(page), 2);
		assert_true(PagePrivate(page));
		assert_int_equal(ring_size(page), PAGE_SIZE >> blkbits);
		assert_true(buffer_uptodate(page_buffers(page)));
		assert_false(buffer_dirty(page_buffers(page)));
		assert_files_valid();
		assert_true(try_to_free_buffers(page));
		assert_int_equal(page_count(page), 1);
		assert_false(PagePrivate(page));
		unlock_page(page);
		file_truncate(inode, 0);
		iput(inode);
	}
}

static void a_busy_buffer_keeps_its_ring(void **state)
{
	struct inode *inode = block_file(10);
	struct page *page = cached_page(inode, 0, 1);
	struct buffer_head *bh;

	(void)state;
	lock_page(page);
	assert_int_equal(create_empty_buffers(page, 10), 0);
	bh = page_buffers(page)->b_this_page;
	get_bh(bh);
	assert_false(try_to_free_buffers(page));
	put_bh(bh);
	assert_true(trylock_buffer(bh));
	assert_false(trylock_buffer(bh));
	assert_false(try_to_free_buffers(page));
	unlock_buffer(bh);
	mark_buffer_dirty(bh);
	assert_true(PageDirty(page));
	assert_false(try_to_free_buffers(page));
	assert_true(PagePrivate(page));
	/* Thrown away although dirty, as truncation does. */
	block_invalidate_page(page);
	assert_false(PagePrivate(page));
	cancel_dirty_page(page);
	unlock_page(page);
	iput(inode);
}

/* Buffers cleaned behind the page's back. Expect: freeing them cleans the page, counters too. */
static void a_page_of_clean_buffers_is_clean(void **state)
{
	struct inode *inode = block_file(12);
	struct page *page = cached_page(inode, 0, 1);

	(void)state;
	lock_page(page);
	assert_int_equal(create_empty_buffers(page, 12), 0);
	set_page_dirty(page);
	assert_true(buffer_dirty(page_buffers(page)));
	clear_bit(BH_Dirty, &page_buffers(page)->b_state);
	assert_true(try_to_release_page(page, 0));
	assert_false(PageDirty(page));
	assert_int_equal(vmstat("nr_dirty"), 0);
	unlock_page(page);
	iput(inode);
}

/*
 *	ring	b0 b1 b2 b3, b2 locked by another
 * Expect: async takes none; light waits (not tried here) or, when b2 is free, takes all.
 */
static void migration_locks_all_buffers_or_none(void **state)
{
	struct inode *inode = block_file(10);
	struct page *page = cached_page(inode, 0, 1);
	struct buffer_head *head, *bh, *third;

	(void)state;
	lock_page(page);
	assert_int_equal(create_empty_buffers(page, 10), 0);
	head = page_buffers(page);
	third = head->b_this_page->b_this_page;
	assert_true(trylock_buffer(third));
	assert_false(buffer_migrate_lock_buffers(head, MIGRATE_ASYNC));
	bh = head;
	do
		assert_int_equal(buffer_locked(bh), bh == third);
	while ((bh = bh->b_this_page) != head);
	unlock_buffer(third);
	for (enum migrate_mode mode = MIGRATE_ASYNC; mode <= MIGRATE_SYNC; mode++) {
		assert_true(buffer_migrate_lock_buffers(head, mode));
		do
			assert_true(buffer_locked(bh));
		while ((bh = bh->b_this_page) != head);
		buffer_migrate_unlock_buffers(head);
	}
	assert_false(buffer_migrate_busy(head));
	get_bh(third);
	assert_true(buffer_migrate_busy(head));
	put_bh(third);
	unlock_page(page);
	iput(inode);
}

static void the_ring_moves_with_its_reference(void **state)
{
	struct inode *inode = block_file(11);
	struct page *page = cached_page(inode, 4, 1), *target = new_page(0);
	struct buffer_head *head;

	(void)state;
	lock_page(page);
	assert_int_equal(create_empty_buffers(page, 11), 0);
	head = page_buffers(page);
	get_page(page);
	lock_page_nested(target);
	copy_highpage(target, page);
	replace_page_cache_page(page, target);
	buffer_migrate_move(target, page);
	assert_false(PagePrivate(page));
	assert_ptr_equal(page_buffers(target), head);
	assert_int_equal(ring_size(target), 2);
	assert_int_equal(page_count(target), 3);
	assert_int_equal(page_count(page), 1);
	SetPageUptodate(target);
	unlock_page(page);
	put_page(page);
	unlock_page(target);
	put_page(target);
	iput(inode);
}

/* Expect: for every allocation that fails, no ring and no reference is left. */
static void a_ring_without_memory_is_not_made(void **state)
{
	struct inode *inode = block_file(9);
	struct page *page = cached_page(inode, 0, 1);

	(void)state;
	lock_page(page);
	for (u64 n = 1;; n++) {
		bool unused;
		int err;

		ps_alloc_fail_nth(n);
		err = create_empty_buffers(page, 9);
		unused = ps_alloc_fail_nth(0);
		assert_int_equal(err, unused ? 0 : -ENOMEM);
		assert_int_equal(page_count(page), unused ? 2 : 1);
		if (unused)
			break;
	}
	unlock_page(page);
	iput(inode);
}

/* ---- lookup against freeing and moving ---- */

static struct inode *bh_inode;
static bool bh_done;
static unsigned long bh_found;

static void block_looker(void *arg)
{
	(void)arg;
	while (!bh_done) {
		struct buffer_head *bh = find_get_block(bh_inode->i_mapping, 0, 1);

		if (bh) {
			/* Held: neither freed nor recycled. */
			if (bh->b_size != 1024 || bh->b_offset != 1024)
				fail_msg("a buffer of %u bytes at %u", bh->b_size, bh->b_offset);
			lock_buffer(bh);
			unlock_buffer(bh);
			put_bh(bh);
			bh_found++;
		}
		cpu_relax();
	}
}

static void ring_freer(void *arg)
{
	(void)arg;
	for (unsigned int n = 0; n < 300; n++) {
		struct page *page = find_lock_page(bh_inode->i_mapping, 0);

		if (!PagePrivate(page))
			assert_int_equal(create_empty_buffers(page, 10), 0);
		else if (n % 3 == 0)
			set_page_dirty(page);
		else if (n % 3 == 1)
			block_invalidate_page(page);
		else
			try_to_release_page(page, 0);
		cancel_dirty_page(page);
		unlock_page(page);
		put_page(page);
	}
	bh_done = true;
}

static void a_held_buffer_is_not_freed(void **state)
{
	(void)state;
	for (u64 seed = 1; seed <= 8; seed++) {
		const struct scene_spec spec = {
			.nr_nodes = 1, .pages = { 256 }, .cpus = { 2 }, .pt_bits = 2, .shuffle = 12000
		};
		struct scene *s;
		void *scene = NULL;

		assert_int_equal(cache_setup_with(&scene, &spec), 0);
		s = (struct scene *)scene;
		bh_inode = block_file(10);
		cached_page(bh_inode, 0, 1);
		bh_done = false;
		bh_found = 0;
		ps_task_new(s->rt, "freer", ring_freer, NULL);
		ps_task_new(s->rt, "looker", block_looker, NULL);
		ps_task_new(s->rt, "looker", block_looker, NULL);
		ps_task_leave();
		ps_runtime_run(s->rt, UINT64_MAX);
		ps_task_enter(s->task);
		assert_true(bh_done && bh_found > 10);
		iput(bh_inode);
		cache_teardown(&scene);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_tiny(a_ring_holds_one_reference_of_its_page), on_tiny(a_busy_buffer_keeps_its_ring),
		on_tiny(a_page_of_clean_buffers_is_clean),       on_tiny(migration_locks_all_buffers_or_none),
		on_tiny(the_ring_moves_with_its_reference),      on_tiny(a_ring_without_memory_is_not_made),
		cmocka_unit_test(a_held_buffer_is_not_freed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
