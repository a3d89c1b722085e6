/* SPDX-License-Identifier: MIT */
/*
 * The LRU lists and the batches in front of them. A batch is flushed when it is full, when a compound page enters it,
 * when batches are disabled, and by the drains; each page of it is handled under its node's lru_lock and then loses the
 * batch's reference.
 *
 * Invariants:
 *   I1 a page is on a list of lruvec->lists only while PG_lru is set, or while a flush that cleared it holds lru_lock
 *   I2 flags that choose the list (active, unevictable, swapbacked) of a listed page change only off the list
 *   I3 NR_<list> of node and zone count base pages on the list; unevictable pages are counted, not listed
 *   I4 every page in a batch is referenced by it
 *
 * Locking: batch lock ⊃ lru_lock; freeing what the flush held last takes pcp and zone locks under the batch lock.
 *
 * What Linux does differently: lru_add_drain_all asks a worker on each CPU, here the caller flushes for all; reclaim's
 * cost accounting (lru_note_cost) and the multi-generational LRU are absent; workingset ages are not kept.
 * Source: Linux 6.1 mm/swap.c, include/linux/mm_inline.h (behaviour).
 */
#include <pagesim/lru.h>

#include <pagesim/alloc.h>
#include <pagesim/mem.h>
#include <string.h>

#include "page/buddy.h"
#include "page/lru_batch.h"

/* Lists */

enum lru_list page_lru(const struct page *page)
{
	int lru;

	VM_BUG_ON_PAGE(PageActive(page) && PageUnevictable(page), page);
	if (PageUnevictable(page))
		return LRU_UNEVICTABLE;
	lru = page_is_file_lru(page) ? LRU_INACTIVE_FILE : LRU_INACTIVE_ANON;
	if (PageActive(page))
		lru += LRU_ACTIVE;
	return (enum lru_list)lru;
}

bool page_evictable(struct page *page)
{
	const struct ps_page_ops *ops = this_mem()->page_ops;

	if (ops && ops->mapping_unevictable && !PageSwapCache(page)) {
		struct address_space *mapping = READ_ONCE(page->mapping);

		if (mapping && !((unsigned long)mapping & PAGE_MAPPING_FLAGS) && ops->mapping_unevictable(mapping))
			return false;
	}
	return !PageMlocked(page);
}

void update_lru_size(struct lruvec *lruvec, enum lru_list lru, int zid, long nr_pages)
{
	nid_t nid = lruvec->pgdat->node_id;

	__mod_node_page_state(nid, (enum node_stat_item)((int)NR_LRU_BASE + (int)lru), nr_pages);
	__mod_zone_counter(nid, zid, (enum zone_stat_item)((int)NR_ZONE_INACTIVE_ANON + (int)lru), nr_pages);
}

void add_page_to_lru_list(struct page *page, struct lruvec *lruvec)
{
	enum lru_list lru = page_lru(page);

	update_lru_size(lruvec, lru, page_zonenum(page), thp_nr_pages(page));
	if (lru != LRU_UNEVICTABLE)
		list_add(&page->lru, &lruvec->lists[lru]);
}

void add_page_to_lru_list_tail(struct page *page, struct lruvec *lruvec)
{
	enum lru_list lru = page_lru(page);

	update_lru_size(lruvec, lru, page_zonenum(page), thp_nr_pages(page));
	if (lru != LRU_UNEVICTABLE)
		list_add_tail(&page->lru, &lruvec->lists[lru]);
}

void del_page_from_lru_list(struct page *page, struct lruvec *lruvec)
{
	enum lru_list lru = page_lru(page);

	if (lru != LRU_UNEVICTABLE)
		list_del(&page->lru);
	update_lru_size(lruvec, lru, page_zonenum(page), -(long)thp_nr_pages(page));
}

void __clear_page_lru_flags(struct page *page)
{
	VM_BUG_ON_PAGE(!PageLRU(page), page);
	__ClearPageLRU(page);
	/* Both at once is a bug; leave them for free_pages_prepare to find. */
	if (PageActive(page) && PageUnevictable(page))
		return;
	__ClearPageActive(page);
	__ClearPageUnevictable(page);
}

/* What a flush does to each page: called with lru_lock and PG_lru clear. */

static void lru_add_fn(struct lruvec *lruvec, struct page *page)
{
	bool was_unevictable = TestClearPageUnevictable(page);
	long nr = thp_nr_pages(page);

	VM_BUG_ON_PAGE(PageLRU(page), page);
	/*
	 * Mlocked is looked at after Unevictable was cleared; munlock clears Mlocked first and then looks at Unevictable
	 * under this lru_lock. So an evictable page is not left behind as unevictable.
	 */
	if (page_evictable(page)) {
		if (was_unevictable)
			__count_vm_events(UNEVICTABLE_PGRESCUED, nr);
	} else {
		ClearPageActive(page);
		SetPageUnevictable(page);
		/* Too low rather than too high: who mlocked it may count it yet, and reclaim mends what is too low. */
		page->mlock_count = 0;
		if (!was_unevictable)
			__count_vm_events(UNEVICTABLE_PGCULLED, nr);
	}
	add_page_to_lru_list(page, lruvec);
}

static void lru_move_tail_fn(struct lruvec *lruvec, struct page *page)
{
	if (PageUnevictable(page))
		return;
	del_page_from_lru_list(page, lruvec);
	ClearPageActive(page);
	add_page_to_lru_list_tail(page, lruvec);
	__count_vm_events(PGROTATED, thp_nr_pages(page));
}

static void lru_deactivate_file_fn(struct lruvec *lruvec, struct page *page)
{
	bool active = PageActive(page);
	long nr = thp_nr_pages(page);

	if (PageUnevictable(page))
		return;
	/* Some process still uses it. */
	if (page_mapped(page))
		return;
	del_page_from_lru_list(page, lruvec);
	ClearPageActive(page);
	ClearPageReferenced(page);
	if (PageWriteback(page) || PageDirty(page)) {
		/* To be freed when it is clean; PG_reclaim moves it then. */
		add_page_to_lru_list(page, lruvec);
		SetPageReclaim(page);
	} else {
		add_page_to_lru_list_tail(page, lruvec);
		__count_vm_events(PGROTATED, nr);
	}
	if (active)
		__count_vm_events(PGDEACTIVATE, nr);
}

static void lru_deactivate_fn(struct lruvec *lruvec, struct page *page)
{
	if (!PageActive(page) || PageUnevictable(page))
		return;
	del_page_from_lru_list(page, lruvec);
	ClearPageActive(page);
	ClearPageReferenced(page);
	add_page_to_lru_list(page, lruvec);
	__count_vm_events(PGDEACTIVATE, thp_nr_pages(page));
}

/** Is this a page MADV_FREE can make lazily free? */
static bool page_may_be_lazyfree(const struct page *page)
{
	return PageAnon(page) && PageSwapBacked(page) && !PageSwapCache(page) && !PageUnevictable(page);
}

static void lru_lazyfree_fn(struct lruvec *lruvec, struct page *page)
{
	if (!page_may_be_lazyfree(page))
		return;
	del_page_from_lru_list(page, lruvec);
	ClearPageActive(page);
	ClearPageReferenced(page);
	/* An anonymous page without swapbacked is clean in its owner's eyes; the file lists are where it waits. */
	ClearPageSwapBacked(page);
	add_page_to_lru_list(page, lruvec);
	__count_vm_events(PGLAZYFREE, thp_nr_pages(page));
}

static void lru_activate_fn(struct lruvec *lruvec, struct page *page)
{
	if (PageActive(page) || PageUnevictable(page))
		return;
	del_page_from_lru_list(page, lruvec);
	SetPageActive(page);
	add_page_to_lru_list(page, lruvec);
	__count_vm_events(PGACTIVATE, thp_nr_pages(page));
}

static const lru_move_fn move_fns[NR_LRU_BATCH_KINDS] = {
	[LRU_BATCH_ADD] = lru_add_fn,
	[LRU_BATCH_ROTATE] = lru_move_tail_fn,
	[LRU_BATCH_DEACTIVATE_FILE] = lru_deactivate_file_fn,
	[LRU_BATCH_DEACTIVATE] = lru_deactivate_fn,
	[LRU_BATCH_LAZYFREE] = lru_lazyfree_fn,
	[LRU_BATCH_ACTIVATE] = lru_activate_fn,
};

/* Batches */

struct lru_batches *lru_batches_new(unsigned int nr_cpus)
{
	struct lru_batches *batches = ps_alloc_aligned(64, nr_cpus * sizeof(*batches));
	unsigned int cpu;

	if (!batches)
		return NULL;
	memset(batches, 0, nr_cpus * sizeof(*batches));
	for (cpu = 0; cpu < nr_cpus; cpu++)
		spin_lock_init(&batches[cpu].lock, LRU_BATCH_LOCK);
	return batches;
}

void lru_batches_free(struct lru_batches *batches)
{
	ps_free(batches);
}

/** Handle every page of a batch and drop its reference. **Context:** the batch's lock. */
static void batch_flush(struct page_batch *batch, enum lru_batch_kind kind)
{
	struct lruvec *lruvec = NULL;
	unsigned int i;

	for (i = 0; i < batch->nr; i++) {
		struct page *page = batch->pages[i];

		/* Somebody else has isolated it meanwhile: then there is nothing to move. */
		if (kind != LRU_BATCH_ADD && !TestClearPageLRU(page))
			continue;
		lruvec = page_lruvec_relock(page, lruvec);
		move_fns[kind](lruvec, page);
		SetPageLRU(page);
	}
	if (lruvec)
		spin_unlock(&lruvec->lru_lock);
	release_pages(batch->pages, (int)batch->nr);
	ps_show(batch->nr, 0);
}

/** Put a page, referenced here, into the running CPU's batch. */
static void batch_add(struct page *page, enum lru_batch_kind kind)
{
	struct lru_batches *cpu = this_cpu_batches();
	struct page_batch *batch = &cpu->kind[kind];

	get_page(page);
	spin_lock(&cpu->lock);
	batch->pages[batch->nr] = page;
	ps_show(batch->nr, batch->nr + 1);
	if (batch->nr == PAGEVEC_SIZE || PageHead(page) || lru_cache_disabled())
		batch_flush(batch, kind);
	spin_unlock(&cpu->lock);
}

void lru_cache_add(struct page *page)
{
	VM_BUG_ON_PAGE(PageActive(page) && PageUnevictable(page), page);
	VM_BUG_ON_PAGE(PageLRU(page), page);
	batch_add(page, LRU_BATCH_ADD);
}

void lru_cache_add_inactive_or_unevictable(struct page *page, bool vma_locked)
{
	VM_BUG_ON_PAGE(PageLRU(page), page);
	if (unlikely(vma_locked))
		mlock_new_page(page);
	else
		lru_cache_add(page);
}

void activate_page(struct page *page)
{
	page = compound_head(page);
	if (PageLRU(page) && !PageActive(page) && !PageUnevictable(page))
		batch_add(page, LRU_BATCH_ACTIVATE);
}

/** A page that waits in this CPU's batch to be added can be made active there; on another CPU it stays inactive. */
static void activate_in_add_batch(struct page *page)
{
	struct lru_batches *cpu = this_cpu_batches();
	struct page_batch *batch = &cpu->kind[LRU_BATCH_ADD];
	unsigned int i;

	spin_lock(&cpu->lock);
	for (i = batch->nr; i-- > 0;)
		if (batch->pages[i] == page) {
			SetPageActive(page);
			break;
		}
	spin_unlock(&cpu->lock);
}

void mark_page_accessed(struct page *page)
{
	page = compound_head(page);
	if (!PageReferenced(page)) {
		SetPageReferenced(page);
	} else if (PageUnevictable(page)) {
		/* Nobody looks at it in order; its turn comes when it is evictable again. */
	} else if (!PageActive(page)) {
		if (PageLRU(page))
			activate_page(page);
		else
			activate_in_add_batch(page);
		ClearPageReferenced(page);
	}
	if (PageIdle(page))
		ClearPageIdle(page);
}

void deactivate_page(struct page *page)
{
	page = compound_head(page);
	if (PageLRU(page) && PageActive(page) && !PageUnevictable(page))
		batch_add(page, LRU_BATCH_DEACTIVATE);
}

void deactivate_file_page(struct page *page)
{
	page = compound_head(page);
	if (!PageUnevictable(page))
		batch_add(page, LRU_BATCH_DEACTIVATE_FILE);
}

void mark_page_lazyfree(struct page *page)
{
	page = compound_head(page);
	if (PageLRU(page) && page_may_be_lazyfree(page))
		batch_add(page, LRU_BATCH_LAZYFREE);
}

void rotate_reclaimable_page(struct page *page)
{
	page = compound_head(page);
	if (!PageLocked(page) && !PageDirty(page) && !PageUnevictable(page) && PageLRU(page))
		batch_add(page, LRU_BATCH_ROTATE);
}

/* Drains */

void lru_add_drain_cpu(int cpu)
{
	struct lru_batches *b = &this_mem()->batches[cpu];
	int kind;

	spin_lock(&b->lock);
	for (kind = 0; kind < NR_LRU_BATCH_KINDS; kind++)
		if (b->kind[kind].nr)
			batch_flush(&b->kind[kind], (enum lru_batch_kind)kind);
	spin_unlock(&b->lock);
}

void lru_add_drain(void)
{
	lru_add_drain_cpu(ps_current->cpu);
	mlock_page_drain_local();
}

/** Is there something in the CPU's batches? Without its lock: what enters later was not meant. */
static bool cpu_needs_drain(int cpu)
{
	const struct lru_batches *b = &this_mem()->batches[cpu];
	int kind;

	for (kind = 0; kind < NR_LRU_BATCH_KINDS; kind++)
		if (ps_glance(b->kind[kind].nr))
			return true;
	return need_mlock_page_drain(cpu);
}

void lru_add_drain_all(void)
{
	unsigned int cpu;

	for (cpu = 0; cpu < this_machine()->nr_cpus; cpu++)
		if (cpu_needs_drain((int)cpu)) {
			lru_add_drain_cpu((int)cpu);
			mlock_page_drain_cpu((int)cpu);
		}
}

bool lru_cache_disabled(void)
{
	return atomic_read(&this_mem()->lru_disable_count) > 0;
}

void lru_cache_disable(void)
{
	atomic_inc(&this_mem()->lru_disable_count);
	lru_add_drain_all();
}

void lru_cache_enable(void)
{
	atomic_dec(&this_mem()->lru_disable_count);
}

/* Isolating and putting back */

int isolate_lru_page(struct page *page)
{
	struct lruvec *lruvec;

	VM_BUG_ON_PAGE(!page_count(page), page);
	if (WARN_ON_ONCE(PageTail(page)))
		return -EBUSY;
	if (!TestClearPageLRU(page))
		return -EBUSY;
	get_page(page);
	lruvec = page_lruvec(page);
	spin_lock(&lruvec->lru_lock);
	del_page_from_lru_list(page, lruvec);
	spin_unlock(&lruvec->lru_lock);
	return 0;
}

void putback_lru_page(struct page *page)
{
	lru_cache_add(page);
	put_page(page);
}

void __page_cache_release(struct page *page)
{
	if (PageLRU(page)) {
		struct lruvec *lruvec = page_lruvec(page);

		spin_lock(&lruvec->lru_lock);
		del_page_from_lru_list(page, lruvec);
		__clear_page_lru_flags(page);
		spin_unlock(&lruvec->lru_lock);
	}
	/* Unmapping under truncation and munlock can miss each other. */
	if (unlikely(PageMlocked(page))) {
		long nr = thp_nr_pages(page);

		__ClearPageMlocked(page);
		mod_zone_page_state(page_zone(page), NR_MLOCK, -nr);
		count_vm_events(UNEVICTABLE_PGCLEARED, nr);
	}
}
