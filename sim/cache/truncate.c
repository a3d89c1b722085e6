/* SPDX-License-Identifier: MIT */
/*
 * Taking pages out of a file's memory by range: truncation, which must not leave one behind, and invalidation, which
 * takes what costs nothing. Both walk in batches; a page is looked at under its lock, because only that says that it
 * still belongs to this file.
 *
 *	truncation, pass 1	what can be locked at once
 *	            pass 2	the compound pages that stick out of the range at its ends
 *	            pass 3	the rest, waiting for locks and writeback, until a walk from the start finds nothing
 */
#include <pagesim/bitops.h>
#include <pagesim/buffer_head.h>
#include <pagesim/bug.h>
#include <pagesim/compound.h>
#include <pagesim/contents.h>
#include <pagesim/inode.h>
#include <pagesim/lru.h>
#include <pagesim/page_lock.h>
#include <pagesim/page_ref.h>
#include <pagesim/pagemap.h>
#include <pagesim/runtime.h>
#include <pagesim/shmem.h>
#include <pagesim/writeback.h>

#define BATCH 15

static const struct ps_cache_hooks *mapping_hooks(const struct address_space *mapping)
{
	return &mapping->host->files->hooks;
}

/* A value goes, if it is still there: a shadow, or what shared memory has in swap. */
static void clear_shadow(struct address_space *mapping, pgoff_t index, void *entry)
{
	XA_STATE(xas, &mapping->i_pages, index);

	if (shmem_mapping(mapping)) {
		shmem_free_swap(mapping->host, index, entry);
		return;
	}
	xas_lock(&xas);
	if (xas_load(&xas) == entry)
		xas_store(&xas, NULL);
	xas_unlock(&xas);
}

/* Everything that ties a page to its file but the index. */
static void truncate_cleanup_page(struct page *page)
{
	const struct ps_cache_hooks *hooks = mapping_hooks(page->mapping);
	const struct address_space_operations *a_ops = page->mapping->a_ops;

	if (page_mapped(page) && hooks->unmap_mapping_page)
		hooks->unmap_mapping_page(page);
	if (PagePrivate(page)) {
		if (a_ops->invalidate_page)
			a_ops->invalidate_page(page);
		else
			block_invalidate_page(page);
	}
	cancel_dirty_page(page);
	ClearPageMappedToDisk(page);
}

int truncate_inode_page(struct address_space *mapping, struct page *page)
{
	if (page->mapping != mapping)
		return -EIO;
	truncate_cleanup_page(page);
	delete_from_page_cache(page);
	return 0;
}

/*
 * A locked page at an end of the range. Return: false if it had to stay whole (dirty and not to be split): what is in
 * the range has been zeroed.
 */
static bool truncate_inode_partial_page(struct page *page, pgoff_t start, pgoff_t end)
{
	const struct ps_cache_hooks *hooks = mapping_hooks(page->mapping);
	const pgoff_t first = page->index, last = first + compound_nr(page) - 1;
	const pgoff_t from = ps_max(first, start), to = ps_min(last, end);

	wait_on_page_writeback(page);
	if (from == first && to == last) {
		truncate_inode_page(page->mapping, page);
		return true;
	}
	clear_huge_page(page + (from - first), to - from + 1);
	if (PagePrivate(page))
		block_invalidate_page(page);
	if (hooks->split_page && hooks->split_page(page) == 0)
		return true;
	if (PageDirty(page))
		return false;
	truncate_inode_page(page->mapping, page);
	return true;
}

void truncate_inode_pages_range(struct address_space *mapping, pgoff_t start, pgoff_t end)
{
	void *entries[BATCH];
	pgoff_t indices[BATCH];
	struct page *page;
	pgoff_t index, behind;
	unsigned int nr;
	bool same, whole;

	if (xa_empty(&mapping->i_pages) || start > end)
		return;

	for (index = start; (nr = find_get_entries(mapping, index, end, BATCH, entries, indices));) {
		for (unsigned int i = 0; i < nr; i++) {
			if (xa_is_value(entries[i])) {
				clear_shadow(mapping, indices[i], entries[i]);
				index = indices[i] + 1;
				continue;
			}
			page = (struct page *)entries[i];
			index = ps_max(index, indices[i] + 1);
			if (trylock_page(page)) {
				behind = page->index + compound_nr(page);
				if (page->mapping == mapping && page->index >= start && behind - 1 <= end &&
				    !PageWriteback(page))
					truncate_inode_page(mapping, page);
				index = ps_max(index, behind);
				unlock_page(page);
			}
			put_page(page);
		}
		cond_resched();
		if (!index || index > end)
			break;
	}

	same = start == end;
	page = pagecache_get_page(mapping, start, FGP_LOCK | FGP_HEAD, 0, NULL);
	if (page) {
		behind = page->index + compound_nr(page);
		same = end < behind;
		whole = truncate_inode_partial_page(page, start, end);
		unlock_page(page);
		put_page(page);
		if (!whole && same)
			return;
		if (!whole)
			start = behind;
	}
	if (!same && end != (pgoff_t)-1) {
		page = pagecache_get_page(mapping, end, FGP_LOCK | FGP_HEAD, 0, NULL);
		if (page) {
			if (!truncate_inode_partial_page(page, start, end))
				end = page->index - 1;
			unlock_page(page);
			put_page(page);
		}
	}

	for (index = start; index <= end;) {
		cond_resched();
		nr = find_get_entries(mapping, index, end, BATCH, entries, indices);
		if (!nr) {
			if (index == start)
				break;
			/* Somebody may have added behind our back what we saw empty. */
			index = start;
			continue;
		}
		for (unsigned int i = 0; i < nr; i++) {
			index = indices[i];
			if (xa_is_value(entries[i])) {
				clear_shadow(mapping, index, entries[i]);
				continue;
			}
			page = (struct page *)entries[i];
			lock_page(page);
			wait_on_page_writeback(page);
			behind = page->index + compound_nr(page);
			truncate_inode_page(mapping, page);
			unlock_page(page);
			put_page(page);
			index = behind - 1;
		}
		index++;
	}
}

void truncate_inode_pages_final(struct address_space *mapping)
{
	set_bit(AS_EXITING, &mapping->flags);
	/* Who set PG_writeback or a tag under xa_lock before has finished by now. */
	xa_lock(&mapping->i_pages);
	xa_unlock(&mapping->i_pages);
	truncate_inode_pages_range(mapping, 0, (pgoff_t)-1);
}

/* Takes a locked page out if that costs nothing. Return: base pages removed. */
static long mapping_evict_page(struct address_space *mapping, struct page *page)
{
	if (PageDirty(page) || PageWriteback(page))
		return 0;
	/* Every mapping holds a reference; so does everybody else who is interested. */
	if (page_count(page) > (int)compound_nr(page) + (PagePrivate(page) ? 1 : 0) + 1)
		return 0;
	if (PagePrivate(page) && !try_to_release_page(page, 0))
		return 0;
	return remove_mapping(mapping, page);
}

unsigned long invalidate_mapping_pages(struct address_space *mapping, pgoff_t start, pgoff_t end,
				       unsigned long *ret_failed)
{
	void *entries[BATCH];
	pgoff_t indices[BATCH], index = start;
	unsigned long count = 0, failed = 0;
	unsigned int nr;

	while (index <= end && (nr = find_get_entries(mapping, index, end, BATCH, entries, indices))) {
		for (unsigned int i = 0; i < nr; i++) {
			struct page *page = (struct page *)entries[i];
			pgoff_t first, last;
			long gone;

			if (xa_is_value(entries[i])) {
				index = indices[i];
				/* What is in swap is not the page cache's to drop. */
				if (!shmem_mapping(mapping))
					clear_shadow(mapping, index, entries[i]);
				count++;
				continue;
			}
			index = ps_max(index, indices[i]);
			if (!trylock_page(page))
				goto put;
			first = page->index;
			last = first + compound_nr(page) - 1;
			if (page->mapping == mapping && first >= start && last <= end && !PageWriteback(page)) {
				gone = mapping_evict_page(mapping, page);
				index = last;
				if (!gone) {
					deactivate_file_page(page);
					failed++;
				}
				count += (unsigned long)gone;
			}
			unlock_page(page);
		put:
			put_page(page);
		}
		cond_resched();
		if (++index == 0)
			break;
	}
	if (ret_failed)
		*ret_failed = failed;
	return count;
}
