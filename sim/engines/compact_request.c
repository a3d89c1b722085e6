/* SPDX-License-Identifier: MIT */
/*
 * Who asks for compaction, and whether it is worth it: allocations (direct compaction, with deferral) and whoever writes to
 * compact_memory.
 *
 *   get no block ──> compaction_deferred? ──yes──> COMPACT_DEFERRED
 *                        │ no
 *                        ▼
 *                    suitable? ──enough free memory, scattered──> compact_zone ──> SUCCESS: deferral begins anew
 *                        │ no                                              └────> COMPLETE: deferred twice as long
 *                        ▼
 *                    COMPACT_SKIPPED
 *
 * Source: the behaviour of Linux 6.1's mm/compaction.c.
 */
#include "engines/compaction.h"

#include <pagesim/gfp.h>
#include <pagesim/lru.h>
#include <pagesim/machine.h>
#include <pagesim/page_alloc.h>
#include <pagesim/runtime.h>

#include "engines/vmscan.h"

/* vm.extfrag_threshold: below it an allocation fails for want of memory, above it for want of order. */
#define EXTFRAG_THRESHOLD 500

enum compact_result compaction_suitable(struct zone *zone, unsigned int order, unsigned int alloc_flags,
					int highest_zoneidx)
{
	unsigned long mark = wmark_pages(zone, (enum zone_watermarks)(alloc_flags & ALLOC_WMARK_MASK));
	int index;

	if (zone_watermark_ok(zone, order, mark, highest_zoneidx, alloc_flags))
		return COMPACT_SUCCESS;
	/* The pages that move need frames before theirs are free. */
	mark = order > PAGE_ALLOC_COSTLY_ORDER ? low_wmark_pages(zone) : min_wmark_pages(zone);
	if (!zone_watermark_ok(zone, 0, mark + compact_gap(order), highest_zoneidx, 0))
		return COMPACT_SKIPPED;
	if (order > PAGE_ALLOC_COSTLY_ORDER) {
		index = fragmentation_index(zone, order);
		if (index >= 0 && index <= EXTFRAG_THRESHOLD)
			return COMPACT_SKIPPED;
	}
	return COMPACT_CONTINUE;
}

void defer_compaction(struct zone *zone, unsigned int order)
{
	zone->compact_considered = 0;
	if (zone->compact_defer_shift < COMPACT_MAX_DEFER_SHIFT)
		zone->compact_defer_shift++;
	if ((int)order < zone->compact_order_failed)
		zone->compact_order_failed = (int)order;
}

bool compaction_deferred(struct zone *zone, unsigned int order)
{
	unsigned int limit = 1u << zone->compact_defer_shift;

	/* Smaller blocks than those it failed for may still be had. */
	if ((int)order < zone->compact_order_failed)
		return false;
	if (++zone->compact_considered >= limit) {
		zone->compact_considered = limit;
		return false;
	}
	return true;
}

static enum compact_result compact_zone_order(struct zone *zone, const struct ps_alloc_context *ac,
					      enum compact_priority prio)
{
	struct compact_control cc = {
		.zone = zone,
		.order = (int)ac->order,
		.gfp_mask = ac->gfp,
		.mode = prio == COMPACT_PRIO_ASYNC ? MIGRATE_ASYNC : MIGRATE_SYNC_LIGHT,
		.alloc_flags = ALLOC_WMARK_MIN,
		.highest_zoneidx = (int)ac->highest_zoneidx,
		.direct_compaction = true,
		.whole_zone = prio == COMPACT_PRIO_SYNC_FULL,
		.ignore_skip_hint = prio == COMPACT_PRIO_SYNC_FULL,
		.ignore_block_suitable = prio == COMPACT_PRIO_SYNC_FULL,
	};

	return compact_zone(&cc);
}

enum compact_result try_to_compact_pages(const struct ps_alloc_context *ac, enum compact_priority prio)
{
	const struct zonelist *list =
		&NODE_DATA(ac->preferred_nid)
			 ->node_zonelists[ac->gfp & __GFP_THISNODE ? ZONELIST_NOFALLBACK : ZONELIST_FALLBACK];
	enum compact_result best = COMPACT_SKIPPED;
	int i;

	/* Moving pages may mean writing them. */
	if (!(ac->gfp & __GFP_IO))
		return COMPACT_SKIPPED;
	for (i = 0; i < list->nr; i++) {
		struct zone *zone = list->zones[i];
		enum compact_result status;

		if (zone->zid > (int)ac->highest_zoneidx || (ac->nodemask && !node_isset(zone->node, *ac->nodemask)))
			continue;
		if (prio > COMPACT_PRIO_SYNC_FULL && compaction_deferred(zone, ac->order)) {
			best = ps_max(best, COMPACT_DEFERRED);
			continue;
		}
		status = compact_zone_order(zone, ac, prio);
		best = ps_max(best, status);
		if (status == COMPACT_SUCCESS) {
			compaction_defer_reset(zone, ac->order, false);
			break;
		}
		if (prio != COMPACT_PRIO_ASYNC && (status == COMPACT_COMPLETE || status == COMPACT_PARTIAL_SKIPPED))
			defer_compaction(zone, ac->order);
	}
	return best;
}

static void compact_node(struct pglist_data *pgdat)
{
	struct zone *zone;

	for_each_zone_of(pgdat, zone)
	{
		struct compact_control cc = {
			.zone = zone,
			.order = -1,
			.mode = MIGRATE_SYNC,
			.gfp_mask = GFP_KERNEL,
			.whole_zone = true,
			.ignore_skip_hint = true,
		};

		if (populated_zone(zone))
			compact_zone(&cc);
	}
}

int ps_compact_node(nid_t nid)
{
	if (nid < 0 || nid >= (nid_t)this_machine()->nr_nodes)
		return -ENOENT;
	lru_add_drain_all();
	compact_node(NODE_DATA(nid));
	return 0;
}

void ps_compact_nodes(void)
{
	nid_t nid;

	lru_add_drain_all();
	for (nid = 0; nid < (nid_t)this_machine()->nr_nodes; nid++)
		compact_node(NODE_DATA(nid));
}
