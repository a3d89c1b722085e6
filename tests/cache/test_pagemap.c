/* SPDX-License-Identifier: MIT */
/*
 * Pages in and out of a file's memory: references, counters, errors; lookups against removal.
 */
#include "cache/scene.h"

static void a_page_in_the_cache_has_one_reference_more(void **state)
{
	struct inode *inode = file("/d/a");
	struct page *page = new_page(0), *found;

	(void)state;
	assert_int_equal(page_count(page), 1);
	assert_int_equal(add_to_page_cache_lru(page, inode->i_mapping, 7, GFP_KERNEL), 0);
	lru_add_drain_all();
	assert_true(PageLocked(page));
	assert_int_equal(page_count(page), 2);
	assert_ptr_equal(page_mapping(page), inode->i_mapping);
	assert_int_equal(page_to_pgoff(page), 7);
	assert_int_equal(vmstat("nr_file_pages"), 1);
	assert_int_equal(inode->i_mapping->nrpages, 1);
	unlock_page(page);

	found = find_get_page(inode->i_mapping, 7);
	assert_ptr_equal(found, page);
	assert_int_equal(page_count(page), 3);
	put_page(found);
	assert_null(find_get_page(inode->i_mapping, 6));
	found = find_lock_page(inode->i_mapping, 7);
	assert_ptr_equal(found, page);
	assert_true(PageLocked(page));
	put_page(found);

	delete_from_page_cache(page);
	assert_null(page->mapping);
	assert_int_equal(page_count(page), 1);
	assert_int_equal(vmstat("nr_file_pages"), 0);
	assert_int_equal(inode->i_mapping->nrpages, 0);
	assert_true(xa_empty(&inode->i_mapping->i_pages));
	unlock_page(page);
	put_page(page);
	iput(inode);
}

static void a_place_can_be_taken_once(void **state)
{
	struct inode *inode = file("/d/a");
	struct page *first = cached_page(inode, 3, 1), *page = new_page(0);

	(void)state;
	assert_int_equal(add_to_page_cache_lru(page, inode->i_mapping, 3, GFP_KERNEL), -EEXIST);
	assert_false(PageLocked(page));
	assert_null(page->mapping);
	assert_int_equal(page_count(page), 1);
	assert_int_equal(page_count(first), 1);
	assert_int_equal(vmstat("nr_file_pages"), 1);
	put_page(page);
	iput(inode);
}

/*
 *	index	0 .. n-1	n .. 2n-1	2n
 *		small at 0	compound	small
 * Expect: n references for the cache, every index of the compound finds its own page, one entry in the index.
 */
static void a_compound_page_is_one_entry_with_a_reference_per_page(void **state)
{
	struct inode *inode = file("/d/a");
	const int n = (int)HPAGE_PMD_NR;
	struct page *head = new_page(HPAGE_PMD_ORDER), *found;

	(void)state;
	cached_page(inode, 0, 1);
	cached_page(inode, 2 * n, 1);
	assert_int_equal(add_to_page_cache_lru(head, inode->i_mapping, n, GFP_KERNEL), 0);
	lru_add_drain_all();
	assert_int_equal(page_count(head), n + 1);
	assert_int_equal(inode->i_mapping->nrpages, n + 2);
	assert_int_equal(vmstat("nr_file_hugepages"), vmstat("nr_file_pages") == n + 2 ? 1 : -1);
	assert_int_equal(xa_get_order(&inode->i_mapping->i_pages, n + 1), HPAGE_PMD_ORDER);
	for (int i = 0; i < n; i++) {
		found = find_get_page(inode->i_mapping, n + i);
		assert_ptr_equal(found, head + i);
		assert_int_equal(page_to_pgoff(found), n + i);
		assert_ptr_equal(page_mapping(found), inode->i_mapping);
		put_page(found);
	}
	found = pagecache_get_page(inode->i_mapping, n + 1, FGP_HEAD, 0, NULL);
	assert_ptr_equal(found, head);
	put_page(found);
	assert_files_valid();
	delete_from_page_cache(head);
	assert_int_equal(page_count(head), 1);
	assert_int_equal(vmstat("nr_file_hugepages"), 0);
	assert_int_equal(inode->i_mapping->nrpages, 2);
	unlock_page(head);
	put_page(head);
	iput(inode);
}

/* A shadow of order 2 at 4..7, a page added at 5. Expect: 4, 6 and 7 keep the shadow. */
static void a_page_in_a_wide_shadow_splits_it(void **state)
{
	struct inode *inode = file("/d/a");
	struct xarray *pages = &inode->i_mapping->i_pages;
	struct xa_state xas = xa_state_at(pages, 4, 2);

	(void)state;
	do {
		xas_lock(&xas);
		xas_store(&xas, xa_mk_value(99));
		xas_unlock(&xas);
	} while (xas_nomem(&xas, 0));
	cached_page(inode, 5, 1);
	for (pgoff_t i = 4; i < 8; i++)
		assert_int_equal(xa_is_value(xa_load(pages, i)), i != 5);
	assert_null(find_get_page(inode->i_mapping, 4));
	assert_ptr_equal(pagecache_get_page(inode->i_mapping, 4, FGP_ENTRY, 0, NULL), xa_mk_value(99));
	assert_int_equal(inode->i_mapping->nrpages, 1);
	iput(inode);
}

static void only_an_idle_clean_page_can_be_removed_by_its_holder(void **state)
{
	struct inode *inode = file("/d/a");
	struct address_space *mapping = inode->i_mapping;
	struct page *page = cached_page(inode, 3, 1);

	(void)state;
	get_page(page);
	get_page(page);
	lock_page(page);
	assert_int_equal(remove_mapping(mapping, page), 0);
	assert_int_equal(page_count(page), 3);
	put_page(page);
	set_page_dirty(page);
	assert_int_equal(remove_mapping(mapping, page), 0);
	assert_int_equal(page_count(page), 2);
	cancel_dirty_page(page);
	assert_int_equal(remove_mapping(mapping, page), 1);
	assert_int_equal(page_count(page), 1);
	assert_null(page->mapping);
	assert_int_equal(mapping->nrpages, 0);
	unlock_page(page);
	put_page(page);
	iput(inode);
}

static void a_page_can_take_the_place_of_another(void **state)
{
	struct inode *inode = file("/t/a");
	struct page *old, *page = new_page(0);

	(void)state;
	assert_int_equal(file_write_page(inode, 2, 5, NULL), 0);
	old = find_lock_page(inode->i_mapping, 2);
	lru_add_drain_all();
	lock_page_nested(page);
	__SetPageSwapBacked(page);
	SetPageUptodate(page);
	replace_page_cache_page(old, page);
	assert_null(old->mapping);
	assert_int_equal(page_count(old), 1);
	assert_int_equal(page_count(page), 2);
	assert_ptr_equal(page_mapping(page), inode->i_mapping);
	assert_int_equal(vmstat("nr_shmem"), 1);
	unlock_page(old);
	unlock_page(page);
	put_page(old);
	put_page(page);
	iput(inode);
}

/* Expect: for every allocation that fails, an add either works or leaves page and file as they were. */
static void adding_without_memory_changes_nothing(void **state)
{
	struct inode *inode = file("/d/a");
	struct address_space *mapping = inode->i_mapping;

	(void)state;
	for (u64 n = 1;; n++) {
		unsigned int order = n % 2 ? 0 : HPAGE_PMD_ORDER;
		struct page *page = new_page(order);
		pgoff_t index = n << 20;
		bool unused;
		int err;

		ps_alloc_fail_nth(n / 2 + 1);
		err = add_to_page_cache_lru(page, mapping, index, GFP_KERNEL);
		unused = ps_alloc_fail_nth(0);
		lru_add_drain_all();
		if (err) {
			assert_int_equal(err, -ENOMEM);
			assert_int_equal(page_count(page), 1);
			assert_null(page->mapping);
			assert_false(PageLocked(page));
			assert_int_equal(mapping->nrpages, 0);
		} else {
			assert_int_equal(mapping->nrpages, 1UL << order);
			assert_files_valid();
			delete_from_page_cache(page);
			unlock_page(page);
		}
		put_page(page);
		if (unused && n > 8)
			break;
	}
	iput(inode);
}

static void ranges_are_found_in_order(void **state)
{
	struct inode *inode = file("/d/a");
	struct address_space *mapping = inode->i_mapping;
	pgoff_t start = 0, indices[8];
	struct page *pages[8];
	void *entries[8];

	(void)state;
	for (pgoff_t i = 0; i < 40; i += 3)
		cached_page(inode, i, i);
	assert_int_equal(find_get_pages_range(mapping, &start, 20, 4, pages), 4);
	assert_int_equal(start, 10);
	release_pages(pages, 4);
	assert_int_equal(find_get_pages_range(mapping, &start, 20, 4, pages), 3);
	assert_int_equal(pages[0]->index, 12);
	assert_int_equal(start, 21);
	release_pages(pages, 3);

	lock_page(pages[1]);
	set_page_dirty(pages[1]);
	unlock_page(pages[1]);
	start = 0;
	assert_int_equal(find_get_pages_range_tag(mapping, &start, (pgoff_t)-1, PAGECACHE_TAG_DIRTY, 8, pages), 1);
	assert_int_equal(pages[0]->index, 15);
	put_page(pages[0]);

	assert_int_equal(find_get_entries(mapping, 4, 11, 8, entries, indices), 2);
	assert_int_equal(indices[0], 6);
	assert_int_equal(indices[1], 9);
	put_page((struct page *)entries[0]);
	put_page((struct page *)entries[1]);
	assert_true(filemap_range_has_page(mapping, 4, 6));
	assert_false(filemap_range_has_page(mapping, 4, 5));
	assert_false(filemap_range_has_page(mapping, 6, 5));
	iput(inode);
}

/* Index 0 locked, 1 not uptodate, 2 good, 3 a hole, 4 beyond the end. Expect: 2 only, locked and referenced. */
static void only_pages_that_need_no_wait_are_mapped_around(void **state)
{
	struct inode *inode = file("/d/a");
	struct address_space *mapping = inode->i_mapping;
	struct page *locked = cached_page(inode, 0, 0), *stale = cached_page(inode, 1, 0);
	struct page *good = cached_page(inode, 2, 0), *page;
	pgoff_t index = 0;

	(void)state;
	cached_page(inode, 4, 0);
	inode->i_size = 4 << PAGE_SHIFT;
	ClearPageUptodate(stale);
	lock_page(locked);
	page = next_uptodate_page(mapping, &index, 10);
	assert_ptr_equal(page, good);
	assert_int_equal(index, 3);
	assert_true(PageLocked(good));
	assert_int_equal(page_count(good), 2);
	unlock_page(good);
	put_page(good);
	assert_null(next_uptodate_page(mapping, &index, 10));
	unlock_page(locked);
	iput(inode);
}

static void a_fault_reads_a_page_once(void **state)
{
	struct inode *inode = file("/d/a");
	struct page *page, *again;
	bool major;

	(void)state;
	file_extend(inode, 10 << PAGE_SHIFT);
	assert_int_equal(filemap_fault(inode, 10, NULL, &page, &major), -EFAULT);
	assert_int_equal(filemap_fault(inode, 9, NULL, &page, &major), 0);
	assert_true(major && PageLocked(page) && PageUptodate(page) && !PagePrivate(page));
	lru_add_drain_all();
	assert_int_equal(page_count(page), 2);
	unlock_page(page);
	assert_int_equal(filemap_fault(inode, 9, NULL, &again, &major), 0);
	assert_false(major);
	assert_ptr_equal(again, page);
	assert_int_equal(vmstat("pgmajfault"), 1);
	unlock_page(page);
	put_page(page);
	put_page(page);
	iput(inode);
}

static void a_failed_read_is_an_error_and_can_be_repeated(void **state)
{
	struct inode *inode = file("/d/a");
	struct page *page;
	u64 word;

	(void)state;
	assert_int_equal(file_write_page(inode, 0, 42, NULL), 0);
	assert_int_equal(file_fsync(inode), 0);
	file_fadvise_dontneed(inode, 0, 0);
	assert_int_equal(inode->i_mapping->nrpages, 0);
	files()->disk.fail_reads = 2;
	assert_int_equal(filemap_fault(inode, 0, NULL, &page, NULL), -EIO);
	assert_int_equal(file_read_page(inode, 0, &word, NULL), -EIO);
	assert_int_equal(file_read_page(inode, 0, &word, NULL), 1);
	assert_int_equal(word, 42);
	iput(inode);
}

/* ---- lookup against removal ---- */

/*
 * Two tasks look pages up while a third adds, deletes and frees them, so that frames change their index all the time.
 * A frame cached at i holds the word i + 1; a freed one holds poison. Expect: who got a page by a lookup reads i + 1.
 */
#define RACE_PAGES 6u

static struct inode *race_inode;
static bool race_done;
static unsigned long race_hits;

static void remover(void *arg)
{
	struct ps_rng rng;

	ps_rng_init(&rng, (u64)(uintptr_t)arg);
	for (unsigned int n = 0; n < 300; n++) {
		pgoff_t index = ps_rng_below(&rng, RACE_PAGES);
		struct page *page = find_lock_page(race_inode->i_mapping, index);

		if (page) {
			if (n % 2) {
				/* As truncation. */
				delete_from_page_cache(page);
			} else {
				/* As reclaim: only if nobody looks. */
				lru_add_drain_all();
				remove_mapping(race_inode->i_mapping, page);
			}
			unlock_page(page);
			put_page(page);
		} else {
			cached_page(race_inode, index, index + 1);
		}
	}
	race_done = true;
}

static void looker(void *arg)
{
	struct ps_rng rng;

	ps_rng_init(&rng, (u64)(uintptr_t)arg);
	while (!race_done) {
		pgoff_t index = ps_rng_below(&rng, RACE_PAGES);
		struct page *page = find_get_page(race_inode->i_mapping, index);

		if (page) {
			/* Not filled yet, or filled for this index: never another's, never poison. */
			if (PageUptodate(page) && page_word_read(page) != index + 1)
				fail_msg("index %llu holds %llx", (unsigned long long)index,
					 (unsigned long long)page_word_read(page));
			put_page(page);
			race_hits++;
		}
		cpu_relax();
	}
}

static void a_looked_up_page_is_the_right_one(void **state)
{
	(void)state;
	for (u64 seed = 1; seed <= 12; seed++) {
		const struct scene_spec spec = {
			.nr_nodes = 1, .pages = { 256 }, .cpus = { 2 }, .pt_bits = 2, .shuffle = 12000
		};
		void *scene = NULL;

		assert_int_equal(cache_setup_with(&scene, &spec), 0);
		race_inode = file("/d/race");
		race_done = false;
		race_hits = 0;
		ps_task_new(current->rt, "remover", remover, (void *)(uintptr_t)seed);
		ps_task_new(current->rt, "looker", looker, (void *)(uintptr_t)(seed + 100));
		ps_task_new(current->rt, "looker", looker, (void *)(uintptr_t)(seed + 200));
		{
			struct scene *s = (struct scene *)scene;

			ps_task_leave();
			ps_runtime_run(s->rt, UINT64_MAX);
			ps_task_enter(s->task);
		}
		assert_true(race_done);
		assert_true(race_hits > 20);
		iput(race_inode);
		cache_teardown(&scene);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_two_nodes(a_page_in_the_cache_has_one_reference_more),
		on_two_nodes(a_place_can_be_taken_once),
		on_two_nodes(a_compound_page_is_one_entry_with_a_reference_per_page),
		on_tiny(a_compound_page_is_one_entry_with_a_reference_per_page),
		on_two_nodes(a_page_in_a_wide_shadow_splits_it),
		on_tiny(a_page_in_a_wide_shadow_splits_it),
		on_two_nodes(only_an_idle_clean_page_can_be_removed_by_its_holder),
		on_two_nodes(a_page_can_take_the_place_of_another),
		on_two_nodes(adding_without_memory_changes_nothing),
		on_tiny(adding_without_memory_changes_nothing),
		on_tiny(ranges_are_found_in_order),
		on_tiny(only_pages_that_need_no_wait_are_mapped_around),
		on_tiny(a_fault_reads_a_page_once),
		on_tiny(a_failed_read_is_an_error_and_can_be_repeated),
		cmocka_unit_test(a_looked_up_page_is_the_right_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
