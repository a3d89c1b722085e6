/* SPDX-License-Identifier: MIT */
/*
 * How a machine's nodes become zones: where each begins and ends, in which order allocations try them, how much of each
 * stays in reserve, and how long its per-CPU lists get. Everything here happens at setup or when the amount of managed
 * memory changes.
 *
 * Watermarks, in pages of one zone; m = managed pages, M = those of all zones, s = watermark_scale_factor:
 *     min  = min_free_kbytes in pages x m / M
 *     gap  = max(min / 4, m x s / 10000)
 *     low  = min + gap        high = low + gap        promo = high + gap
 * min_free_kbytes, unless the machine names it: 4 x sqrt(KiB of ZONE_NORMAL), 128 to 262144, or, because transparent
 * huge pages are on, 11 pageblocks per zone if that is more and not over 5 % of ZONE_NORMAL.
 *
 * What Linux does differently: watermarks are never boosted; on memory so small that the square root is over 5 % of it
 * (6.25 MiB) the 5 % win; a CPU keeps at most a sixteenth of a zone on its lists.
 * Source: Linux 6.1 mm/page_alloc.c, mm/khugepaged.c (behaviour).
 */
#include "page/zones.h"

#include <pagesim/alloc.h>
#include <pagesim/mem.h>
#include <pagesim/page_alloc.h>
#include <string.h>

#include "page/buddy.h"

/* lowmem_reserve_ratio: how much of a zone requests that could go to higher zones must leave alone, as 1 / ratio. */
static const unsigned int lowmem_reserve_ratio[MAX_NR_ZONES] = { [ZONE_NORMAL] = 32, [ZONE_MOVABLE] = 0 };

#define MIN_FREE_KBYTES_LEAST          128UL
#define MIN_FREE_KBYTES_MOST           262144UL
#define WATERMARK_SCALE_FACTOR_DEFAULT 10

static unsigned long int_sqrt(unsigned long x)
{
	unsigned long r = 0, bit = 1UL << 62;

	while (bit > x)
		bit >>= 2;
	for (; bit; bit >>= 2) {
		if (x >= r + bit) {
			x -= r + bit;
			r = (r >> 1) + bit;
		} else {
			r >>= 1;
		}
	}
	return r;
}

/* Zones */

static int zone_init(struct zone *zone, struct pglist_data *pgdat, enum zone_type zid, pfn_t start, unsigned long pages)
{
	struct ps_machine *machine = pgdat->mem->machine;
	unsigned int pageblock = machine->pt_bits;
	unsigned int cpu, i;

	zone->node = pgdat->node_id;
	zone->zid = zid;
	zone->zone_pgdat = pgdat;
	zone->zone_start_pfn = start;
	zone->spanned_pages = pages;
	zone->present_pages = pages;
	zone->managed_pages = pages;
	spin_lock_init(&zone->lock, ZONE_LOCK);
	zone_init_free_lists(zone);
	if (!pages)
		return 0;

	zone->pageblock_types = ps_zalloc(((start + pages - 1) >> pageblock) - (start >> pageblock) + 1);
	zone->pageblock_skip = ps_zalloc(((start + pages - 1) >> pageblock) - (start >> pageblock) + 1);
	zone->per_cpu_pageset = ps_alloc_aligned(64, machine->nr_cpus * sizeof(*zone->per_cpu_pageset));
	if (!zone->pageblock_types || !zone->pageblock_skip || !zone->per_cpu_pageset)
		return -ENOMEM;
	memset(zone->per_cpu_pageset, 0, machine->nr_cpus * sizeof(*zone->per_cpu_pageset));
	for (cpu = 0; cpu < machine->nr_cpus; cpu++) {
		struct per_cpu_pages *pcp = &zone->per_cpu_pageset[cpu];

		spin_lock_init(&pcp->lock, PCP_LOCK);
		for (i = 0; i < NR_PCP_LISTS; i++)
			INIT_LIST_HEAD(&pcp->lists[i]);
	}
	return 0;
}

struct pglist_data *pgdat_new(struct ps_mem *mem, nid_t nid)
{
	const struct ps_node *node = &mem->machine->nodes[nid];
	unsigned long normal = node->present_pages - node->movable_pages;
	struct pglist_data *pgdat = ps_alloc_aligned(64, sizeof(*pgdat));
	enum lru_list lru;

	if (!pgdat)
		return NULL;
	memset(pgdat, 0, sizeof(*pgdat));
	pgdat->mem = mem;
	pgdat->node_id = nid;
	pgdat->node_start_pfn = node->start_pfn;
	pgdat->node_present_pages = node->present_pages;
	pgdat->node_spanned_pages = node->present_pages;
	pgdat->__lruvec.pgdat = pgdat;
	spin_lock_init(&pgdat->__lruvec.lru_lock, LRU_LOCK);
	for_each_lru(lru) INIT_LIST_HEAD(&pgdat->__lruvec.lists[lru]);
	spin_lock_init(&pgdat->deferred_split_queue.split_queue_lock, SPLIT_QUEUE_LOCK);
	INIT_LIST_HEAD(&pgdat->deferred_split_queue.split_queue);
	if (zone_init(&pgdat->node_zones[ZONE_NORMAL], pgdat, ZONE_NORMAL, node->start_pfn, normal) ||
	    zone_init(&pgdat->node_zones[ZONE_MOVABLE], pgdat, ZONE_MOVABLE, node->start_pfn + normal,
		      node->movable_pages)) {
		pgdat_free(pgdat);
		return NULL;
	}
	return pgdat;
}

void pgdat_free(struct pglist_data *pgdat)
{
	struct zone *zone;
	int i;

	if (!pgdat)
		return;
	for_each_zone_of(pgdat, zone)
	{
		if (ps_current && ps_current->stats)
			__mod_zone_page_state(zone, NR_FREE_PAGES, -(long)zone_page_state(zone, NR_FREE_PAGES));
		ps_free(zone->pageblock_types);
		ps_free(zone->pageblock_skip);
		ps_free(zone->per_cpu_pageset);
	}
	for (i = 0; i < MAX_ZONELISTS; i++)
		ps_free(pgdat->node_zonelists[i].zones);
	ps_free(pgdat);
}

/* Zonelists */

/**
 * The node to fall back to next: itself first, then the nearest with memory; among equally near ones the next higher
 * number, rather one without CPUs, rather one fewer others have already chosen.
 * **Return:** NUMA_NO_NODE when all are used.
 */
static nid_t find_next_best_node(const struct ps_machine *machine, nid_t node, nodemask_t *used, const int *node_load)
{
	nid_t n, best = NUMA_NO_NODE;
	long min_val = LONG_MAX;

	if (!node_test_and_set(node, *used))
		return node;
	for (n = 0; n < (nid_t)machine->nr_nodes; n++) {
		long val;

		if (node_isset(n, *used) || !node_isset(n, machine->memory_nodes))
			continue;
		val = machine->spec->distance[node][n];
		val += n < node;
		val += node_isset(n, machine->cpu_nodes);
		val *= MAX_NUMNODES;
		val += node_load[n];
		if (val < min_val) {
			min_val = val;
			best = n;
		}
	}
	if (best != NUMA_NO_NODE)
		node_set(best, *used);
	return best;
}

/** Append the populated zones of a node, highest first. */
static void zonelist_add_node(struct zonelist *list, struct pglist_data *pgdat)
{
	int zid;

	for (zid = MAX_NR_ZONES - 1; zid >= 0; zid--)
		if (populated_zone(&pgdat->node_zones[zid]))
			list->zones[list->nr++] = &pgdat->node_zones[zid];
}

int build_all_zonelists(struct ps_machine *machine)
{
	int node_load[MAX_NUMNODES] = { 0 };
	nid_t nid;

	for (nid = 0; nid < (nid_t)machine->nr_nodes; nid++) {
		struct pglist_data *pgdat = machine->node_data[nid];
		struct zonelist *fallback = &pgdat->node_zonelists[ZONELIST_FALLBACK];
		struct zonelist *here = &pgdat->node_zonelists[ZONELIST_NOFALLBACK];
		nid_t n, prev = nid;
		nodemask_t used = NODE_MASK_NONE;

		fallback->zones = ps_calloc(machine->nr_nodes * MAX_NR_ZONES, sizeof(*fallback->zones));
		here->zones = ps_calloc(MAX_NR_ZONES, sizeof(*here->zones));
		if (!fallback->zones || !here->zones)
			return -ENOMEM;
		while ((n = find_next_best_node(machine, nid, &used, node_load)) != NUMA_NO_NODE) {
			/* The first of a group of equally near nodes carries the load of this node. */
			if (machine->spec->distance[nid][n] != machine->spec->distance[nid][prev])
				node_load[n]++;
			prev = n;
			zonelist_add_node(fallback, machine->node_data[n]);
		}
		zonelist_add_node(here, pgdat);
	}
	return 0;
}

/* Reserves */

/** Managed pages of all zones up to `zid`, less what their high watermark keeps. */
static unsigned long nr_free_zone_pages(const struct ps_machine *machine, int zid)
{
	unsigned long sum = 0;
	nid_t nid;
	int i;

	for (nid = 0; nid < (nid_t)machine->nr_nodes; nid++)
		for (i = 0; i <= zid; i++) {
			const struct zone *zone = &machine->node_data[nid]->node_zones[i];

			if (zone->managed_pages > high_wmark_pages(zone))
				sum += zone->managed_pages - high_wmark_pages(zone);
		}
	return sum;
}

static unsigned long default_min_free_kbytes(const struct ps_machine *machine)
{
	unsigned long lowmem = nr_free_zone_pages(machine, ZONE_NORMAL);
	unsigned long most = lowmem / 20 * (PAGE_SIZE >> 10);
	unsigned long kbytes = int_sqrt(lowmem * (PAGE_SIZE >> 10) * 16);
	unsigned long recommended = 0;
	nid_t nid;

	kbytes = ps_max(kbytes, MIN_FREE_KBYTES_LEAST);
	kbytes = ps_min(kbytes, MIN_FREE_KBYTES_MOST);
	/* Two pageblocks for whoever asks, and for every pair of migratetypes one to steal from. */
	for (nid = 0; nid < (nid_t)machine->nr_nodes; nid++)
		if (populated_zone(&machine->node_data[nid]->node_zones[ZONE_NORMAL]))
			recommended += (2UL + MIGRATE_PCPTYPES * MIGRATE_PCPTYPES) << machine->pt_bits;
	recommended *= PAGE_SIZE >> 10;
	kbytes = ps_max(kbytes, recommended);
	return ps_min(kbytes, most);
}

static void setup_lowmem_reserve(struct pglist_data *pgdat)
{
	int i, j;

	for (i = 0; i < MAX_NR_ZONES; i++) {
		struct zone *zone = &pgdat->node_zones[i];
		unsigned long managed = 0;

		for (j = 0; j <= i; j++)
			zone->lowmem_reserve[j] = 0;
		for (j = i + 1; j < MAX_NR_ZONES; j++) {
			managed += pgdat->node_zones[j].managed_pages;
			zone->lowmem_reserve[j] = lowmem_reserve_ratio[i] && zone->managed_pages
							  ? (long)(managed / lowmem_reserve_ratio[i])
							  : 0;
		}
	}
}

/** How many pages one refill of a per-CPU list takes: a thousandth of the zone, at most 1 MiB, a quarter of it, 2^n - 1. */
static int zone_batchsize(const struct zone *zone)
{
	unsigned long batch = ps_min(zone->managed_pages >> 10, (1UL << 20) / PAGE_SIZE);

	batch /= 4;
	if (batch < 1)
		batch = 1;
	return ps_max((1 << ilog2(batch + batch / 2)) - 1, 1);
}

/** How many pages one CPU may keep: the low watermark divided among the node's CPUs. */
static int zone_highsize(const struct ps_mem *mem, const struct zone *zone, int batch)
{
	unsigned int cpus = mem->machine->nodes[zone->node].nr_cpus;
	long high;

	if (mem->settings.pcp_high > 0)
		return mem->settings.pcp_high;
	if (!cpus)
		cpus = mem->machine->nr_cpus;
	high = (long)(low_wmark_pages(zone) / cpus);
	high = ps_max(high, (long)batch << 2);
	return (int)ps_min(high, (long)(zone->managed_pages >> 4));
}

static void zone_set_pageset(const struct ps_mem *mem, struct zone *zone)
{
	unsigned int cpu;

	if (!populated_zone(zone))
		return;
	zone->pageset_batch = mem->settings.pcp_high < 0 ? 1 : zone_batchsize(zone);
	zone->pageset_high = mem->settings.pcp_high < 0 ? 0 : zone_highsize(mem, zone, zone->pageset_batch);
	for (cpu = 0; cpu < mem->machine->nr_cpus; cpu++) {
		struct per_cpu_pages *pcp = &zone->per_cpu_pageset[cpu];

		spin_lock(&pcp->lock);
		pcp->batch = zone->pageset_batch;
		pcp->high = zone->pageset_high;
		spin_unlock(&pcp->lock);
	}
}

static void calculate_totalreserve_pages(struct ps_mem *mem)
{
	unsigned long sum = 0;
	nid_t nid;

	for (nid = 0; nid < (nid_t)mem->machine->nr_nodes; nid++) {
		struct zone *zone;

		for_each_zone_of(mem->machine->node_data[nid], zone)
		{
			long max = 0;
			int j;

			for (j = zone->zid; j < MAX_NR_ZONES; j++)
				max = ps_max(max, zone->lowmem_reserve[j]);
			sum += ps_min((unsigned long)max + high_wmark_pages(zone), zone->managed_pages);
		}
	}
	mem->totalreserve_pages = sum;
}

void setup_per_zone_wmarks(void)
{
	struct ps_mem *mem = this_mem();
	struct ps_machine *machine = mem->machine;
	unsigned long pages_min, lowmem_pages = 0;
	struct zone *zone;
	nid_t nid;

	mem->watermark_scale_factor = machine->spec->watermark_scale_factor;
	if (!mem->watermark_scale_factor)
		mem->watermark_scale_factor = WATERMARK_SCALE_FACTOR_DEFAULT;
	mem->min_free_kbytes = machine->spec->min_free_kbytes;
	for (nid = 0; nid < (nid_t)machine->nr_nodes; nid++)
		for_each_zone_of(machine->node_data[nid], zone)
		{
			lowmem_pages += zone->managed_pages;
			if (!machine->spec->min_free_kbytes)
				memset(zone->_watermark, 0, sizeof(zone->_watermark));
		}
	if (!mem->min_free_kbytes)
		mem->min_free_kbytes = default_min_free_kbytes(machine);

	pages_min = mem->min_free_kbytes / (PAGE_SIZE >> 10);
	for (nid = 0; nid < (nid_t)machine->nr_nodes; nid++) {
		for_each_zone_of(machine->node_data[nid], zone)
		{
			unsigned long min = 0, gap;

			if (lowmem_pages)
				min = (unsigned long)((unsigned __int128)pages_min * zone->managed_pages /
						      lowmem_pages);
			gap = ps_max(min >> 2,
				     zone->managed_pages / 10000 * mem->watermark_scale_factor +
					     zone->managed_pages % 10000 * mem->watermark_scale_factor / 10000);
			spin_lock(&zone->lock);
			zone->_watermark[WMARK_MIN] = min;
			zone->_watermark[WMARK_LOW] = min + gap;
			zone->_watermark[WMARK_HIGH] = min + 2 * gap;
			zone->_watermark[WMARK_PROMO] = min + 3 * gap;
			spin_unlock(&zone->lock);
			zone_set_pageset(mem, zone);
		}
		setup_lowmem_reserve(machine->node_data[nid]);
	}
	calculate_totalreserve_pages(mem);
}

void adjust_managed_page_count(struct page *page, long count)
{
	struct zone *zone = page_zone(page);

	spin_lock(&zone->lock);
	WRITE_ONCE(zone->managed_pages, zone->managed_pages + (unsigned long)count);
	spin_unlock(&zone->lock);
}

unsigned long lruvec_lru_size(struct lruvec *lruvec, enum lru_list lru, int zone_idx)
{
	unsigned long size = 0;
	int zid;

	for (zid = 0; zid <= zone_idx && zid < MAX_NR_ZONES; zid++) {
		struct zone *zone = &lruvec->pgdat->node_zones[zid];

		if (managed_zone(zone))
			size += zone_page_state(zone, (enum zone_stat_item)((int)NR_ZONE_INACTIVE_ANON + (int)lru));
	}
	return size;
}
