/* SPDX-License-Identifier: MIT */
/*
 * Who reclaims, when and for how long.
 *
 *   allocation below low ──> wakeup_kswapd ──> kswapd: balance_pgdat ──> high (promo) met ──> sleeps
 *   allocation below min ──> direct_reclaim: the same rounds on the allocation's nodes, in the allocating task
 *   nothing helps        ──> out_of_memory: counted; the allocation fails
 *
 * A round begins with a 4096th part of the lists (DEF_PRIORITY) and takes twice as much each time the last one gave
 * too little.
 *
 * A reclaiming task has PF_MEMALLOC: what it allocates to move pages must not make it reclaim again.
 *
 * Source: the behaviour of Linux 6.1's mm/vmscan.c.
 */
#include <pagesim/reclaim.h>

#include <stdio.h>

#include <pagesim/alloc.h>
#include <pagesim/compaction.h>
#include <pagesim/fault.h>
#include <pagesim/inode.h>
#include <pagesim/machine.h>
#include <pagesim/mem.h>
#include <pagesim/page_alloc.h>
#include <pagesim/runtime.h>
#include <pagesim/vmstat.h>

#include "engines/vmscan.h"

/* Rounds without a page after which a node is given up until somebody else gets one. */
#define MAX_RECLAIM_RETRIES 16
/* After balancing, kswapd first naps: memory may be short again at once. */
#define KSWAPD_NAP_NS 100000000ull

/* ---- is there enough? */

bool pgdat_balanced(struct pglist_data *pgdat, unsigned int order, int highest_zoneidx)
{
	/* While pages are to be promoted to it, a node keeps room for them. */
	enum zone_watermarks mark =
		this_machine()->faults->numa_balancing & NUMA_BALANCING_MEMORY_TIERING ? WMARK_PROMO : WMARK_HIGH;
	bool any = false;
	int zid;

	for (zid = 0; zid <= highest_zoneidx && zid < MAX_NR_ZONES; zid++) {
		struct zone *zone = &pgdat->node_zones[zid];

		if (!managed_zone(zone))
			continue;
		any = true;
		if (zone_watermark_ok(zone, order, wmark_pages(zone, mark), highest_zoneidx, 0))
			return true;
	}
	return !any;
}

/* ---- kswapd */

static int wanted_zoneidx(const struct ps_kswapd *k, int otherwise)
{
	int wanted = READ_ONCE(k->highest_zoneidx);

	return wanted == MAX_NR_ZONES ? otherwise : wanted;
}

static void set_reclaim_active(struct pglist_data *pgdat, int highest_zoneidx, bool active)
{
	int zid;

	for (zid = 0; zid <= highest_zoneidx && zid < MAX_NR_ZONES; zid++)
		if (managed_zone(&pgdat->node_zones[zid])) {
			if (active)
				set_bit(ZONE_RECLAIM_ACTIVE, &pgdat->node_zones[zid].flags);
			else
				clear_bit(ZONE_RECLAIM_ACTIVE, &pgdat->node_zones[zid].flags);
		}
}

/* One round. Return: true if it looked at so many pages that scanning harder is no use. */
static bool kswapd_shrink_node(struct pglist_data *pgdat, struct scan_control *sc)
{
	int zid;

	sc->nr_to_reclaim = 0;
	for (zid = 0; zid <= sc->reclaim_idx && zid < MAX_NR_ZONES; zid++)
		if (managed_zone(&pgdat->node_zones[zid]))
			sc->nr_to_reclaim += ps_max(high_wmark_pages(&pgdat->node_zones[zid]), SWAP_CLUSTER_MAX);
	shrink_node(pgdat, sc);
	/* Twice the block is free, but not in one piece: who wants it must compact. The node itself must still balance. */
	if (sc->order && sc->nr_reclaimed >= compact_gap(sc->order))
		sc->order = 0;
	return sc->nr_scanned >= sc->nr_to_reclaim;
}

/* Reclaims until the node is balanced or hopeless. Return: the order it stopped at. */
static unsigned int balance_pgdat(struct pglist_data *pgdat, unsigned int order, int highest_zoneidx)
{
	struct scan_control sc = { .gfp = GFP_KERNEL,
				   .order = order,
				   .priority = DEF_PRIORITY,
				   .reclaim_idx = highest_zoneidx,
				   .may_writepage = true };
	bool balanced = false;

	count_vm_event(PAGEOUTRUN);
	set_reclaim_active(pgdat, highest_zoneidx, true);
	do {
		unsigned long before = sc.nr_reclaimed;
		bool scanned_enough;

		balanced = pgdat_balanced(pgdat, sc.order, highest_zoneidx);
		if (balanced)
			break;
		age_active_anon(pgdat, &sc);
		sc.nr_scanned = 0;
		scanned_enough = kswapd_shrink_node(pgdat, &sc);
		if (kthread_should_stop())
			break;
		if (!scanned_enough || sc.nr_reclaimed == before)
			sc.priority--;
	} while (sc.priority >= 1);
	if (!balanced && !sc.nr_reclaimed)
		atomic_inc(&node_kswapd(pgdat)->failures);
	set_reclaim_active(pgdat, highest_zoneidx, false);
	return sc.order;
}

/* May it sleep? */
static bool prepare_kswapd_sleep(struct ps_kswapd *k, unsigned int order, int highest_zoneidx)
{
	if (atomic_read(&k->failures) >= MAX_RECLAIM_RETRIES)
		return true;
	if (!pgdat_balanced(k->pgdat, order, highest_zoneidx))
		return false;
	WRITE_ONCE(k->dirty, false);
	WRITE_ONCE(k->writeback, false);
	return true;
}

static void kswapd_try_to_sleep(struct ps_kswapd *k, unsigned int reclaim_order, int highest_zoneidx)
{
	bool woken = false;
	DEFINE_WAIT(wait);

	prepare_to_wait(&k->wait, &wait, TASK_INTERRUPTIBLE);
	if (prepare_kswapd_sleep(k, reclaim_order, highest_zoneidx)) {
		/* Much has changed since pageblocks were found to give nothing. */
		reset_isolation_suitable(k->pgdat);
		woken = ps_schedule_until(ps_now() + KSWAPD_NAP_NS);
		if (woken) {
			/* It did not see the last request through. */
			WRITE_ONCE(k->highest_zoneidx, wanted_zoneidx(k, highest_zoneidx));
			if (READ_ONCE(k->order) < reclaim_order)
				WRITE_ONCE(k->order, reclaim_order);
		}
		finish_wait(&k->wait, &wait);
		prepare_to_wait(&k->wait, &wait, TASK_INTERRUPTIBLE);
	}
	if (!woken && prepare_kswapd_sleep(k, reclaim_order, highest_zoneidx)) {
		if (!kthread_should_stop()) {
			schedule();
			ps_charge(this_machine()->costs.kswapd_wake_ns, PS_TIME_IDLE);
		}
	} else {
		count_vm_event(woken ? KSWAPD_LOW_WMARK_HIT_QUICKLY : KSWAPD_HIGH_WMARK_HIT_QUICKLY);
	}
	finish_wait(&k->wait, &wait);
}

/* A CPU near the node's memory: the last one, since programs begin at the first and a scheduler would find an idle one. */
static int kswapd_cpu(const struct ps_machine *machine, nid_t nid)
{
	unsigned int cpu = machine->nr_cpus;

	while (cpu-- > 0)
		if (machine->cpus[cpu].node == machine->nodes[nid].cpu_nid)
			return (int)cpu;
	return 0;
}

static void kswapd(void *arg)
{
	struct ps_kswapd *k = arg;
	int highest_zoneidx = MAX_NR_ZONES - 1;

	current->flags |= PF_MEMALLOC | PF_KSWAPD;
	(void)ps_work_begin(PS_TIME_RECLAIM);
	current->mm = NULL;
	current->cpu = kswapd_cpu(this_machine(), k->pgdat->node_id);
	ps_charge(this_machine()->costs.kswapd_wake_ns, PS_TIME_IDLE);
	while (!kthread_should_stop()) {
		unsigned int alloc_order = READ_ONCE(k->order), reclaim_order;

		highest_zoneidx = wanted_zoneidx(k, highest_zoneidx);
		WRITE_ONCE(k->order, 0);
		WRITE_ONCE(k->highest_zoneidx, MAX_NR_ZONES);
		reclaim_order = balance_pgdat(k->pgdat, alloc_order, highest_zoneidx);
		/* A block it could not make is somebody else's work; it sleeps when the order it fell back to is served. */
		if (reclaim_order >= alloc_order) {
			reclaim_order = READ_ONCE(k->order);
			highest_zoneidx = wanted_zoneidx(k, highest_zoneidx);
		}
		kswapd_try_to_sleep(k, reclaim_order, highest_zoneidx);
	}
}

/* The first wake-up makes the thread. */
static void start_kswapd(struct ps_kswapd *k)
{
	struct task_struct *task;
	char name[24];

	if (xchg(&k->making, true))
		return;
	snprintf(name, sizeof(name), "kswapd%d", k->pgdat->node_id);
	task = ps_task_new(current->rt, name, kswapd, k);
	if (task) {
		ps_task_set_daemon(task, true);
		WRITE_ONCE(k->task, task);
	} else {
		/* The next wake-up tries again, and direct reclaim does what is needed meanwhile. */
		smp_store_release(&k->making, false); /* pairs with the xchg */
	}
}

bool kswapd_asleep(const struct ps_machine *machine)
{
	unsigned int nid;

	for (nid = 0; machine->reclaim && nid < machine->nr_nodes; nid++) {
		struct ps_kswapd *k = &machine->reclaim->kswapd[nid];

		if (READ_ONCE(k->task) && !waitqueue_active(&k->wait))
			return false;
	}
	return true;
}

void wakeup_kswapd(struct zone *zone, gfp_t gfp, unsigned int order, int highest_zoneidx)
{
	struct ps_reclaim *reclaim = this_machine()->reclaim;
	struct ps_kswapd *k = node_kswapd(zone->zone_pgdat);
	int wanted;

	(void)gfp;
	if (!reclaim || !managed_zone(zone))
		return;
	wanted = READ_ONCE(k->highest_zoneidx);
	if (wanted == MAX_NR_ZONES || wanted < highest_zoneidx)
		WRITE_ONCE(k->highest_zoneidx, highest_zoneidx);
	if (READ_ONCE(k->order) < order)
		WRITE_ONCE(k->order, order);
	if (READ_ONCE(k->task) && !waitqueue_active(&k->wait))
		return;
	if (atomic_read(&k->failures) >= MAX_RECLAIM_RETRIES ||
	    pgdat_balanced(zone->zone_pgdat, order, highest_zoneidx))
		return;
	ps_stat_add(&reclaim->kswapd_wakes, 1);
	if (READ_ONCE(k->task))
		wake_up_interruptible(&k->wait);
	else
		start_kswapd(k);
}

/* ---- direct reclaim */

/* Is what is missing a block, not pages? Then compaction's turn has come. */
static bool compaction_ready(struct zone *zone, const struct scan_control *sc)
{
	return zone_watermark_ok(zone, sc->order, min_wmark_pages(zone), sc->reclaim_idx, 0) ||
	       zone_watermark_ok(zone, 0, high_wmark_pages(zone) + compact_gap(sc->order), sc->reclaim_idx, 0);
}

static void shrink_zones(const struct zonelist *zonelist, struct scan_control *sc)
{
	struct pglist_data *last = NULL;
	int i;

	for (i = 0; i < zonelist->nr; i++) {
		struct zone *zone = zonelist->zones[i];

		if (zone->zid > sc->reclaim_idx || (sc->nodemask && !node_isset(zone->node, *sc->nodemask)))
			continue;
		if (sc->order > PAGE_ALLOC_COSTLY_ORDER && compaction_ready(zone, sc)) {
			sc->compaction_ready = true;
			continue;
		}
		if (zone->zone_pgdat == last)
			continue;
		last = zone->zone_pgdat;
		shrink_node(zone->zone_pgdat, sc);
	}
}

static unsigned long do_try_to_free_pages(const struct zonelist *zonelist, struct scan_control *sc)
{
	for (;;) {
		__count_zid_vm_events(ALLOCSTALL, sc->reclaim_idx, 1);
		for (sc->priority = DEF_PRIORITY; sc->priority >= 0; sc->priority--) {
			sc->nr_scanned = 0;
			shrink_zones(zonelist, sc);
			if (sc->nr_reclaimed >= sc->nr_to_reclaim || sc->compaction_ready)
				break;
		}
		if (sc->nr_reclaimed)
			return sc->nr_reclaimed;
		if (sc->compaction_ready)
			return 1;
		/* Active lists were spared because the inactive ones looked long enough. They were not. */
		if (!sc->skipped_deactivate || sc->force_deactivate)
			return 0;
		sc->force_deactivate = true;
		sc->skipped_deactivate = false;
	}
}

/* Whatever the work was, to the task that waits for memory it is reclaim. Waiting stays waiting. */
static unsigned long reclaim_for_current(const struct zonelist *zonelist, struct scan_control *sc)
{
	static const enum ps_time_class work[] = { PS_TIME_MIGRATE, PS_TIME_COPY, PS_TIME_SCAN };
	ps_ns_t before[ARRAY_SIZE(work)];
	enum ps_time_class outer = ps_work_begin(PS_TIME_RECLAIM);
	unsigned long reclaimed;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(work); i++)
		before[i] = current->time[work[i]];
	current->flags |= PF_MEMALLOC;
	reclaimed = do_try_to_free_pages(zonelist, sc);
	current->flags &= ~PF_MEMALLOC;
	for (i = 0; i < ARRAY_SIZE(work); i++) {
		current->time[PS_TIME_RECLAIM] += current->time[work[i]] - before[i];
		current->time[work[i]] = before[i];
	}
	ps_work_end(outer);
	return reclaimed;
}

static unsigned long direct_reclaim(const struct ps_alloc_context *ac)
{
	struct scan_control sc = { .nr_to_reclaim = SWAP_CLUSTER_MAX,
				   .gfp = ac->gfp,
				   .order = ac->order,
				   .reclaim_idx = (int)ac->highest_zoneidx,
				   .nodemask = ac->nodemask,
				   .may_writepage = true };
	int list = ac->gfp & __GFP_THISNODE ? ZONELIST_NOFALLBACK : ZONELIST_FALLBACK;

	if (current->flags & PF_MEMALLOC)
		return 0;
	return reclaim_for_current(&NODE_DATA(ac->preferred_nid)->node_zonelists[list], &sc);
}

unsigned long ps_reclaim_node(nid_t nid, unsigned long nr_pages)
{
	struct scan_control sc = {
		.nr_to_reclaim = nr_pages, .gfp = GFP_KERNEL, .reclaim_idx = MAX_NR_ZONES - 1, .may_writepage = true
	};

	if (!nr_pages || nid < 0 || nid >= MAX_NUMNODES || !NODE_DATA(nid))
		return 0;
	return reclaim_for_current(&NODE_DATA(nid)->node_zonelists[ZONELIST_NOFALLBACK], &sc);
}

/* ---- the allocator's hooks */

static void wake_kswapd(struct zone *zone, const struct ps_alloc_context *ac)
{
	wakeup_kswapd(zone, ac->gfp, ac->order, (int)ac->highest_zoneidx);
}

static bool out_of_memory(const struct ps_alloc_context *ac)
{
	(void)ac;
	ps_stat_add(&this_machine()->reclaim->oom_failures, 1);
	return false;
}

/* For a task that allocates: what it needs to move pages must not make it reclaim or compact again. */
static enum compact_result direct_compact(const struct ps_alloc_context *ac, int attempt)
{
	static const enum compact_priority priorities[] = { COMPACT_PRIO_ASYNC, COMPACT_PRIO_SYNC_LIGHT,
							    COMPACT_PRIO_SYNC_FULL };
	enum compact_result result;

	if (current->flags & PF_MEMALLOC)
		return COMPACT_SKIPPED;
	current->flags |= PF_MEMALLOC;
	result = try_to_compact_pages(ac, priorities[ps_min(attempt, 2)]);
	current->flags &= ~PF_MEMALLOC;
	return result;
}

static const struct ps_reclaim_ops reclaim_ops = {
	.wake_kswapd = wake_kswapd,
	.direct_reclaim = direct_reclaim,
	.direct_compact = direct_compact,
	.can_reclaim_anon = can_reclaim_anon_pages,
	.out_of_memory = out_of_memory,
};

/* ---- setting up */

int ps_reclaim_init(struct ps_machine *machine)
{
	struct ps_reclaim *reclaim = ps_zalloc(sizeof(*reclaim));
	nid_t nid;

	if (!reclaim)
		return -ENOMEM;
	reclaim->swappiness = 60;
	reclaim->kswapd = ps_calloc(machine->nr_nodes, sizeof(*reclaim->kswapd));
	if (!reclaim->kswapd) {
		ps_free(reclaim);
		return -ENOMEM;
	}
	for (nid = 0; nid < (nid_t)machine->nr_nodes; nid++) {
		struct ps_kswapd *k = &reclaim->kswapd[nid];

		k->pgdat = machine->node_data[nid];
		k->highest_zoneidx = MAX_NR_ZONES;
		init_waitqueue_head(&k->wait);
		k->pgdat->reclaim_private = k;
	}
	machine->reclaim = reclaim;
	if (machine->files)
		machine->files->hooks.reclaim_pages = reclaim_pages;
	ps_mem_set_reclaim_ops(machine, &reclaim_ops);
	return 0;
}

void ps_reclaim_destroy(struct ps_machine *machine)
{
	struct ps_reclaim *reclaim = machine->reclaim;
	nid_t nid;

	if (!reclaim)
		return;
	ps_mem_set_reclaim_ops(machine, NULL);
	if (machine->files)
		machine->files->hooks.reclaim_pages = NULL;
	/* The threads may be far ahead of this task: catch up, so that their last steps do not look like a hang. */
	ps_sleep_until(ps_runtime_now(current->rt));
	for (nid = 0; nid < (nid_t)machine->nr_nodes; nid++) {
		struct ps_kswapd *k = &reclaim->kswapd[nid];

		if (k->task) {
			kthread_stop(k->task);
			ps_task_free(k->task);
		}
		k->pgdat->reclaim_private = NULL;
	}
	machine->reclaim = NULL;
	ps_free(reclaim->kswapd);
	ps_free(reclaim);
}

struct task_struct *ps_kswapd_task(const struct ps_machine *machine, nid_t nid)
{
	if (!machine->reclaim || nid < 0 || nid >= (nid_t)machine->nr_nodes)
		return NULL;
	return machine->reclaim->kswapd[nid].task;
}
