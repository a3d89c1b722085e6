/* SPDX-License-Identifier: MIT */
/*
 * One run over one zone, between who asks for it (compact_request.c) and the scanners that do it (compaction.c).
 */
#ifndef ENGINES_COMPACTION_H
#define ENGINES_COMPACTION_H

#include <pagesim/compaction.h>

struct compact_control {
	struct zone *zone;
	int order; /* wanted; -1: all that can be had (compact_memory) */
	gfp_t gfp_mask;
	enum migrate_mode mode;
	int migratetype;
	unsigned int alloc_flags;
	int highest_zoneidx;
	bool direct_compaction;
	bool whole_zone;            /* from end to end, not from where the last run stopped */
	bool ignore_skip_hint;      /* also pageblocks that gave nothing lately */
	bool ignore_block_suitable; /* move into pageblocks of any type */

	/* the run */
	pfn_t migrate_pfn, free_pfn; /* where the scanners stand */
	struct list_head migratepages, freepages;
	unsigned long nr_migratepages, nr_freepages;
	unsigned long total_migrate_scanned, total_free_scanned;
	bool rescan;    /* the pageblock was not finished by the last portion: take all of it now */
	bool contended; /* somebody else needs what we hold */
};

/** All of it: every portion, until compact_finished. Context: may sleep. Return: how it ended. */
enum compact_result compact_zone(struct compact_control *cc);
/** Every pageblock of the zone may be tried again, from its ends. */
void __reset_isolation_suitable(struct zone *zone);

#endif
