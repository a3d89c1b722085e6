/* SPDX-License-Identifier: MIT */
/*
 * Compaction: making large free blocks out of scattered free pages by moving what lies between them. Two scanners go through
 * a zone, pageblock by pageblock, until they meet:
 *
 *   zone start                                                                zone end
 *   | migrate scanner ──>  takes movable pages              free scanner <── |
 *   |                      off the LRU (or their owner)     takes free pages |
 *
 * Pages taken below move to frames taken above; so free memory gathers at the start of the zone. Blocks that are free as a
 * whole are no targets, and huge pages are no sources: both are what compaction wants to have.
 *
 * Who asks: an allocation that finds pages but no block (direct compaction, in the allocating task), and whoever writes to
 * compact_memory. A zone in which it has failed is left alone for a while (deferral, up to 64 requests), and a pageblock
 * that gave nothing is skipped until kswapd goes to sleep.
 *
 * Fidelity: exact against mm/compaction.c of 6.1 in what is taken, in which order, and when it ends; simplified: no search
 * of the free lists for a good pageblock to begin with (fast_find_migrateblock, fast_isolate_freepages), no capture of the
 * block just made by its freeing, no proactive compaction, no kcompactd; lru_lock is taken page by page.
 *
 * Layer: engines
 */
#ifndef PAGESIM_COMPACTION_H
#define PAGESIM_COMPACTION_H

#include <pagesim/mem.h>
#include <pagesim/migrate_mode.h>
#include <pagesim/mmzone.h>
#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Base pages taken at once, by either scanner. */
#define COMPACT_CLUSTER_MAX 32ul
/** A zone is left alone for 1 << shift requests, and the shift does not grow beyond this. */
#define COMPACT_MAX_DEFER_SHIFT 6u

/** How hard direct compaction tries. */
enum compact_priority {
	COMPACT_PRIO_SYNC_FULL, /* the whole zone, waiting, whatever the hints say */
	COMPACT_PRIO_SYNC_LIGHT,
	COMPACT_PRIO_ASYNC, /* without waiting for anything */
};

/**
 * Would compacting the zone give a block?
 * Context: none; a guess from counters. Return: COMPACT_SUCCESS: there is one already; COMPACT_SKIPPED: too little free memory
 * or too little scattered; COMPACT_CONTINUE: yes. Fidelity: exact, compaction_suitable().
 */
enum compact_result compaction_suitable(struct zone *zone, unsigned int order, unsigned int alloc_flags,
					int highest_zoneidx);
/**
 * Direct compaction of the zones an allocation may use.
 * Context: may sleep unless prio is async; takes zone and LRU locks, page locks, and what migrating takes.
 * Return: the best that came of it. Fidelity: exact, try_to_compact_pages().
 */
enum compact_result try_to_compact_pages(const struct ps_alloc_context *ac, enum compact_priority prio);
/** Compacts every zone of a node to the end: a write to the node's `compact`. Context: may sleep. Return: 0, -ENOENT. */
int ps_compact_node(nid_t nid);
/** Compacts every node: a write to /proc/sys/vm/compact_memory. Context: may sleep. */
void ps_compact_nodes(void);

/** Forgets which pageblocks gave nothing, if an allocation has found all of a zone so. Context: kswapd, before it sleeps. */
void reset_isolation_suitable(struct pglist_data *pgdat);

/* Deferral. Context of all: hints, no lock. Fidelity: exact. */

/** The zone was compacted and the allocation will not succeed: leave it alone longer. */
void defer_compaction(struct zone *zone, unsigned int order);
/** Is this one of the requests to be passed over? Counts it. */
bool compaction_deferred(struct zone *zone, unsigned int order);

#ifdef __cplusplus
}
#endif
#endif
