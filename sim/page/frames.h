/* SPDX-License-Identifier: MIT */
/*
 * What is behind the frames, as the allocator sees it: nothing, a token, or memory that comes block by block.
 */
#ifndef PS_PAGE_FRAMES_H
#define PS_PAGE_FRAMES_H

#include <pagesim/contents.h>
#include <pagesim/mem.h>

#define PS_FRAMES_FAILED (~0ULL)

/** Set up and take down the memory behind frames. **Return:** 0, -ENOMEM. */
int ps_frames_init(struct ps_mem *mem);
void ps_frames_destroy(struct ps_mem *mem);

/**
 * Memory for the 2^order frames of `zone` that are being carved.
 * **Return:** struct page.contents of the first (of the next: + PAGE_SIZE with contents `bytes`, else the same), or
 * PS_FRAMES_FAILED: no host memory.
 */
u64 ps_frames_carve(struct ps_mem *mem, const struct zone *zone, unsigned int order);

/** The frame goes back to the allocator. */
static inline void ps_frame_poison(const struct ps_mem *mem, struct page *page)
{
	if (mem->settings.contents == PS_CONTENTS_TAG)
		page->contents = PS_CONTENTS_POISON;
}

#endif
