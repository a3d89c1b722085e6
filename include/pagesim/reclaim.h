/* SPDX-License-Identifier: MIT */
/*
 * The reclaim engine: getting free memory back on a node that runs short of it. Pages age on the LRU lists; those nobody
 * used lately are moved to a slower node (demotion), written to swap, or, if they are clean pages of a file, dropped.
 *
 *   active list ── shrink_active_list ──> inactive list ── shrink_inactive_list ──┬──> used again: back to active
 *                                                                                 ├──> demoted (migrate_pages, MR_DEMOTION)
 *                                                                                 ├──> anonymous, shmem: to swap
 *                                                                                 ├──> clean file page: dropped
 *                                                                                 └──> none of it: put back
 *
 * Who works: a kernel thread per node (kswapd), woken by the allocator when a zone falls below its low watermark, until the
 * node is balanced: its high watermark is met, or its promo watermark while NUMA balancing is in tiering mode. And, when
 * that is not enough, whoever allocates (direct reclaim), whose time it costs (PS_TIME_RECLAIM).
 *
 * A node's thread is made at its first wake-up, so a machine that is never short of memory has none.
 *
 * What Linux does differently (Fidelity: simplified):
 *   - no memory cgroups, no multi-generational LRU, no refault distances, no watermark boosting;
 *   - no flusher threads: dirty file pages are written by kswapd alone, and only when it sees nothing else (6.1's own rule);
 *   - nobody is throttled (too many isolated pages, pages under writeback, pfmemalloc reserve);
 *   - 6.1 takes demoted pages out of nr_isolated_* twice (repaired in 6.12); here the counters stay true.
 *
 * Layer: engines
 */
#ifndef PAGESIM_RECLAIM_H
#define PAGESIM_RECLAIM_H

#include <pagesim/gfp.h>
#include <pagesim/mmzone.h>
#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct list_head;
struct page;
struct ps_machine;
struct ps_kswapd;
struct task_struct;

/** Scans begin with 1/4096 of a list and double from round to round. */
#define DEF_PRIORITY     12
#define SWAP_CLUSTER_MAX 32ul

/** Settings and counts of a machine's reclaim; in machine->reclaim. Settings may be changed between statements. */
struct ps_reclaim {
	bool demotion_enabled;    /* /sys/kernel/mm/numa/demotion_enabled; off at first */
	unsigned int swappiness;  /* vm.swappiness, 0 .. 200; 60 at first */
	u64 oom_failures;         /* allocations that failed where Linux would have killed somebody */
	u64 kswapd_wakes;         /* how often a kswapd was taken from its sleep */
	struct ps_kswapd *kswapd; /* private; one per node */
};

/**
 * Installs reclaim on the current machine: struct ps_reclaim_ops of the allocator. ps_world_new() does it.
 * Context: a current task of that machine; memory, faults and engines are there. Return: 0 or -ENOMEM.
 */
int ps_reclaim_init(struct ps_machine *machine);
/** Ends the threads and takes reclaim away. Context: a current task that may sleep. A machine without reclaim is fine. */
void ps_reclaim_destroy(struct ps_machine *machine);

/**
 * Wakes the zone's kswapd unless it is awake, hopeless (16 rounds without a page) or the node is balanced already.
 * Context: no lock below WAITQUEUE_LOCK held; does not sleep. Fidelity: exact, wakeup_kswapd().
 */
void wakeup_kswapd(struct zone *zone, gfp_t gfp, unsigned int order, int highest_zoneidx);
/** Is no node's kswapd at work? It may hold pages it isolated while it is. Context: a current task of the machine. */
bool kswapd_asleep(const struct ps_machine *machine);
/** Does a zone of the node, up to that index, meet kswapd's mark for a block of this order? Fidelity: exact. */
bool pgdat_balanced(struct pglist_data *pgdat, unsigned int order, int highest_zoneidx);
/** Can anonymous pages of the node be reclaimed: is there a free slot of swap, or can they be demoted? Fidelity: exact. */
bool can_reclaim_anon_pages(nid_t nid);
/** Can pages of the node be demoted: is it allowed, and is there a lower tier? Fidelity: exact, can_demote(). */
bool can_demote(nid_t nid);

/**
 * Reclaims about nr_pages base pages of one node, in the current task, as direct reclaim does: `kernel reclaim NODE PAGES`.
 * Context: may sleep. Return: base pages reclaimed, demoted ones included. Fidelity: simplified: as do_try_to_free_pages()
 * on one node; counts as direct reclaim.
 */
unsigned long ps_reclaim_node(nid_t nid, unsigned long nr_pages);

/**
 * Reclaims pages that the caller has isolated (one reference each), without demoting them; puts back what cannot go.
 * Context: may sleep. Return: base pages freed; the list is empty. Fidelity: exact, reclaim_pages() for MADV_PAGEOUT.
 */
unsigned long reclaim_pages(struct list_head *list);

/** The node's kswapd, for reading its clock and times; NULL: it was never needed. */
struct task_struct *ps_kswapd_task(const struct ps_machine *machine, nid_t nid);

#ifdef __cplusplus
}
#endif
#endif
