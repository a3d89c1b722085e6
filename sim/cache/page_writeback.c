/* SPDX-License-Identifier: MIT */
/*
 * Dirty pages and their way to the device. The flag of the page, the tag of the index and the counters change one after
 * the other; the diagram is in writeback.h.
 *
 * Why the tag outlives the flag: between clear_page_dirty_for_io and set_page_writeback the page is neither dirty nor
 * under writeback, and yet not written. A sync that looks for tags must find it then, and will wait for its lock.
 */
#include <pagesim/bitops.h>
#include <pagesim/bug.h>
#include <pagesim/compound.h>
#include <pagesim/inode.h>
#include <pagesim/lru.h>
#include <pagesim/mmzone.h>
#include <pagesim/page_lock.h>
#include <pagesim/page_ref.h>
#include <pagesim/pagemap.h>
#include <pagesim/runtime.h>
#include <pagesim/vmstat.h>
#include <pagesim/writeback.h>

/* ---- dirty ---- */

bool noop_dirty_page(struct address_space *mapping, struct page *page)
{
	(void)mapping;
	/* The look before the leap keeps a page that many dirty from bouncing between caches. */
	if (!PageDirty(page))
		return !TestSetPageDirty(page);
	return false;
}

/* NR_FILE_DIRTY and NR_ZONE_WRITE_PENDING; for files whose dirty pages anybody counts. */
static void account_dirty(struct page *page, struct address_space *mapping, long sign)
{
	const long nr = sign * (long)compound_nr(page);

	if (!mapping_can_writeback(mapping))
		return;
	__mod_node_page_state(page_to_nid(page), NR_FILE_DIRTY, nr);
	__mod_zone_page_state(page_zone(page), NR_ZONE_WRITE_PENDING, nr);
}

void account_page_cleaned(struct page *page, struct address_space *mapping)
{
	account_dirty(page, mapping, -1);
}

void __mark_page_dirty(struct page *page, struct address_space *mapping)
{
	xa_lock(&mapping->i_pages);
	if (READ_ONCE(page->mapping)) {
		account_dirty(page, mapping, 1);
		if (mapping_can_writeback(mapping))
			__mod_node_page_state(page_to_nid(page), NR_DIRTIED, (long)compound_nr(page));
		__xa_set_mark(&mapping->i_pages, page->index, PAGECACHE_TAG_DIRTY);
	}
	xa_unlock(&mapping->i_pages);
}

bool filemap_dirty_page(struct address_space *mapping, struct page *page)
{
	if (TestSetPageDirty(page))
		return false;
	__mark_page_dirty(page, mapping);
	return true;
}

bool set_page_dirty(struct page *page)
{
	struct address_space *mapping;

	page = compound_head(page);
	mapping = page_mapping(page);
	if (!mapping)
		return noop_dirty_page(NULL, page);
	/* Reclaim had meant to drop the page after its writeback; now it is wanted. */
	if (PageReclaim(page))
		ClearPageReclaim(page);
	if (!mapping->a_ops->dirty_page)
		return noop_dirty_page(mapping, page);
	return mapping->a_ops->dirty_page(mapping, page);
}

bool set_page_dirty_lock(struct page *page)
{
	bool ret;

	page = compound_head(page);
	lock_page(page);
	ret = set_page_dirty(page);
	unlock_page(page);
	return ret;
}

void cancel_dirty_page(struct page *page)
{
	struct address_space *mapping;

	page = compound_head(page);
	if (!PageDirty(page))
		return;
	mapping = page_mapping(page);
	if (!mapping || !mapping_can_writeback(mapping))
		ClearPageDirty(page);
	else if (TestClearPageDirty(page))
		account_page_cleaned(page, mapping);
}

/* ---- to the device ---- */

static int page_mkclean_hook(struct page *page, struct address_space *mapping)
{
	const struct ps_cache_hooks *hooks = mapping->host ? &mapping->host->files->hooks : NULL;

	return hooks && hooks->page_mkclean ? hooks->page_mkclean(page) : 0;
}

bool clear_page_dirty_for_io(struct page *page)
{
	struct address_space *mapping;

	page = compound_head(page);
	mapping = page_mapping(page);
	VM_BUG_ON_PAGE(!PageLocked(page), page);
	if (!mapping || !mapping_can_writeback(mapping))
		return TestClearPageDirty(page);
	/*
	 * What page tables know goes into the flag before the flag is cleared. A store that comes after they were
	 * write-protected faults, waits for the page lock, and dirties the page anew.
	 */
	if (page_mkclean_hook(page, mapping))
		set_page_dirty(page);
	if (!TestClearPageDirty(page))
		return false;
	account_page_cleaned(page, mapping);
	return true;
}

bool redirty_page_for_writepage(struct writeback_control *wbc, struct page *page)
{
	struct address_space *mapping = page->mapping;
	const long nr = (long)compound_nr(page);
	bool ret;

	wbc->pages_skipped += nr;
	ret = filemap_dirty_page(mapping, page);
	/* It was counted when it was dirtied the first time. */
	if (mapping_can_writeback(mapping))
		__mod_node_page_state(page_to_nid(page), NR_DIRTIED, -nr);
	return ret;
}

static void account_writeback(struct page *page, long sign)
{
	const long nr = sign * (long)compound_nr(page);

	__mod_node_page_state(page_to_nid(page), NR_WRITEBACK, nr);
	__mod_zone_page_state(page_zone(page), NR_ZONE_WRITE_PENDING, nr);
}

bool __test_set_page_writeback(struct page *page, bool keep_write)
{
	struct address_space *mapping = page_mapping(page);
	bool ret;

	if (mapping && mapping_can_writeback(mapping)) {
		XA_STATE(xas, &mapping->i_pages, page->index);

		xas_lock(&xas);
		xas_load(&xas);
		ret = TestSetPageWriteback(page);
		if (!ret)
			xas_set_mark(&xas, PAGECACHE_TAG_WRITEBACK);
		if (!PageDirty(page))
			xas_clear_mark(&xas, PAGECACHE_TAG_DIRTY);
		if (!keep_write)
			xas_clear_mark(&xas, PAGECACHE_TAG_TOWRITE);
		xas_unlock(&xas);
	} else {
		ret = TestSetPageWriteback(page);
	}
	if (!ret)
		account_writeback(page, 1);
	return ret;
}

/* Return: true if the page was under writeback. */
static bool test_clear_page_writeback(struct page *page)
{
	struct address_space *mapping = page_mapping(page);
	bool ret;

	if (mapping && mapping_can_writeback(mapping)) {
		xa_lock(&mapping->i_pages);
		ret = TestClearPageWriteback(page);
		if (ret)
			__xa_clear_mark(&mapping->i_pages, page->index, PAGECACHE_TAG_WRITEBACK);
		xa_unlock(&mapping->i_pages);
	} else {
		ret = TestClearPageWriteback(page);
	}
	if (ret) {
		account_writeback(page, -1);
		__mod_node_page_state(page_to_nid(page), NR_WRITTEN, (long)compound_nr(page));
	}
	return ret;
}

void end_page_writeback(struct page *page)
{
	if (PageReclaim(page)) {
		ClearPageReclaim(page);
		rotate_reclaimable_page(page);
	}
	/* Truncation may free the page as soon as the flag is clear, and the wake below still looks at it. */
	get_page(page);
	BUG_ON(!test_clear_page_writeback(page));
	smp_mb(); /* pairs with the waiter: PG_waiters, then the flag */
	page_wake_bit(page, PG_writeback);
	put_page(page);
}

void wait_on_page_writeback(struct page *page)
{
	page = compound_head(page);
	/* Acquire: what the device's completion did is seen by who waited for it. */
	while (test_bit_acquire(PG_writeback, &page->flags))
		wait_on_page_bit(page, PG_writeback);
}

void wait_for_stable_page(struct page *page)
{
	(void)page;
}

void tag_pages_for_writeback(struct address_space *mapping, pgoff_t start, pgoff_t end)
{
	XA_STATE(xas, &mapping->i_pages, start);
	unsigned int tagged = 0;
	void *entry;

	xas_lock(&xas);
	xas_for_each_marked(&xas, entry, end, PAGECACHE_TAG_DIRTY)
	{
		xas_set_mark(&xas, PAGECACHE_TAG_TOWRITE);
		if (++tagged % 4096)
			continue;
		xas_pause(&xas);
		xas_unlock(&xas);
		cond_resched();
		xas_lock(&xas);
	}
	xas_unlock(&xas);
}

#define WRITE_BATCH 15

int write_cache_pages(struct address_space *mapping, struct writeback_control *wbc)
{
	const pgoff_t end = wbc->range_end ? wbc->range_end : (pgoff_t)-1;
	const xa_mark_t tag = wbc->sync_mode == WB_SYNC_ALL ? PAGECACHE_TAG_TOWRITE : PAGECACHE_TAG_DIRTY;
	const bool limited = wbc->nr_to_write > 0;
	struct page *pages[WRITE_BATCH];
	pgoff_t index = wbc->range_start;
	unsigned int nr;
	bool done = false;
	int ret = 0;

	if (!mapping->a_ops->writepage)
		return 0;
	if (tag == PAGECACHE_TAG_TOWRITE)
		tag_pages_for_writeback(mapping, index, end);
	while (!done && (nr = find_get_pages_range_tag(mapping, &index, end, tag, WRITE_BATCH, pages))) {
		for (unsigned int i = 0; i < nr; i++) {
			struct page *page = pages[i];
			int err;

			if (done)
				goto next;
			lock_page(page);
			/* The tag was a hint: removed meanwhile, cleaned by another, or already under way. */
			if (READ_ONCE(page->mapping) != mapping || !PageDirty(page))
				goto unlock;
			if (PageWriteback(page)) {
				if (wbc->sync_mode == WB_SYNC_NONE)
					goto unlock;
				wait_on_page_writeback(page);
			}
			if (!clear_page_dirty_for_io(page))
				goto unlock;
			err = mapping->a_ops->writepage(page, wbc);
			if (!err)
				wbc->pages_written += (long)compound_nr(page);
			else if (!ret)
				ret = err;
			/* Data integrity goes on after an error, to write what can be written. */
			if (err && wbc->sync_mode == WB_SYNC_NONE)
				done = true;
			if (limited && --wbc->nr_to_write <= 0 && wbc->sync_mode == WB_SYNC_NONE)
				done = true;
			goto next;
		unlock:
			unlock_page(page);
		next:
			put_page(page);
		}
		cond_resched();
	}
	return ret;
}

/* The error writeback left behind, reported once. */
static int filemap_check_errors(struct address_space *mapping)
{
	int err = 0;

	if (test_bit(AS_ENOSPC, &mapping->flags) && test_and_clear_bit(AS_ENOSPC, &mapping->flags))
		err = -ENOSPC;
	if (test_bit(AS_EIO, &mapping->flags) && test_and_clear_bit(AS_EIO, &mapping->flags))
		err = -EIO;
	return err;
}

int filemap_fdatawrite_range(struct address_space *mapping, pgoff_t start, pgoff_t end, enum writeback_sync_modes mode)
{
	struct writeback_control wbc = { .sync_mode = mode, .range_start = start, .range_end = end };

	if (!mapping_can_writeback(mapping) || !mapping_tagged(mapping, PAGECACHE_TAG_DIRTY))
		return 0;
	return write_cache_pages(mapping, &wbc);
}

int filemap_fdatawait_range(struct address_space *mapping, pgoff_t start, pgoff_t end)
{
	struct page *pages[WRITE_BATCH];
	pgoff_t index = start;
	unsigned int nr;

	while ((nr = find_get_pages_range_tag(mapping, &index, end, PAGECACHE_TAG_WRITEBACK, WRITE_BATCH, pages))) {
		for (unsigned int i = 0; i < nr; i++) {
			wait_on_page_writeback(pages[i]);
			ClearPageError(pages[i]);
			put_page(pages[i]);
		}
		cond_resched();
	}
	return filemap_check_errors(mapping);
}

int filemap_write_and_wait_range(struct address_space *mapping, pgoff_t start, pgoff_t end)
{
	int err, err2;

	err = filemap_fdatawrite_range(mapping, start, end, WB_SYNC_ALL);
	err2 = filemap_fdatawait_range(mapping, start, end);
	return err ? err : err2;
}
