/* SPDX-License-Identifier: MIT */
/*
 * What reverse mapping keeps per machine: the caches its objects come from. They never give memory back to the host while
 * the machine lives, which is what makes an anon_vma type-stable.
 */
#ifndef RMAP_RMAP_STATE_H
#define RMAP_RMAP_STATE_H

#include <pagesim/alloc.h>

struct ps_rmap {
	struct ps_cache anon_vmas;
	struct ps_cache chains;
};

#endif
