/* SPDX-License-Identifier: MIT */
/*
 * The buddy allocator of one zone. Free memory is kept in blocks of 2^order aligned frames; a freed block merges with
 * its buddy (the pfn that differs in bit `order`) as long as that is free too. Lists are kept apart by migratetype, so
 * that movable and unmovable pages do not mix in a pageblock; when a type runs out it takes from another, the largest
 * block first, and takes the whole pageblock over if most of it is or will be its own.
 *
 * Memory nobody has asked for yet is not on any list: it lies behind zone->frontier and is carved off in blocks of the
 * highest order, in ascending pfn, when the lists cannot serve a request. Carving initialises the struct pages of the
 * block, and nothing else ever touches them before. NR_FREE_PAGES counts this memory from the start.
 *
 *     zone start                    frontier                                zone end
 *     | allocated and free blocks   | never touched: all-zero struct pages  |
 *
 * Invariants (zone->lock):
 *   I1 a PageBuddy page is the first of a block on free_list[migratetype] of its order, aligned to it
 *   I2 no page of a free block but the first is PageBuddy
 *   I3 nr_free is the number of blocks on the lists of an order
 *   I4 two buddies of one order are never both free, unless that is the highest order, or one is isolated and not the other
 *
 * What Linux does differently: the memory behind the frontier is on the MOVABLE list of the highest order. Requests see
 * the same blocks in the same order. No MIGRATE_HIGHATOMIC and CMA, no guard pages, no shuffling.
 * Source: Linux 6.1 mm/page_alloc.c (behaviour).
 */
#include <pagesim/mem.h>
#include <pagesim/page_alloc.h>

#include "page/buddy.h"
#include "page/frames.h"

static inline void set_buddy_order(struct page *page, unsigned int order)
{
	set_page_private(page, order);
	__SetPageBuddy(page);
}

/** **Context:** zone->lock, or a hint. */
static inline bool page_is_free_block(const struct page *page)
{
	return (ps_glance(page->page_type) & (PAGE_TYPE_BASE | PG_buddy)) == PAGE_TYPE_BASE;
}

static void add_to_free_list(struct page *page, struct zone *zone, unsigned int order, int migratetype)
{
	struct free_area *area = &zone->free_area[order];

	list_add(&page->buddy_list, &area->free_list[migratetype]);
	ps_show(area->nr_free, area->nr_free + 1);
}

static void add_to_free_list_tail(struct page *page, struct zone *zone, unsigned int order, int migratetype)
{
	struct free_area *area = &zone->free_area[order];

	list_add_tail(&page->buddy_list, &area->free_list[migratetype]);
	ps_show(area->nr_free, area->nr_free + 1);
}

static void move_to_free_list(struct page *page, struct zone *zone, unsigned int order, int migratetype)
{
	struct free_area *area = &zone->free_area[order];

	list_move_tail(&page->buddy_list, &area->free_list[migratetype]);
}

void del_page_from_free_list(struct page *page, struct zone *zone, unsigned int order)
{
	list_del(&page->buddy_list);
	__ClearPageBuddy(page);
	set_page_private(page, 0);
	ps_show(zone->free_area[order].nr_free, zone->free_area[order].nr_free - 1);
}

static struct page *get_page_from_free_area(struct free_area *area, int migratetype)
{
	return list_first_entry_or_null(&area->free_list[migratetype], struct page, buddy_list);
}

/* Pageblocks */

int get_pfnblock_migratetype(const struct zone *zone, pfn_t pfn)
{
	return READ_ONCE(*pageblock_type_ptr(zone, pfn)) ^ MIGRATE_MOVABLE;
}

int get_pageblock_migratetype(const struct page *page)
{
	return get_pfnblock_migratetype(page_zone(page), page_to_pfn(page));
}

void set_pageblock_migratetype(struct page *page, int migratetype)
{
	WRITE_ONCE(*pageblock_type_ptr(page_zone(page), page_to_pfn(page)), (u8)(migratetype ^ MIGRATE_MOVABLE));
}

/* The frontier */

/** Order of the block that carving takes next, given how the frontier is aligned and how much is left. */
static unsigned int frontier_order(const struct zone *zone, pfn_t frontier)
{
	unsigned int order = ps_max_order() - 1;
	pfn_t end = zone_end_pfn(zone);

	while (frontier & ((1UL << order) - 1))
		order--;
	while (frontier + (1UL << order) > end)
		order--;
	return order;
}

bool zone_frontier_has(const struct zone *zone, unsigned int order)
{
	pfn_t pfn = ps_glance(zone->frontier);

	/* Aligned up, at least one block of this order must fit; carving reaches it after smaller ones. */
	pfn = (pfn + (1UL << order) - 1) & ~((1UL << order) - 1);
	return pfn + (1UL << order) <= zone_end_pfn(zone);
}

/** Initialise the struct pages of the next block and put it on the MOVABLE list. **Return:** whether there was one. */
static bool zone_carve(struct zone *zone)
{
	struct ps_mem *mem = this_mem();
	pfn_t pfn = zone->frontier;
	unsigned int order;
	unsigned long i, flags;
	struct page *page;
	u64 contents;

	if (pfn >= zone_end_pfn(zone))
		return false;
	order = frontier_order(zone, pfn);
	page = pfn_to_page(pfn);
	flags = (unsigned long)zone->node << NODES_PGSHIFT | (unsigned long)zone->zid << ZONES_PGSHIFT |
		LAST_CPUPID_MASK << LAST_CPUPID_PGSHIFT;
	contents = ps_frames_carve(mem, zone, order);
	if (contents == PS_FRAMES_FAILED)
		return false;
	for (i = 0; i < 1UL << order; i++) {
		page[i].flags = flags;
		page[i]._mapcount.counter = -1;
		page[i].contents = contents;
		if (mem->settings.contents == PS_CONTENTS_BYTES)
			contents += PAGE_SIZE;
	}
	add_to_free_list_tail(page, zone, order, MIGRATE_MOVABLE);
	set_buddy_order(page, order);
	/* Pairs with pfn_to_online_page: who sees the new frontier sees initialised pages. */
	smp_store_release(&zone->frontier, pfn + (1UL << order));
	return true;
}

void zone_carve_to(struct zone *zone, pfn_t end)
{
	while (zone->frontier < end && zone_carve(zone))
		;
}

struct page *pfn_to_online_page(pfn_t pfn)
{
	struct ps_machine *machine = this_machine();
	struct pglist_data *pgdat;
	struct zone *zone;

	if (!ps_pfn_present(machine, pfn))
		return NULL;
	pgdat = NODE_DATA(pfn_to_nid(pfn));
	for_each_zone_of(pgdat, zone) if (zone_spans_pfn(zone, pfn)) return pfn < smp_load_acquire(&zone->frontier)
		? pfn_to_page(pfn)
		: NULL;
	return NULL;
}

void zone_init_free_lists(struct zone *zone)
{
	unsigned int order;
	int mt;

	for (order = 0; order < PS_MAX_ORDER_LIMIT; order++)
		for (mt = 0; mt < MIGRATE_TYPES; mt++)
			INIT_LIST_HEAD(&zone->free_area[order].free_list[mt]);
	zone->frontier = zone->zone_start_pfn;
	__mod_zone_page_state(zone, NR_FREE_PAGES, (long)zone->present_pages);
}

/* Giving back */

/** The free buddy of a block, or NULL. **Context:** zone->lock; or none, for a hint. */
static struct page *find_buddy_page_pfn(struct page *page, pfn_t pfn, unsigned int order, struct zone *zone,
					pfn_t *ret_buddy_pfn)
{
	pfn_t buddy_pfn = pfn ^ (1UL << order);
	struct page *buddy = page + (buddy_pfn - pfn);

	if (!zone_spans_pfn(zone, buddy_pfn))
		return NULL;
	if (!page_is_free_block(buddy) || ps_glance(buddy->private_data) != order)
		return NULL;
	if (ret_buddy_pfn)
		*ret_buddy_pfn = buddy_pfn;
	return buddy;
}

/**
 * Would the block soon merge again? Then it goes to the tail, to give its neighbours time to come back. The highest
 * orders are not worth waiting for.
 */
static bool buddy_merge_likely(pfn_t pfn, pfn_t buddy_pfn, struct page *page, struct zone *zone, unsigned int order)
{
	pfn_t higher_pfn;

	if (order >= ps_max_order() - 2)
		return false;
	higher_pfn = buddy_pfn & pfn;
	return find_buddy_page_pfn(page + (higher_pfn - pfn), higher_pfn, order + 1, zone, NULL) != NULL;
}

static bool migratetype_is_mergeable(int migratetype)
{
	return migratetype < MIGRATE_PCPTYPES;
}

void __free_one_page(struct page *page, pfn_t pfn, struct zone *zone, unsigned int order, int migratetype, bool to_tail)
{
	unsigned int max = ps_max_order();
	pfn_t buddy_pfn = 0;
	struct page *buddy;

	VM_BUG_ON_PAGE(pfn & ((1UL << order) - 1), page);
	VM_BUG_ON_PAGE(migratetype < 0 || migratetype >= MIGRATE_TYPES, page);
	VM_BUG_ON_PAGE(page_is_free_block(page), page);
	__mod_zone_freepage_state(zone, 1L << order, migratetype);

	while (order < max - 1) {
		buddy = find_buddy_page_pfn(page, pfn, order, zone, &buddy_pfn);
		if (!buddy)
			break;
		if (order >= ps_pageblock_order()) {
			/* Pageblocks merge only if neither is isolated, or both are. */
			int buddy_mt = get_pfnblock_migratetype(zone, buddy_pfn);

			if (migratetype != buddy_mt &&
			    (!migratetype_is_mergeable(migratetype) || !migratetype_is_mergeable(buddy_mt)))
				break;
		}
		del_page_from_free_list(buddy, zone, order);
		page += (buddy_pfn & pfn) - pfn;
		pfn &= buddy_pfn;
		order++;
	}

	set_buddy_order(page, order);
	if (to_tail || buddy_merge_likely(pfn, pfn ^ (1UL << order), page, zone, order))
		add_to_free_list_tail(page, zone, order, migratetype);
	else
		add_to_free_list(page, zone, order, migratetype);
}

/* Taking */

/** Give the upper halves of a block of order `high` back until it has order `low`. */
static void expand(struct zone *zone, struct page *page, unsigned int low, unsigned int high, int migratetype)
{
	while (high > low) {
		high--;
		add_to_free_list(page + (1UL << high), zone, high, migratetype);
		set_buddy_order(page + (1UL << high), high);
	}
}

/** The smallest block of the type that is large enough. */
static struct page *__rmqueue_smallest(struct zone *zone, unsigned int order, int migratetype)
{
	unsigned int max = ps_max_order();
	unsigned int o;

	for (o = order; o < max; o++) {
		struct page *page = get_page_from_free_area(&zone->free_area[o], migratetype);

		if (!page)
			continue;
		del_page_from_free_list(page, zone, o);
		expand(zone, page, order, o, migratetype);
		page->index = (pgoff_t)migratetype;
		return page;
	}
	return NULL;
}

/** Which types to take from when a type has run out, in order. */
static const int fallbacks[MIGRATE_PCPTYPES][MIGRATE_PCPTYPES - 1] = {
	[MIGRATE_UNMOVABLE] = { MIGRATE_RECLAIMABLE, MIGRATE_MOVABLE },
	[MIGRATE_MOVABLE] = { MIGRATE_RECLAIMABLE, MIGRATE_UNMOVABLE },
	[MIGRATE_RECLAIMABLE] = { MIGRATE_UNMOVABLE, MIGRATE_MOVABLE },
};

/**
 * May all free pages of the pageblock be taken, not just this block? Yes if it is most of a pageblock; and always for
 * allocations that stay: better one polluted pageblock than two.
 */
static bool can_steal_fallback(unsigned int order, int start_mt)
{
	return order >= ps_pageblock_order() / 2 || start_mt == MIGRATE_RECLAIMABLE || start_mt == MIGRATE_UNMOVABLE;
}

/** **Return:** the first fallback type with a block of `order`, or -1. */
static int find_suitable_fallback(const struct free_area *area, unsigned int order, int migratetype, bool *ret_steal)
{
	int i;

	if (!area->nr_free)
		return -1;
	for (i = 0; i < MIGRATE_PCPTYPES - 1; i++) {
		int mt = fallbacks[migratetype][i];

		if (free_area_empty(area, mt))
			continue;
		*ret_steal = can_steal_fallback(order, migratetype);
		return mt;
	}
	return -1;
}

bool zone_can_serve(const struct zone *zone, unsigned int order, int migratetype)
{
	const struct free_area *area = &zone->free_area[order];
	int i;

	if (ps_glance(area->free_list[migratetype].next) != &area->free_list[migratetype])
		return true;
	if (!ps_glance(area->nr_free) || !can_steal_fallback(order, migratetype))
		return false;
	for (i = 0; i < MIGRATE_PCPTYPES - 1; i++) {
		int mt = fallbacks[migratetype][i];

		if (ps_glance(area->free_list[mt].next) != &area->free_list[mt])
			return true;
	}
	return false;
}

int fragmentation_index(const struct zone *zone, unsigned int order)
{
	unsigned long pages = 0, blocks = 0;
	unsigned int o;

	if (zone_frontier_has(zone, order))
		return -1000;
	for (o = 0; o < ps_max_order(); o++) {
		unsigned long nr = ps_glance(zone->free_area[o].nr_free);

		if (nr && o >= order)
			return -1000;
		blocks += nr;
		pages += nr << o;
	}
	if (!blocks)
		return 0;
	return 1000 - (int)((1000 + pages * 1000 / (1ul << order)) / blocks);
}

/**
 * Move the free blocks of [start, end) to the lists of another type.
 * @ret_movable: how many pages in the range are allocated but look movable (on an LRU, or movable non-LRU).
 * **Return:** how many pages were moved.
 */
static unsigned long move_freepages(struct zone *zone, pfn_t start, pfn_t end, int migratetype,
				    unsigned long *ret_movable)
{
	unsigned long moved = 0;
	pfn_t pfn;

	for (pfn = start; pfn < end;) {
		struct page *page = pfn_to_page(pfn);

		if (!page_is_free_block(page)) {
			if (ret_movable && (PageLRU(page) || __PageMovable(page)))
				(*ret_movable)++;
			pfn++;
			continue;
		}
		VM_BUG_ON_PAGE(page_zone(page) != zone, page);
		move_to_free_list(page, zone, buddy_order(page), migratetype);
		moved += 1UL << buddy_order(page);
		pfn += 1UL << buddy_order(page);
	}
	return moved;
}

/** The same for the pageblock of `page`, as far as it lies in the zone and before the frontier. */
static unsigned long move_freepages_block(struct zone *zone, struct page *page, int migratetype,
					  unsigned long *ret_movable)
{
	unsigned long nr = 1UL << ps_pageblock_order();
	pfn_t start = page_to_pfn(page) & ~(nr - 1);
	pfn_t end = ps_min(start + nr, zone->frontier);

	start = ps_max(start, zone->zone_start_pfn);
	if (ret_movable)
		*ret_movable = 0;
	return move_freepages(zone, start, end, migratetype, ret_movable);
}

/** Take over what can be taken of the pageblock(s) of a free block for `start_mt`. */
static void steal_suitable_fallback(struct zone *zone, struct page *page, int start_mt, bool whole_block)
{
	unsigned int order = buddy_order(page);
	unsigned int pageblock = ps_pageblock_order();
	unsigned long nr_pageblock = 1UL << pageblock;
	unsigned long free_pages, movable_pages, alike_pages;
	int old_mt = get_pageblock_migratetype(page);

	if (order >= pageblock) {
		unsigned long i;

		for (i = 0; i < 1UL << order; i += nr_pageblock)
			set_pageblock_migratetype(page + i, start_mt);
		goto single_page;
	}
	if (!whole_block)
		goto single_page;

	free_pages = move_freepages_block(zone, page, start_mt, &movable_pages);
	/*
	 * How much of the block is already used as the new type would use it: movable pages if that is movable;
	 * otherwise, in a movable block, what is neither free nor movable. Which of unmovable and reclaimable a page
	 * in a block of the other type is cannot be told.
	 */
	if (start_mt == MIGRATE_MOVABLE)
		alike_pages = movable_pages;
	else if (old_mt == MIGRATE_MOVABLE)
		alike_pages = nr_pageblock - ps_min(nr_pageblock, free_pages + movable_pages);
	else
		alike_pages = 0;
	if (!free_pages)
		goto single_page;
	if (free_pages + alike_pages >= nr_pageblock / 2)
		set_pageblock_migratetype(page, start_mt);
	return;

single_page:
	move_to_free_list(page, zone, order, start_mt);
}

/** Make another type's memory available to `start_mt`. **Return:** whether there is some now. */
static bool __rmqueue_fallback(struct zone *zone, unsigned int order, int start_mt)
{
	int max = (int)ps_max_order();
	bool can_steal = false;
	int o, mt = -1;

	/* The largest block: most likely the whole pageblock can change its type. */
	for (o = max - 1; o >= (int)order; o--) {
		mt = find_suitable_fallback(&zone->free_area[o], (unsigned int)o, start_mt, &can_steal);
		if (mt != -1)
			break;
	}
	if (mt == -1)
		return false;

	/* Movable pages can be moved out again: they take the smallest hole they fit. */
	if (!can_steal && start_mt == MIGRATE_MOVABLE && o > (int)order) {
		for (o = (int)order; o < max; o++) {
			mt = find_suitable_fallback(&zone->free_area[o], (unsigned int)o, start_mt, &can_steal);
			if (mt != -1)
				break;
		}
		VM_BUG_ON(o == max);
	}
	steal_suitable_fallback(zone, get_page_from_free_area(&zone->free_area[o], mt), start_mt, can_steal);
	return true;
}

struct page *__rmqueue(struct zone *zone, unsigned int order, int migratetype)
{
	const struct free_area *largest = &zone->free_area[ps_max_order() - 1];
	struct page *page;

	for (;;) {
		page = __rmqueue_smallest(zone, order, migratetype);
		if (page)
			return page;
		/*
		 * Untouched memory counts as movable blocks of the highest order. A movable request takes them as its
		 * own; to others one is offered as the largest block to steal.
		 */
		if (migratetype == MIGRATE_MOVABLE || free_area_empty(largest, MIGRATE_MOVABLE)) {
			if (zone_carve(zone))
				continue;
		}
		if (!__rmqueue_fallback(zone, order, migratetype))
			return NULL;
	}
}

/* Pageblock isolation */

/**
 * Cut a free block that is larger than a pageblock and covers `pfn` into pageblocks, so that one of them can change its
 * type alone.
 */
static void split_free_block_over(struct zone *zone, pfn_t pfn)
{
	unsigned int pageblock = ps_pageblock_order();
	unsigned int order;

	for (order = pageblock + 1; order < ps_max_order(); order++) {
		pfn_t start = pfn & ~((1UL << order) - 1);
		struct page *page = pfn_to_page(start);
		unsigned long i;

		if (start < zone->zone_start_pfn || !page_is_free_block(page) || buddy_order(page) != order)
			continue;
		del_page_from_free_list(page, zone, order);
		for (i = 0; i < 1UL << order; i += 1UL << pageblock) {
			set_buddy_order(page + i, pageblock);
			add_to_free_list(page + i, zone, pageblock, get_pageblock_migratetype(page + i));
		}
		return;
	}
}

int isolate_pageblock(struct page *page)
{
	struct zone *zone = page_zone(page);
	pfn_t pfn = page_to_pfn(page);
	unsigned long nr = 1UL << ps_pageblock_order();
	unsigned long moved;
	int old_mt;

	spin_lock(&zone->lock);
	zone_carve_to(zone, ps_min((pfn & ~(nr - 1)) + nr, zone_end_pfn(zone)));
	old_mt = get_pfnblock_migratetype(zone, pfn);
	if (is_migrate_isolate(old_mt)) {
		spin_unlock(&zone->lock);
		return -EBUSY;
	}
	split_free_block_over(zone, pfn);
	set_pageblock_migratetype(page, MIGRATE_ISOLATE);
	zone->nr_isolate_pageblock++;
	moved = move_freepages_block(zone, page, MIGRATE_ISOLATE, NULL);
	__mod_zone_freepage_state(zone, -(long)moved, old_mt);
	spin_unlock(&zone->lock);
	return 0;
}

void unisolate_pageblock(struct page *page, int migratetype)
{
	struct zone *zone = page_zone(page);
	unsigned int pageblock = ps_pageblock_order();
	pfn_t start = page_to_pfn(page) & ~((1UL << pageblock) - 1);
	unsigned long moved;

	spin_lock(&zone->lock);
	if (is_migrate_isolate(get_pfnblock_migratetype(zone, start))) {
		struct page *first = pfn_to_page(ps_max(start, zone->zone_start_pfn));

		set_pageblock_migratetype(page, migratetype);
		zone->nr_isolate_pageblock--;
		if (page_is_free_block(first) && buddy_order(first) >= pageblock) {
			/* It could not merge with its buddy while only one of them was isolated: free it once more. */
			unsigned int order = buddy_order(first);

			del_page_from_free_list(first, zone, order);
			__free_one_page(first, page_to_pfn(first), zone, order, migratetype, false);
		} else {
			moved = move_freepages_block(zone, page, migratetype, NULL);
			__mod_zone_freepage_state(zone, (long)moved, migratetype);
		}
	}
	spin_unlock(&zone->lock);
}
