/* SPDX-License-Identifier: MIT */
/*
 * The words addressed to the kernel; its settings are in script_set.c.
 */
#include "replay/script_run.h"

#include <stdlib.h>
#include <string.h>

#include <pagesim/balloon.h>
#include <pagesim/compaction.h>
#include <pagesim/fault.h>
#include <pagesim/inode.h>
#include <pagesim/lru.h>
#include <pagesim/machine.h>
#include <pagesim/reclaim.h>
#include <pagesim/shrinker.h>
#include <pagesim/swap.h>

long verb_kernel_drain(struct script_run *run)
{
	(void)run;
	lru_add_drain_all();
	return 0;
}

long verb_kernel_compact(struct script_run *run)
{
	if (run->st->node != PS_NODE_ALL)
		return ps_compact_node(run->st->node);
	ps_compact_nodes();
	return 0;
}

long verb_kernel_drop_caches(struct script_run *run)
{
	if (run->st->number & 1)
		ps_files_drop_pagecache(run->world->machine->files);
	if (run->st->number & 2)
		drop_slab();
	return 0;
}

long verb_kernel_swap(struct script_run *run)
{
	struct ps_machine *machine = run->world->machine;

	return run->st->on ? ps_swapon(machine, SCRIPT_SWAP_BYTES) : ps_swapoff(machine);
}

/* Fewer pages than asked for, in either direction, is an error to the script, like the host would take it. */
long verb_kernel_balloon(struct script_run *run)
{
	long nr = run->st->pages;
	long done = nr < 0 ? ps_balloon_deflate((unsigned long)-nr) : ps_balloon_inflate((unsigned long)nr);

	if (done < 0)
		return done;
	return done == labs(nr) ? 0 : nr < 0 ? -EINVAL : -ENOMEM;
}

long verb_kernel_nodes(struct script_run *run)
{
	struct ps_machine *machine = run->world->machine;
	unsigned int nid, to, cpu;

	for (nid = 0; nid < machine->nr_nodes; nid++) {
		bool first = true;

		g_string_append_printf(run->out, "  node%u: %luM cpus=", nid,
				       (unsigned long)(machine->nodes[nid].present_pages >> (20 - PAGE_SHIFT)));
		for (cpu = 0; cpu < machine->nr_cpus; cpu++)
			if (machine->cpus[cpu].node == (nid_t)nid) {
				g_string_append_printf(run->out, "%s%u", first ? "" : ",", cpu);
				first = false;
			}
		g_string_append(run->out, first ? "- distance=" : " distance=");
		for (to = 0; to < machine->nr_nodes; to++)
			g_string_append_printf(run->out, "%s%d", to ? "," : "", node_distance((nid_t)nid, (nid_t)to));
		g_string_append_c(run->out, '\n');
	}
	return 0;
}

long verb_kernel_vmstat(struct script_run *run)
{
	struct ps_vmstat now;

	ps_vmstat_snapshot(run->world->stats, NUMA_NO_NODE, &now);
	script_print_counters(run, &now, &run->since);
	run->since = now;
	return 0;
}

/* Takes pages from a node as an allocation that finds it full would. */
long verb_kernel_reclaim(struct script_run *run)
{
	struct ps_machine *machine = run->world->machine;

	if (run->st->node < 0 || (unsigned int)run->st->node >= machine->nr_nodes ||
	    !node_isset(run->st->node, machine->memory_nodes))
		return -EINVAL;
	ps_reclaim_node(run->st->node, (unsigned long)run->st->number);
	return 0;
}
