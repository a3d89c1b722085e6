/* SPDX-License-Identifier: MIT */
/*
 * Pages in and out of the swap cache, and finding them there.
 *
 * Bringing a page in from its slot, against everybody else who wants the same slot:
 *   1 look the cache up: there it is, done
 *   2 nobody uses the slot any more (it was faulted in and freed meanwhile): there is nothing to bring
 *   3 allocate a page
 *   4 swapcache_prepare: claim the slot. Somebody else has it: he is between 4 and 5, or takes a page out between clearing
 *     the slot of the tree and the map; wait a moment and look again
 *   5 lock the page, put it in the cache, on the LRU, read it, which unlocks it
 *
 * Source: the behaviour of Linux 6.1's mm/swap_state.c.
 */
#include <pagesim/swap_cache.h>

#include <pagesim/bug.h>
#include <pagesim/compound.h>
#include <pagesim/gfp.h>
#include <pagesim/lru.h>
#include <pagesim/machine.h>
#include <pagesim/page_lock.h>
#include <pagesim/page_mapcount.h>
#include <pagesim/page_ref.h>
#include <pagesim/pagemap.h>
#include <pagesim/runtime.h>
#include <pagesim/vmstat.h>
#include <pagesim/writeback.h>

/* How long who finds a slot claimed by another gives him: a tick. */
#define CLAIMED_WAIT_NS 1000000ull

const struct address_space_operations swap_aops = {
	.name = "swap",
	.has_writeback = false,
	.migrate_kind = MIGRATE_KIND_PLAIN,
	.writepage = swap_writepage,
	.dirty_page = noop_dirty_page,
};

struct address_space *swap_address_space(swp_entry_t entry)
{
	return &this_machine()->swap->spaces[swp_offset(entry) >> SWAP_ADDRESS_SPACE_SHIFT];
}

int add_to_swap_cache(struct page *page, swp_entry_t entry, gfp_t gfp)
{
	struct address_space *space = swap_address_space(entry);
	XA_STATE_ORDER(xas, &space->i_pages, swp_offset(entry), compound_order(page));
	unsigned long nr = compound_nr(page), i;

	VM_BUG_ON_PAGE(!PageLocked(page), page);
	VM_BUG_ON_PAGE(PageSwapCache(page), page);
	VM_BUG_ON_PAGE(!PageSwapBacked(page), page);

	page_ref_add(page, (int)nr);
	SetPageSwapCache(page);
	do {
		xas_lock(&xas);
		/* All of a huge page's slots, or none. */
		if (nr > 1)
			xas_create_range(&xas);
		for (i = 0; i < nr && !xas_error(&xas); i++) {
			set_page_private(page + i, swp_entry(swp_type(entry), swp_offset(entry) + i).val);
			if (nr > 1)
				xas_set(&xas, swp_offset(entry) + i);
			xas_store(&xas, page);
		}
		if (xas_error(&xas))
			goto unlock;
		WRITE_ONCE(space->nrpages, space->nrpages + nr);
		__mod_node_page_state(page_to_nid(page), NR_FILE_PAGES, (long)nr);
		__mod_node_page_state(page_to_nid(page), NR_SWAPCACHE, (long)nr);
	unlock:
		xas_unlock(&xas);
	} while (xas_nomem(&xas, gfp));

	if (!xas_error(&xas))
		return 0;
	for (i = 0; i < nr; i++)
		set_page_private(page + i, 0);
	ClearPageSwapCache(page);
	page_ref_sub(page, (int)nr);
	return xas_error(&xas);
}

void __delete_from_swap_cache(struct page *page, swp_entry_t entry)
{
	struct address_space *space = swap_address_space(entry);
	unsigned long nr = compound_nr(page), i;

	VM_BUG_ON_PAGE(!PageLocked(page), page);
	VM_BUG_ON_PAGE(!PageSwapCache(page), page);
	VM_BUG_ON_PAGE(PageWriteback(page), page);

	for (i = 0; i < nr; i++) {
		__xa_erase(&space->i_pages, swp_offset(entry) + i);
		set_page_private(page + i, 0);
	}
	ClearPageSwapCache(page);
	WRITE_ONCE(space->nrpages, space->nrpages - nr);
	__mod_node_page_state(page_to_nid(page), NR_FILE_PAGES, -(long)nr);
	__mod_node_page_state(page_to_nid(page), NR_SWAPCACHE, -(long)nr);
}

void delete_from_swap_cache(struct page *page)
{
	swp_entry_t entry = page_swap_entry(page);
	struct address_space *space = swap_address_space(entry);

	xa_lock(&space->i_pages);
	__delete_from_swap_cache(page, entry);
	xa_unlock(&space->i_pages);
	put_swap_page(page, entry);
	page_ref_sub(page, (int)compound_nr(page));
}

bool add_to_swap(struct page *page)
{
	swp_entry_t entry;

	VM_BUG_ON_PAGE(!PageUptodate(page), page);
	entry = get_swap_page(page);
	if (!entry.val)
		return false;
	/* Who reclaims must not eat the reserves for it. */
	if (add_to_swap_cache(page, entry, __GFP_HIGH | __GFP_NOMEMALLOC | __GFP_NOWARN)) {
		put_swap_page(page, entry);
		return false;
	}
	/*
	 * It has no copy in its slot yet. Most are dirty by their entries, which unmapping will find; but one that was
	 * swapped in without the cache and only read since is clean everywhere.
	 */
	set_page_dirty(page);
	return true;
}

struct page *lookup_swap_cache(swp_entry_t entry)
{
	struct page *page = NULL;

	if (!get_swap_device(entry))
		return NULL;
	page = (struct page *)mapping_get_entry(swap_address_space(entry), swp_offset(entry));
	put_swap_device();
	return page;
}

struct page *read_swap_cache_async(swp_entry_t entry, gfp_t gfp, swap_alloc_t alloc, void *arg)
{
	struct page *page;
	bool locked;

	for (;;) {
		int error;

		page = lookup_swap_cache(entry);
		if (page)
			return page;
		if (!swp_swapcount(entry))
			return NULL;
		page = alloc(arg, gfp);
		if (!page)
			return NULL;
		error = swapcache_prepare(entry);
		if (!error)
			break;
		put_page(page);
		if (error != -EEXIST)
			return NULL;
		ps_sleep_until(ps_now() + CLAIMED_WAIT_NS);
	}
	locked = trylock_page(page);
	VM_BUG_ON_PAGE(!locked, page);
	__SetPageSwapBacked(page);
	if (add_to_swap_cache(page, entry, gfp)) {
		put_swap_page(page, entry);
		unlock_page(page);
		put_page(page);
		return NULL;
	}
	lru_cache_add(page);
	swap_readpage(page);
	return page;
}

bool try_to_free_swap(struct page *page)
{
	VM_BUG_ON_PAGE(!PageLocked(page), page);
	if (!PageSwapCache(page) || PageWriteback(page) || page_swapped(page))
		return false;
	delete_from_swap_cache(page);
	/* What it holds is nowhere else now. */
	SetPageDirty(page);
	return true;
}

void free_swap_cache(struct page *page)
{
	page = compound_head(page);
	if (PageSwapCache(page) && !page_mapped(page) && trylock_page(page)) {
		try_to_free_swap(page);
		unlock_page(page);
	}
}

void free_page_and_swap_cache(struct page *page)
{
	free_swap_cache(page);
	put_page(page);
}

long swap_cache_writeback(struct ps_machine *machine, nid_t nid)
{
	const struct ps_swap *swap = machine->swap;
	unsigned int i;
	long pages = 0;

	for (i = 0; swap && i < swap->nr_spaces; i++) {
		unsigned long offset;
		void *entry;

		xa_for_each(&swap->spaces[i].i_pages, offset, entry) {
			struct page *page = (struct page *)entry;

			pages += PageWriteback(page) && (nid == NUMA_NO_NODE || page_to_nid(page) == nid);
		}
	}
	return pages;
}
