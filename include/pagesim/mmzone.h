/* SPDX-License-Identifier: MIT */
/*
 * The memory of one node: its zones with their free lists, watermarks and per-CPU lists, its LRU lists, and the order in
 * which an allocation that starts here looks at the zones of all nodes.
 *
 *   machine->node_data[nid] ── struct pglist_data
 *        node_zones[ZONE_NORMAL | ZONE_MOVABLE] ── struct zone
 *             free_area[order].free_list[migratetype]        zone->lock
 *             per_cpu_pageset[cpu].lists[]                   pcp->lock, outside zone->lock
 *             [start_pfn .. frontier .. end)                 carved | never touched; zone->lock
 *        lruvec.lists[]                                      lruvec->lru_lock
 *        node_zonelists[fallback | this node]                constant
 *
 * Every node of the machine has a pglist_data, also one without memory or one without CPUs.
 *
 * What Linux does differently: there are no DMA zones; memory is not split per memory cgroup (one lruvec per node);
 * MIGRATE_HIGHATOMIC, MIGRATE_CMA, watermark boosting and dirty-page spreading are absent. The part of a zone behind
 * `frontier` counts as free; in Linux it would sit on the free lists as blocks of the highest order.
 *
 * Layer: page
 */
#ifndef PAGESIM_MMZONE_H
#define PAGESIM_MMZONE_H

#include <pagesim/page.h>
#include <pagesim/bitmap.h>
#include <pagesim/spinlock.h>
#include <pagesim/vmstat.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ps_mem;

enum zone_type {
	ZONE_NORMAL,
	ZONE_MOVABLE, /* movable pages only */
	MAX_NR_ZONES
};

enum migratetype {
	MIGRATE_UNMOVABLE,
	MIGRATE_MOVABLE,
	MIGRATE_RECLAIMABLE,
	MIGRATE_PCPTYPES,                   /* types on per-CPU lists end here */
	MIGRATE_ISOLATE = MIGRATE_PCPTYPES, /* nothing is allocated from such a block; its free pages are not counted */
	MIGRATE_TYPES
};

static inline bool is_migrate_isolate(int migratetype)
{
	return migratetype == MIGRATE_ISOLATE;
}

/** Free blocks have orders 0 .. max_order - 1; max_order = pt_bits + 2 of the machine, 11 with 512-entry tables. */
#define PS_MAX_ORDER_LIMIT 11
/** Allocations above this order are not worth much reclaim. */
#define PAGE_ALLOC_COSTLY_ORDER 3

enum zone_watermarks { WMARK_MIN, WMARK_LOW, WMARK_HIGH, WMARK_PROMO, NR_WMARK };

enum lru_list {
	LRU_INACTIVE_ANON,
	LRU_ACTIVE_ANON,
	LRU_INACTIVE_FILE,
	LRU_ACTIVE_FILE,
	LRU_UNEVICTABLE, /* counted, but kept on no list, as in Linux */
	NR_LRU_LISTS
};

#define LRU_ACTIVE        1
#define LRU_FILE          2
#define for_each_lru(lru) for (lru = LRU_INACTIVE_ANON; lru < NR_LRU_LISTS; lru = (enum lru_list)(lru + 1))
#define for_each_evictable_lru(lru) \
	for (lru = LRU_INACTIVE_ANON; lru <= LRU_ACTIVE_FILE; lru = (enum lru_list)(lru + 1))

static inline bool is_file_lru(enum lru_list lru)
{
	return lru == LRU_INACTIVE_FILE || lru == LRU_ACTIVE_FILE;
}

static inline bool is_active_lru(enum lru_list lru)
{
	return lru == LRU_ACTIVE_ANON || lru == LRU_ACTIVE_FILE;
}

/** The pages reclaim looks at, of one node. */
struct lruvec {
	/** Recently used at the head, next to be reclaimed at the tail. lru_lock. */
	struct list_head lists[NR_LRU_LISTS];
	/** Class LRU_LOCK. Also covers page->lru of listed pages and mlock_count of unevictable ones. */
	spinlock_t lru_lock;
	struct pglist_data *pgdat;
};

struct free_area {
	struct list_head free_list[MIGRATE_TYPES];
	/** Blocks on all of these lists. */
	unsigned long nr_free;
};

#define NR_LOWORDER_PCP_LISTS (MIGRATE_PCPTYPES * (PAGE_ALLOC_COSTLY_ORDER + 1))
#define NR_PCP_LISTS          (NR_LOWORDER_PCP_LISTS + 1)

/** Free pages one CPU keeps of one zone: per order up to COSTLY and migratetype, and one list of pageblock order. */
struct per_cpu_pages {
	/** Class PCP_LOCK; taken by trylock on the hot paths. */
	spinlock_t lock;
	/** Base pages on all lists (lock). */
	int count;
	/** Above this count some are given back. */
	int high;
	/** How many base pages move between the lists and the zone at once. */
	int batch;
	/** Frees in a row double what is given back: batch << free_factor (lock). */
	short free_factor;
	struct list_head lists[NR_PCP_LISTS];
} __attribute__((aligned(64)));

struct zone {
	/** Pages that stay free when min is reached etc.; in pages. Changed by setup only. */
	unsigned long _watermark[NR_WMARK];
	/** How many pages an allocation that could have used zone [i] must leave here. */
	long lowmem_reserve[MAX_NR_ZONES];
	nid_t node;
	enum zone_type zid;
	struct pglist_data *zone_pgdat;
	/** One per CPU of the machine. */
	struct per_cpu_pages *per_cpu_pageset;
	int pageset_high;
	int pageset_batch;
	/** Migratetype ^ MIGRATE_MOVABLE of every pageblock from round_down(start). Written under lock, read without. */
	u8 *pageblock_types;
	pfn_t zone_start_pfn;
	unsigned long spanned_pages;
	unsigned long present_pages;
	/** Pages the buddy allocator owns; grows and shrinks with hotplug and balloons. */
	unsigned long managed_pages;

	/** Class ZONE_LOCK: free lists, frontier, pageblock types, NR_FREE_PAGES, PageBuddy and page->private_data. */
	spinlock_t lock __attribute__((aligned(64)));
	/** First pfn whose struct page was never initialised (lock). */
	pfn_t frontier;
	/** Pageblocks of type MIGRATE_ISOLATE (lock). */
	unsigned long nr_isolate_pageblock;
	/** ZONE_* flags, atomic bits. */
	unsigned long flags;
	struct free_area free_area[PS_MAX_ORDER_LIMIT];

	/* What compaction remembers (compaction.h); hints, read and written without a lock. */

	/** By pageblock, as pageblock_types: 1: it gave nothing lately. */
	u8 *pageblock_skip;
	/** Where the next run begins: the migrate scanner without and with waiting, the free scanner. 0: at the ends. */
	pfn_t compact_cached_migrate_pfn[2];
	pfn_t compact_cached_free_pfn;
	/** Requests passed over since the last failure; 1 << shift are. */
	unsigned int compact_considered;
	unsigned int compact_defer_shift;
	/** The smallest order that failed. */
	int compact_order_failed;
	/** A run has gone through the zone: pageblock_skip may be cleared. */
	bool compact_blockskip_flush;
};

/** A block of this order was had (`alloc_success`), or looks as if it could: compaction is worth it again. Fidelity: exact. */
static inline void compaction_defer_reset(struct zone *zone, unsigned int order, bool alloc_success)
{
	if (alloc_success) {
		zone->compact_considered = 0;
		zone->compact_defer_shift = 0;
	}
	if ((int)order >= zone->compact_order_failed)
		zone->compact_order_failed = (int)order + 1;
}

enum zone_flags {
	ZONE_RECLAIM_ACTIVE, /* reclaim works here: keep per-CPU lists short */
};

#define MAX_ZONES_PER_ZONELIST (MAX_NUMNODES * MAX_NR_ZONES)

/** Zones in the order an allocation tries them. Constant after setup. */
struct zonelist {
	int nr;
	struct zone **zones;
};

enum { ZONELIST_FALLBACK, ZONELIST_NOFALLBACK, MAX_ZONELISTS };

/** THPs that lost part of their mappings and wait to be split. */
struct deferred_split {
	/** Class SPLIT_QUEUE_LOCK. */
	spinlock_t split_queue_lock;
	struct list_head split_queue;
	unsigned long split_queue_len;
};

typedef struct pglist_data {
	struct zone node_zones[MAX_NR_ZONES];
	struct lruvec __lruvec;
	struct zonelist node_zonelists[MAX_ZONELISTS];
	nid_t node_id;
	pfn_t node_start_pfn;
	/** Including what is not managed. */
	unsigned long node_present_pages;
	unsigned long node_spanned_pages;
	struct ps_mem *mem;
	struct deferred_split deferred_split_queue;
	/** The node's reclaim, balancing and compaction threads: higher layers' own. */
	void *reclaim_private;
} pg_data_t;

/** The memory of node `nid`, or NULL: no such node. */
static inline struct pglist_data *NODE_DATA(nid_t nid)
{
	return ps_current->machine->node_data[nid];
}

static inline struct zone *page_zone(const struct page *page)
{
	return &NODE_DATA(page_to_nid(page))->node_zones[page_zonenum(page)];
}

static inline struct pglist_data *page_pgdat(const struct page *page)
{
	return NODE_DATA(page_to_nid(page));
}

static inline int zone_to_nid(const struct zone *zone)
{
	return zone->node;
}

static inline int zone_idx(const struct zone *zone)
{
	return zone->zid;
}

static inline pfn_t zone_end_pfn(const struct zone *zone)
{
	return zone->zone_start_pfn + zone->spanned_pages;
}

static inline bool zone_spans_pfn(const struct zone *zone, pfn_t pfn)
{
	return zone->zone_start_pfn <= pfn && pfn < zone_end_pfn(zone);
}

static inline unsigned long zone_managed_pages(const struct zone *zone)
{
	return READ_ONCE(zone->managed_pages);
}

/** Has the zone pages the allocator may hand out? */
static inline bool managed_zone(const struct zone *zone)
{
	return zone_managed_pages(zone) != 0;
}

static inline bool populated_zone(const struct zone *zone)
{
	return zone->present_pages != 0;
}

static inline unsigned long wmark_pages(const struct zone *zone, enum zone_watermarks w)
{
	return zone->_watermark[w];
}

#define min_wmark_pages(z)  wmark_pages(z, WMARK_MIN)
#define low_wmark_pages(z)  wmark_pages(z, WMARK_LOW)
#define high_wmark_pages(z) wmark_pages(z, WMARK_HIGH)

static inline struct lruvec *node_lruvec(struct pglist_data *pgdat)
{
	return &pgdat->__lruvec;
}

/** The lruvec that `page` belongs to. */
static inline struct lruvec *page_lruvec(const struct page *page)
{
	return node_lruvec(page_pgdat(page));
}

/* Zone counters, by struct zone. */

static inline void __mod_zone_page_state(struct zone *zone, enum zone_stat_item item, long delta)
{
	__mod_zone_counter(zone->node, zone->zid, item, delta);
}

static inline void mod_zone_page_state(struct zone *zone, enum zone_stat_item item, long delta)
{
	__mod_zone_counter(zone->node, zone->zid, item, delta);
}

static inline unsigned long zone_page_state(struct zone *zone, enum zone_stat_item item)
{
	return zone_counter(zone->node, zone->zid, item);
}

/** Pages of `lru` in zones 0 .. `zone_idx` of the node. Fidelity: exact (lruvec_lru_size). */
unsigned long lruvec_lru_size(struct lruvec *lruvec, enum lru_list lru, int zone_idx);

/** Every zone of the running machine in (node, zone) order, populated or not. */
#define for_each_zone_of(pgdat, zone) \
	for ((zone) = (pgdat)->node_zones; (zone) < (pgdat)->node_zones + MAX_NR_ZONES; (zone)++)

/**
 * Can the zone give 2^order pages and keep `mark` pages (plus its lowmem reserve) free?
 * @highest_zoneidx: the highest zone the allocation could have used.
 * @alloc_flags: ALLOC_* of page_alloc.h.
 * **Context:** none. Reads counters that others change: the answer may be stale.
 * Fidelity: exact (zone_watermark_ok), without highatomic reserves.
 */
bool zone_watermark_ok(struct zone *zone, unsigned int order, unsigned long mark, int highest_zoneidx,
		       unsigned int alloc_flags);

/* Pageblocks: 2^pageblock_order aligned pages that share a migratetype. */

/** Order of a pageblock of the running machine: that of a PMD leaf. Fidelity: exact (pageblock_order on x86-64). */
static inline unsigned int ps_pageblock_order(void)
{
	return ps_current->machine->pt_bits;
}

/** Blocks of the buddy allocator have orders below this. Fidelity: exact (MAX_ORDER of 6.1: 11) with 9-bit tables. */
static inline unsigned int ps_max_order(void)
{
	return ps_current->machine->pt_bits + 2;
}
#define MAX_ORDER          ps_max_order()
#define pageblock_order    ps_pageblock_order()
#define pageblock_nr_pages (1UL << ps_pageblock_order())

/** Type of the pageblock that holds `pfn`. **Context:** none; without zone->lock it may be stale. */
int get_pfnblock_migratetype(const struct zone *zone, pfn_t pfn);
int get_pageblock_migratetype(const struct page *page);
/** **Context:** zone->lock held. */
void set_pageblock_migratetype(struct page *page, int migratetype);

/**
 * Is `pfn` a frame whose struct page may be looked at (behind the frontier of its zone)? What a walk over frame numbers
 * (compaction, checkers) asks first. **Return:** the page, or NULL.
 */
struct page *pfn_to_online_page(pfn_t pfn);

#ifdef __cplusplus
}
#endif
#endif
