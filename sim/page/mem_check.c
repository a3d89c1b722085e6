/* SPDX-License-Identifier: MIT */
/*
 * Do the structures of this layer agree with each other? Rules M1 to M9 are listed at ps_mem_check() in mem.h. Every
 * list is walked with a limit, so that a broken one ends the walk and not the program. Nothing is changed and nothing is
 * a schedule point: words are read as they are.
 *
 * For each zone two bitmaps of its frames behind the frontier are kept: which are free (in a free block, on a per-CPU
 * list), and which are on an LRU list.
 */
#include <pagesim/mem.h>

#include <pagesim/alloc.h>
#include <pagesim/compound.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "page/buddy.h"
#include "page/lru_batch.h"

struct check {
	struct ps_machine *machine;
	struct ps_stats *stats;
	struct ps_mem_fault *faults;
	int max;
	int nr;
};

/** What a recount of one zone found. */
struct zone_count {
	unsigned long *free_map, *lru_map;
	unsigned long lru[NR_LRU_LISTS];
	unsigned long mlocked;
};

__attribute__((format(printf, 4, 5))) static void fault(struct check *c, const struct zone *zone,
							const struct page *page, const char *format, ...)
{
	if (c->nr < c->max) {
		struct ps_mem_fault *f = &c->faults[c->nr];
		va_list args;

		va_start(args, format);
		vsnprintf(f->text, sizeof(f->text), format, args);
		va_end(args);
		f->page = page;
		f->zone = zone;
	}
	c->nr++;
}

static pfn_t raw_pfn(const struct check *c, const struct page *page)
{
	return (pfn_t)(page - c->machine->mem_map);
}

static bool raw_tail(const struct page *page)
{
	return page->compound_head & 1;
}

static bool raw_head(const struct page *page)
{
	return page->flags & PS_PG(head);
}

static unsigned long raw_nr(const struct page *page)
{
	return raw_head(page) ? 1UL << page[1].compound_order : 1;
}

static bool raw_buddy(const struct page *page)
{
	return (page->page_type & (PAGE_TYPE_BASE | PG_buddy)) == PAGE_TYPE_BASE;
}

static int raw_lru(const struct page *page)
{
	int lru;

	if (page->flags & PS_PG(unevictable))
		return LRU_UNEVICTABLE;
	lru = page->flags & PS_PG(swapbacked) ? LRU_INACTIVE_ANON : LRU_INACTIVE_FILE;
	return page->flags & PS_PG(active) ? lru + LRU_ACTIVE : lru;
}

static int raw_pageblock_type(const struct check *c, const struct zone *zone, pfn_t pfn)
{
	unsigned int order = c->machine->pt_bits;

	return zone->pageblock_types[(pfn >> order) - (zone->zone_start_pfn >> order)] ^ MIGRATE_MOVABLE;
}

/** Is `page` a struct page of the zone, behind the frontier? */
static bool in_zone(const struct check *c, const struct zone *zone, const struct page *page, unsigned long nr)
{
	pfn_t pfn;

	if (page < c->machine->mem_map || ((const char *)page - (const char *)c->machine->mem_map) % sizeof(*page))
		return false;
	pfn = raw_pfn(c, page);
	return pfn >= zone->zone_start_pfn && pfn + nr <= zone->frontier;
}

/** M1: mark frames free; none may be marked twice. */
static void mark_free(struct check *c, const struct zone *zone, struct zone_count *count, const struct page *page,
		      unsigned long nr, const char *where)
{
	unsigned long first = raw_pfn(c, page) - zone->zone_start_pfn, i;

	for (i = first; i < first + nr; i++) {
		if (__test_and_set_bit(i, count->free_map)) {
			fault(c, zone, page, "M1 frame %lu is free twice (second time %s)",
			      (unsigned long)zone->zone_start_pfn + i, where);
			return;
		}
	}
}

static void check_free_area(struct check *c, struct zone *zone, struct zone_count *count, unsigned int order, int mt,
			    unsigned long *ret_blocks, unsigned long *ret_pages)
{
	const struct list_head *head = &zone->free_area[order].free_list[mt], *entry;
	unsigned long limit = zone->spanned_pages + 1;

	for (entry = head->next; entry != head; entry = entry->next) {
		const struct page *page = container_of(entry, struct page, buddy_list);
		pfn_t pfn, buddy_pfn;

		if (!limit-- || !in_zone(c, zone, page, 1UL << order)) {
			fault(c, zone, page, "M2 free list of order %u type %d leads out of the zone", order, mt);
			return;
		}
		if (entry->next->prev != entry) {
			fault(c, zone, page, "M2 free list of order %u type %d is torn", order, mt);
			return;
		}
		pfn = raw_pfn(c, page);
		if (pfn & ((1UL << order) - 1))
			fault(c, zone, page, "M2 free block %lu of order %u is not aligned", (unsigned long)pfn, order);
		if (!raw_buddy(page) || page->private_data != order)
			fault(c, zone, page, "M2 free block %lu of order %u does not say so", (unsigned long)pfn,
			      order);
		if ((mt == MIGRATE_ISOLATE) != (raw_pageblock_type(c, zone, pfn) == MIGRATE_ISOLATE))
			fault(c, zone, page, "M2 free block %lu is on the list of type %d, its pageblock is type %d",
			      (unsigned long)pfn, mt, raw_pageblock_type(c, zone, pfn));
		buddy_pfn = pfn ^ (1UL << order);
		if (order < c->machine->pt_bits + 1 && buddy_pfn >= zone->zone_start_pfn &&
		    buddy_pfn + (1UL << order) <= zone->frontier) {
			const struct page *buddy = c->machine->mem_map + buddy_pfn;
			bool isolated = raw_pageblock_type(c, zone, pfn) == MIGRATE_ISOLATE;
			bool buddy_isolated = raw_pageblock_type(c, zone, buddy_pfn) == MIGRATE_ISOLATE;

			if (raw_buddy(buddy) && buddy->private_data == order && isolated == buddy_isolated)
				fault(c, zone, page, "M2 buddies %lu and %lu of order %u are both free",
				      (unsigned long)pfn, (unsigned long)buddy_pfn, order);
		}
		mark_free(c, zone, count, page, 1UL << order, "in a free block");
		(*ret_blocks)++;
		*ret_pages += 1UL << order;
	}
}

static void check_pcp(struct check *c, struct zone *zone, struct zone_count *count, unsigned int cpu)
{
	const struct per_cpu_pages *pcp = &zone->per_cpu_pageset[cpu];
	long pages = 0;
	unsigned int i;

	for (i = 0; i < NR_PCP_LISTS; i++) {
		unsigned int order = i == NR_LOWORDER_PCP_LISTS ? c->machine->pt_bits : i / MIGRATE_PCPTYPES;
		const struct list_head *head = &pcp->lists[i], *entry;
		unsigned long limit = zone->spanned_pages + 1;

		for (entry = head->next; entry != head; entry = entry->next) {
			const struct page *page = container_of(entry, struct page, pcp_list);

			if (!limit-- || !in_zone(c, zone, page, 1UL << order)) {
				fault(c, zone, page, "M1 list %u of CPU %u leads out of the zone", i, cpu);
				return;
			}
			if (raw_buddy(page))
				fault(c, zone, page, "M1 frame %lu on a list of CPU %u is a free block too",
				      (unsigned long)raw_pfn(c, page), cpu);
			mark_free(c, zone, count, page, 1UL << order, "on a per-CPU list");
			pages += 1L << order;
		}
	}
	if (pages != pcp->count)
		fault(c, zone, NULL, "M4 CPU %u counts %d free pages, its lists hold %ld", cpu, pcp->count, pages);
}

/** M3 for a free frame. @first: of its block. */
static void check_free_frame(struct check *c, const struct zone *zone, const struct page *page)
{
	unsigned long pfn = (unsigned long)raw_pfn(c, page);

	if (page->_refcount.counter)
		fault(c, zone, page, "M3 free frame %lu has %d references", pfn, page->_refcount.counter);
	if (!raw_buddy(page) && page->_mapcount.counter != -1)
		fault(c, zone, page, "M3 free frame %lu has mapcount %d", pfn, page->_mapcount.counter);
	if (page->flags & PAGE_FLAGS_CHECK_AT_PREP)
		fault(c, zone, page, "M3 free frame %lu has flags %#lx", pfn, page->flags & PAGE_FLAGS_CHECK_AT_PREP);
	if (page->mapping)
		fault(c, zone, page, "M3 free frame %lu has a mapping", pfn);
}

/** M7 for an allocated head of a compound page. */
static void check_compound(struct check *c, const struct zone *zone, const struct page *head)
{
	unsigned int order = head[1].compound_order;
	unsigned long pfn = (unsigned long)raw_pfn(c, head), i;

	if (!order || order > c->machine->pt_bits + 1 || pfn & ((1UL << order) - 1) ||
	    !in_zone(c, zone, head, 1UL << order)) {
		fault(c, zone, head, "M7 compound page %lu has order %u", pfn, order);
		return;
	}
	if (head[1].compound_nr != 1U << order)
		fault(c, zone, head, "M7 compound page %lu of order %u has %u pages", pfn, order, head[1].compound_nr);
	for (i = 1; i < 1UL << order; i++) {
		if (head[i].compound_head != (unsigned long)head + 1)
			fault(c, zone, head + i, "M7 frame %lu is not the tail of %lu it should be", pfn + i, pfn);
		if (head[i]._refcount.counter)
			fault(c, zone, head + i, "M7 tail %lu has %d references", pfn + i, head[i]._refcount.counter);
	}
}

static void check_allocated_frame(struct check *c, const struct zone *zone, struct zone_count *count,
				  const struct page *page)
{
	unsigned long pfn = (unsigned long)raw_pfn(c, page);
	bool listed = __test_bit(pfn - zone->zone_start_pfn, count->lru_map);

	if (raw_buddy(page))
		fault(c, zone, page, "M1 frame %lu says it is free and is on no free list", pfn);
	if (page->_refcount.counter < 0)
		fault(c, zone, page, "M3 frame %lu has %d references", pfn, page->_refcount.counter);
	if (raw_tail(page)) {
		const struct page *head = (const struct page *)(page->compound_head - 1);

		if (!in_zone(c, zone, head, 1) || !raw_head(head) || page - head >= 1L << head[1].compound_order ||
		    page <= head)
			fault(c, zone, page, "M7 tail %lu has no head", pfn);
		if (listed)
			fault(c, zone, page, "M5 tail %lu is on an LRU list", pfn);
		return;
	}
	if (raw_head(page))
		check_compound(c, zone, page);
	if (page->flags & PS_PG(mlocked))
		count->mlocked += raw_nr(page);
	if (page->flags & PS_PG(lru)) {
		int lru = raw_lru(page);

		count->lru[lru] += raw_nr(page);
		if (listed == (lru == LRU_UNEVICTABLE))
			fault(c, zone, page, "M5 frame %lu has PG_lru and is %s", pfn,
			      listed ? "listed" : "on no list");
		if (!page->_refcount.counter)
			fault(c, zone, page, "M5 frame %lu is on the LRU without a reference", pfn);
	} else if (listed) {
		fault(c, zone, page, "M5 frame %lu is on an LRU list without PG_lru", pfn);
	}
}

static s64 raw_zone_counter(const struct check *c, const struct zone *zone, int item)
{
	return c->stats->zone[zone->node][zone->zid][item];
}

static void check_zone_lists(struct check *c, struct zone *zone, struct zone_count *count)
{
	unsigned long free_pages = 0, isolated = 0, nr_isolate = 0, i;
	unsigned int order, cpu;
	int mt;

	for (order = 0; order < PS_MAX_ORDER_LIMIT; order++) {
		unsigned long blocks = 0;

		for (mt = 0; mt < MIGRATE_TYPES; mt++)
			check_free_area(c, zone, count, order, mt, &blocks,
					mt == MIGRATE_ISOLATE ? &isolated : &free_pages);
		if (blocks != zone->free_area[order].nr_free)
			fault(c, zone, NULL,
			      "M4 node %d zone %d counts %lu free blocks of order %u, its lists hold %lu", zone->node,
			      zone->zid, zone->free_area[order].nr_free, order, blocks);
		if (blocks && order > c->machine->pt_bits + 1)
			fault(c, zone, NULL, "M2 a free block of order %u", order);
	}
	for (cpu = 0; cpu < c->machine->nr_cpus; cpu++)
		check_pcp(c, zone, count, cpu);
	free_pages += zone_end_pfn(zone) - zone->frontier;
	if ((s64)free_pages != raw_zone_counter(c, zone, NR_FREE_PAGES))
		fault(c, zone, NULL, "M4 node %d zone %d counts %lld free pages, %lu are free", zone->node, zone->zid,
		      (long long)raw_zone_counter(c, zone, NR_FREE_PAGES), free_pages);
	for (i = 0;
	     i <= ((zone_end_pfn(zone) - 1) >> c->machine->pt_bits) - (zone->zone_start_pfn >> c->machine->pt_bits);
	     i++)
		nr_isolate += (zone->pageblock_types[i] ^ MIGRATE_MOVABLE) == MIGRATE_ISOLATE;
	if (nr_isolate != zone->nr_isolate_pageblock)
		fault(c, zone, NULL, "M4 node %d zone %d counts %lu isolated pageblocks, there are %lu", zone->node,
		      zone->zid, zone->nr_isolate_pageblock, nr_isolate);
}

static void check_lru_lists(struct check *c, struct pglist_data *pgdat, struct zone_count *count)
{
	enum lru_list lru;

	for_each_lru(lru)
	{
		const struct list_head *head = &pgdat->__lruvec.lists[lru], *entry;
		unsigned long limit = pgdat->node_present_pages + 1;

		for (entry = head->next; entry != head; entry = entry->next) {
			const struct page *page = container_of(entry, struct page, lru);
			const struct zone *zone;

			for_each_zone_of(pgdat, zone) if (in_zone(c, zone, page, 1)) break;
			if (!limit-- || zone == pgdat->node_zones + MAX_NR_ZONES || entry->next->prev != entry) {
				fault(c, NULL, page, "M5 LRU list %d of node %d is broken", (int)lru, pgdat->node_id);
				break;
			}
			if (__test_and_set_bit(raw_pfn(c, page) - zone->zone_start_pfn, count[zone->zid].lru_map))
				fault(c, zone, page, "M5 frame %lu is on two LRU lists",
				      (unsigned long)raw_pfn(c, page));
			if (raw_lru(page) != (int)lru)
				fault(c, zone, page, "M5 frame %lu is on LRU list %d, its flags say %d",
				      (unsigned long)raw_pfn(c, page), (int)lru, raw_lru(page));
		}
	}
}

static void check_lru_counters(struct check *c, const struct pglist_data *pgdat, const struct zone_count *count)
{
	enum lru_list lru;

	for_each_lru(lru)
	{
		const struct zone *zone;
		unsigned long sum = 0;

		for_each_zone_of(pgdat, zone)
		{
			s64 v = raw_zone_counter(c, zone, (int)NR_ZONE_INACTIVE_ANON + (int)lru);

			sum += count[zone->zid].lru[lru];
			if (v != (s64)count[zone->zid].lru[lru])
				fault(c, zone, NULL, "M5 node %d zone %d counts %lld pages of LRU %d, there are %lu",
				      zone->node, zone->zid, (long long)v, (int)lru, count[zone->zid].lru[lru]);
		}
		if (c->stats->node[pgdat->node_id][(int)NR_LRU_BASE + (int)lru] != (s64)sum)
			fault(c, NULL, NULL, "M5 node %d counts %lld pages of LRU %d, there are %lu", pgdat->node_id,
			      (long long)c->stats->node[pgdat->node_id][(int)NR_LRU_BASE + (int)lru], (int)lru, sum);
	}
}

static void check_split_queue(struct check *c, struct pglist_data *pgdat)
{
	const struct deferred_split *queue = &pgdat->deferred_split_queue;
	unsigned long len = 0, limit = pgdat->node_present_pages + 1;
	const struct list_head *entry;

	for (entry = queue->split_queue.next; entry != &queue->split_queue; entry = entry->next) {
		const struct page *tail = container_of(entry, struct page, deferred_list);
		const struct page *head = tail - 2;

		if (!limit-- || entry->next->prev != entry) {
			fault(c, NULL, head, "M8 split queue of node %d is torn", pgdat->node_id);
			return;
		}
		if (!raw_head(head) || head[1].compound_dtor != TRANSHUGE_PAGE_DTOR || !head->_refcount.counter ||
		    page_to_nid(head) != pgdat->node_id)
			fault(c, NULL, head, "M8 split queue of node %d holds a page that is no THP of its",
			      pgdat->node_id);
		len++;
	}
	if (len != queue->split_queue_len)
		fault(c, NULL, NULL, "M8 split queue of node %d counts %lu pages, it holds %lu", pgdat->node_id,
		      queue->split_queue_len, len);
}

static int check_node(struct check *c, struct pglist_data *pgdat)
{
	struct zone_count count[MAX_NR_ZONES];
	struct zone *zone;
	int ret = -ENOMEM;
	unsigned long i;

	memset(count, 0, sizeof(count));
	for_each_zone_of(pgdat, zone)
	{
		unsigned long bytes = BITS_TO_LONGS(zone->frontier - zone->zone_start_pfn + 1) * sizeof(long);

		count[zone->zid].free_map = ps_zalloc(bytes);
		count[zone->zid].lru_map = ps_zalloc(bytes);
		if (!count[zone->zid].free_map || !count[zone->zid].lru_map)
			goto out_free;
	}
	check_lru_lists(c, pgdat, count);
	for_each_zone_of(pgdat, zone)
	{
		struct zone_count *z = &count[zone->zid];
		const struct page *page = c->machine->mem_map + zone->zone_start_pfn;

		if (!populated_zone(zone))
			continue;
		check_zone_lists(c, zone, z);
		for (i = 0; i < zone->frontier - zone->zone_start_pfn; i++) {
			if (page[i].flags >> ZONES_PGSHIFT != ((unsigned long)zone->node << ZONES_SHIFT | zone->zid))
				fault(c, zone, page + i, "M1 frame %lu has lost its node or zone",
				      (unsigned long)(zone->zone_start_pfn + i));
			if (__test_bit(i, z->free_map))
				check_free_frame(c, zone, page + i);
			else
				check_allocated_frame(c, zone, z, page + i);
		}
		if (zone->frontier < zone_end_pfn(zone) && page[i].flags)
			fault(c, zone, page + i, "M1 the frame at the frontier has been touched");
		if (raw_zone_counter(c, zone, NR_MLOCK) != (s64)z->mlocked)
			fault(c, zone, NULL, "M9 node %d zone %d counts %lld mlocked pages, there are %lu", zone->node,
			      zone->zid, (long long)raw_zone_counter(c, zone, NR_MLOCK), z->mlocked);
	}
	check_lru_counters(c, pgdat, count);
	check_split_queue(c, pgdat);
	ret = 0;

out_free:
	for (i = 0; i < MAX_NR_ZONES; i++) {
		ps_free(count[i].free_map);
		ps_free(count[i].lru_map);
	}
	return ret;
}

static void check_batch(struct check *c, const struct page_batch *batch, unsigned int cpu)
{
	unsigned int i;

	if (batch->nr >= PAGEVEC_SIZE)
		fault(c, NULL, NULL, "M6 a batch of CPU %u holds %u pages", cpu, batch->nr);
	for (i = 0; i < batch->nr && i < PAGEVEC_SIZE; i++) {
		const struct page *page = (const struct page *)((unsigned long)batch->pages[i] & ~3UL);

		if (raw_tail(page) || page->_refcount.counter < 1)
			fault(c, NULL, page, "M6 frame %lu in a batch of CPU %u is not referenced",
			      (unsigned long)raw_pfn(c, page), cpu);
	}
}

int ps_mem_check(struct ps_machine *machine, struct ps_mem_fault *faults, int max)
{
	struct check c = { .machine = machine, .stats = ps_current->stats, .faults = faults, .max = max };
	unsigned int nid, cpu;
	int kind;

	for (nid = 0; nid < machine->nr_nodes; nid++)
		if (check_node(&c, machine->node_data[nid]))
			return -ENOMEM;
	for (cpu = 0; cpu < machine->nr_cpus; cpu++) {
		for (kind = 0; kind < NR_LRU_BATCH_KINDS; kind++)
			check_batch(&c, &machine->mem->batches[cpu].kind[kind], cpu);
		check_batch(&c, &machine->mem->batches[cpu].mlock, cpu);
	}
	return c.nr;
}

unsigned long ps_mem_allocated_pages(struct ps_machine *machine)
{
	unsigned long sum = 0;
	unsigned int nid, cpu, order;

	for (nid = 0; nid < machine->nr_nodes; nid++) {
		const struct zone *zone;

		for_each_zone_of(machine->node_data[nid], zone)
		{
			if (!populated_zone(zone))
				continue;
			sum += zone->frontier - zone->zone_start_pfn;
			for (order = 0; order < PS_MAX_ORDER_LIMIT; order++)
				sum -= zone->free_area[order].nr_free << order;
			for (cpu = 0; cpu < machine->nr_cpus; cpu++)
				sum -= (unsigned long)zone->per_cpu_pageset[cpu].count;
		}
	}
	return sum;
}
