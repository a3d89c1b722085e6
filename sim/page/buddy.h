/* SPDX-License-Identifier: MIT */
/*
 * The free blocks of one zone, behind zone->lock: what page_alloc.c, which adds per-CPU lists, watermarks and the order
 * of zones, takes from and gives back to.
 */
#ifndef PS_PAGE_BUDDY_H
#define PS_PAGE_BUDDY_H

#include <pagesim/mmzone.h>

/** Empty free lists, everything behind the frontier. **Context:** setup. */
void zone_init_free_lists(struct zone *zone);

/**
 * Take a free block of `order`, splitting a larger one, stealing from other migratetypes if there is none.
 * Does not change NR_FREE_PAGES. **Context:** zone->lock. **Return:** its first page, or NULL.
 */
struct page *__rmqueue(struct zone *zone, unsigned int order, int migratetype);

/** Give a block back and merge it with its buddies; counts NR_FREE_PAGES. **Context:** zone->lock. */
void __free_one_page(struct page *page, pfn_t pfn, struct zone *zone, unsigned int order, int migratetype,
		     bool to_tail);

/** Take a known free block off its list, whole. **Context:** zone->lock. */
void del_page_from_free_list(struct page *page, struct zone *zone, unsigned int order);

/** NR_FREE_PAGES changes by nr, unless the pages are isolated. **Context:** zone->lock. */
static inline void __mod_zone_freepage_state(struct zone *zone, long nr, int migratetype)
{
	if (!is_migrate_isolate(migratetype))
		__mod_zone_page_state(zone, NR_FREE_PAGES, nr);
}

/** Is there a block of at least `order`, besides free_area, behind the frontier? **Context:** none; may be stale. */
bool zone_frontier_has(const struct zone *zone, unsigned int order);

/** Put the blocks below `end` that are behind the frontier on the free lists. **Context:** zone->lock. */
void zone_carve_to(struct zone *zone, pfn_t end);

static inline bool free_area_empty(const struct free_area *area, int migratetype)
{
	return list_empty(&area->free_list[migratetype]);
}

/** Where the type of the pageblock of `pfn` is kept, as migratetype ^ MIGRATE_MOVABLE. */
static inline u8 *pageblock_type_ptr(const struct zone *zone, pfn_t pfn)
{
	unsigned int order = ps_pageblock_order();

	return &zone->pageblock_types[(pfn >> order) - (zone->zone_start_pfn >> order)];
}

#endif
