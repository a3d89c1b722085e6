/* SPDX-License-Identifier: MIT */
/*
 * Looking at memory from outside of the task that owns it. What a page table entry says comes from /proc/PID/pagemap, flags
 * and map counts from /proc/kpageflags and /proc/kpagecount, and what no file tells (reference counts, pins, the order of a
 * compound page, the exclusive bit) from struct page itself, read through /proc/kcore.
 *
 * Where the fields of struct page lie, the running kernel says (its BTF). A field that moved from one version to the next is
 * looked for under each of its names:
 *
 *	what                       6.1                          later
 *	reference count            page._refcount
 *	head of a tail page        page.compound_head, bit 0 set in a tail
 *	order                      page.compound_order of the   folio._folio_order, then the low byte of folio._flags_1
 *	                           first tail
 *	PMD mappings, from -1      page.compound_mapcount       folio._entire_mapcount
 *	                           of the first tail
 *	long-term pins             page.compound_pincount       folio._pincount
 *	                           of the first tail
 *	exclusive                  bit PG_anon_exclusive of page.flags (an enumerator, which BTF knows as well)
 *	ksm                        page.mapping, both low bits set; kpageflags of some kernels after 6.1 says ksm of every
 *	                           anonymous page
 *
 * Which node a frame belongs to is told by the zone it lies in (/proc/zoneinfo).
 */
#ifndef GUEST_FRAMES_H
#define GUEST_FRAMES_H

#include <pagesim/types.h>

#include "btf.h"

/** struct page_layout - offsets from the begin of struct page; of a compound page from that of its head. -1: not there. */
struct page_layout {
	u32 bytes;
	int flags, mapping, refcount, compound_head;
	int order, pmd_mapcount, pincount;
	int exclusive_bit;
};

/** page_layout_of() - the layout a kernel's BTF tells. Return: NULL; or the name of something that cannot be missing. */
const char *page_layout_of(const struct btf *btf, struct page_layout *ret);

/**
 * frames_init() - open what is needed and learn the layout.
 * @why: one sentence when it fails.
 * Return: 0, -errno.
 */
int frames_init(char *why, size_t size);

/** frames_open_pagemap() - Return: a descriptor for frames_show(), -errno. */
int frames_open_pagemap(int pid);

/**
 * frames_show() - say what is mapped at each of @n pages, runs of equal ones in one line.
 * @pagemap: of the process. @addr: of page number @first. @step: pages from one to the next.
 * Return: 0, -errno when the page table cannot be read.
 */
int frames_show(int pagemap, u64 addr, u64 first, u64 n, u64 step);

/** frames_node_bytes() - the size of a node, its holes included; 0: there is no such node. */
u64 frames_node_bytes(int nid);

#endif
