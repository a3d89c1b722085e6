/* SPDX-License-Identifier: MIT */
/*
 * All memory of one machine: setting it up, taking it down, what higher layers hook into it, and the check that its
 * structures agree with each other.
 *
 * Layer: page
 */
#ifndef PAGESIM_MEM_H
#define PAGESIM_MEM_H

#include <pagesim/contents.h>
#include <pagesim/mmzone.h>
#include <pagesim/gfp.h>
#include <pagesim/rwsem.h>

#ifdef __cplusplus
extern "C" {
#endif

/** How compaction for an allocation ended. */
enum compact_result {
	COMPACT_NOT_SUITABLE_ZONE,
	COMPACT_SKIPPED,
	COMPACT_DEFERRED,
	COMPACT_NO_SUITABLE_PAGE,
	COMPACT_CONTINUE,
	COMPACT_COMPLETE,
	COMPACT_PARTIAL_SKIPPED,
	COMPACT_CONTENDED,
	COMPACT_SUCCESS
};

/** Which allocation is in trouble. */
struct ps_alloc_context {
	gfp_t gfp;
	unsigned int order;
	nid_t preferred_nid;
	/** NULL: any node. */
	const nodemask_t *nodemask;
	enum zone_type highest_zoneidx;
};

/**
 * What the slow path of an allocation calls when memory is short. Any member may be NULL: it is skipped.
 * **Context:** no locks of this layer held. direct_* and out_of_memory may sleep; wake_kswapd may not.
 */
struct ps_reclaim_ops {
	/** Free pages of the zone's node fell below low: wake its kswapd. Called once per node of the zonelist. */
	void (*wake_kswapd)(struct zone *zone, const struct ps_alloc_context *ac);
	/** Free some pages. **Return:** how many were freed; 0: no progress. */
	unsigned long (*direct_reclaim)(const struct ps_alloc_context *ac);
	/** Make a free block of ac->order. @attempt: 0 without waiting, 1 waiting, 2 everything. */
	enum compact_result (*direct_compact)(const struct ps_alloc_context *ac, int attempt);
	/** Can anonymous pages of the node be reclaimed: swapped out, or demoted? */
	bool (*can_reclaim_anon)(nid_t nid);
	/** Nothing helps. **Return:** true: something was killed, try again. */
	bool (*out_of_memory)(const struct ps_alloc_context *ac);
};

/** What this layer asks or tells about things it does not know. Any member may be NULL. */
struct ps_page_ops {
	/** Is everything in this mapping unevictable (ramfs, locked shmem)? */
	bool (*mapping_unevictable)(struct address_space *mapping);
	/** A frame leaves the hands of its owners: count 0, about to become free. For checkers. */
	void (*page_free)(struct page *page, unsigned int order);
	/** A frame was allocated. For checkers. */
	void (*page_alloc)(struct page *page, unsigned int order, gfp_t gfp);
	/** A page could not be allocated and the caller did not ask for silence (__GFP_NOWARN). */
	void (*alloc_failed)(const struct ps_alloc_context *ac);
};

/** How a machine's memory is to behave. All zero is the default. */
struct ps_mem_settings {
	/** PS_CONTENTS_NONE. */
	enum ps_contents contents;
	/** Per-CPU free lists give pages back from this length on, in pages; 0: Linux's formula; negative: no lists. */
	int pcp_high;
};

/** Memory of a machine. */
struct ps_mem {
	struct ps_machine *machine;
	struct ps_mem_settings settings;
	const struct ps_reclaim_ops *reclaim_ops;
	const struct ps_page_ops *page_ops;
	/** vm.min_free_kbytes in effect. */
	unsigned long min_free_kbytes;
	unsigned long watermark_scale_factor;
	/** Sum of high watermarks and reserves. */
	unsigned long totalreserve_pages;
	/** > 0: LRU batches are off. */
	atomic_t lru_disable_count;
	/** LRU batches, one per CPU; lru.c. */
	struct lru_batches *batches;
	/** Contents `bytes`: the memory behind the frames of each node; contents.c. */
	struct ps_arena *frames[MAX_NUMNODES];
	/** Who can give memory up that is on no list (shrinker.h). */
	struct list_head shrinkers;
	/** Class SHRINKER_RWSEM. */
	struct rw_semaphore shrinker_rwsem;
	/** struct ps_page_owner; changed only where nothing else runs. */
	struct list_head owners;
	/** The shared page of zeroes; see ps_zero_page(). */
	struct page *zero_page;
};

/** Memory of the running machine. */
static inline struct ps_mem *this_mem(void)
{
	return ps_current->machine->mem;
}

/**
 * Give `machine` its memory: nodes, zones, lists. Touches no struct page but those of the boot section.
 * @settings: NULL: all defaults.
 * **Context:** a current task of that machine (hosted is enough); allocates.
 * **Return:** 0; -ENOMEM: nothing was set up.
 */
int ps_mem_init(struct ps_machine *machine, const struct ps_mem_settings *settings);

/** Take it down. Pages still allocated are forgotten. A machine without memory is fine. */
void ps_mem_destroy(struct ps_machine *machine);

/** Install hooks; NULL: none. The tables live as long as the memory. */
void ps_mem_set_reclaim_ops(struct ps_machine *machine, const struct ps_reclaim_ops *ops);
void ps_mem_set_page_ops(struct ps_machine *machine, const struct ps_page_ops *ops);

/** The page every read of untouched anonymous memory shares: reserved, full of zeroes, never freed. */
static inline struct page *ps_zero_page(void)
{
	return this_mem()->zero_page;
}
#define ZERO_PAGE(vaddr) ((void)(vaddr), ps_zero_page())

static inline bool is_zero_page(const struct page *page)
{
	return page == ps_zero_page();
}

/** One thing that does not agree. */
struct ps_mem_fault {
	/** Rule that is broken, one short sentence. */
	char text[160];
	/** Where, or NULL. */
	const struct page *page;
	const struct zone *zone;
};

/**
 * Check that the structures of this layer agree, without changing them:
 *   M1 every frame behind the frontier is allocated, or in exactly one free block, or on exactly one per-CPU list
 *   M2 free blocks are aligned, inside their zone, do not overlap, and no two mergeable buddies are both free
 *   M3 free pages have count 0, mapcount -1 and no flags that say otherwise
 *   M4 nr_free of each order, NR_FREE_PAGES and pcp counts equal a recount
 *   M5 every page on an LRU list has PG_lru and the flags of that list; no page is on two; NR_LRU_* equal a recount
 *   M6 pages in LRU batches are referenced
 *   M7 tails point to a head whose order covers them, and have count 0
 *   M8 the deferred split queue has only THPs of its node and its length is right
 *   M9 NR_MLOCK equals the mlocked pages
 *
 * **Context:** nothing else runs (all locks free).
 * @faults: room for `max` findings.
 * **Return:** how many were found (may exceed `max`); 0: all well; -ENOMEM.
 */
int ps_mem_check(struct ps_machine *machine, struct ps_mem_fault *faults, int max);

/** How many frames are allocated (not free, not on per-CPU lists). For leak checks. **Context:** nothing else runs. */
unsigned long ps_mem_allocated_pages(struct ps_machine *machine);

#ifdef __cplusplus
}
#endif
#endif
