/* SPDX-License-Identifier: MIT */
/*
 * Step 5 of migration: another page becomes what this one was. Its mapping, its index and its place in the file first, with
 * the references frozen, so that nobody can find it in between; then flags and contents. Up to the freeze everything can
 * fail, after it nothing may.
 *
 *   kind of page                     references expected             besides
 *   anonymous                        the isolator's                  compared, not frozen: nobody can look it up
 *   in the swap cache                + one per base page, the cache's  the entry moves along
 *   tmpfs (PLAIN)                    + one per base page, the file's
 *   disk file (BUFFERS)              + one for the buffers           all buffers locked
 *   block device (BUFFERS_NOREFS)    the same                        and nobody holds one; private_lock held, so that none is found
 *   no function of its own (FALLBACK)                                written out if dirty, private data released, then as PLAIN
 *   movable, outside the LRU         its owner's business
 */
#include <pagesim/address_space.h>
#include <pagesim/buffer_head.h>
#include <pagesim/bug.h>
#include <pagesim/compound.h>
#include <pagesim/contents.h>
#include <pagesim/fault.h>
#include <pagesim/gfp.h>
#include <pagesim/machine.h>
#include <pagesim/movable.h>
#include <pagesim/page_flags.h>
#include <pagesim/page_lock.h>
#include <pagesim/page_ref.h>
#include <pagesim/pagemap.h>
#include <pagesim/runtime.h>
#include <pagesim/swap_cache.h>
#include <pagesim/vmstat.h>
#include <pagesim/writeback.h>
#include <pagesim/xarray.h>

#include "engines/migration.h"

/* ---- identity */

void cache_store(struct xa_state *xas, struct page *page)
{
	/* The swap cache has an entry of its own for each slot, a file one for the whole page. */
	unsigned long nr = PageSwapCache(page) ? compound_nr(page) : 1, i;
	pgoff_t first = xas->xa_index;

	xas_store(xas, page);
	for (i = 1; i < nr; i++) {
		xas_set(xas, first + i);
		xas_store(xas, page);
	}
}

void account_cached_page(struct page *from, struct page *to, struct address_space *mapping, bool swapbacked, bool dirty)
{
	nid_t from_nid = page_to_nid(from), to_nid = page_to_nid(to);
	long nr = thp_nr_pages(to);

	/* Of one zone all sums stay; of two zones of a node those per node do. */
	if (page_zone(from) == page_zone(to))
		return;
	__mod_node_page_state(from_nid, NR_FILE_PAGES, -nr);
	__mod_node_page_state(to_nid, NR_FILE_PAGES, nr);
	if (!mapping->host) {
		__mod_node_page_state(from_nid, NR_SWAPCACHE, -nr);
		__mod_node_page_state(to_nid, NR_SWAPCACHE, nr);
	} else if (swapbacked) {
		__mod_node_page_state(from_nid, NR_SHMEM, -nr);
		__mod_node_page_state(to_nid, NR_SHMEM, nr);
		if (nr == (long)HPAGE_PMD_NR) {
			__mod_node_page_state(from_nid, NR_SHMEM_THPS, -nr);
			__mod_node_page_state(to_nid, NR_SHMEM_THPS, nr);
		}
	}
	if (dirty && mapping_can_writeback(mapping)) {
		__mod_node_page_state(from_nid, NR_FILE_DIRTY, -nr);
		__mod_node_page_state(to_nid, NR_FILE_DIRTY, nr);
		__mod_zone_page_state(page_zone(from), NR_ZONE_WRITE_PENDING, -nr);
		__mod_zone_page_state(page_zone(to), NR_ZONE_WRITE_PENDING, nr);
	}
}

int migrate_page_move_mapping(struct address_space *mapping, struct page *newpage, struct page *page, int extra_count)
{
	int expected = quiesce_expected_refs(mapping, page) + extra_count;
	int nr = (int)compound_nr(page);
	bool dirty;
	int i;

	if (!mapping) {
		/* Anonymous: nobody can find it but through its mappings, which are gone, or by its frame number. */
		if (page_count(page) != expected)
			return -EAGAIN;
		newpage->index = page->index;
		newpage->mapping = page->mapping;
		if (PageSwapBacked(page))
			__SetPageSwapBacked(newpage);
		return 0;
	}

	swp_entry_t swap = page_swap_entry(page);
	bool swapcache = PageSwapCache(page);
	XA_STATE(xas, &mapping->i_pages, swapcache ? swp_offset(swap) : page_to_pgoff(page));

	xas_lock(&xas);
	xas_load(&xas);
	if (!page_ref_freeze(page, expected)) {
		xas_unlock(&xas);
		return -EAGAIN;
	}
	/* From here nobody can get at the page: no turning back. */
	newpage->index = page->index;
	newpage->mapping = page->mapping;
	page_ref_add(newpage, nr);
	if (PageSwapBacked(page))
		__SetPageSwapBacked(newpage);
	if (swapcache) {
		SetPageSwapCache(newpage);
		for (i = 0; i < nr; i++)
			set_page_private(newpage + i, page_private(page + i));
	}
	/* Dirty moves while the references are frozen and the new page cannot be found, so that tags and flag agree. */
	dirty = PageDirty(page);
	if (dirty) {
		ClearPageDirty(page);
		SetPageDirty(newpage);
	}
	cache_store(&xas, newpage);
	page_ref_unfreeze(page, expected - nr);
	xas_unlock(&xas);

	account_cached_page(page, newpage, mapping, PageSwapBacked(newpage), dirty);
	return 0;
}

/* ---- flags and contents */

/* As 6.1's folio functions, which do not ask what size of page has the flag: a huge page of tmpfs may be PG_reclaim. */
static void copy_flag(struct page *newpage, struct page *page, unsigned int flag)
{
	if (test_bit(flag, &page->flags))
		set_bit(flag, &newpage->flags);
}

void migrate_page_states(struct page *newpage, struct page *page)
{
	struct ps_faults *faults = this_machine()->faults;
	unsigned long i;
	int cpupid;

	if (PageError(page))
		SetPageError(newpage);
	if (PageReferenced(page))
		SetPageReferenced(newpage);
	if (PageUptodate(page))
		SetPageUptodate(newpage);
	if (TestClearPageActive(page))
		SetPageActive(newpage);
	else if (TestClearPageUnevictable(page))
		SetPageUnevictable(newpage);
	if (PageWorkingset(page))
		SetPageWorkingset(newpage);
	if (!PageAnon(page) && !PageSwapCache(page))
		copy_flag(newpage, page, PG_checked);
	/* For anonymous pages the bit means AnonExclusive, which mapping them again sets. */
	if (!PageAnon(page) && PageMappedToDisk(page))
		SetPageMappedToDisk(newpage);
	/* What migrate_page_move_mapping did not move: anonymous pages. */
	if (PageDirty(page))
		SetPageDirty(newpage);
	/*
	 * The last accessor moves along, but between tiers the field means two different things: there it starts anew.
	 */
	cpupid = page_cpupid_xchg_last(page, -1);
	if (faults && (faults->numa_balancing & NUMA_BALANCING_MEMORY_TIERING) &&
	    node_is_toptier(page_to_nid(page)) != node_is_toptier(page_to_nid(newpage)))
		cpupid = -1;
	page_cpupid_xchg_last(newpage, cpupid);
	copy_flag(newpage, page, PG_readahead);
	if (PageSwapCache(page)) {
		ClearPageSwapCache(page);
		for (i = 0; i < compound_nr(page); i++)
			set_page_private(page + i, 0);
	}
}

static void charge_copy(struct page *newpage, struct page *page)
{
	struct ps_machine *machine = this_machine();
	u64 bytes = (u64)compound_nr(page) << PAGE_SHIFT;
	nid_t from = page_to_nid(page), to = page_to_nid(newpage);

	if (!PageTransHuge(page))
		ps_charge(machine->costs.copy_page_ns, PS_TIME_COPY);
	ps_charge(ps_copy_ns(machine, numa_node_id(), from, to, bytes), PS_TIME_COPY);
	ps_node_read(machine, from, bytes);
	ps_node_written(machine, to, bytes);
	ps_stat_add(&machine->engines->moved_bytes, bytes);
}

void migrate_page_copy(struct page *newpage, struct page *page)
{
	if (PageTransHuge(page))
		copy_huge_page(newpage, page, compound_nr(page));
	else
		copy_highpage(newpage, page);
	charge_copy(newpage, page);
	migrate_page_states(newpage, page);
}

int migrate_page(struct address_space *mapping, struct page *newpage, struct page *page, enum migrate_mode mode)
{
	int error = migrate_page_move_mapping(mapping, newpage, page, 0);

	if (error)
		return error;
	if (mode != MIGRATE_SYNC_NO_COPY)
		migrate_page_copy(newpage, page);
	else
		migrate_page_states(newpage, page);
	return 0;
}

/* ---- kinds of files */

/* Return: 0; -EAGAIN and *ret_why. */
static int move_plain(struct address_space *mapping, struct page *newpage, struct page *page, enum migrate_mode mode,
		      enum ps_migrate_failure *ret_why)
{
	int error = migrate_page(mapping, newpage, page, mode);

	if (error)
		*ret_why = PS_FAIL_REFERENCES;
	return error;
}

/*
 * @check_refs: nor may anybody hold a buffer, or come to hold one meanwhile. A block device's users find buffers by
 * private_lock alone and keep pointers into the frame; a file's go through the page lock.
 */
static int move_with_buffers(struct address_space *mapping, struct page *newpage, struct page *page,
			     enum migrate_mode mode, bool check_refs, enum ps_migrate_failure *ret_why)
{
	struct buffer_head *head;
	int error;

	if (!page_has_buffers(page))
		return move_plain(mapping, newpage, page, mode, ret_why);
	*ret_why = PS_FAIL_REFERENCES;
	if (page_count(page) != quiesce_expected_refs(mapping, page))
		return -EAGAIN;
	*ret_why = PS_FAIL_BUFFERS;
	/* Locked buffers are under I/O into this very frame: it must not change its meaning. */
	head = page_buffers(page);
	if (!buffer_migrate_lock_buffers(head, mode))
		return -EAGAIN;
	if (check_refs) {
		spin_lock(&mapping->private_lock);
		if (buffer_migrate_busy(head)) {
			/* 6.1 empties the CPUs' lists of recent buffers now; here there are none. It looks once more. */
			spin_unlock(&mapping->private_lock);
			spin_lock(&mapping->private_lock);
			error = -EAGAIN;
			if (buffer_migrate_busy(head))
				goto out_unlock;
		}
	}
	error = migrate_page_move_mapping(mapping, newpage, page, 0);
	if (error) {
		*ret_why = PS_FAIL_REFERENCES;
		goto out_unlock;
	}
	buffer_migrate_move(newpage, page);
	if (mode != MIGRATE_SYNC_NO_COPY)
		migrate_page_copy(newpage, page);
	else
		migrate_page_states(newpage, page);
out_unlock:
	if (check_refs)
		spin_unlock(&mapping->private_lock);
	buffer_migrate_unlock_buffers(head);
	return error;
}

int buffer_migrate_page(struct address_space *mapping, struct page *newpage, struct page *page, enum migrate_mode mode)
{
	enum ps_migrate_failure why;

	return move_with_buffers(mapping, newpage, page, mode, false, &why);
}

int buffer_migrate_page_norefs(struct address_space *mapping, struct page *newpage, struct page *page,
			       enum migrate_mode mode)
{
	enum ps_migrate_failure why;

	return move_with_buffers(mapping, newpage, page, mode, true, &why);
}

/*
 * Starts writing the page, which unlocks it. Whoever waits for its lock may find it then, so its entries must be back before.
 * Return: -EAGAIN (it is locked again, and may be anything by now: another pass looks); -EIO, -EINVAL.
 * Fidelity: writeout(), but that the entries come back before the page is marked clean, so that it is write-protected; 6.1
 * marks it clean first and leaves writable entries on a clean page.
 */
static int write_out(struct address_space *mapping, struct page *page)
{
	struct writeback_control wbc = { .nr_to_write = 1, .for_reclaim = true };
	int error;

	if (!mapping->a_ops->writepage)
		return -EINVAL;
	remove_migration_ptes(page, page, false);
	if (!clear_page_dirty_for_io(page))
		return -EAGAIN;
	error = mapping->a_ops->writepage(page, &wbc);
	/* The new page, which is locked too, is known to nobody. */
	lock_page_nested(page);
	return error < 0 ? -EIO : -EAGAIN;
}

/* A file system that cannot migrate: write the page out and release what it keeps, then it is a plain page. */
static int fallback_migrate_page(struct address_space *mapping, struct page *newpage, struct page *page,
				 enum migrate_mode mode, enum ps_migrate_failure *ret_why)
{
	if (PageDirty(page)) {
		if (mode != MIGRATE_SYNC && mode != MIGRATE_SYNC_NO_COPY)
			return -EBUSY;
		return write_out(mapping, page);
	}
	*ret_why = PS_FAIL_BUFFERS;
	if (page_has_private(page) && !try_to_release_page(page, GFP_KERNEL))
		return mode == MIGRATE_SYNC ? -EAGAIN : -EBUSY;
	return move_plain(mapping, newpage, page, mode, ret_why);
}

int move_to_new_page(struct page *newpage, struct page *page, enum migrate_mode mode, enum ps_migrate_failure *ret_why)
{
	struct address_space *mapping = page_mapping(page);
	int error;

	*ret_why = PS_FAIL_OTHER;
	if (unlikely(__PageMovable(page)))
		return migrate_movable_page(newpage, page, mode);
	if (!mapping) {
		error = move_plain(NULL, newpage, page, mode, ret_why);
	} else {
		switch (mapping->a_ops->migrate_kind) {
		case MIGRATE_KIND_PLAIN:
			error = move_plain(mapping, newpage, page, mode, ret_why);
			break;
		case MIGRATE_KIND_BUFFERS:
			error = move_with_buffers(mapping, newpage, page, mode, false, ret_why);
			break;
		case MIGRATE_KIND_BUFFERS_NOREFS:
			error = move_with_buffers(mapping, newpage, page, mode, true, ret_why);
			break;
		case MIGRATE_KIND_CUSTOM:
			error = mapping->a_ops->migrate_page(mapping, newpage, page, mode);
			break;
		default:
			error = fallback_migrate_page(mapping, newpage, page, mode, ret_why);
			break;
		}
	}
	/* Anonymous pages keep the word until they are freed: their type is read from it. */
	if (!error && !PageAnon(page))
		page->mapping = NULL;
	return error;
}
