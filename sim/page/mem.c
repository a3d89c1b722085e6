/* SPDX-License-Identifier: MIT */
/*
 * Setting up and taking down all memory of a machine.
 */
#include <pagesim/mem.h>

#include <pagesim/alloc.h>
#include <pagesim/page_alloc.h>
#include <pagesim/page_ref.h>

#include "page/frames.h"
#include "page/lru_batch.h"
#include "page/zones.h"

/** The frame of the boot section that holds the zero page; pfn 0 is never a page. */
#define ZERO_PAGE_PFN 1

static int zero_page_init(struct ps_mem *mem)
{
	struct page *page = mem->machine->mem_map + ZERO_PAGE_PFN;
	nid_t nid = mem->machine->first_nid;
	u64 contents = ps_frames_carve(mem, &mem->machine->node_data[nid]->node_zones[ZONE_NORMAL], 0);

	if (contents == PS_FRAMES_FAILED)
		return -ENOMEM;
	page->flags = (unsigned long)nid << NODES_PGSHIFT | LAST_CPUPID_MASK << LAST_CPUPID_PGSHIFT | PS_PG(reserved);
	page->contents = contents;
	page_mapcount_reset(page);
	set_page_count(page, 1);
	mem->zero_page = page;
	clear_highpage(page);
	return 0;
}

int ps_mem_init(struct ps_machine *machine, const struct ps_mem_settings *settings)
{
	struct ps_mem *mem;
	unsigned int nid;

	VM_BUG_ON(!ps_current || ps_current->machine != machine || machine->mem);
	VM_BUG_ON(machine->pt_bits + 2 > PS_MAX_ORDER_LIMIT);
	mem = ps_zalloc(sizeof(*mem));
	if (!mem)
		return -ENOMEM;
	mem->machine = machine;
	INIT_LIST_HEAD(&mem->owners);
	if (settings)
		mem->settings = *settings;
	INIT_LIST_HEAD(&mem->shrinkers);
	init_rwsem(&mem->shrinker_rwsem, SHRINKER_RWSEM);
	machine->mem = mem;
	if (ps_frames_init(mem))
		goto out_destroy;
	mem->batches = lru_batches_new(machine->nr_cpus);
	if (!mem->batches)
		goto out_destroy;
	for (nid = 0; nid < machine->nr_nodes; nid++) {
		machine->node_data[nid] = pgdat_new(mem, (nid_t)nid);
		if (!machine->node_data[nid])
			goto out_destroy;
	}
	if (build_all_zonelists(machine) || zero_page_init(mem))
		goto out_destroy;
	setup_per_zone_wmarks();
	return 0;

out_destroy:
	ps_mem_destroy(machine);
	return -ENOMEM;
}

void ps_mem_destroy(struct ps_machine *machine)
{
	struct ps_mem *mem = machine->mem;
	int nid;

	if (!mem)
		return;
	for (nid = 0; nid < MAX_NUMNODES; nid++) {
		pgdat_free(machine->node_data[nid]);
		machine->node_data[nid] = NULL;
	}
	lru_batches_free(mem->batches);
	ps_frames_destroy(mem);
	ps_free(mem);
	machine->mem = NULL;
}

void ps_mem_set_reclaim_ops(struct ps_machine *machine, const struct ps_reclaim_ops *ops)
{
	machine->mem->reclaim_ops = ops;
}

void ps_mem_set_page_ops(struct ps_machine *machine, const struct ps_page_ops *ops)
{
	machine->mem->page_ops = ops;
}
