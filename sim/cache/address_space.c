/* SPDX-License-Identifier: MIT */
/*
 * Setting up one file's memory, its flags, and the proof that its structures agree. Everything that changes pages is in
 * filemap.c, page_writeback.c and truncate.c.
 */
#include <stdarg.h>
#include <stdio.h>

#include <pagesim/address_space.h>
#include <pagesim/bitops.h>
#include <pagesim/buffer_head.h>
#include <pagesim/bug.h>
#include <pagesim/compound.h>
#include <pagesim/gfp.h>
#include <pagesim/inode.h>
#include <pagesim/machine.h>
#include <pagesim/page_ref.h>

void address_space_init(struct address_space *mapping, struct inode *host, const struct address_space_operations *a_ops)
{
	unsigned int chunk = ps_min(this_machine()->pt_bits, (unsigned int)XA_CHUNK_SHIFT_MAX);
	const struct interval_tree_root empty = INTERVAL_TREE_ROOT_INIT;

	mapping->host = host;
	xa_init_chunk(&mapping->i_pages, chunk);
	init_rwsem(&mapping->invalidate_lock, INVALIDATE_LOCK);
	mapping->gfp_mask = GFP_HIGHUSER_MOVABLE;
	atomic_set(&mapping->i_mmap_writable, 0);
	mapping->i_mmap = empty;
	init_rwsem(&mapping->i_mmap_rwsem, I_MMAP_RWSEM);
	mapping->nrpages = 0;
	mapping->writeback_index = 0;
	mapping->a_ops = a_ops;
	mapping->flags = 0;
	mapping->wb_err = 0;
	spin_lock_init(&mapping->private_lock, PRIVATE_LOCK);
	mapping->private_data = NULL;
}

void address_space_destroy(struct address_space *mapping)
{
	BUG_ON(mapping->nrpages != 0);
	BUG_ON(!interval_tree_empty(&mapping->i_mmap));
	xa_destroy(&mapping->i_pages);
}

bool mapping_tagged(const struct address_space *mapping, xa_mark_t tag)
{
	return xa_marked(&mapping->i_pages, tag);
}

bool mapping_unevictable(const struct address_space *mapping)
{
	return mapping && test_bit(AS_UNEVICTABLE, &mapping->flags);
}

void mapping_set_unevictable(struct address_space *mapping)
{
	set_bit(AS_UNEVICTABLE, &mapping->flags);
}

void mapping_clear_unevictable(struct address_space *mapping)
{
	clear_bit(AS_UNEVICTABLE, &mapping->flags);
}

bool mapping_mapped(const struct address_space *mapping)
{
	return !interval_tree_empty(&mapping->i_mmap);
}

void mapping_set_error(struct address_space *mapping, int error)
{
	if (!error)
		return;
	WRITE_ONCE(mapping->wb_err, error);
	set_bit(error == -ENOSPC ? AS_ENOSPC : AS_EIO, &mapping->flags);
}

/* ---- truth ---- */

struct mapping_check {
	struct address_space *mapping;
	char *why;
	size_t len;
};

static bool __attribute__((format(printf, 3, 4)))
mapping_wrong(struct mapping_check *check, pgoff_t index, const char *format, ...)
{
	const char *name = check->mapping->host ? check->mapping->host->name : NULL;
	va_list args;
	int n;

	if (!check->why || !check->len)
		return false;
	n = snprintf(check->why, check->len, "%s[%llu]: ", name ? name : "(file)", (unsigned long long)index);
	if (n < 0 || (size_t)n >= check->len)
		return false;
	va_start(args, format);
	vsnprintf(check->why + n, check->len - (size_t)n, format, args);
	va_end(args);
	return false;
}

static bool buffers_validate(struct mapping_check *check, struct page *page)
{
	struct buffer_head *head = page_buffers(page), *bh = head;
	unsigned int bytes = 0;

	if (!head)
		return mapping_wrong(check, page->index, "PG_private without buffers");
	do {
		if (bh->b_page != page)
			return mapping_wrong(check, page->index, "buffer of another page");
		if (bh->b_offset != bytes)
			return mapping_wrong(check, page->index, "buffer at byte %u, expected %u", bh->b_offset, bytes);
		if (atomic_read(&bh->b_count) < 0)
			return mapping_wrong(check, page->index, "buffer held %d times", atomic_read(&bh->b_count));
		if (buffer_dirty(bh) && !PageDirty(page))
			return mapping_wrong(check, page->index, "dirty buffer on a clean page");
		if (test_bit(BH_Async_Write, &bh->b_state) && !PageWriteback(page))
			return mapping_wrong(check, page->index, "buffer under way on a page that is not");
		bytes += bh->b_size;
		bh = bh->b_this_page;
	} while (bh && bh != head && bytes < PAGE_SIZE);
	if (bh != head || bytes != PAGE_SIZE)
		return mapping_wrong(check, page->index, "buffer ring of %u bytes", bytes);
	return true;
}

static bool page_validate(struct mapping_check *check, struct page *page, pgoff_t index)
{
	struct address_space *mapping = check->mapping;
	bool tags = mapping_can_writeback(mapping);
	const unsigned long nr = compound_nr(page);
	int refs;

	if (PageTail(page))
		return mapping_wrong(check, index, "a tail page is cached as itself");
	if (page->mapping != mapping)
		return mapping_wrong(check, index, "page of another mapping");
	if (page->index != index)
		return mapping_wrong(check, index, "page says index %llu", (unsigned long long)page->index);
	if (xa_get_order(&mapping->i_pages, index) != (int)compound_order(page))
		return mapping_wrong(check, index, "page of order %u in an entry of another", compound_order(page));
	refs = page_count(page);
	if (refs < (int)nr + (PagePrivate(page) ? 1 : 0))
		return mapping_wrong(check, index, "%d references, the cache alone needs more", refs);
	if (tags && PageDirty(page) && !xa_get_mark(&mapping->i_pages, index, PAGECACHE_TAG_DIRTY))
		return mapping_wrong(check, index, "dirty without the tag");
	if (!tags && (xa_get_mark(&mapping->i_pages, index, PAGECACHE_TAG_DIRTY) ||
		      xa_get_mark(&mapping->i_pages, index, PAGECACHE_TAG_WRITEBACK)))
		return mapping_wrong(check, index, "tagged in a file without tags");
	if (tags && PageWriteback(page) != xa_get_mark(&mapping->i_pages, index, PAGECACHE_TAG_WRITEBACK))
		return mapping_wrong(check, index, "PG_writeback and its tag disagree");
	if (PagePrivate(page) && tags && !buffers_validate(check, page))
		return false;
	return true;
}

bool address_space_validate(struct address_space *mapping, char *ret_why, size_t why_len)
{
	struct mapping_check check = { .mapping = mapping, .why = ret_why, .len = why_len };
	unsigned long index, pages = 0;
	void *entry;

	if (!xa_validate(&mapping->i_pages, ret_why, why_len))
		return false;
	xa_for_each(&mapping->i_pages, index, entry) {
		if (xa_is_value(entry))
			continue;
		if (!page_validate(&check, (struct page *)entry, index))
			return false;
		pages += compound_nr((struct page *)entry);
	}
	if (pages != mapping->nrpages)
		return mapping_wrong(&check, 0, "nrpages is %lu, there are %lu", mapping->nrpages, pages);
	if (!interval_tree_check(&mapping->i_mmap))
		return mapping_wrong(&check, 0, "i_mmap is no interval tree");
	return true;
}
