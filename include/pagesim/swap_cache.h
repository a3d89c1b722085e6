/* SPDX-License-Identifier: MIT */
/*
 * The swap cache: the pages whose contents have a slot of the swap area (swap.h), found by the slot. It is what makes swap
 * out and swap in of a shared page safe: while one mapping after the other is taken down, or put up again, all of them
 * find the same page under the same entry.
 *
 *   out:  add_to_swap ─▶ try_to_unmap (entries become swap entries) ─▶ swap_writepage ─▶ remove_mapping: freed
 *   in:   lookup, or read_swap_cache_async ─▶ the fault maps it, swap_free ─▶ last user gone: try_to_free_swap
 *
 * A page in the swap cache has PG_swapcache, its entry in private_data (each small page of a huge one its own), one
 * reference per base page for the cache, and is in the address_space of its slot. It may be anonymous, or shared memory
 * that has left its file's page cache. page->mapping and page->index are not the cache's; page_mapping() finds it.
 *
 * Locking: the page lock for entering, leaving and looking at the entry; xa_lock for the slots.
 *
 * Layer: cache
 */
#ifndef PAGESIM_SWAP_CACHE_H
#define PAGESIM_SWAP_CACHE_H

#include <pagesim/page_flags.h>
#include <pagesim/swap.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What the swap cache does as an address_space. */
extern const struct address_space_operations swap_aops;

/** The part of the swap cache that an entry belongs to. Context: the area cannot go away. Fidelity: exact. */
struct address_space *swap_address_space(swp_entry_t entry);

/** The entry of a page in the swap cache (of this very page, head or tail). Context: page locked. Fidelity: exact. */
static inline swp_entry_t page_swap_entry(const struct page *page)
{
	swp_entry_t entry = { page_private(page) };
	return entry;
}

/**
 * Gives an anonymous page that is in no cache a slot (a huge one a cluster) and puts it there; makes it dirty.
 * Context: page locked; does not sleep. Return: false: no slot, or no memory. Fidelity: exact.
 */
bool add_to_swap(struct page *page);
/**
 * Puts a page in, at an entry the caller has SWAP_HAS_CACHE of. Counts NR_SWAPCACHE, NR_FILE_PAGES.
 * Context: page locked. Return: 0, -ENOMEM (the page is as before). Fidelity: exact; keeps no shadow entries.
 */
int add_to_swap_cache(struct page *page, swp_entry_t entry, gfp_t gfp);
/** Takes it out; references and SWAP_HAS_CACHE stay the caller's to drop. Context: page locked, xa_lock. Fidelity: exact. */
void __delete_from_swap_cache(struct page *page, swp_entry_t entry);
/** Takes it out and gives up the slot. Context: page locked. Fidelity: exact. */
void delete_from_swap_cache(struct page *page);
/** The page at an entry, its reference taken (of a huge one: of the head), or NULL. Context: RCU. Fidelity: exact. */
struct page *lookup_swap_cache(swp_entry_t entry);

/** Where a page for something read from swap comes from. Return: referenced once, or NULL. */
typedef struct page *(*swap_alloc_t)(void *arg, gfp_t gfp);
/**
 * The page at an entry: found, or allocated, put in and read.
 * Context: may sleep; somebody keeps the area (get_swap_device). Return: referenced, and uptodate once it can be locked;
 * NULL: nobody uses the slot any more, or out of memory. Fidelity: exact, read_swap_cache_async().
 */
struct page *read_swap_cache_async(swp_entry_t entry, gfp_t gfp, swap_alloc_t alloc, void *arg);

/**
 * If nothing but the cache needs the slot, the page leaves it, dirty. Context: page locked.
 * Return: true if it left. Fidelity: exact, folio_free_swap().
 */
bool try_to_free_swap(struct page *page);
/** The same for a page that a mapping has just lost, if nobody maps it and its lock is free. Fidelity: exact. */
void free_swap_cache(struct page *page);
/** Drops a reference, and the slot with it if that may have been the last use. Fidelity: exact. */
void free_page_and_swap_cache(struct page *page);

/** Base pages of the swap cache on a node (NUMA_NO_NODE: all) that are under writeback. For recounts: nobody else runs. */
long swap_cache_writeback(struct ps_machine *machine, nid_t nid);

#ifdef __cplusplus
}
#endif
#endif
