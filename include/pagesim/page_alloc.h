/* SPDX-License-Identifier: MIT */
/*
 * Getting and giving back page frames. An allocation looks at the zones of its zonelist in order (nearest node first);
 * a zone whose free pages would fall below the low watermark is passed over. If none is left, kswapd is woken, and the
 * min watermark and the reserves allowed by the flags apply; a caller that may sleep compacts and reclaims directly;
 * then it fails (or there is an OOM kill). Reclaim, compaction and the OOM killer are higher layers: they install
 * struct ps_reclaim_ops (mem.h). Without them the slow path goes as far as the reserves allow and returns NULL.
 *
 * Linux 6.1 (mm/page_alloc.c) is the model: watermarks, zonelist order, migratetype fallback and stealing, per-CPU lists
 * and their sizes are its own.
 *
 * Simulated time: nothing is charged here. Who allocates and frees knows what it does it for and charges alloc_page_ns,
 * alloc_huge_ns and free_page_ns of the machine's costs; the hooks of the slow path charge what they do.
 *
 * Layer: page
 */
#ifndef PAGESIM_PAGE_ALLOC_H
#define PAGESIM_PAGE_ALLOC_H

#include <pagesim/gfp.h>
#include <pagesim/mmzone.h>
#include <pagesim/page_ref.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How far down an allocation may go. The low two bits are a watermark. */
#define ALLOC_WMARK_MIN     WMARK_MIN
#define ALLOC_WMARK_LOW     WMARK_LOW
#define ALLOC_WMARK_HIGH    WMARK_HIGH
#define ALLOC_NO_WATERMARKS 0x04u
#define ALLOC_WMARK_MASK    (ALLOC_NO_WATERMARKS - 1)
#define ALLOC_HARDER        0x10u
#define ALLOC_HIGH          0x20u
#define ALLOC_KSWAPD        0x800u

/** The highest zone an allocation may use. */
static inline enum zone_type gfp_zone(gfp_t gfp)
{
	return (gfp & (__GFP_HIGHMEM | __GFP_MOVABLE)) == (__GFP_HIGHMEM | __GFP_MOVABLE) ? ZONE_MOVABLE : ZONE_NORMAL;
}

static inline int gfp_migratetype(gfp_t gfp)
{
	return (int)((gfp & GFP_MOVABLE_MASK) >> GFP_MOVABLE_SHIFT);
}

/**
 * Allocate 2^order pages.
 * @gfp: gfp.h. With __GFP_COMP and order > 0 a compound page, else 2^order separate pages of which only the first is
 *   counted.
 * @preferred_nid: where to look first.
 * @allowed: nodes it may come from; NULL: any.
 * **Context:** may sleep if gfp has __GFP_DIRECT_RECLAIM. Takes pcp->lock and zone->lock.
 * **Return:** the first page with refcount 1, owned by the caller; NULL: no such memory.
 * Fidelity: exact but for highatomic reserves, dirty-page spreading, watermark boosting (__alloc_pages).
 */
struct page *__alloc_pages(gfp_t gfp, unsigned int order, nid_t preferred_nid, const nodemask_t *allowed);

/** As __alloc_pages; `nid` may be NUMA_NO_NODE: the running CPU's node. */
struct page *alloc_pages_node(nid_t nid, gfp_t gfp, unsigned int order);
/** `nid` must be a node. */
struct page *__alloc_pages_node(nid_t nid, gfp_t gfp, unsigned int order);
/** From the running CPU's node on. The task's memory policy is a higher layer's (vm). */
struct page *alloc_pages(gfp_t gfp, unsigned int order);
#define alloc_page(gfp) alloc_pages(gfp, 0)

/**
 * Drop the caller's reference to pages from __alloc_pages (same order) and free them if it was the last.
 * Of an order > 0 block that is not compound and still referenced, all but the first page are freed. Fidelity: exact.
 */
void __free_pages(struct page *page, unsigned int order);
#define __free_page(page) __free_pages((page), 0)

/** Free a page whose count is 0, through the per-CPU lists. Fidelity: exact. */
void free_unref_page(struct page *page, unsigned int order);
/** Free a list (through page->lru) of small pages whose counts are 0. Empties the list. Fidelity: exact. */
void free_unref_page_list(struct list_head *list);

/** Turn a non-compound block of 2^order pages into single pages, each counted once. Fidelity: exact. */
void split_page(struct page *page, unsigned int order);

/**
 * Take the free block that begins at `page` (PageBuddy) off its list, for compaction's free scanner.
 * **Context:** zone->lock held. **Return:** its size in pages, 0 if the watermark forbids. Fidelity: exact.
 */
unsigned int __isolate_free_page(struct page *page, unsigned int order);
/** Put such a block back. **Context:** zone->lock held. Fidelity: exact. */
void __putback_isolated_page(struct page *page, unsigned int order, int migratetype);
/** Make an isolated block look like one from the allocator: refcount 1, order 0 pages after split_page(). */
void post_alloc_hook(struct page *page, unsigned int order, gfp_t gfp);

/** Order of a free block. **Context:** zone->lock. */
static inline unsigned int buddy_order(const struct page *page)
{
	return (unsigned int)page->private_data;
}
/** The same without the lock: anything at all may come back. */
#define buddy_order_unsafe(page) ((unsigned int)READ_ONCE((page)->private_data))

/** Could `order` be on the per-CPU lists? */
static inline bool pcp_allowed_order(unsigned int order)
{
	return order <= PAGE_ALLOC_COSTLY_ORDER || order == ps_pageblock_order();
}

/**
 * Could an allocation be served from blocks of exactly this order: of its own type, or by taking a pageblock over?
 * **Context:** none; a hint. Fidelity: exact, the question of __compact_finished().
 */
bool zone_can_serve(const struct zone *zone, unsigned int order, int migratetype);
/**
 * Why an allocation of this order would fail in the zone: towards 0 for want of memory, towards 1000 because it is scattered;
 * -1000: it would not fail. **Context:** none; a hint. Fidelity: exact.
 */
int fragmentation_index(const struct zone *zone, unsigned int order);

/** Give all per-CPU free pages of `zone` (NULL: of every zone) back to the zone. **Context:** pcp and zone locks. */
void drain_all_pages(struct zone *zone);
/** Those of the running CPU only. */
void drain_local_pages(struct zone *zone);
/** Keep the per-CPU lists of a zone empty (and drain them), and allow them again. Not nested. Fidelity: exact. */
void zone_pcp_disable(struct zone *zone);
void zone_pcp_enable(struct zone *zone);

/** Free pages of all zones; pages on per-CPU lists do not count. Fidelity: exact. */
unsigned long nr_free_pages(void);
/** Free pages of a node. */
unsigned long nr_free_pages_node(nid_t nid);

/** Make a pageblock's free pages unavailable: type MIGRATE_ISOLATE. **Return:** 0; -EBUSY: it is already. */
int isolate_pageblock(struct page *page);
/** Make them available again with `migratetype`. */
void unisolate_pageblock(struct page *page, int migratetype);

/**
 * Compute watermarks, lowmem reserves and sizes of per-CPU lists anew.
 * **Context:** setup, or after managed_pages changed. Fidelity: exact (setup_per_zone_wmarks and what goes with it).
 */
void setup_per_zone_wmarks(void);

/** Change how many pages of a zone the allocator owns (balloon, hotplug). */
void adjust_managed_page_count(struct page *page, long count);

#ifdef __cplusplus
}
#endif
#endif
