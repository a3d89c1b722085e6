/* SPDX-License-Identifier: MIT */
/*
 * The exchange engine: two pages change places. Each frame gets the other's contents, owner and place in file or address
 * space, while everybody who has them mapped goes on as if nothing had happened. No page is allocated, so it works where
 * migration cannot: between nodes that are both full. A hot page on slow memory goes against a cold one on fast memory.
 *
 *     before   frame P (node 0) is page a        frame Q (node 1) is page b
 *     after    frame P (node 0) is page b        frame Q (node 1) is page a
 *
 * Pairs may be of any two kinds: anonymous, in the swap cache, tmpfs, disk file with or without buffers, of one file or of
 * two; both small, or both huge of one order.
 *
 * No kernel has this merged. It goes back to Zi Yan, "[RFC PATCH 00/25] Accelerate page migration and use memcg for PMEM
 * management", 2019-04-03, patches 12 to 16; here the faults of that series are mended and the cases it left out are there.
 *
 * Layer: engines
 */
#ifndef PAGESIM_EXCHANGE_H
#define PAGESIM_EXCHANGE_H

#include <pagesim/list.h>
#include <pagesim/migrate_mode.h>
#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct mm_struct;
struct page;

/** Two isolated pages that are to change places. The caller's storage. */
struct exchange_pair {
	struct list_head list;
	struct page *from, *to;
	/**
	 * out: 0 exchanged; -ENOENT: one of them was freed meanwhile; -EINVAL: they do not go together (size, or outside
	 * the LRU); -EAGAIN: locked, referenced, pinned or changing; -EBUSY: under writeback, or dirty without a way
	 * to move; -EIO: writing out failed.
	 */
	int status;
};

/**
 * Exchanges the pages of each pair and puts all of them back on their LRU lists, whatever came of it. A page that was freed
 * by its users meanwhile is let go.
 * @mode: ASYNC waits for nothing; SYNC_LIGHT for locks; SYNC also for writeback, and writes out what cannot move dirty.
 * Context: every page isolated by isolate_page_for_migration(), in no list; may sleep; no locks but mmap_lock.
 * Return: how many pairs were not exchanged, freed ones not counted.
 * Fidelity: exchange_pages() of the series, mended; docs/differences-from-linux.md.
 */
unsigned int exchange_pages(struct list_head *pairs, enum migrate_mode mode);

/** One pair of a system call: addresses in two address spaces. */
struct ps_exchange {
	u64 from, to;
	int status; /* out: node where the page of `from` is now, or -errno */
};

/**
 * The system call: exchanges the pages at from[i] of one address space with those at to[i] of another, or the same. A
 * huge page is exchanged whole; lines one after the other that name parts of the same two are one pair.
 * Statuses beside those of a pair: -EFAULT (no mapping, or untouched anonymous memory), -ENOENT (nothing there), -EACCES
 * (mapped by others, and the caller may not move what is shared), -EBUSY (not on an LRU list, or named before).
 * @all: shared pages too.
 * Context: takes both mmap_locks, one after the other; may sleep.
 * Return: how many pairs were not exchanged; -EPERM: unprivileged and @all; -ENOMEM.
 * Fidelity: the series' exchange_pages system call, with the rules of move_pages(2) for what may be named.
 */
long ps_exchange_pages(struct mm_struct *from_mm, struct mm_struct *to_mm, struct ps_exchange *pairs, unsigned long nr,
		       enum migrate_mode mode, bool all);

#ifdef __cplusplus
}
#endif
#endif
