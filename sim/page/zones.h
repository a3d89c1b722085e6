/* SPDX-License-Identifier: MIT */
/*
 * Building and tearing down the nodes' memory (mmzone.c), for mem.c.
 */
#ifndef PS_PAGE_ZONES_H
#define PS_PAGE_ZONES_H

#include <pagesim/mmzone.h>
#include <limits.h>

/** The memory of node `nid`, without zonelists and watermarks. **Return:** NULL without memory. */
struct pglist_data *pgdat_new(struct ps_mem *mem, nid_t nid);
/** NULL is fine. */
void pgdat_free(struct pglist_data *pgdat);

/** The fallback order of every node. **Context:** all nodes have their pgdat. **Return:** 0, -ENOMEM. */
int build_all_zonelists(struct ps_machine *machine);

#endif
