/* SPDX-License-Identifier: MIT */
/*
 * The LRU lists: where reclaim, compaction and migration find pages. Each node has an active and an inactive list for
 * anonymous and for file pages, and counts unevictable pages without listing them. To spare lru_lock, each CPU collects
 * what is to be done to pages in batches of 15; a batched page is referenced once more and, when it is being added, not
 * yet PageLRU. So a page just faulted in has one reference more than its mapping explains until the batch is flushed:
 * whoever needs exact counts drains first.
 *
 *                    lru_cache_add            batch flushed
 *      new page ───────────────────▶ batched ───────────────▶ PageLRU, on a list ◀──────────┐
 *                                                                 │ isolate_lru_page        │ putback_lru_page
 *                                                                 ▼                         │ (through a batch)
 *                                                         isolated: no PageLRU, referenced ─┘
 *
 * Who clears PG_lru (isolate_lru_page, a batch at work, __page_cache_release) owns page->lru.
 *
 * Layer: page
 */
#ifndef PAGESIM_LRU_H
#define PAGESIM_LRU_H

#include <pagesim/compound.h>
#include <pagesim/mmzone.h>
#include <pagesim/page_ref.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PAGEVEC_SIZE 15

/** On the file lists? Everything that does not go to swap is. **Return:** 1 or 0, to be added to LRU_*. */
static inline int page_is_file_lru(const struct page *page)
{
	return !PageSwapBacked(page);
}

/** The list `page` belongs to by its flags. Fidelity: exact. */
enum lru_list page_lru(const struct page *page);

/** May reclaim take the page: not mlocked, and not of an unevictable mapping? Fidelity: exact. */
bool page_evictable(struct page *page);

/* With lru_lock held. */

/** Put on the list that its flags say, head or tail, and count it. The caller has cleared or owns PG_lru. */
void add_page_to_lru_list(struct page *page, struct lruvec *lruvec);
void add_page_to_lru_list_tail(struct page *page, struct lruvec *lruvec);
/** Take off its list and uncount it. PG_lru is the caller's business. */
void del_page_from_lru_list(struct page *page, struct lruvec *lruvec);
/** Change the counters of `lru` in the page's zone by `nr_pages`. Fidelity: exact. */
void update_lru_size(struct lruvec *lruvec, enum lru_list lru, int zid, long nr_pages);
/** Clear PG_lru and what goes with it, of a page being freed. */
void __clear_page_lru_flags(struct page *page);

/* Taking lru_lock or a batch. */

/**
 * Put a new page on the LRU, through the running CPU's batch. A compound page flushes the batch at once.
 * **Context:** the caller holds a reference; the batch takes one more. Fidelity: exact (folio_add_lru).
 */
void lru_cache_add(struct page *page);
/** A fresh page of `vma_locked` (mlocked) or other memory. Fidelity: exact (lru_cache_add_inactive_or_unevictable). */
void lru_cache_add_inactive_or_unevictable(struct page *page, bool vma_locked);

/** Note an access: unreferenced, referenced, active. Fidelity: exact, without workingset ages (folio_mark_accessed). */
void mark_page_accessed(struct page *page);
/** To the active list. Fidelity: exact. */
void activate_page(struct page *page);
/** To the inactive list. Fidelity: exact. */
void deactivate_page(struct page *page);
/** A file page dropped by invalidation: to the inactive list, its tail if clean. Fidelity: exact. */
void deactivate_file_page(struct page *page);
/** MADV_FREE: to the inactive file list, without PG_swapbacked. Fidelity: exact. */
void mark_page_lazyfree(struct page *page);
/** To the tail of the inactive list, after writeback for reclaim. Fidelity: exact. */
void rotate_reclaimable_page(struct page *page);

/** Flush all batches of the running CPU (mlock batches too). */
void lru_add_drain(void);
/** Flush the batches of `cpu` but not its mlock batch. **Context:** any task may do so for any CPU here. */
void lru_add_drain_cpu(int cpu);
/** Flush all batches of all CPUs. Linux asks each CPU's worker and waits; here the caller does it. Simplified. */
void lru_add_drain_all(void);
/** Batches off (each addition flushes at once) until as many calls of lru_cache_enable(). Fidelity: exact. */
void lru_cache_disable(void);
void lru_cache_enable(void);
bool lru_cache_disabled(void);

/**
 * Take a page off its LRU list; the caller gets a reference of its own and page->lru.
 * @page: head, referenced. NR_ISOLATED_* is the caller's to count.
 * **Return:** 0; -EBUSY: not on a list (batched, isolated by another, never added).
 * Fidelity: exact.
 */
int isolate_lru_page(struct page *page);
/** Give an isolated page back to the LRU, and its reference. Fidelity: exact. */
void putback_lru_page(struct page *page);

/** Take a page about to be freed off the LRU. **Context:** refcount 0. Fidelity: exact. */
void __page_cache_release(struct page *page);

/* mlock */

/** A mlocked VMA maps the page. Counts NR_MLOCK and unevictable_pgs_mlocked. **Context:** page table lock. */
void mlock_page(struct page *page);
/** The same for a new page instead of lru_cache_add. Fidelity: exact. */
void mlock_new_page(struct page *page);
/** A mlocked VMA unmaps the page. Fidelity: exact. */
void munlock_page(struct page *page);
/** Is there something in a CPU's mlock batch? */
bool need_mlock_page_drain(int cpu);
void mlock_page_drain_local(void);
void mlock_page_drain_cpu(int cpu);

#ifdef __cplusplus
}
#endif
#endif
