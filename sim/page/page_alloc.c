/* SPDX-License-Identifier: MIT */
/*
 * Allocating and freeing pages: per-CPU lists in front of each zone's free blocks (buddy.c), the search through the
 * zonelist under watermarks, and the slow path that wakes, compacts and reclaims.
 *
 * The life of a frame here:
 *
 *      alloc:  pcp list ──or── zone (watermark checked before) ▷ check_new_page ▷ post_alloc_hook ▷ caller, count 1
 *      free:   caller, count 0 ▷ free_pages_prepare ▷ pcp list ──too long──▶ zone, batch at a time
 *                                                   └──lock busy, isolated, other orders──▶ zone
 *
 * A per-CPU list is filled and emptied a batch at a time, so that zone->lock is taken once per batch. Pages on it are
 * not free for watermarks and NR_FREE_PAGES, and keep the migratetype they were freed with in page->index.
 *
 * Locking: pcp->lock ⊃ zone->lock. The hot paths only try pcp->lock and go to the zone when it is busy.
 *
 * What Linux does differently: it keeps pages for high-order atomic allocations, boosts watermarks, knows cpusets and
 * node_reclaim_mode, and rather spills to DMA32 than mixes types in a pageblock (ALLOC_NOFRAGMENT), a zone that is not here. direct_compact is asked for growing effort where Linux has a falling priority; the block a compaction has just freed is not captured. An allocation with __GFP_NOFAIL
 * that nothing can help fails where Linux would loop for ever.
 * Source: Linux 6.1 mm/page_alloc.c (behaviour).
 */
#include <pagesim/page_alloc.h>

#include <pagesim/compound.h>
#include <pagesim/contents.h>
#include <pagesim/mem.h>
#include <pagesim/runtime.h>

#include "page/buddy.h"
#include "page/frames.h"

#define MAX_RECLAIM_RETRIES 16
#define MAX_COMPACT_EFFORT  2

/* Checks: what a page must look like when it comes and goes. */

/** **Return:** what is wrong with a page that is about to be free or handed out, or NULL. */
static const char *page_bad_reason(const struct page *page, unsigned long flags)
{
	if (ps_glance(page->_mapcount.counter) != -1)
		return "a page to be freed or allocated is mapped or has a type";
	if (page->mapping != NULL)
		return "a page to be freed or allocated has a mapping";
	if (ps_glance(page->_refcount.counter) != 0)
		return "a page to be freed or allocated is referenced";
	if (ps_glance(page->flags) & flags)
		return "a page to be freed or allocated has flags that say it is in use";
	return NULL;
}

/** **Return:** what is wrong with tail `i` of a compound page that is being freed, or NULL. */
static const char *tail_bad_reason(const struct page *head, unsigned long i)
{
	const struct page *tail = head + i;

	if (tail->compound_head != (unsigned long)head + 1)
		return "a tail of a page to be freed points elsewhere";
	if (i == 1) {
		if (ps_glance(tail->compound_mapcount.counter) != -1)
			return "a compound page to be freed is mapped by a PMD";
		if (ps_glance(tail->nr_pages_mapped) != 0)
			return "a compound page to be freed has small pages that are mapped";
		if (ps_glance(tail->compound_pincount.counter) != 0)
			return "a compound page to be freed is pinned";
	} else if (i > 2 && tail->mapping != TAIL_MAPPING) {
		return "a tail of a page to be freed has a mapping";
	}
	return NULL;
}

#define PS_REPORT(reason, page)                                                  \
	do {                                                                     \
		const char *ps_reason_ = (reason);                               \
		if (unlikely(ps_reason_))                                        \
			ps_bug_at(ps_reason_, NULL, __FILE__, __LINE__, (page)); \
	} while (0)

/** Make 2^order pages that nobody references ready to be free. The destructor of a compound page has run. */
static void free_pages_prepare(struct page *page, unsigned int order)
{
	const struct ps_mem *mem = this_mem();
	unsigned long i;

	VM_BUG_ON_PAGE(PageTail(page), page);
	if (unlikely(mem->page_ops && mem->page_ops->page_free))
		mem->page_ops->page_free(page, order);
	if (unlikely(order)) {
		bool compound = page->flags & PS_PG(head);

		VM_BUG_ON_PAGE(compound && compound_order(page) != order, page);
		for (i = 1; i < 1UL << order; i++) {
			struct page *p = page + i;

			if (compound) {
				PS_REPORT(tail_bad_reason(page, i), p);
				p->mapping = NULL;
				clear_compound_head(p);
				p->lru.prev = NULL;
				p->index = 0;
			}
			PS_REPORT(page_bad_reason(p, PAGE_FLAGS_CHECK_AT_FREE), p);
			p->flags &= ~PAGE_FLAGS_CHECK_AT_PREP;
			ps_frame_poison(mem, p);
		}
	}
	if (page_mapping_flags(page))
		WRITE_ONCE(page->mapping, NULL);
	PS_REPORT(page_bad_reason(page, PAGE_FLAGS_CHECK_AT_FREE), page);
	/* Nobody changes the word any more; who looks without a reference may still read it. */
	WRITE_ONCE(page->flags, (page->flags & ~PAGE_FLAGS_CHECK_AT_PREP) | LAST_CPUPID_MASK << LAST_CPUPID_PGSHIFT);
	ps_frame_poison(mem, page);
}

void post_alloc_hook(struct page *page, unsigned int order, gfp_t gfp)
{
	const struct ps_mem *mem = this_mem();

	set_page_private(page, 0);
	set_page_refcounted(page);
	if (gfp & __GFP_ZERO)
		clear_huge_page(page, 1UL << order);
	if (unlikely(mem->page_ops && mem->page_ops->page_alloc))
		mem->page_ops->page_alloc(page, order, gfp);
}

static void prep_new_page(struct page *page, unsigned int order, gfp_t gfp)
{
	unsigned long i;

	for (i = 0; i < 1UL << order; i++)
		PS_REPORT(page_bad_reason(page + i, PAGE_FLAGS_CHECK_AT_PREP), page + i);
	post_alloc_hook(page, order, gfp);
	if (order && (gfp & __GFP_COMP))
		prep_compound_page(page, order);
}

/* Per-CPU lists */

static inline struct per_cpu_pages *zone_pcp(const struct zone *zone)
{
	return &zone->per_cpu_pageset[ps_current->cpu];
}

static inline unsigned int order_to_pindex(int migratetype, unsigned int order)
{
	if (order > PAGE_ALLOC_COSTLY_ORDER)
		return NR_LOWORDER_PCP_LISTS;
	return MIGRATE_PCPTYPES * order + (unsigned int)migratetype;
}

static inline unsigned int pindex_to_order(unsigned int pindex)
{
	if (pindex == NR_LOWORDER_PCP_LISTS)
		return ps_pageblock_order();
	return pindex / MIGRATE_PCPTYPES;
}

/** Give `count` base pages back to the zone, round robin over the lists, list `pindex` first. **Context:** pcp->lock. */
static void free_pcppages_bulk(struct zone *zone, int count, struct per_cpu_pages *pcp, unsigned int pindex)
{
	bool isolated_pageblocks;

	count = ps_min(pcp->count, count);
	if (count <= 0)
		return;
	spin_lock(&zone->lock);
	isolated_pageblocks = zone->nr_isolate_pageblock != 0;
	while (count > 0) {
		struct list_head *list = &pcp->lists[pindex];
		unsigned int order = pindex_to_order(pindex);
		int nr = 1 << order;

		while (count > 0 && !list_empty(list)) {
			struct page *page = list_last_entry(list, struct page, pcp_list);
			int mt = (int)page->index;

			list_del(&page->pcp_list);
			count -= nr;
			ps_show(pcp->count, pcp->count - nr);
			/* The block may have been isolated since the page was freed. */
			if (unlikely(isolated_pageblocks))
				mt = get_pageblock_migratetype(page);
			__free_one_page(page, page_to_pfn(page), zone, order, mt, false);
		}
		pindex = (pindex + 1) % NR_PCP_LISTS;
	}
	spin_unlock(&zone->lock);
}

/** How long the lists may get. While reclaim works here: short. */
static int nr_pcp_high(const struct per_cpu_pages *pcp, struct zone *zone, int batch, bool free_high)
{
	int high = pcp->high;

	if (!high || free_high)
		return 0;
	if (!test_bit(ZONE_RECLAIM_ACTIVE, &zone->flags))
		return high;
	return ps_min(batch << 2, high);
}

/** How many to give back. Who frees again and again without allocating gives back more each time. */
static int nr_pcp_free(struct per_cpu_pages *pcp, int high, int batch, bool free_high)
{
	int min_nr_free = batch, max_nr_free = high - batch;

	if (free_high)
		return pcp->count;
	if (high < batch)
		return 1;
	batch <<= pcp->free_factor;
	if (batch < max_nr_free)
		pcp->free_factor++;
	batch = ps_min(batch, max_nr_free);
	return ps_max(batch, min_nr_free);
}

/** Put a prepared page on its list. **Context:** pcp->lock. */
static void free_unref_page_commit(struct zone *zone, struct per_cpu_pages *pcp, struct page *page, int migratetype,
				   unsigned int order)
{
	unsigned int pindex = order_to_pindex(migratetype, order);
	bool free_high;
	int high;

	page->index = (pgoff_t)migratetype;
	list_add(&page->pcp_list, &pcp->lists[pindex]);
	ps_show(pcp->count, pcp->count + (1 << order));
	free_high = pcp->free_factor && order && order <= PAGE_ALLOC_COSTLY_ORDER;
	high = nr_pcp_high(pcp, zone, pcp->batch, free_high);
	if (unlikely(pcp->count >= high))
		free_pcppages_bulk(zone, nr_pcp_free(pcp, high, pcp->batch, free_high), pcp, pindex);
}

/** Give a prepared page straight to the zone. */
static void free_one_page(struct zone *zone, struct page *page, unsigned int order, bool to_tail)
{
	pfn_t pfn = page_to_pfn(page);

	spin_lock(&zone->lock);
	__free_one_page(page, pfn, zone, order, get_pfnblock_migratetype(zone, pfn), to_tail);
	spin_unlock(&zone->lock);
}

void free_unref_page(struct page *page, unsigned int order)
{
	struct zone *zone = page_zone(page);
	struct per_cpu_pages *pcp;
	int mt;

	ps_point(PS_POINT_OTHER, page);
	free_pages_prepare(page, order);
	__count_vm_events(PGFREE, 1L << order);
	if (pcp_allowed_order(order)) {
		mt = get_pfnblock_migratetype(zone, page_to_pfn(page));
		pcp = zone_pcp(zone);
		if (likely(!is_migrate_isolate(mt)) && spin_trylock(&pcp->lock)) {
			free_unref_page_commit(zone, pcp, page, mt, order);
			spin_unlock(&pcp->lock);
			return;
		}
	}
	free_one_page(zone, page, order, false);
}

void free_unref_page_list(struct list_head *list)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, list, lru) {
		list_del(&page->lru);
		free_unref_page(page, 0);
	}
}

/** Fill a per-CPU list from the zone. **Context:** pcp->lock. **Return:** how many blocks it got. */
static int rmqueue_bulk(struct zone *zone, unsigned int order, int count, struct list_head *list, int migratetype)
{
	int i;

	spin_lock(&zone->lock);
	for (i = 0; i < count; i++) {
		struct page *page = __rmqueue(zone, order, migratetype);

		if (unlikely(!page))
			break;
		page->index = (pgoff_t)migratetype;
		list_add_tail(&page->pcp_list, list);
	}
	__mod_zone_page_state(zone, NR_FREE_PAGES, -((long)i << order));
	spin_unlock(&zone->lock);
	return i;
}

static struct page *rmqueue_pcplist(struct zone *zone, unsigned int order, int migratetype)
{
	struct per_cpu_pages *pcp = zone_pcp(zone);
	struct page *page = NULL;
	struct list_head *list;

	if (!spin_trylock(&pcp->lock))
		return NULL;
	pcp->free_factor >>= 1;
	list = &pcp->lists[order_to_pindex(migratetype, order)];
	if (unlikely(list_empty(list))) {
		int batch = pcp->batch;

		/* A batch is counted in base pages, but at least two blocks; unless batching is off. */
		if (batch > 1)
			batch = ps_max(batch >> order, 2);
		ps_show(pcp->count, pcp->count + (rmqueue_bulk(zone, order, batch, list, migratetype) << order));
	}
	if (likely(!list_empty(list))) {
		page = list_first_entry(list, struct page, pcp_list);
		list_del(&page->pcp_list);
		ps_show(pcp->count, pcp->count - (1 << order));
	}
	spin_unlock(&pcp->lock);
	return page;
}

static struct page *rmqueue_buddy(struct zone *zone, unsigned int order, int migratetype)
{
	struct page *page;

	spin_lock(&zone->lock);
	page = __rmqueue(zone, order, migratetype);
	if (page)
		__mod_zone_page_state(zone, NR_FREE_PAGES, -(1L << order));
	spin_unlock(&zone->lock);
	return page;
}

static void drain_zone_pcp(struct zone *zone, int cpu)
{
	struct per_cpu_pages *pcp = &zone->per_cpu_pageset[cpu];

	spin_lock(&pcp->lock);
	free_pcppages_bulk(zone, pcp->count, pcp, 0);
	spin_unlock(&pcp->lock);
}

void drain_local_pages(struct zone *only)
{
	nid_t nid;

	for (nid = 0; nid < MAX_NUMNODES; nid++) {
		struct pglist_data *pgdat = NODE_DATA(nid);
		struct zone *zone;

		if (!pgdat)
			continue;
		for_each_zone_of(pgdat, zone) if (populated_zone(zone) && (!only || zone == only))
			drain_zone_pcp(zone, ps_current->cpu);
	}
}

void drain_all_pages(struct zone *only)
{
	unsigned int cpu;
	nid_t nid;

	for (nid = 0; nid < MAX_NUMNODES; nid++) {
		struct pglist_data *pgdat = NODE_DATA(nid);
		struct zone *zone;

		if (!pgdat)
			continue;
		for_each_zone_of(pgdat, zone)
		{
			if (!populated_zone(zone) || (only && zone != only))
				continue;
			for (cpu = 0; cpu < this_machine()->nr_cpus; cpu++)
				if (ps_glance(zone->per_cpu_pageset[cpu].count))
					drain_zone_pcp(zone, (int)cpu);
		}
	}
}

static void zone_set_pcp_high_and_batch(struct zone *zone, int high, int batch)
{
	unsigned int cpu;

	for (cpu = 0; cpu < this_machine()->nr_cpus; cpu++) {
		struct per_cpu_pages *pcp = &zone->per_cpu_pageset[cpu];

		spin_lock(&pcp->lock);
		pcp->high = high;
		pcp->batch = batch;
		spin_unlock(&pcp->lock);
	}
}

void zone_pcp_disable(struct zone *zone)
{
	zone_set_pcp_high_and_batch(zone, 0, 1);
	drain_all_pages(zone);
}

void zone_pcp_enable(struct zone *zone)
{
	zone_set_pcp_high_and_batch(zone, zone->pageset_high, zone->pageset_batch);
}

/* Watermarks */

static bool __zone_watermark_ok(struct zone *zone, unsigned int order, unsigned long mark, int highest_zoneidx,
				unsigned int alloc_flags, long free_pages)
{
	long min = (long)mark;
	unsigned int o;

	free_pages -= (1L << order) - 1;
	if (alloc_flags & ALLOC_HIGH)
		min -= min / 2;
	if (alloc_flags & ALLOC_HARDER)
		min -= min / 4;
	if (free_pages <= min + zone->lowmem_reserve[highest_zoneidx])
		return false;
	if (!order)
		return true;

	/* Enough pages; is there a block as large? */
	for (o = order; o < ps_max_order(); o++) {
		const struct free_area *area = &zone->free_area[o];
		int mt;

		if (!ps_glance(area->nr_free))
			continue;
		for (mt = 0; mt < MIGRATE_PCPTYPES; mt++)
			if (ps_glance(area->free_list[mt].next) != &area->free_list[mt])
				return true;
	}
	return zone_frontier_has(zone, order);
}

bool zone_watermark_ok(struct zone *zone, unsigned int order, unsigned long mark, int highest_zoneidx,
		       unsigned int alloc_flags)
{
	return __zone_watermark_ok(zone, order, mark, highest_zoneidx, alloc_flags,
				   (long)zone_page_state(zone, NR_FREE_PAGES));
}

/** The same, quick for order 0. */
static inline bool zone_watermark_fast(struct zone *zone, unsigned int order, unsigned long mark, int highest_zoneidx,
				       unsigned int alloc_flags)
{
	long free_pages = (long)zone_page_state(zone, NR_FREE_PAGES);

	if (!order && free_pages > (long)mark + zone->lowmem_reserve[highest_zoneidx])
		return true;
	return __zone_watermark_ok(zone, order, mark, highest_zoneidx, alloc_flags, free_pages);
}

/* The zonelist */

/** One allocation under way. */
struct alloc_request {
	struct ps_alloc_context ac;
	const struct zonelist *zonelist;
	/** The first zone of the list that may be used: the one statistics call local. */
	struct zone *preferred_zone;
	int migratetype;
};

static inline bool zone_allowed(const struct alloc_request *rq, const struct zone *zone)
{
	return zone->zid <= rq->ac.highest_zoneidx && (!rq->ac.nodemask || node_isset(zone->node, *rq->ac.nodemask));
}

#define for_each_allowed_zone(rq, i, zone)             \
	for ((i) = 0; (i) < (rq)->zonelist->nr; (i)++) \
		if (zone_allowed((rq), (zone) = (rq)->zonelist->zones[i]))

/** numa_hit and its family: did the page come from where it was wanted, and from the CPU's own node? */
static void zone_statistics(const struct zone *preferred, const struct zone *zone)
{
	if (zone->node == preferred->node) {
		count_numa_events(zone->node, NUMA_HIT, 1);
	} else {
		count_numa_events(zone->node, NUMA_MISS, 1);
		count_numa_events(preferred->node, NUMA_FOREIGN, 1);
	}
	count_numa_events(zone->node, zone->node == numa_node_id() ? NUMA_LOCAL : NUMA_OTHER, 1);
}

static struct page *rmqueue(const struct alloc_request *rq, struct zone *zone)
{
	unsigned int order = rq->ac.order;
	struct page *page = NULL;

	if (likely(pcp_allowed_order(order)))
		page = rmqueue_pcplist(zone, order, rq->migratetype);
	if (unlikely(!page))
		page = rmqueue_buddy(zone, order, rq->migratetype);
	if (likely(page)) {
		__count_zid_vm_events(PGALLOC, zone->zid, 1L << order);
		zone_statistics(rq->preferred_zone, zone);
	}
	return page;
}

/** The first allowed zone that can give the pages and stay above the watermark. */
static struct page *get_page_from_freelist(const struct alloc_request *rq, unsigned int alloc_flags)
{
	enum zone_watermarks mark = (enum zone_watermarks)(alloc_flags & ALLOC_WMARK_MASK);
	unsigned int order = rq->ac.order;
	struct zone *zone;
	struct page *page;
	int i;

	for_each_allowed_zone(rq, i, zone)
	{
		if (!(alloc_flags & ALLOC_NO_WATERMARKS) &&
		    !zone_watermark_fast(zone, order, wmark_pages(zone, mark), rq->ac.highest_zoneidx, alloc_flags))
			continue;
		page = rmqueue(rq, zone);
		if (page) {
			prep_new_page(page, order, rq->ac.gfp);
			return page;
		}
	}
	return NULL;
}

/* The slow path */

static void wake_all_kswapds(const struct alloc_request *rq)
{
	const struct ps_reclaim_ops *ops = this_mem()->reclaim_ops;
	struct pglist_data *last = NULL;
	struct zone *zone;
	int i;

	if (!ops || !ops->wake_kswapd)
		return;
	for_each_allowed_zone(rq, i, zone)
	{
		if (!managed_zone(zone))
			continue;
		if (zone->zone_pgdat != last)
			ops->wake_kswapd(zone, &rq->ac);
		last = zone->zone_pgdat;
	}
}

/** How deep into the reserves the flags let an allocation go. */
static unsigned int gfp_to_alloc_flags(gfp_t gfp)
{
	unsigned int alloc_flags = ALLOC_WMARK_MIN;

	if (gfp & __GFP_HIGH)
		alloc_flags |= ALLOC_HIGH;
	if (gfp & __GFP_KSWAPD_RECLAIM)
		alloc_flags |= ALLOC_KSWAPD;
	if ((gfp & __GFP_ATOMIC) && !(gfp & __GFP_NOMEMALLOC))
		alloc_flags |= ALLOC_HARDER;
	return alloc_flags;
}

static struct page *__alloc_pages_direct_compact(const struct alloc_request *rq, unsigned int alloc_flags, int effort,
						 enum compact_result *ret_result)
{
	const struct ps_reclaim_ops *ops = this_mem()->reclaim_ops;
	struct page *page;

	*ret_result = COMPACT_SKIPPED;
	if (!rq->ac.order || !ops || !ops->direct_compact)
		return NULL;
	*ret_result = ops->direct_compact(&rq->ac, effort);
	if (*ret_result == COMPACT_SKIPPED)
		return NULL;
	count_vm_event(COMPACTSTALL);
	page = get_page_from_freelist(rq, alloc_flags);
	count_vm_event(page ? COMPACTSUCCESS : COMPACTFAIL);
	if (page) {
		page_zone(page)->compact_blockskip_flush = false;
		compaction_defer_reset(page_zone(page), rq->ac.order, true);
	} else {
		cond_resched();
	}
	return page;
}

static struct page *__alloc_pages_direct_reclaim(const struct alloc_request *rq, unsigned int alloc_flags,
						 unsigned long *ret_progress)
{
	const struct ps_reclaim_ops *ops = this_mem()->reclaim_ops;
	struct page *page;

	*ret_progress = 0;
	if (!ops || !ops->direct_reclaim)
		return NULL;
	cond_resched();
	*ret_progress = ops->direct_reclaim(&rq->ac);
	if (!*ret_progress)
		return NULL;
	page = get_page_from_freelist(rq, alloc_flags);
	if (!page) {
		/* What was freed may sit on per-CPU lists. */
		drain_all_pages(NULL);
		page = get_page_from_freelist(rq, alloc_flags);
	}
	return page;
}

/** Is another round of reclaim worth it: is there a zone that could serve the request if all it can free were free? */
static bool should_reclaim_retry(const struct alloc_request *rq, unsigned int alloc_flags, bool progress, int *loops)
{
	const struct ps_reclaim_ops *ops = this_mem()->reclaim_ops;
	bool ret = false;
	struct zone *zone;
	int i;

	if (progress && rq->ac.order <= PAGE_ALLOC_COSTLY_ORDER)
		*loops = 0;
	else
		(*loops)++;
	if (*loops > MAX_RECLAIM_RETRIES)
		return false;
	for_each_allowed_zone(rq, i, zone)
	{
		unsigned long available =
			zone_page_state(zone, NR_ZONE_INACTIVE_FILE) + zone_page_state(zone, NR_ZONE_ACTIVE_FILE);

		if (ops->can_reclaim_anon && ops->can_reclaim_anon(zone->node))
			available += zone_page_state(zone, NR_ZONE_INACTIVE_ANON) +
				     zone_page_state(zone, NR_ZONE_ACTIVE_ANON);
		available += zone_page_state(zone, NR_FREE_PAGES);
		if (__zone_watermark_ok(zone, rq->ac.order, min_wmark_pages(zone), rq->ac.highest_zoneidx, alloc_flags,
					(long)available)) {
			ret = true;
			break;
		}
	}
	cond_resched();
	return ret;
}

static struct page *__alloc_pages_slowpath(struct alloc_request *rq)
{
	gfp_t gfp = rq->ac.gfp;
	unsigned int order = rq->ac.order;
	bool can_direct_reclaim = gfp & __GFP_DIRECT_RECLAIM;
	bool costly_order = order > PAGE_ALLOC_COSTLY_ORDER;
	const struct ps_reclaim_ops *ops = this_mem()->reclaim_ops;
	unsigned int alloc_flags = gfp_to_alloc_flags(gfp);
	int no_progress_loops = 0, effort = 0;
	unsigned long progress;
	enum compact_result compacted;
	struct page *page;

	if (alloc_flags & ALLOC_KSWAPD)
		wake_all_kswapds(rq);
	page = get_page_from_freelist(rq, alloc_flags);
	if (page)
		return page;

	/* Large blocks, and blocks of unmovable pages: compacting helps where reclaim rarely does. First without waiting. */
	if (can_direct_reclaim && !(gfp & __GFP_MEMALLOC) && !(current->flags & PF_MEMALLOC) &&
	    (costly_order || (order > 0 && rq->migratetype != MIGRATE_MOVABLE))) {
		page = __alloc_pages_direct_compact(rq, alloc_flags, effort, &compacted);
		if (page)
			return page;
		/* A huge page for a fault: if compaction saw no chance, reclaiming for it would only hurt. */
		if (costly_order && (gfp & __GFP_NORETRY) &&
		    (compacted == COMPACT_SKIPPED || compacted == COMPACT_DEFERRED))
			goto nopage;
	}
	/* From now on waiting, except for who would rather do without. */
	effort = costly_order && (gfp & __GFP_NORETRY) ? 0 : 1;

	for (;;) {
		if (alloc_flags & ALLOC_KSWAPD)
			wake_all_kswapds(rq);
		if ((gfp & __GFP_MEMALLOC) && !(gfp & __GFP_NOMEMALLOC)) {
			/* Memory that is needed to free memory: any node, no watermark. */
			alloc_flags = (alloc_flags & ALLOC_KSWAPD) | ALLOC_NO_WATERMARKS;
			rq->ac.nodemask = NULL;
		}
		page = get_page_from_freelist(rq, alloc_flags);
		if (page)
			return page;
		if (!can_direct_reclaim || (gfp & __GFP_MEMALLOC) || !ops)
			break;
		page = __alloc_pages_direct_reclaim(rq, alloc_flags, &progress);
		if (page)
			return page;
		page = __alloc_pages_direct_compact(rq, alloc_flags, effort, &compacted);
		if (page)
			return page;
		if (gfp & __GFP_NORETRY)
			break;
		if (costly_order && !(gfp & __GFP_RETRY_MAYFAIL))
			break;
		if (should_reclaim_retry(rq, alloc_flags, progress > 0, &no_progress_loops))
			continue;
		if (progress > 0 && order && ops->direct_compact && effort < MAX_COMPACT_EFFORT) {
			effort++;
			continue;
		}
		/* Last resort, for what a kill can help and who has not asked to be told instead. */
		if (costly_order || (gfp & (__GFP_RETRY_MAYFAIL | __GFP_THISNODE)) || !ops->out_of_memory)
			break;
		if (!ops->out_of_memory(&rq->ac))
			break;
		no_progress_loops = 0;
	}

nopage:
	if ((gfp & __GFP_NOFAIL) && can_direct_reclaim) {
		page = get_page_from_freelist(rq, (alloc_flags & ~ALLOC_WMARK_MASK) | ALLOC_HARDER);
		if (!page)
			page = get_page_from_freelist(rq, ALLOC_NO_WATERMARKS);
		if (page)
			return page;
	}
	if (!(gfp & __GFP_NOWARN) && this_mem()->page_ops && this_mem()->page_ops->alloc_failed)
		this_mem()->page_ops->alloc_failed(&rq->ac);
	return NULL;
}

struct page *__alloc_pages(gfp_t gfp, unsigned int order, nid_t preferred_nid, const nodemask_t *allowed)
{
	struct alloc_request rq;
	struct page *page;
	struct zone *zone;
	int i;

	if (WARN_ON_ONCE(order >= ps_max_order()))
		return NULL;
	if (gfp & __GFP_DIRECT_RECLAIM)
		might_sleep();
	if (unlikely(ps_current->flags & PF_MEMALLOC_PIN))
		gfp &= ~(gfp_t)__GFP_MOVABLE;
	rq.ac.gfp = gfp;
	rq.ac.order = order;
	rq.ac.preferred_nid = preferred_nid;
	rq.ac.nodemask = allowed;
	rq.ac.highest_zoneidx = gfp_zone(gfp);
	rq.zonelist = &NODE_DATA(preferred_nid)
			       ->node_zonelists[gfp & __GFP_THISNODE ? ZONELIST_NOFALLBACK : ZONELIST_FALLBACK];
	rq.migratetype = gfp_migratetype(gfp);
	rq.preferred_zone = NULL;
	for_each_allowed_zone(&rq, i, zone)
	{
		rq.preferred_zone = zone;
		break;
	}
	if (unlikely(!rq.preferred_zone))
		return NULL;
	page = get_page_from_freelist(&rq, ALLOC_WMARK_LOW);
	if (unlikely(!page))
		page = __alloc_pages_slowpath(&rq);
	return page;
}

struct page *__alloc_pages_node(nid_t nid, gfp_t gfp, unsigned int order)
{
	VM_BUG_ON(nid < 0 || nid >= MAX_NUMNODES || !NODE_DATA(nid));
	return __alloc_pages(gfp, order, nid, NULL);
}

struct page *alloc_pages_node(nid_t nid, gfp_t gfp, unsigned int order)
{
	return __alloc_pages_node(nid == NUMA_NO_NODE ? numa_node_id() : nid, gfp, order);
}

struct page *alloc_pages(gfp_t gfp, unsigned int order)
{
	return __alloc_pages(gfp, order, numa_node_id(), NULL);
}

/* Giving back */

void __free_pages(struct page *page, unsigned int order)
{
	bool head = PageHead(page);

	if (put_page_testzero(page)) {
		free_unref_page(page, order);
	} else if (!head) {
		/* Somebody looks at the first page of a block that is not compound: free the others. */
		while (order-- > 0)
			free_unref_page(page + (1UL << order), order);
	}
}

void split_page(struct page *page, unsigned int order)
{
	unsigned long i;

	VM_BUG_ON_PAGE(PageCompound(page), page);
	VM_BUG_ON_PAGE(!page_count(page), page);
	for (i = 1; i < 1UL << order; i++)
		set_page_refcounted(page + i);
}

unsigned int __isolate_free_page(struct page *page, unsigned int order)
{
	struct zone *zone = page_zone(page);
	int mt = get_pageblock_migratetype(page);
	unsigned long nr_pageblock = 1UL << ps_pageblock_order();
	unsigned long i;

	if (!is_migrate_isolate(mt)) {
		if (!zone_watermark_ok(zone, 0, min_wmark_pages(zone) + (1UL << order), 0, 0))
			return 0;
		__mod_zone_freepage_state(zone, -(1L << order), mt);
	}
	del_page_from_free_list(page, zone, order);
	/* Most of a pageblock is about to be filled by migration: it becomes movable. */
	if (order >= ps_pageblock_order() - 1)
		for (i = 0; i < 1UL << order; i += nr_pageblock) {
			mt = get_pageblock_migratetype(page + i);
			if (!is_migrate_isolate(mt))
				set_pageblock_migratetype(page + i, MIGRATE_MOVABLE);
		}
	return 1U << order;
}

void __putback_isolated_page(struct page *page, unsigned int order, int migratetype)
{
	__free_one_page(page, page_to_pfn(page), page_zone(page), order, migratetype, true);
}

unsigned long nr_free_pages_node(nid_t nid)
{
	return zone_counter(nid, ZONE_NORMAL, NR_FREE_PAGES) + zone_counter(nid, ZONE_MOVABLE, NR_FREE_PAGES);
}

unsigned long nr_free_pages(void)
{
	unsigned long sum = 0;
	nid_t nid;

	for (nid = 0; nid < MAX_NUMNODES; nid++)
		if (NODE_DATA(nid))
			sum += nr_free_pages_node(nid);
	return sum;
}
