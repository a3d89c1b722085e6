/* SPDX-License-Identifier: MIT */
/*
 * Frame contents. With `bytes`, memory is taken from the arena of the frame's node when the zone carves a block, and
 * stays with the frame for good, as in a real machine: freeing a page does not free its frame.
 */
#include <pagesim/contents.h>

#include <pagesim/alloc.h>
#include <string.h>

#include "page/frames.h"

static const char *const contents_names[PS_NR_CONTENTS] = { "none", "tag", "bytes" };

enum ps_contents ps_contents_mode(void)
{
	return this_mem()->settings.contents;
}

const char *ps_contents_name(enum ps_contents mode)
{
	return (unsigned int)mode < PS_NR_CONTENTS ? contents_names[mode] : NULL;
}

int ps_frames_init(struct ps_mem *mem)
{
	unsigned int nid;

	if (mem->settings.contents != PS_CONTENTS_BYTES)
		return 0;
	for (nid = 0; nid < mem->machine->nr_nodes; nid++) {
		mem->frames[nid] = ps_arena_new();
		if (!mem->frames[nid]) {
			ps_frames_destroy(mem);
			return -ENOMEM;
		}
	}
	return 0;
}

void ps_frames_destroy(struct ps_mem *mem)
{
	int nid;

	for (nid = 0; nid < MAX_NUMNODES; nid++) {
		ps_arena_free(mem->frames[nid]);
		mem->frames[nid] = NULL;
	}
}

u64 ps_frames_carve(struct ps_mem *mem, const struct zone *zone, unsigned int order)
{
	void *bytes;

	switch (mem->settings.contents) {
	case PS_CONTENTS_TAG:
		return PS_CONTENTS_POISON;
	case PS_CONTENTS_BYTES:
		bytes = ps_arena_alloc(mem->frames[zone->node], PAGE_SIZE, PAGE_SIZE << order);
		return bytes ? (u64)(uintptr_t)bytes : PS_FRAMES_FAILED;
	default:
		return 0;
	}
}

void *page_address(const struct page *page)
{
	return ps_contents_mode() == PS_CONTENTS_BYTES ? (void *)(uintptr_t)page->contents : NULL;
}

void copy_highpage(struct page *dst, struct page *src)
{
	switch (ps_contents_mode()) {
	case PS_CONTENTS_TAG: {
		u64 v = READ_ONCE(src->contents);

		WRITE_ONCE(dst->contents, v);
		break;
	}
	case PS_CONTENTS_BYTES:
		ps_point(PS_POINT_READ, &src->contents);
		ps_point(PS_POINT_WRITE, &dst->contents);
		memcpy(page_address(dst), page_address(src), PAGE_SIZE);
		break;
	default:
		break;
	}
}

void copy_huge_page(struct page *dst, struct page *src, unsigned long nr)
{
	unsigned long i;

	if (ps_contents_mode() == PS_CONTENTS_NONE)
		return;
	for (i = 0; i < nr; i++)
		copy_highpage(dst + i, src + i);
}

void clear_highpage(struct page *page)
{
	switch (ps_contents_mode()) {
	case PS_CONTENTS_TAG:
		WRITE_ONCE(page->contents, 0);
		break;
	case PS_CONTENTS_BYTES:
		ps_point(PS_POINT_WRITE, &page->contents);
		memset(page_address(page), 0, PAGE_SIZE);
		break;
	default:
		break;
	}
}

void clear_huge_page(struct page *page, unsigned long nr)
{
	unsigned long i;

	if (ps_contents_mode() == PS_CONTENTS_NONE)
		return;
	for (i = 0; i < nr; i++)
		clear_highpage(page + i);
}

void exchange_highpage(struct page *a, struct page *b)
{
	switch (ps_contents_mode()) {
	case PS_CONTENTS_TAG: {
		u64 x = READ_ONCE(a->contents), y = READ_ONCE(b->contents);

		WRITE_ONCE(a->contents, y);
		WRITE_ONCE(b->contents, x);
		break;
	}
	case PS_CONTENTS_BYTES: {
		u64 *x = page_address(a), *y = page_address(b);
		size_t i;

		ps_point(PS_POINT_WRITE, &a->contents);
		ps_point(PS_POINT_WRITE, &b->contents);
		for (i = 0; i < PAGE_SIZE / sizeof(*x); i++) {
			u64 v = x[i];

			x[i] = y[i];
			y[i] = v;
		}
		break;
	}
	default:
		break;
	}
}

u64 page_word_read(const struct page *page)
{
	switch (ps_contents_mode()) {
	case PS_CONTENTS_TAG:
		return READ_ONCE(page->contents);
	case PS_CONTENTS_BYTES:
		return READ_ONCE(*(const u64 *)page_address(page));
	default:
		return 0;
	}
}

void page_word_write(struct page *page, u64 value)
{
	switch (ps_contents_mode()) {
	case PS_CONTENTS_TAG:
		WRITE_ONCE(page->contents, value);
		break;
	case PS_CONTENTS_BYTES:
		WRITE_ONCE(*(u64 *)page_address(page), value);
		break;
	default:
		break;
	}
}
