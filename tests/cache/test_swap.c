/* SPDX-License-Identifier: MIT */
/*
 * Slots and the swap cache: who may have a slot, when it is free again, what comes back from it.
 */
#include "cache/scene.h"

#include <pagesim/swap_cache.h>

/* A machine with `slots` slots of swap, one of them the header. */
static int with_swap(void **state, u64 slots)
{
	if (tiny(state) || ps_swap_init(this_machine()))
		return -1;
	return ps_swapon(this_machine(), slots << PAGE_SHIFT);
}

/* Clusters of 4: | header 1 2 3 | 4 5 6 7 | 8 9 10 11 | 12 13 |. */
static int with_14_slots(void **state)
{
	return with_swap(state, 14);
}

static void assert_swap_valid(void)
{
	char why[200] = "";

	if (!ps_swap_validate(this_machine()->swap, why, sizeof(why)))
		fail_msg("%s", why);
}

static int swap_teardown(void **state)
{
	lru_add_drain_all();
	assert_swap_valid();
	assert_int_equal(get_nr_swap_pages(), total_swap_pages());
	ps_swap_destroy(this_machine());
	return cache_teardown(state);
}

/* A locked, uptodate page that holds `word`, as reclaim has it before it goes to swap. */
static struct page *swap_page(unsigned int order, u64 word)
{
	struct page *page = new_page(order);

	assert_true(trylock_page(page));
	for (unsigned long i = 0; i < compound_nr(page); i++)
		page_word_write(page + i, word + i);
	__SetPageSwapBacked(page);
	SetPageUptodate(page);
	return page;
}

static u32 word_of(swp_entry_t entry)
{
	return this_machine()->swap->map[swp_offset(entry)];
}

/*
 * Expect small pages to fill the cluster of the CPU one after the other, then the next free one, and, when no cluster is
 * free, whatever slot is left.
 */
static void small_pages_fill_one_cluster_after_the_other(void **state)
{
	/* The cluster of the header and the short last one are never free. */
	static const u64 expected[] = { 4, 5, 6, 7, 8, 9, 10, 11, 1, 2, 3, 12, 13 };
	swp_entry_t entry[ARRAY_SIZE(expected)];
	struct page *page = new_page(0);

	(void)state;
	assert_int_equal(total_swap_pages(), 13);
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		entry[i] = get_swap_page(page);
		assert_int_equal(swp_offset(entry[i]), expected[i]);
		assert_int_equal(word_of(entry[i]), SWAP_HAS_CACHE);
		assert_int_equal(get_nr_swap_pages(), 12 - i);
	}
	assert_true(vm_swap_full());
	assert_int_equal(get_swap_page(page).val, 0);
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
		put_swap_page(page, entry[i]);
	assert_false(vm_swap_full());
	put_page(page);
}

/* Each CPU has a cluster of its own. */
static void each_cpu_fills_its_own_cluster(void **state)
{
	struct page *page = new_page(0);
	swp_entry_t a, b, c;

	(void)state;
	a = get_swap_page(page);
	current->cpu = 1;
	b = get_swap_page(page);
	current->cpu = 0;
	c = get_swap_page(page);
	assert_int_equal(swp_offset(a), 4);
	assert_int_equal(swp_offset(b), 8);
	assert_int_equal(swp_offset(c), 5);
	put_swap_page(page, a);
	put_swap_page(page, b);
	put_swap_page(page, c);
	put_page(page);
}

/* Expect a huge page to take a whole free cluster, and nothing else will do, however many slots are free. */
static void a_huge_page_takes_a_free_cluster_or_nothing(void **state)
{
	struct page *huge = new_page(2), *small = new_page(0);
	swp_entry_t a, b, in_the_way;

	(void)state;
	a = get_swap_page(huge);
	assert_int_equal(swp_offset(a), 4);
	for (u64 i = 0; i < 4; i++)
		assert_int_equal(word_of(swp_entry(0, swp_offset(a) + i)), SWAP_HAS_CACHE);
	b = get_swap_page(huge);
	assert_int_equal(swp_offset(b), 8);
	put_swap_page(huge, b);
	in_the_way = get_swap_page(small);
	assert_int_equal(swp_offset(in_the_way), 8);
	assert_int_equal(get_nr_swap_pages(), 13 - 4 - 1);
	assert_int_equal(get_swap_page(huge).val, 0);
	put_swap_page(small, in_the_way);
	put_swap_page(huge, a);
	put_page(huge);
	put_page(small);
}

/* The diagram of swap.h, arrow by arrow. */
static void a_slot_is_free_when_neither_entry_nor_cache_uses_it(void **state)
{
	struct page *page = new_page(0);
	swp_entry_t entry = get_swap_page(page);

	(void)state;
	assert_int_equal(swapcache_prepare(entry), -EEXIST);
	assert_int_equal(swap_duplicate(entry), 0);
	assert_int_equal(swap_duplicate(entry), 0);
	assert_int_equal(word_of(entry), SWAP_HAS_CACHE | 2);
	put_swap_page(page, entry);
	assert_int_equal(swp_swapcount(entry), 2);
	assert_int_equal(swapcache_prepare(entry), 0);
	swap_free(entry);
	swap_free(entry);
	assert_int_equal(word_of(entry), SWAP_HAS_CACHE);
	swapcache_clear(entry);
	assert_int_equal(word_of(entry), 0);
	assert_int_equal(swap_duplicate(entry), -ENOENT);
	assert_int_equal(swapcache_prepare(entry), -ENOENT);
	put_page(page);
}

static void the_entry_of_shared_memory_counts_once(void **state)
{
	struct page *page = new_page(0);
	swp_entry_t entry = get_swap_page(page);

	(void)state;
	swap_shmem_alloc(entry);
	assert_int_equal(word_of(entry), SWAP_HAS_CACHE | SWAP_MAP_SHMEM);
	assert_int_equal(swp_swapcount(entry), 1);
	put_swap_page(page, entry);
	swap_free(entry);
	assert_int_equal(word_of(entry), 0);
	put_page(page);
}

struct reader {
	unsigned int allocated;
};

static struct page *reader_alloc(void *arg, gfp_t gfp)
{
	((struct reader *)arg)->allocated++;
	return alloc_pages(gfp, 0);
}

/*
 * Out and back:
 *
 *     page ──add_to_swap──▶ cached ──swap_writepage──▶ clean ──remove_mapping──▶ freed
 *     slot ──read_swap_cache_async──▶ another page, the same word
 */
static void what_was_written_to_a_slot_comes_back(void **state)
{
	struct writeback_control wbc = { .for_reclaim = true };
	struct page *page = swap_page(0, 77), *back;
	struct reader reader = { 0 };
	swp_entry_t entry;

	(void)state;
	assert_true(add_to_swap(page));
	assert_true(PageSwapCache(page) && PageDirty(page));
	assert_int_equal(page_count(page), 2);
	entry = page_swap_entry(page);
	assert_ptr_equal(page_mapping(page), swap_address_space(entry));
	assert_int_equal(vmstat("nr_swapcached"), 1);
	assert_swap_valid();
	assert_int_equal(swap_duplicate(entry), 0); /* a page table entry */

	assert_true(clear_page_dirty_for_io(page));
	assert_int_equal(swap_writepage(page, &wbc), 0);
	assert_false(PageLocked(page) || PageWriteback(page) || PageDirty(page));
	assert_int_equal(vmstat("pswpout"), 1);
	lock_page(page);
	assert_int_equal(remove_mapping(page_mapping(page), page), 1);
	unlock_page(page);
	put_page(page);
	assert_int_equal(word_of(entry), 1);
	assert_null(lookup_swap_cache(entry));

	back = read_swap_cache_async(entry, GFP_HIGHUSER_MOVABLE, reader_alloc, &reader);
	assert_non_null(back);
	assert_int_equal(reader.allocated, 1);
	assert_int_equal(vmstat("pswpin"), 1);
	assert_int_equal(page_word_read(back), 77);
	assert_true(PageUptodate(back) && PageSwapCache(back) && !PageLocked(back) && !PageDirty(back));
	/* The second who wants it finds it. */
	assert_ptr_equal(read_swap_cache_async(entry, GFP_HIGHUSER_MOVABLE, reader_alloc, &reader), back);
	assert_int_equal(reader.allocated, 1);
	put_page(back);

	/* While an entry uses the slot the page stays cached; then the slot goes, and the page is all there is. */
	lock_page(back);
	assert_false(try_to_free_swap(back));
	unlock_page(back);
	assert_true(free_swap_and_cache(entry));
	assert_false(PageSwapCache(back));
	assert_true(PageDirty(back));
	assert_int_equal(word_of(entry), 0);
	lru_add_drain_all();
	put_page(back);
	/* Nobody uses the slot: there is nothing to bring. */
	assert_null(read_swap_cache_async(entry, GFP_HIGHUSER_MOVABLE, reader_alloc, &reader));
}

/* Expect a page whose slot nobody uses any more not to be written, and to leave the cache. */
static void a_slot_nobody_wants_is_not_written(void **state)
{
	struct writeback_control wbc = { .for_reclaim = true };
	struct page *page = swap_page(0, 1);

	(void)state;
	assert_true(add_to_swap(page));
	assert_true(clear_page_dirty_for_io(page));
	assert_int_equal(swap_writepage(page, &wbc), 0);
	assert_int_equal(vmstat("pswpout"), 0);
	assert_true(!PageSwapCache(page) && PageDirty(page) && !PageLocked(page));
	ClearPageDirty(page);
	put_page(page);
}

/* One slot per small page, all of them found under their own number, each with its own word. */
static void a_huge_page_is_cached_and_written_as_a_whole(void **state)
{
	struct writeback_control wbc = { .for_reclaim = true };
	struct page *huge = swap_page(2, 100);
	struct reader reader = { 0 };
	swp_entry_t entry;

	(void)state;
	assert_true(add_to_swap(huge));
	entry = page_swap_entry(huge);
	assert_int_equal(page_count(huge), 5);
	assert_swap_valid();
	for (u64 i = 0; i < 4; i++) {
		swp_entry_t e = swp_entry(0, swp_offset(entry) + i);
		struct page *found = lookup_swap_cache(e);

		assert_ptr_equal(found, huge);
		put_page(found);
		assert_int_equal(page_private(huge + i), e.val);
		assert_int_equal(swap_duplicate(e), 0);
	}
	/* Any of its slots in use keeps all of it. */
	swap_free(entry);
	assert_true(page_swapped(huge));
	assert_int_equal(swap_duplicate(entry), 0);
	assert_true(clear_page_dirty_for_io(huge));
	assert_int_equal(swap_writepage(huge, &wbc), 0);
	assert_int_equal(vmstat("thp_swpout"), 1);
	assert_int_equal(vmstat("pswpout"), 4);
	lock_page(huge);
	assert_int_equal(remove_mapping(page_mapping(huge), huge), 4);
	unlock_page(huge);
	put_page(huge);
	for (u64 i = 0; i < 4; i++) {
		swp_entry_t e = swp_entry(0, swp_offset(entry) + i);
		struct page *page = read_swap_cache_async(e, GFP_HIGHUSER_MOVABLE, reader_alloc, &reader);

		assert_int_equal(page_word_read(page), 100 + i);
		lru_add_drain_all();
		assert_true(free_swap_and_cache(e));
		put_page(page);
	}
}

/* A device that takes its time: PG_writeback holds the page in the cache until the end. */
static void a_page_under_writeback_keeps_its_slot(void **state)
{
	struct writeback_control wbc = { .for_reclaim = true };
	struct page *page = swap_page(0, 5);
	swp_entry_t entry;

	(void)state;
	this_machine()->swap->deferred = true;
	assert_true(add_to_swap(page));
	entry = page_swap_entry(page);
	assert_int_equal(swap_duplicate(entry), 0);
	assert_true(clear_page_dirty_for_io(page));
	assert_int_equal(swap_writepage(page, &wbc), 0);
	assert_true(PageWriteback(page) && !PageLocked(page));
	assert_files_valid();
	assert_true(free_swap_and_cache(entry));
	assert_true(PageSwapCache(page));
	assert_int_equal(ps_swap_complete(this_machine()->swap, 0), 1);
	assert_false(PageWriteback(page));
	assert_int_equal(ps_swap_complete(this_machine()->swap, 0), 0);
	free_swap_cache(page);
	assert_false(PageSwapCache(page));
	ClearPageDirty(page);
	put_page(page);
}

/* tmpfs: the entry takes the page's place, and gives it back with what it held. */
static void a_page_of_shared_memory_goes_to_swap_and_comes_back(void **state)
{
	struct writeback_control wbc = { .for_reclaim = true };
	struct inode *inode = file("/t/f");
	struct page *page;
	swp_entry_t entry;
	u64 word = 0;

	(void)state;
	assert_int_equal(file_write_page(inode, 1, 42, NULL), 0);
	lru_add_drain_all();
	page = find_lock_page(inode->i_mapping, 1);
	assert_true(clear_page_dirty_for_io(page));
	assert_int_equal(inode->i_mapping->a_ops->writepage(page, &wbc), 0);
	lock_page(page);
	assert_true(PageSwapCache(page));
	assert_null(page->mapping);
	entry = page_swap_entry(page);
	assert_int_equal(word_of(entry), SWAP_HAS_CACHE | SWAP_MAP_SHMEM);
	assert_int_equal(isolate_lru_page(page), 0);
	put_page(page);
	assert_int_equal(remove_mapping(page_mapping(page), page), 1);
	unlock_page(page);
	put_page(page);
	assert_int_equal(atomic_long_read(&inode->swapped), 1);
	assert_int_equal(shmem_partial_swap_usage(inode->i_mapping, 0, 1), 0);
	assert_int_equal(shmem_partial_swap_usage(inode->i_mapping, 0, 2), 1);
	assert_int_equal(vmstat("nr_shmem"), 0);

	assert_int_equal(file_read_page(inode, 1, &word, NULL), 1);
	assert_int_equal(word, 42);
	assert_int_equal(atomic_long_read(&inode->swapped), 0);
	assert_int_equal(word_of(entry), 0);
	page = find_get_page(inode->i_mapping, 1);
	assert_true(PageDirty(page) && !PageSwapCache(page));
	put_page(page);
	iput(inode);
}

/* Truncation and the end of the file free the slots. */
static void truncation_frees_what_is_in_swap(void **state)
{
	struct writeback_control wbc = { .for_reclaim = true };
	struct inode *inode;

	(void)state;
	assert_int_equal(shmem_file_setup(files(), 3 << PAGE_SHIFT, &inode), 0);
	for (pgoff_t i = 0; i < 3; i++) {
		struct page *page;

		assert_int_equal(file_write_page(inode, i, i, NULL), 0);
		lru_add_drain_all();
		page = find_lock_page(inode->i_mapping, i);
		assert_true(clear_page_dirty_for_io(page));
		assert_int_equal(inode->i_mapping->a_ops->writepage(page, &wbc), 0);
		put_page(page);
	}
	assert_int_equal(get_nr_swap_pages(), 10);
	/* Dropping caches leaves them: they are the only copy. */
	invalidate_mapping_pages(inode->i_mapping, 0, 10, NULL);
	assert_int_equal(get_nr_swap_pages(), 10);
	assert_int_equal(file_truncate(inode, 1 << PAGE_SHIFT), 0);
	assert_int_equal(get_nr_swap_pages(), 12);
	assert_int_equal(atomic_long_read(&inode->swapped), 1);
	iput(inode);
	assert_int_equal(get_nr_swap_pages(), 13);
}

/* No swap: the page stays, dirty and locked, and reclaim is told. */
static void without_a_slot_a_page_of_shared_memory_stays(void **state)
{
	struct writeback_control wbc = { .for_reclaim = true };
	struct inode *inode = file("/t/f");
	struct page *page;

	(void)state;
	assert_int_equal(ps_swap_stop(this_machine()), 0);
	assert_int_equal(file_write_page(inode, 0, 1, NULL), 0);
	page = find_lock_page(inode->i_mapping, 0);
	assert_true(clear_page_dirty_for_io(page));
	assert_int_equal(inode->i_mapping->a_ops->writepage(page, &wbc), AOP_WRITEPAGE_ACTIVATE);
	assert_true(PageDirty(page) && PageLocked(page));
	unlock_page(page);
	put_page(page);
	iput(inode);
	ps_swap_resume(this_machine());
}

/* Every allocation on the way out and back fails once. Expect a clean refusal, nothing lost, and success at the end. */
static void every_allocation_may_fail(void **state)
{
	struct writeback_control wbc = { .for_reclaim = true };
	struct reader reader = { 0 };
	bool failed, done = false;

	(void)state;
	for (u64 n = 1; !done; n++) {
		struct page *page = swap_page(2, 9), *back = NULL;
		swp_entry_t entry;
		bool added;

		ps_alloc_fail_nth(n);
		added = add_to_swap(page);
		failed = !ps_alloc_fail_nth(0);
		assert_swap_valid();
		if (added) {
			entry = page_swap_entry(page);
			assert_int_equal(swap_duplicate(entry), 0);
			assert_true(clear_page_dirty_for_io(page));
			assert_int_equal(swap_writepage(page, &wbc), 0);
			lock_page(page);
			assert_int_equal(remove_mapping(page_mapping(page), page), 4);
			ps_alloc_fail_nth(n);
			back = read_swap_cache_async(entry, GFP_HIGHUSER_MOVABLE, reader_alloc, &reader);
			done = ps_alloc_fail_nth(0) && !failed;
			assert_true(back || !done);
			if (back) {
				assert_int_equal(page_word_read(back), 9);
				lru_add_drain_all();
				put_page(back);
			}
			assert_true(free_swap_and_cache(entry));
		} else {
			assert_int_equal(page_count(page), 1);
			assert_false(PageSwapCache(page));
		}
		unlock_page(page);
		put_page(page);
		lru_add_drain_all();
		rcu_barrier();
		assert_int_equal(get_nr_swap_pages(), total_swap_pages());
	}
}

static void an_area_is_added_once_and_needs_room(void **state)
{
	struct ps_machine *machine = this_machine();

	(void)state;
	assert_int_equal(ps_swapon(machine, 1 << 20), -EBUSY);
	ps_swap_remove(machine);
	assert_int_equal(total_swap_pages(), 0);
	assert_int_equal(ps_swap_stop(machine), -EINVAL);
	assert_int_equal(ps_swapon(machine, PAGE_SIZE), -EINVAL);
	for (u64 n = 1;; n++) {
		int error;

		ps_alloc_fail_nth(n);
		error = ps_swapon(machine, 14 << PAGE_SHIFT);
		if (ps_alloc_fail_nth(0)) {
			assert_int_equal(error, 0);
			break;
		}
		assert_int_equal(error, -ENOMEM);
		assert_int_equal(total_swap_pages(), 0);
	}
}

/* One thing wrong, then right again: the validator must see each. */
static void the_validator_sees_a_wrong_map(void **state)
{
	struct ps_swap *swap = this_machine()->swap;
	struct page *page = swap_page(0, 1);
	char why[200];
	u64 slot;

	(void)state;
	assert_true(add_to_swap(page));
	slot = swp_offset(page_swap_entry(page));
	swap->map[slot] = 1;
	assert_false(ps_swap_validate(swap, why, sizeof(why)));
	swap->map[slot] = SWAP_HAS_CACHE;
	swap->map[slot + 1] = SWAP_HAS_CACHE;
	assert_false(ps_swap_validate(swap, why, sizeof(why)));
	swap->map[slot + 1] = 0;
	swap->nr_free++;
	assert_false(ps_swap_validate(swap, why, sizeof(why)));
	swap->nr_free--;
	set_page_private(page, swp_entry(0, slot + 1).val);
	assert_false(ps_swap_validate(swap, why, sizeof(why)));
	set_page_private(page, swp_entry(0, slot).val);
	swap->spaces[0].nrpages++;
	assert_false(ps_swap_validate(swap, why, sizeof(why)));
	swap->spaces[0].nrpages--;
	assert_swap_valid();
	assert_true(try_to_free_swap(page));
	ClearPageDirty(page);
	unlock_page(page);
	put_page(page);
}

#define T(name) cmocka_unit_test_setup_teardown(name, with_14_slots, swap_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(small_pages_fill_one_cluster_after_the_other),
		T(each_cpu_fills_its_own_cluster),
		T(a_huge_page_takes_a_free_cluster_or_nothing),
		T(a_slot_is_free_when_neither_entry_nor_cache_uses_it),
		T(the_entry_of_shared_memory_counts_once),
		T(what_was_written_to_a_slot_comes_back),
		T(a_slot_nobody_wants_is_not_written),
		T(a_huge_page_is_cached_and_written_as_a_whole),
		T(a_page_under_writeback_keeps_its_slot),
		T(a_page_of_shared_memory_goes_to_swap_and_comes_back),
		T(truncation_frees_what_is_in_swap),
		T(without_a_slot_a_page_of_shared_memory_stays),
		T(every_allocation_may_fail),
		T(an_area_is_added_once_and_needs_room),
		T(the_validator_sees_a_wrong_map),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
