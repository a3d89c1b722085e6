/* SPDX-License-Identifier: MIT */
/*
 * The LRU: batches hold references, isolation and putting back, who moves where, mlock, and the counters of all that.
 */
#include "page/scene.h"

static int setup(void **state)
{
	return scene_setup_with(state,
				&(struct scene_spec){ .nr_nodes = 2, .pages = { 8192, 8192 }, .cpus = { 2, 1 } });
}

/** A page on the LRU, batches empty. */
static struct page *listed_page(nid_t nid, bool anon)
{
	struct page *page = new_anon_page(nid);

	if (!anon)
		ClearPageSwapBacked(page);
	lru_cache_add(page);
	lru_add_drain();
	assert_true(PageLRU(page));
	assert_int_equal(page_count(page), 1);
	return page;
}

/* Seen on Linux 6.1 (relations.md): a fresh page before the batch is drained has refcount 2 and no LRU flag. */
static void a_fresh_page_has_a_second_reference_until_the_batch_is_drained(void **state)
{
	struct page *page = new_anon_page(0);

	lru_cache_add(page);
	assert_int_equal(page_count(page), 2);
	assert_false(PageLRU(page));
	assert_int_equal(isolate_lru_page(page), -EBUSY);
	assert_int_equal(vmstat("nr_inactive_anon"), 0);
	lru_add_drain();
	assert_int_equal(page_count(page), 1);
	assert_true(PageLRU(page));
	assert_int_equal(vmstat("nr_inactive_anon"), 1);
	put_page(page);
	assert_int_equal(vmstat("nr_inactive_anon"), 0);
}

/* Expect: fourteen pages wait, the fifteenth flushes them all, and a batch is one CPU's. */
static void the_fifteenth_page_flushes_the_batch(void **state)
{
	struct scene *s = *state;
	struct page *pages[PAGEVEC_SIZE], *other;
	int i;

	s->task->cpu = 1;
	other = new_anon_page(0);
	lru_cache_add(other);
	s->task->cpu = 0;
	for (i = 0; i < PAGEVEC_SIZE; i++) {
		assert_int_equal(vmstat("nr_inactive_anon"), 0);
		pages[i] = new_anon_page(0);
		lru_cache_add(pages[i]);
	}
	assert_int_equal(vmstat("nr_inactive_anon"), PAGEVEC_SIZE);
	for (i = 0; i < PAGEVEC_SIZE; i++)
		assert_int_equal(page_count(pages[i]), 1);
	assert_int_equal(page_count(other), 2);
	lru_add_drain();
	assert_false(PageLRU(other));
	lru_add_drain_all();
	assert_true(PageLRU(other));
	put_page(other);
	release_pages(pages, PAGEVEC_SIZE);
}

/* Expect: a compound page does not wait, and takes those before it along. */
static void a_huge_page_is_added_at_once(void **state)
{
	struct page *small = new_anon_page(0), *thp = new_thp(1);

	lru_cache_add(small);
	lru_cache_add(thp);
	assert_true(PageLRU(small) && PageLRU(thp));
	assert_int_equal(page_count(thp), 1);
	assert_int_equal(vmstat("nr_inactive_anon"), 1 + 512);
	assert_int_equal(node_page_state(1, NR_INACTIVE_ANON), 512);
	assert_int_equal(lruvec_lru_size(page_lruvec(thp), LRU_INACTIVE_ANON, ZONE_MOVABLE), 512);
	put_page(thp);
	put_page(small);
}

/* Expect: while batches are disabled every page goes through at once; disabling nests. */
static void disabled_batches_hold_nothing(void **state)
{
	struct page *page = new_anon_page(0), *next;

	lru_cache_add(page);
	lru_cache_disable();
	assert_true(PageLRU(page));
	lru_cache_disable();
	lru_cache_enable();
	next = new_anon_page(0);
	lru_cache_add(next);
	assert_true(PageLRU(next));
	lru_cache_enable();
	assert_false(lru_cache_disabled());
	put_page(page);
	page = new_anon_page(0);
	lru_cache_add(page);
	assert_false(PageLRU(page));
	put_page(page);
	put_page(next);
}

/* Expect: isolating takes the page off its list with a reference, once; putting back undoes both. */
static void isolation_is_exclusive_and_undone_by_putback(void **state)
{
	struct page *page = listed_page(0, true);

	assert_int_equal(isolate_lru_page(page), 0);
	assert_false(PageLRU(page));
	assert_int_equal(page_count(page), 2);
	assert_int_equal(vmstat("nr_inactive_anon"), 0);
	assert_int_equal(isolate_lru_page(page), -EBUSY);
	assert_int_equal(page_count(page), 2);
	putback_lru_page(page);
	assert_int_equal(page_count(page), 2); /* the batch's */
	lru_add_drain();
	assert_int_equal(page_count(page), 1);
	assert_int_equal(vmstat("nr_inactive_anon"), 1);
	put_page(page);
}

/* Expect: a page whose owner is gone while it is isolated is freed when it has been put back and the batch is flushed. */
static void an_isolated_page_may_lose_its_owner(void **state)
{
	struct scene *s = *state;
	struct page *page = listed_page(0, true);

	assert_int_equal(isolate_lru_page(page), 0);
	put_page(page);
	putback_lru_page(page);
	assert_int_equal(ps_mem_allocated_pages(s->machine), 1);
	lru_add_drain();
	assert_int_equal(ps_mem_allocated_pages(s->machine), 0);
	assert_int_equal(vmstat("nr_inactive_anon"), 0);
}

/*
 * mark_page_accessed of a page in each state, file and anonymous:
 *   inactive,unreferenced -> inactive,referenced -> active,unreferenced -> active,referenced -> stays
 */
static void accesses_walk_a_page_to_the_active_list(void **state)
{
	static const struct {
		bool active, referenced;
	} expect[] = { { false, true }, { true, false }, { true, true }, { true, true } };
	int anon;
	size_t i;

	for (anon = 0; anon < 2; anon++) {
		struct page *page = listed_page(0, anon);

		for (i = 0; i < ARRAY_SIZE(expect); i++) {
			mark_page_accessed(page);
			lru_add_drain();
			assert_int_equal(PageActive(page), expect[i].active);
			assert_int_equal(PageReferenced(page), expect[i].referenced);
			assert_int_equal(vmstat(anon ? "nr_active_anon" : "nr_active_file"), expect[i].active);
		}
		assert_int_equal(page_lru(page), anon ? LRU_ACTIVE_ANON : LRU_ACTIVE_FILE);
		put_page(page);
	}
	assert_int_equal(vmstat("pgactivate"), 2);
}

/* Expect: a page still in this CPU's batch becomes active there; in another CPU's batch it does not. */
static void a_batched_page_is_activated_in_its_own_batch_only(void **state)
{
	struct scene *s = *state;
	int cpu;

	for (cpu = 0; cpu < 2; cpu++) {
		struct page *page = new_anon_page(0);

		s->task->cpu = 0;
		lru_cache_add(page);
		s->task->cpu = cpu;
		mark_page_accessed(page);
		mark_page_accessed(page);
		s->task->cpu = 0;
		assert_int_equal(PageActive(page), cpu == 0);
		assert_false(PageReferenced(page));
		lru_add_drain();
		assert_int_equal(page_lru(page), cpu == 0 ? LRU_ACTIVE_ANON : LRU_INACTIVE_ANON);
		put_page(page);
	}
}

/* **Return:** position of a page in a list of node 0, 0 = head; -1: not there. */
static int position(struct page *page, enum lru_list lru)
{
	struct page *p;
	int i = 0;

	list_for_each_entry(p, &node_lruvec(NODE_DATA(0))->lists[lru], lru) {
		if (p == page)
			return i;
		i++;
	}
	return -1;
}

/*
 *   active anon: [A]   inactive file: [F clean][D dirty]
 * Expect: deactivate moves A to the head of the inactive list and forgets references; deactivate_file puts a clean page
 * to the tail, a dirty one to the head marked for reclaim, a mapped one nowhere; rotate puts a clean page to the tail.
 */
static void pages_move_where_they_are_told(void **state)
{
	struct page *a = listed_page(0, true), *f = listed_page(0, false), *d = listed_page(0, false);

	activate_page(a);
	lru_add_drain();
	SetPageReferenced(a);
	assert_int_equal(position(a, LRU_ACTIVE_ANON), 0);
	deactivate_page(a);
	assert_int_equal(position(a, LRU_ACTIVE_ANON), 0);
	lru_add_drain();
	assert_int_equal(position(a, LRU_INACTIVE_ANON), 0);
	assert_false(PageReferenced(a));

	assert_int_equal(position(d, LRU_INACTIVE_FILE), 0);
	assert_int_equal(position(f, LRU_INACTIVE_FILE), 1);
	deactivate_file_page(d);
	lru_add_drain();
	assert_int_equal(position(d, LRU_INACTIVE_FILE), 1);
	SetPageDirty(d);
	deactivate_file_page(d);
	lru_add_drain();
	assert_int_equal(position(d, LRU_INACTIVE_FILE), 0);
	assert_true(PageReclaim(d));
	atomic_inc(&f->_mapcount);
	deactivate_file_page(f);
	lru_add_drain();
	assert_int_equal(position(f, LRU_INACTIVE_FILE), 1);
	page_mapcount_reset(f);

	rotate_reclaimable_page(d); /* dirty: stays */
	lru_add_drain();
	assert_int_equal(position(d, LRU_INACTIVE_FILE), 0);
	ClearPageDirty(d);
	rotate_reclaimable_page(d);
	lru_add_drain();
	assert_int_equal(position(d, LRU_INACTIVE_FILE), 1);
	assert_int_equal(vmstat("pgdeactivate"), 1);
	assert_int_equal(vmstat("pgrotated"), 2);
	put_page(a);
	put_page(f);
	put_page(d);
}

/* Expect: MADV_FREE takes an anonymous page to the inactive file list without swapbacked; others it leaves alone. */
static void lazily_freed_pages_wait_on_the_file_list(void **state)
{
	struct page *anon = listed_page(0, true), *shmem = listed_page(0, true), *thp = new_thp(0);

	anon->mapping = (struct address_space *)PAGE_MAPPING_ANON;
	thp->mapping = (struct address_space *)PAGE_MAPPING_ANON;
	lru_cache_add(thp);
	mark_page_lazyfree(anon);
	mark_page_lazyfree(shmem);
	mark_page_lazyfree(thp);
	lru_add_drain();
	assert_false(PageSwapBacked(anon));
	assert_int_equal(page_lru(anon), LRU_INACTIVE_FILE);
	assert_int_equal(page_lru(shmem), LRU_INACTIVE_ANON);
	assert_int_equal(page_lru(thp), LRU_INACTIVE_FILE);
	assert_int_equal(vmstat("nr_inactive_file"), 513);
	assert_int_equal(vmstat("pglazyfree"), 513);
	put_page(anon);
	put_page(shmem);
	put_page(thp);
}

/* Expect: a page isolated while it waits in a batch to be moved is not moved, and not lost. */
static void a_batch_leaves_isolated_pages_alone(void **state)
{
	struct page *page = listed_page(0, true);

	activate_page(page);
	assert_int_equal(isolate_lru_page(page), 0);
	lru_add_drain();
	assert_false(PageActive(page));
	assert_false(PageLRU(page));
	assert_int_equal(page_count(page), 2);
	putback_lru_page(page);
	lru_add_drain();
	assert_true(PageLRU(page));
	put_page(page);
}

/* Expect: freeing a listed page takes it off, whichever list it is on, active flag and all. */
static void freeing_takes_a_page_off_its_list(void **state)
{
	struct page *page = listed_page(1, true);

	activate_page(page);
	lru_add_drain();
	assert_int_equal(vmstat("nr_active_anon"), 1);
	put_page(page);
	assert_int_equal(vmstat("nr_active_anon"), 0);
	assert_false(page->flags & PAGE_FLAGS_CHECK_AT_PREP);
}

/* mlock */

/*
 * Two mlocked VMAs map a page.
 * Expect: unevictable, counted but on no list; the first munlock leaves it, the second makes it evictable again.
 */
static void an_mlocked_page_is_unevictable_until_the_last_munlock(void **state)
{
	struct page *page = listed_page(0, true);

	mlock_page(page);
	assert_true(PageMlocked(page));
	assert_false(PageUnevictable(page));
	assert_int_equal(page_count(page), 2);
	mlock_page(page);
	lru_add_drain();
	assert_int_equal(page_count(page), 1);
	assert_true(PageUnevictable(page));
	assert_int_equal(page->mlock_count, 2);
	assert_int_equal(vmstat("nr_unevictable"), 1);
	assert_int_equal(vmstat("nr_inactive_anon"), 0);
	assert_int_equal(vmstat("nr_mlock"), 1);
	assert_int_equal(vmstat("unevictable_pgs_mlocked"), 1);
	scene_check(*state);

	munlock_page(page);
	lru_add_drain();
	assert_true(PageUnevictable(page) && PageMlocked(page));
	munlock_page(page);
	lru_add_drain();
	assert_false(PageUnevictable(page) || PageMlocked(page));
	assert_int_equal(vmstat("nr_inactive_anon"), 1);
	assert_int_equal(vmstat("nr_mlock"), 0);
	assert_int_equal(vmstat("unevictable_pgs_munlocked"), 1);
	assert_int_equal(vmstat("unevictable_pgs_culled"), 1);
	assert_int_equal(vmstat("unevictable_pgs_rescued"), 1);
	put_page(page);
}

/* Expect: a new page of a mlocked VMA is unevictable from the start, a THP with all its pages. */
static void a_new_page_of_a_mlocked_vma_is_unevictable(void **state)
{
	struct page *page = new_anon_page(0), *thp = new_thp(0);

	lru_cache_add_inactive_or_unevictable(page, true);
	lru_cache_add_inactive_or_unevictable(thp, true);
	assert_true(PageLRU(page) && PageUnevictable(page) && PageUnevictable(thp));
	assert_int_equal(vmstat("nr_unevictable"), 513);
	assert_int_equal(vmstat("nr_mlock"), 513);
	assert_int_equal(vmstat("unevictable_pgs_mlocked"), 513);
	release_pages(&page, 1);
	put_page(thp);
	assert_int_equal(vmstat("nr_unevictable"), 0);
	assert_int_equal(vmstat("nr_mlock"), 0);
	assert_int_equal(vmstat("unevictable_pgs_cleared"), 513);
}

/*
 *   1 mlocked page isolated   2 munlocked: on no list, taken for the last   3 put back
 * Expect: evictable and listed.
 */
static void a_page_munlocked_while_isolated_comes_back_evictable(void **state)
{
	struct page *page = listed_page(0, true);

	mlock_page(page);
	lru_add_drain();
	assert_int_equal(isolate_lru_page(page), 0);
	assert_int_equal(vmstat("nr_unevictable"), 0);
	munlock_page(page);
	lru_add_drain();
	assert_false(PageMlocked(page));
	assert_int_equal(vmstat("unevictable_pgs_stranded"), 1);
	putback_lru_page(page);
	lru_add_drain();
	assert_false(PageUnevictable(page));
	assert_int_equal(vmstat("nr_inactive_anon"), 1);
	assert_int_equal(vmstat("unevictable_pgs_rescued"), 1);
	put_page(page);
}

/* Expect: a mlocked page that migration's putback adds anew is unevictable again, its count too low rather than too high. */
static void a_mlocked_page_put_back_is_unevictable_again(void **state)
{
	struct page *page = listed_page(0, true);

	mlock_page(page);
	lru_add_drain();
	assert_int_equal(isolate_lru_page(page), 0);
	assert_true(PageUnevictable(page));
	putback_lru_page(page);
	lru_add_drain();
	assert_true(PageUnevictable(page) && PageLRU(page));
	assert_int_equal(page->mlock_count, 0);
	assert_int_equal(vmstat("nr_unevictable"), 1);
	munlock_page(page);
	lru_add_drain();
	put_page(page);
}

static bool nothing_is_evictable(struct address_space *mapping)
{
	return true;
}

/* Expect: the pages of a mapping the layer above calls unevictable are; anonymous pages are not asked about. */
static void a_mapping_can_be_unevictable(void **state)
{
	static const struct ps_page_ops ops = { .mapping_unevictable = nothing_is_evictable };
	static char file[16] __attribute__((aligned(16)));
	struct page *page = new_anon_page(0), *anon = new_anon_page(0);
	struct scene *s = *state;

	ps_mem_set_page_ops(s->machine, &ops);
	page->mapping = (struct address_space *)file;
	anon->mapping = (struct address_space *)PAGE_MAPPING_ANON;
	lru_cache_add(page);
	lru_cache_add(anon);
	lru_add_drain();
	assert_true(PageUnevictable(page));
	assert_false(PageUnevictable(anon));
	page->mapping = NULL;
	put_page(page);
	put_page(anon);
	ps_mem_set_page_ops(s->machine, NULL);
}

/* Random operations of three CPUs on 200 pages, then everything is put back. */
static void random_lru_work_keeps_the_counters_right(void **state)
{
	struct scene *s = *state;
	struct page *pages[200];
	bool isolated[200] = { false };
	int mlocks[200] = { 0 };
	unsigned int step, seed = 12345;
	int i;

	for (i = 0; i < 200; i++) {
		pages[i] = i % 50 == 49 ? new_thp(i & 1) : new_anon_page(i & 1);
		if (i % 3)
			pages[i]->mapping = (struct address_space *)PAGE_MAPPING_ANON;
		lru_cache_add(pages[i]);
	}
	for (step = 0; step < 20000; step++) {
		struct page *page;

		seed = seed * 1103515245 + 12345;
		i = (int)(seed >> 8) % 200;
		i = i < 0 ? -i : i;
		page = pages[i];
		s->task->cpu = (int)(seed >> 28) % 3;
		switch ((seed >> 20) % 12) {
		case 0:
			mark_page_accessed(page);
			break;
		case 1:
			activate_page(page);
			break;
		case 2:
			deactivate_page(page);
			break;
		case 3:
			deactivate_file_page(page);
			break;
		case 4:
			mark_page_lazyfree(page);
			break;
		case 5:
			rotate_reclaimable_page(page);
			break;
		case 6:
		case 7:
			if (isolated[i])
				putback_lru_page(page);
			else if (isolate_lru_page(page))
				break;
			isolated[i] = !isolated[i];
			break;
		case 8:
			mlock_page(page);
			mlocks[i]++;
			break;
		case 9:
			if (mlocks[i]) {
				munlock_page(page);
				mlocks[i]--;
			}
			break;
		case 10:
			lru_add_drain();
			break;
		default:
			if (step % 64 == 0)
				lru_add_drain_all();
		}
		if (step % 500 == 0)
			scene_check(s);
	}
	s->task->cpu = 0;
	for (i = 0; i < 200; i++) {
		if (isolated[i])
			putback_lru_page(pages[i]);
		while (mlocks[i]--)
			munlock_page(pages[i]);
	}
	lru_add_drain_all();
	for (i = 0; i < 200; i++) {
		assert_true(PageLRU(pages[i]));
		assert_int_equal(page_count(pages[i]), 1);
		ClearPageReclaim(pages[i]);
	}
	scene_check(s);
	release_pages(pages, 200);
	assert_int_equal(vmstat("nr_unevictable") + vmstat("nr_inactive_anon") + vmstat("nr_active_anon") +
				 vmstat("nr_inactive_file") + vmstat("nr_active_file"),
			 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, scene_teardown)
	const struct CMUnitTest tests[] = {
		T(a_fresh_page_has_a_second_reference_until_the_batch_is_drained),
		T(the_fifteenth_page_flushes_the_batch),
		T(a_huge_page_is_added_at_once),
		T(disabled_batches_hold_nothing),
		T(isolation_is_exclusive_and_undone_by_putback),
		T(an_isolated_page_may_lose_its_owner),
		T(accesses_walk_a_page_to_the_active_list),
		T(a_batched_page_is_activated_in_its_own_batch_only),
		T(pages_move_where_they_are_told),
		T(lazily_freed_pages_wait_on_the_file_list),
		T(a_batch_leaves_isolated_pages_alone),
		T(freeing_takes_a_page_off_its_list),
		T(an_mlocked_page_is_unevictable_until_the_last_munlock),
		T(a_new_page_of_a_mlocked_vma_is_unevictable),
		T(a_page_munlocked_while_isolated_comes_back_evictable),
		T(a_mlocked_page_put_back_is_unevictable_again),
		T(a_mapping_can_be_unevictable),
		T(random_lru_work_keeps_the_counters_right),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
