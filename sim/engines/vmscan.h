/* SPDX-License-Identifier: MIT */
/*
 * What the two halves of reclaim share: how pages are taken (reclaim.c) and who takes them, when and for how long
 * (kswapd.c).
 */
#ifndef ENGINES_VMSCAN_H
#define ENGINES_VMSCAN_H

#include <pagesim/atomic.h>
#include <pagesim/barrier.h>
#include <pagesim/reclaim.h>
#include <pagesim/wait.h>

/*
 * A node's reclaim: pgdat->reclaim_private. What has no lock is a hint, read and written (READ_ONCE, WRITE_ONCE) by kswapd and
 * by who wakes it.
 */
struct ps_kswapd {
	struct pglist_data *pgdat;
	struct task_struct *task; /* NULL until the first wake-up; who set `making` writes it, once */
	bool making;              /* somebody is making it; xchg */
	wait_queue_head_t wait;
	unsigned int order;    /* wanted since it last looked; no lock: a request may be lost, as in Linux */
	int highest_zoneidx;   /* MAX_NR_ZONES: nothing wanted; as order */
	atomic_t failures;     /* rounds in a row without a page; 16: hopeless */
	bool dirty;            /* it met nothing but dirty pages: it may write (PGDAT_DIRTY) */
	bool writeback;        /* it met nothing but pages under writeback (PGDAT_WRITEBACK) */
	unsigned long cost[2]; /* writing of anonymous and file pages, decaying; lru_lock */
};

/* One round of reclaim: what is wanted, what may be done for it, what came of it. */
struct scan_control {
	unsigned long nr_to_reclaim; /* base pages */
	gfp_t gfp;
	unsigned int order;
	int priority;
	int reclaim_idx; /* highest zone that helps */
	const nodemask_t *nodemask;
	bool may_writepage;
	bool no_demotion; /* asked to reclaim, not to move */
	bool force_deactivate;
	bool may_deactivate[2];  /* anonymous, file: the inactive list is short */
	bool skipped_deactivate; /* out: an active list was spared */
	bool compaction_ready;   /* out: enough is free, what is missing is a block */
	bool cache_trim_mode, file_is_tiny;
	unsigned long cost[2];
	unsigned long nr_scanned, nr_reclaimed;
	struct {
		unsigned long dirty, unqueued_dirty, writeback, immediate, taken, file_taken;
	} nr;
};

static inline struct ps_kswapd *node_kswapd(struct pglist_data *pgdat)
{
	return (struct ps_kswapd *)pgdat->reclaim_private;
}

static inline bool current_is_kswapd(void)
{
	return current->flags & PF_KSWAPD;
}

/* Pages to free, or to have free, before a block of that order can be made. */
static inline unsigned long compact_gap(unsigned int order)
{
	return 2ul << order;
}

/* Scans one node by sc->priority. Context: PF_MEMALLOC; may sleep. */
void shrink_node(struct pglist_data *pgdat, struct scan_control *sc);
/* kswapd: a little of the active anonymous list, so that pages have a chance to be seen used. */
void age_active_anon(struct pglist_data *pgdat, struct scan_control *sc);

#endif
