/* SPDX-License-Identifier: MIT */
/*
 * Compound pages: 2^order aligned frames treated as one page. The head carries flags, refcount and mapping; each tail
 * points to it. What a head has no room for lives in the first two tails:
 *
 *   head          flags (PG_head)  lru  mapping  index  private   _mapcount (own PTE)  _refcount (of all)
 *   tail 1        compound_head+1  dtor order compound_mapcount compound_pincount nr nr_pages_mapped   _mapcount (own PTE)  0
 *   tail 2        compound_head+1                    deferred_list                     _mapcount (own PTE)  0
 *   tail 3 ...    compound_head+1        mapping = TAIL_MAPPING                        _mapcount (own PTE)  0
 *
 * A page of order 1 has no second tail, so a THP has order 2 at least.
 *
 * Layer: page
 */
#ifndef PAGESIM_COMPOUND_H
#define PAGESIM_COMPOUND_H

#include <pagesim/mmzone.h>
#include <pagesim/page_ref.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What happens to a compound page when its last reference goes. */
enum compound_dtor_id {
	NULL_COMPOUND_DTOR,
	COMPOUND_PAGE_DTOR,  /* to the allocator */
	TRANSHUGE_PAGE_DTOR, /* off the deferred split queue, then to the allocator */
	NR_COMPOUND_DTORS
};

/** Order of a compound page by its head; 0 of a small page, 0 of a tail. */
static inline unsigned int compound_order(const struct page *page)
{
	if (!PageHead(page))
		return 0;
	return page[1].compound_order;
}

/** Pages of a compound page by its head; 1 of a small page. */
static inline unsigned long compound_nr(const struct page *page)
{
	if (!PageHead(page))
		return 1;
	return page[1].compound_nr;
}

static inline unsigned long page_size(const struct page *page)
{
	return PAGE_SIZE << compound_order(page);
}

/** Base pages of a page by its head: 1, or those of the THP. */
static inline int thp_nr_pages(const struct page *page)
{
	VM_BUG_ON_PAGE(PageTail(page), page);
	return (int)compound_nr(page);
}

static inline unsigned int thp_order(const struct page *page)
{
	VM_BUG_ON_PAGE(PageTail(page), page);
	return compound_order(page);
}

static inline unsigned long thp_size(const struct page *page)
{
	return PAGE_SIZE << thp_order(page);
}

static inline void set_compound_page_dtor(struct page *page, enum compound_dtor_id id)
{
	page[1].compound_dtor = (unsigned char)id;
}

/** Link a page to its head. **Context:** nobody else can reach either. */
static inline void set_compound_head(struct page *page, struct page *head)
{
	WRITE_ONCE(page->compound_head, (unsigned long)head + 1);
}

/** Make a tail a page of its own (splitting). Its lru words are garbage until they are set. */
static inline void clear_compound_head(struct page *page)
{
	WRITE_ONCE(page->compound_head, 0);
}

/**
 * Make 2^order pages one compound page.
 * @page: first page, order > 0. **Context:** nobody else can reach the pages. Fidelity: exact.
 */
void prep_compound_page(struct page *page, unsigned int order);

/** Make a compound page a THP: empty deferred list, THP destructor. Order 2 at least. Fidelity: exact. */
void prep_transhuge_page(struct page *page);

/** Run the destructor of a compound page whose count is 0. Fidelity: exact. */
void destroy_compound_page(struct page *page);

/** Where the deferred split queue links a THP. */
static inline struct list_head *page_deferred_list(struct page *page)
{
	return &page[2].deferred_list;
}

/** The queue `page` would be on: that of its node. */
static inline struct deferred_split *get_deferred_split_queue(struct page *page)
{
	return &page_pgdat(page)->deferred_split_queue;
}

/**
 * Queue a THP that lost some of its mappings: to be split when memory is short. Counts THP_DEFERRED_SPLIT_PAGE.
 * Nothing happens to a page in the swap cache or already queued.
 * **Context:** takes split_queue_lock. Fidelity: exact (deferred_split_huge_page).
 */
void deferred_split_huge_page(struct page *page);
/**
 * Takes a THP off the queue for a while, because its frame becomes another page, and puts one there that was. Neither counts.
 * **Context:** takes split_queue_lock. **Return:** whether it was there.
 */
bool deferred_split_take(struct page *page);
void deferred_split_return(struct page *page);

#ifdef __cplusplus
}
#endif
#endif
