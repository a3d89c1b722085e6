/* SPDX-License-Identifier: MIT */
/*
 * The reference count of a page: why a frame is not free. Each reference has an owner (a page table entry, the page
 * cache, the swap cache, an LRU batch, an isolator, a pin). Whoever drops the last one frees the page. Whoever owns the
 * page lock and knows every reference by name may freeze the count: swap it from the expected number to 0, after which
 * nobody can gain a reference (get_page_unless_zero fails) until page_ref_unfreeze. That is how migration, splitting and
 * removal from the page cache know that nobody else looks.
 *
 *            get_page, get_page_unless_zero
 *            ┌──────────────────────────┐
 *            │                          ▼          put_page_testzero() == true
 *   frozen(0) ◀── page_ref_freeze(n) ── n >= 1 ───────────────────────────────▶ 0: __put_page frees
 *        └─────── page_ref_unfreeze(n) ──▲          ▲
 *                                        └──────────┴── set_page_refcounted (allocator)
 *
 * A compound page has one count, in its head. Tails hold 0 for ever.
 *
 * Layer: page
 */
#ifndef PAGESIM_PAGE_REF_H
#define PAGESIM_PAGE_REF_H

#include <pagesim/atomic.h>
#include <pagesim/bug.h>
#include <pagesim/page.h>
#include <pagesim/page_flags.h>
#include <pagesim/page_mapcount.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A pin (FOLL_PIN) of a small page counts as so many references. */
#define GUP_PIN_COUNTING_BIAS 1024

/** The count of this struct page itself, head or not. */
static inline int page_ref_count(const struct page *page)
{
	return atomic_read(&page->_refcount);
}

/** The count of the page, through the head of a compound page. */
static inline int page_count(const struct page *page)
{
	return page_ref_count(compound_head(page));
}

static inline void set_page_count(struct page *page, int v)
{
	atomic_set(&page->_refcount, v);
}

/** First reference of a page fresh from the allocator. From here on get_page_unless_zero() can find it. */
static inline void set_page_refcounted(struct page *page)
{
	VM_BUG_ON_PAGE(PageTail(page), page);
	VM_BUG_ON_PAGE(page_ref_count(page) != 0, page);
	/* Pairs with a successful get_page_unless_zero(): the words the allocator used are seen as it left them. */
	atomic_set_release(&page->_refcount, 1);
}

static inline void page_ref_add(struct page *page, int nr)
{
	atomic_add(nr, &page->_refcount);
}

static inline void page_ref_sub(struct page *page, int nr)
{
	atomic_sub(nr, &page->_refcount);
}

static inline int page_ref_sub_return(struct page *page, int nr)
{
	return atomic_sub_return(nr, &page->_refcount);
}

static inline void page_ref_inc(struct page *page)
{
	atomic_inc(&page->_refcount);
}

static inline void page_ref_dec(struct page *page)
{
	atomic_dec(&page->_refcount);
}

static inline bool page_ref_sub_and_test(struct page *page, int nr)
{
	return atomic_sub_and_test(nr, &page->_refcount);
}

static inline bool page_ref_dec_and_test(struct page *page)
{
	return atomic_dec_and_test(&page->_refcount);
}

static inline int page_ref_inc_return(struct page *page)
{
	return atomic_inc_return(&page->_refcount);
}

static inline int page_ref_dec_return(struct page *page)
{
	return atomic_dec_return(&page->_refcount);
}

/** Add `nr` unless the count is `u`. **Return:** whether it was added. */
static inline bool page_ref_add_unless(struct page *page, int nr, int u)
{
	return atomic_add_unless(&page->_refcount, nr, u);
}

/**
 * Take all references at once, if there are exactly `count`: the count becomes 0 and the caller owns the page alone.
 * **Context:** any. Full barrier on success, as every successful compare-and-swap.
 * **Return:** whether the count was `count`. On false nothing changed.
 * Fidelity: exact.
 */
static inline bool page_ref_freeze(struct page *page, int count)
{
	return atomic_cmpxchg(&page->_refcount, count, 0) == count;
}

/**
 * Give `count` references to a frozen page. What was written while it was frozen is seen by whoever gets a reference.
 * Fidelity: exact.
 */
static inline void page_ref_unfreeze(struct page *page, int count)
{
	VM_BUG_ON_PAGE(page_count(page) != 0, page);
	VM_BUG_ON_PAGE(count == 0, page);
	atomic_set_release(&page->_refcount, count); /* pairs with the acquire of a successful get_page_unless_zero */
}

/** Would one more reference be one too many, or is the count 0? */
static inline bool page_ref_zero_or_close_to_overflow(const struct page *page)
{
	return (unsigned int)page_ref_count(page) + 127u <= 127u;
}

/** Another reference for who has one. */
static inline void get_page(struct page *page)
{
	page = compound_head(page);
	VM_BUG_ON_PAGE(page_ref_zero_or_close_to_overflow(page), page);
	page_ref_inc(page);
}

/**
 * A reference for who found the page without owning one: not if it is free or frozen.
 * The page may have become something else: look at what it is after this, not before.
 * **Return:** whether there is a reference now.
 * Fidelity: exact.
 */
static inline bool get_page_unless_zero(struct page *page)
{
	return page_ref_add_unless(page, 1, 0);
}

/** As get_page, but refuses a count that is 0 or has overflowed. */
static inline bool try_get_page(struct page *page)
{
	page = compound_head(page);
	if (WARN_ON_ONCE(page_ref_count(page) <= 0))
		return false;
	page_ref_inc(page);
	return true;
}

/** Drop a reference. **Return:** true if it was the last: the caller frees the page. */
static inline bool put_page_testzero(struct page *page)
{
	VM_BUG_ON_PAGE(page_ref_count(page) == 0, page);
	return page_ref_dec_and_test(page);
}

/**
 * Free a page whose count reached 0: off the LRU (__page_cache_release), then to the allocator through the destructor
 * of a compound page.
 * @page: head; count 0; not mapped.
 * **Context:** takes lru_lock, the split queue's lock, pcp->lock, zone->lock; does not sleep.
 * Fidelity: exact (__folio_put).
 */
void __put_page(struct page *page);

/** Drop a reference; the last one frees the page. **Context:** that of __put_page. */
static inline void put_page(struct page *page)
{
	page = compound_head(page);
	if (put_page_testzero(page))
		__put_page(page);
}

/** Drop `refs` references at once. */
static inline void put_page_refs(struct page *page, int refs)
{
	page = compound_head(page);
	VM_BUG_ON_PAGE(page_ref_count(page) < refs, page);
	if (page_ref_sub_and_test(page, refs))
		__put_page(page);
}

/**
 * Drop one reference of each of `nr` pages and free those it was the last of, taking the locks once per run.
 * Fidelity: exact (release_pages).
 */
void release_pages(struct page **pages, int nr);

/* Pins (FOLL_PIN): references whose owner writes to the page behind the page table's back. */

static inline atomic_t *compound_pincount_ptr(struct page *page)
{
	return &page[1].compound_pincount;
}

/** Pins of a compound page. @head: head of a compound page. */
static inline int head_compound_pincount(const struct page *head)
{
	return atomic_read(&head[1].compound_pincount);
}

/** Has a compound page a count of pins of its own? Order 1 and more here; Linux 6.1: order 2 and more. */
static inline bool hpage_pincount_available(const struct page *page)
{
	return PageHead(compound_head(page));
}

/**
 * Might the page be pinned? Exact for compound pages; for small ones 1024 references look like a pin.
 * Fidelity: exact (page_maybe_dma_pinned).
 */
static inline bool page_maybe_dma_pinned(const struct page *page)
{
	page = compound_head(page);
	if (PageHead(page))
		return head_compound_pincount(page) > 0;
	return (unsigned int)page_ref_count(page) >= GUP_PIN_COUNTING_BIAS;
}

/**
 * Pin `refs` times a page the caller holds a reference to or sees under its page table lock.
 * Counts NR_FOLL_PIN_ACQUIRED.
 * **Return:** false: the count was 0 or has overflowed; nothing changed.
 * Fidelity: exact (try_grab_folio with FOLL_PIN).
 */
bool page_pin(struct page *page, int refs);

/** Undo page_pin(); the last reference frees the page. Fidelity: exact (gup_put_folio with FOLL_PIN). */
void page_unpin(struct page *page, int refs);

#ifdef __cplusplus
}
#endif
#endif
