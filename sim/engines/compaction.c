/* SPDX-License-Identifier: MIT */
/*
 * One run of compaction over a zone. A portion:
 *
 *    1. compact_finished        do the scanners meet, or is there a block now? then end
 *    2. isolate_migratepages    the migrate scanner takes up to 32 pages of one pageblock, more only to finish one that it
 *                               comes to a second time
 *    3. migrate_pages           each page to a frame from `freepages`; when that is empty, the free scanner fills it from the
 *                               pageblocks above (compaction_alloc)
 *    4. pages that did not move go back; an asynchronous run gives up the block they lie in
 *
 * What the migrate scanner takes of a frame: free blocks and compound pages are stepped over; a page of the LRU is taken if it
 * can be had and nobody but its mappings holds it (for anonymous pages: a pinned one would only fail later); an asynchronous
 * run leaves pages under writeback, and dirty ones whose file cannot move them; movable pages of drivers are asked of their
 * owner. Page cache that nobody maps moves like any other.
 *
 * What the free scanner takes: free pages in pageblocks of movable type that are not free as a whole; each block is split into
 * single pages.
 *
 * Locking: zone->lock to take free pages; lru_lock to take pages off the LRU; neither is held while pages move.
 * Source: the behaviour of Linux 6.1's mm/compaction.c.
 */
#include "engines/compaction.h"

#include <pagesim/address_space.h>
#include <pagesim/bug.h>
#include <pagesim/compound.h>
#include <pagesim/gfp.h>
#include <pagesim/lru.h>
#include <pagesim/machine.h>
#include <pagesim/migrate.h>
#include <pagesim/movable.h>
#include <pagesim/page_alloc.h>
#include <pagesim/page_flags.h>
#include <pagesim/page_lock.h>
#include <pagesim/page_mapcount.h>
#include <pagesim/page_ref.h>
#include <pagesim/pagemap.h>
#include <pagesim/runtime.h>
#include <pagesim/vmstat.h>

#include "engines/isolate.h"

/* ---- pageblocks and hints */

static pfn_t pageblock_start_pfn(pfn_t pfn)
{
	return pfn & ~(pfn_t)(pageblock_nr_pages - 1);
}

static pfn_t pageblock_end_pfn(pfn_t pfn)
{
	return pageblock_start_pfn(pfn + pageblock_nr_pages);
}

static bool pageblock_aligned(pfn_t pfn)
{
	return !(pfn & (pageblock_nr_pages - 1));
}

/* First frame behind the block of 2^order around pfn. */
static pfn_t block_end_pfn(pfn_t pfn, int order)
{
	pfn_t size = (pfn_t)1 << order;

	return (pfn + size) & ~(size - 1);
}

/* The first page of [start, end), a pageblock or what of it lies in the zone, if its struct pages can be looked at. */
static struct page *pageblock_pfn_to_page(pfn_t start, pfn_t end, const struct zone *zone)
{
	if (start < zone->zone_start_pfn || end > zone_end_pfn(zone))
		return NULL;
	return pfn_to_online_page(end - 1) ? pfn_to_online_page(start) : NULL;
}

static u8 *skip_hint(const struct zone *zone, pfn_t pfn)
{
	return &zone->pageblock_skip[(pfn >> pageblock_order) - (zone->zone_start_pfn >> pageblock_order)];
}

static bool isolation_suitable(const struct compact_control *cc, struct page *page)
{
	return cc->ignore_skip_hint || !READ_ONCE(*skip_hint(cc->zone, page_to_pfn(page)));
}

static void set_pageblock_skip(const struct compact_control *cc, pfn_t pfn)
{
	WRITE_ONCE(*skip_hint(cc->zone, pfn), 1);
}

/* Everything below pfn has been scanned: the next run of this kind begins there. */
static void update_cached_migrate(struct compact_control *cc, pfn_t pfn)
{
	struct zone *zone = cc->zone;

	if (cc->ignore_skip_hint)
		return;
	if (pfn > zone->compact_cached_migrate_pfn[0])
		WRITE_ONCE(zone->compact_cached_migrate_pfn[0], pfn);
	/* What waiting did not help, not waiting does not either. */
	if (cc->mode != MIGRATE_ASYNC && pfn > zone->compact_cached_migrate_pfn[1])
		WRITE_ONCE(zone->compact_cached_migrate_pfn[1], pfn);
}

static void update_pageblock_skip(struct compact_control *cc, pfn_t pfn)
{
	if (cc->ignore_skip_hint)
		return;
	set_pageblock_skip(cc, pfn);
	if (pfn < cc->zone->compact_cached_free_pfn)
		WRITE_ONCE(cc->zone->compact_cached_free_pfn, pfn);
}

static void reset_cached_positions(struct zone *zone)
{
	WRITE_ONCE(zone->compact_cached_migrate_pfn[0], zone->zone_start_pfn);
	WRITE_ONCE(zone->compact_cached_migrate_pfn[1], zone->zone_start_pfn);
	WRITE_ONCE(zone->compact_cached_free_pfn, pageblock_start_pfn(zone_end_pfn(zone) - 1));
}

void __reset_isolation_suitable(struct zone *zone)
{
	pfn_t pfn;

	WRITE_ONCE(zone->compact_blockskip_flush, false);
	for (pfn = pageblock_start_pfn(zone->zone_start_pfn); pfn < zone_end_pfn(zone); pfn += pageblock_nr_pages)
		if (READ_ONCE(*skip_hint(zone, pfn)))
			WRITE_ONCE(*skip_hint(zone, pfn), 0);
	reset_cached_positions(zone);
}

void reset_isolation_suitable(struct pglist_data *pgdat)
{
	struct zone *zone;

	for_each_zone_of(pgdat, zone)
	{
		if (populated_zone(zone) && READ_ONCE(zone->compact_blockskip_flush))
			__reset_isolation_suitable(zone);
	}
}

/* ---- the free scanner */

/* Is it worth moving pages into this pageblock? */
static bool suitable_migration_target(const struct compact_control *cc, struct page *page)
{
	/* It is free as a whole already; the order is a hint without the lock. */
	if (PageBuddy(page) && buddy_order_unsafe(page) >= pageblock_order)
		return false;
	return cc->ignore_block_suitable || get_pageblock_migratetype(page) == MIGRATE_MOVABLE;
}

/*
 * Takes free pages of [*start, end) onto `list` as whole blocks, their orders in private_data, until there are enough.
 * Return: base pages taken; *start is where it stopped. Context: takes zone->lock.
 */
static unsigned long isolate_freepages_block(struct compact_control *cc, pfn_t *start, pfn_t end,
					     struct list_head *list, unsigned int stride)
{
	struct zone *zone = cc->zone;
	unsigned long scanned = 0, taken = 0;
	pfn_t pfn = *start;
	bool locked = false;

	for (; pfn < end; pfn += stride) {
		struct page *page = pfn_to_page(pfn);
		unsigned int order, got;

		if (!(pfn % COMPACT_CLUSTER_MAX) && locked) {
			spin_unlock(&zone->lock);
			locked = false;
		}
		scanned++;
		if (PageCompound(page)) {
			order = compound_order(compound_head(page));
			if (page == compound_head(page) && order < MAX_ORDER)
				pfn += (1ul << order) - 1;
			continue;
		}
		if (!PageBuddy(page))
			continue;
		if (!locked) {
			spin_lock(&zone->lock);
			locked = true;
			if (!PageBuddy(page))
				continue;
		}
		order = buddy_order(page);
		got = __isolate_free_page(page, order);
		if (!got)
			break; /* the watermark: no more */
		set_page_private(page, order);
		scanned += got - 1;
		taken += got;
		cc->nr_freepages += got;
		list_add_tail(&page->lru, list);
		if (cc->nr_migratepages <= cc->nr_freepages) {
			pfn += got;
			break;
		}
		pfn += got - 1;
	}
	if (locked)
		spin_unlock(&zone->lock);
	*start = ps_min(pfn, end);
	cc->total_free_scanned += scanned;
	ps_charge((ps_ns_t)this_machine()->costs.scan_pte_ns * scanned, PS_TIME_SCAN);
	if (taken)
		count_vm_events(COMPACTISOLATED, (long)taken);
	return taken;
}

/* Makes single, referenced pages of the blocks on the list. */
static void split_map_pages(struct list_head *list)
{
	struct page *page, *next;
	LIST_HEAD(pages);

	list_for_each_entry_safe(page, next, list, lru) {
		unsigned int order = (unsigned int)page_private(page);
		unsigned long i;

		list_del(&page->lru);
		post_alloc_hook(page, order, __GFP_MOVABLE);
		if (order)
			split_page(page, order);
		for (i = 0; i < 1ul << order; i++)
			list_add(&page[i].lru, &pages);
	}
	list_splice(&pages, list);
}

/* Fills cc->freepages. Context: no locks. */
static void isolate_freepages(struct compact_control *cc)
{
	struct zone *zone = cc->zone;
	unsigned int stride = cc->mode == MIGRATE_ASYNC ? COMPACT_CLUSTER_MAX : 1;
	pfn_t from = cc->free_pfn, low = pageblock_end_pfn(cc->migrate_pfn);
	pfn_t start = pageblock_start_pfn(from), end = ps_min(start + pageblock_nr_pages, zone_end_pfn(zone));

	for (; start >= low; end = start, start -= pageblock_nr_pages, from = start) {
		struct page *page = pageblock_pfn_to_page(start, end, zone);
		unsigned long taken;

		cond_resched();
		if (!page || !suitable_migration_target(cc, page) || !isolation_suitable(cc, page))
			continue;
		taken = isolate_freepages_block(cc, &from, end, &cc->freepages, stride);
		if (from == end)
			update_pageblock_skip(cc, start);
		if (cc->nr_freepages >= cc->nr_migratepages) {
			/* The next time goes on in the block below, if this one is through. */
			if (from >= end)
				from = start - pageblock_nr_pages;
			break;
		}
		if (from < end)
			break;
		/* An asynchronous run looks at fewer frames the longer it finds none. */
		stride = taken ? 1 : ps_min((unsigned int)COMPACT_CLUSTER_MAX, stride << 1);
	}
	cc->free_pfn = from;
	split_map_pages(&cc->freepages);
}

static struct page *compaction_alloc(struct page *page, void *arg)
{
	struct compact_control *cc = arg;
	struct page *target;

	(void)page;
	if (list_empty(&cc->freepages)) {
		isolate_freepages(cc);
		if (list_empty(&cc->freepages))
			return NULL;
	}
	target = list_first_entry(&cc->freepages, struct page, lru);
	list_del(&target->lru);
	cc->nr_freepages--;
	return target;
}

static void compaction_free(struct page *page, void *arg)
{
	struct compact_control *cc = arg;

	list_add(&page->lru, &cc->freepages);
	cc->nr_freepages++;
}

/* Gives back what was not used. Return: the highest frame. */
static pfn_t release_freepages(struct list_head *list)
{
	struct page *page, *next;
	pfn_t high = 0;

	list_for_each_entry_safe(page, next, list, lru) {
		list_del(&page->lru);
		high = ps_max(high, page_to_pfn(page));
		__free_page(page);
	}
	return high;
}

/* ---- the migrate scanner */

/* May a dirty page be moved without writing it? Its file says so while the page is locked. */
static bool migrates_dirty(struct page *page)
{
	struct address_space *mapping;
	bool can;

	if (!trylock_page(page))
		return false;
	mapping = page_mapping(page);
	can = !mapping || mapping->a_ops->migrate_kind != MIGRATE_KIND_FALLBACK;
	unlock_page(page);
	return can;
}

/* Shall this page of the LRU be taken? Context: referenced by us. */
static bool worth_isolating(const struct compact_control *cc, struct page *page)
{
	struct address_space *mapping = page_mapping(page);
	bool async = cc->mode != MIGRATE_SYNC;

	/* Somebody holds it besides its mappings: migration would find that out after much more work. */
	if (!mapping && page_count(page) - 1 > total_mapcount(page))
		return false;
	/* Whoever is within a file system must not come back into it. */
	if (!(cc->gfp_mask & __GFP_FS) && mapping)
		return false;
	if (!PageLRU(page))
		return false;
	if (async && PageWriteback(page))
		return false;
	return !(async && PageDirty(page)) || migrates_dirty(page);
}

/* Takes a page of the LRU. Return: true: it is on cc->migratepages, with a reference. */
static bool isolate_lru_source(struct compact_control *cc, struct page *page)
{
	struct lruvec *lruvec = page_lruvec(page);

	/* The reference comes before the flag: who frees the page relies on finding the flag. */
	if (!get_page_unless_zero(page))
		return false;
	if (!worth_isolating(cc, page) || !TestClearPageLRU(page)) {
		put_page(page);
		return false;
	}
	spin_lock(&lruvec->lru_lock);
	if (unlikely(PageCompound(page))) {
		/* A huge page since we looked. */
		SetPageLRU(page);
		spin_unlock(&lruvec->lru_lock);
		put_page(page);
		return false;
	}
	del_page_from_lru_list(page, lruvec);
	spin_unlock(&lruvec->lru_lock);
	list_add(&page->lru, &cc->migratepages);
	count_isolated(page, 1);
	return true;
}

/* One frame. Return: true: a page was taken. *pfn is its last frame to step over. */
static bool isolate_one(struct compact_control *cc, struct page *page, pfn_t *pfn, bool *ret_free)
{
	*ret_free = false;
	if (PageBuddy(page)) {
		unsigned int order = buddy_order_unsafe(page);

		*ret_free = true;
		if (order > 0 && order < MAX_ORDER)
			*pfn += (1ul << order) - 1;
		return false;
	}
	if (PageCompound(page)) {
		struct page *head = compound_head(page);
		unsigned int order = compound_order(page == head ? head : page);

		if (order < MAX_ORDER)
			*pfn += (1ul << order) - 1;
		return false;
	}
	if (!PageLRU(page)) {
		if (!__PageMovable(page) || PageIsolated(page) || isolate_movable_page(page))
			return false;
		list_add(&page->lru, &cc->migratepages);
		return true;
	}
	return isolate_lru_source(cc, page);
}

/* Takes pages of [low, end), within a pageblock. */
static void isolate_migratepages_block(struct compact_control *cc, pfn_t low, pfn_t end)
{
	unsigned long scanned = 0, taken = 0;
	bool skip_on_failure = cc->direct_compaction && cc->mode == MIGRATE_ASYNC;
	pfn_t first = low, next_skip = skip_on_failure ? block_end_pfn(low, cc->order) : 0;

	for (; low < end; low++) {
		bool is_free;

		if (skip_on_failure && low >= next_skip) {
			/* All of a block of the wanted size is taken: enough for one try. */
			if (taken)
				break;
			next_skip = block_end_pfn(low, cc->order);
		}
		if (!(low % COMPACT_CLUSTER_MAX))
			cond_resched();
		scanned++;
		if (isolate_one(cc, pfn_to_page(low), &low, &is_free)) {
			cc->nr_migratepages++;
			taken++;
			if (cc->nr_migratepages >= COMPACT_CLUSTER_MAX && !cc->rescan && !cc->contended) {
				low++;
				break;
			}
			continue;
		}
		if (is_free || !skip_on_failure)
			continue;
		/* One page that stays spoils its block: give up what was taken of it, and go to the next. */
		if (taken) {
			putback_movable_pages(&cc->migratepages);
			cc->nr_migratepages = 0;
			taken = 0;
		}
		if (low < next_skip) {
			low = next_skip - 1;
			next_skip += (pfn_t)1 << cc->order;
		}
	}
	low = ps_min(low, end);
	/* Nothing to be had, now or a second time: not worth another look for a while. */
	if (low == end && (!taken || cc->rescan)) {
		if (pageblock_aligned(first) && !cc->ignore_skip_hint)
			set_pageblock_skip(cc, first);
		update_cached_migrate(cc, low);
	}
	cc->total_migrate_scanned += scanned;
	ps_charge((ps_ns_t)this_machine()->costs.scan_pte_ns * scanned, PS_TIME_SCAN);
	if (taken)
		count_vm_events(COMPACTISOLATED, (long)taken);
	cc->migrate_pfn = low;
}

/* An asynchronous run for an allocation only takes from pageblocks of that type: it wants one of those free. */
static bool suitable_migration_source(const struct compact_control *cc, struct page *page)
{
	if (PageCompound(page) && compound_order(compound_head(page)) >= pageblock_order)
		return false;
	if (cc->mode != MIGRATE_ASYNC || !cc->direct_compaction)
		return true;
	return get_pageblock_migratetype(page) == cc->migratetype;
}

/* One portion. Return: true if something was taken. */
static bool isolate_migratepages(struct compact_control *cc)
{
	pfn_t low = cc->migrate_pfn, end = pageblock_end_pfn(low);
	pfn_t start = ps_max(pageblock_start_pfn(low), cc->zone->zone_start_pfn);

	/* Never into the pageblock the free scanner stands in. */
	for (; end <= cc->free_pfn; cc->migrate_pfn = low = end, start = end, end += pageblock_nr_pages) {
		struct page *page = pageblock_pfn_to_page(start, end, cc->zone);

		if (!(low % (COMPACT_CLUSTER_MAX * pageblock_nr_pages)))
			cond_resched();
		if (!page)
			continue;
		if (pageblock_aligned(low) && !isolation_suitable(cc, page))
			continue;
		if (!suitable_migration_source(cc, page)) {
			update_cached_migrate(cc, end);
			continue;
		}
		isolate_migratepages_block(cc, low, end);
		break;
	}
	return cc->nr_migratepages > 0;
}

/* ---- the run */

static bool compact_scanners_met(const struct compact_control *cc)
{
	return cc->free_pfn >> pageblock_order <= cc->migrate_pfn >> pageblock_order;
}

static enum compact_result compact_finished(struct compact_control *cc)
{
	unsigned int order;

	if (compact_scanners_met(cc)) {
		reset_cached_positions(cc->zone);
		/* The hints have served; kswapd clears them when it next goes to sleep. */
		if (cc->direct_compaction)
			WRITE_ONCE(cc->zone->compact_blockskip_flush, true);
		return cc->whole_zone ? COMPACT_COMPLETE : COMPACT_PARTIAL_SKIPPED;
	}
	if (cc->order < 0)
		return COMPACT_CONTINUE;
	/* A pageblock that was begun is finished: half of it free helps nobody. */
	if (!pageblock_aligned(cc->migrate_pfn))
		return COMPACT_CONTINUE;
	for (order = (unsigned int)cc->order; order < MAX_ORDER; order++)
		if (zone_can_serve(cc->zone, order, cc->migratetype))
			return COMPACT_SUCCESS;
	return cc->contended ? COMPACT_CONTENDED : COMPACT_CONTINUE;
}

/* Where the scanners begin. */
static void place_scanners(struct compact_control *cc)
{
	struct zone *zone = cc->zone;
	pfn_t start = zone->zone_start_pfn, end = zone_end_pfn(zone);
	bool sync = cc->mode != MIGRATE_ASYNC;

	if (cc->whole_zone) {
		cc->migrate_pfn = start;
		cc->free_pfn = pageblock_start_pfn(end - 1);
		return;
	}
	cc->migrate_pfn = READ_ONCE(zone->compact_cached_migrate_pfn[sync]);
	cc->free_pfn = READ_ONCE(zone->compact_cached_free_pfn);
	if (cc->free_pfn < start || cc->free_pfn >= end) {
		cc->free_pfn = pageblock_start_pfn(end - 1);
		WRITE_ONCE(zone->compact_cached_free_pfn, cc->free_pfn);
	}
	if (cc->migrate_pfn < start || cc->migrate_pfn >= end) {
		cc->migrate_pfn = start;
		WRITE_ONCE(zone->compact_cached_migrate_pfn[0], start);
		WRITE_ONCE(zone->compact_cached_migrate_pfn[1], start);
	}
	if (cc->migrate_pfn <= start)
		cc->whole_zone = true;
}

static bool compaction_restarting(const struct zone *zone, int order)
{
	if (order < zone->compact_order_failed)
		return false;
	return zone->compact_defer_shift == COMPACT_MAX_DEFER_SHIFT &&
	       zone->compact_considered >= 1ul << zone->compact_defer_shift;
}

enum compact_result compact_zone(struct compact_control *cc)
{
	pfn_t last_migrated = 0;
	enum compact_result ret;

	INIT_LIST_HEAD(&cc->migratepages);
	INIT_LIST_HEAD(&cc->freepages);
	cc->migratetype = gfp_migratetype(cc->gfp_mask);
	if (cc->order >= 0) {
		ret = compaction_suitable(cc->zone, (unsigned int)cc->order, cc->alloc_flags, cc->highest_zoneidx);
		if (ret == COMPACT_SUCCESS || ret == COMPACT_SKIPPED)
			return ret;
		if (compaction_restarting(cc->zone, cc->order))
			__reset_isolation_suitable(cc->zone);
	}
	place_scanners(cc);
	lru_add_drain();

	while ((ret = compact_finished(cc)) == COMPACT_CONTINUE) {
		pfn_t began = cc->migrate_pfn;
		int error;

		cc->rescan = last_migrated && pageblock_start_pfn(last_migrated) == pageblock_start_pfn(began);
		if (!isolate_migratepages(cc))
			goto check_drain;
		last_migrated = began;
		error = migrate_pages(&cc->migratepages, compaction_alloc, compaction_free, cc, cc->mode, MR_COMPACTION,
				      NULL);
		cc->nr_migratepages = 0;
		if (error) {
			putback_movable_pages(&cc->migratepages);
			/* No frame left above: either the scanners have met, which ends it, or somebody took them. */
			if (error == -ENOMEM && !compact_scanners_met(cc)) {
				ret = COMPACT_CONTENDED;
				break;
			}
			if (cc->direct_compaction && cc->mode == MIGRATE_ASYNC) {
				cc->migrate_pfn = block_end_pfn(cc->migrate_pfn - 1, cc->order);
				last_migrated = 0;
			}
		}
	check_drain:
		/* Behind a block that was emptied: pages on per-CPU lists keep it from being one. */
		if (cc->order > 0 && last_migrated &&
		    last_migrated < (cc->migrate_pfn & ~(((pfn_t)1 << cc->order) - 1))) {
			lru_add_drain();
			drain_local_pages(cc->zone);
			last_migrated = 0;
		}
	}

	if (cc->nr_freepages) {
		pfn_t pfn = pageblock_start_pfn(release_freepages(&cc->freepages));

		cc->nr_freepages = 0;
		/* Only back: the others of that block must not be passed over. */
		if (pfn > READ_ONCE(cc->zone->compact_cached_free_pfn))
			WRITE_ONCE(cc->zone->compact_cached_free_pfn, pfn);
	}
	count_vm_events(COMPACTMIGRATE_SCANNED, (long)cc->total_migrate_scanned);
	count_vm_events(COMPACTFREE_SCANNED, (long)cc->total_free_scanned);
	return ret;
}
