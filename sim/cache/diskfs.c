/* SPDX-License-Identifier: MIT */
/*
 * The disk file system: reading a page into the cache, writing one out through its buffers, and a disk that remembers.
 *
 * A write, step by step (as ext4 writes a page; buffers are not locked while they are under way, the page's writeback
 * flag is what everybody waits for):
 *	1 every dirty buffer gets its block, is cleaned and marked async
 *	2 the page goes under writeback
 *	3 the async buffers are submitted, the page is unlocked
 *	4 the device completes a buffer: contents reach the disk, async mark off
 *	5 the last one ends the page's writeback
 *
 * The device reads memory at 4, not at 3, as direct memory access does: a frame that was given away in between shows as
 * foreign contents on the disk. With disk->deferred, or for a file that holds its writeback, 4 waits for
 * ps_disk_complete; otherwise it follows 3 at once.
 *
 * A page is read without making buffers (as ext4 reads whole pages); only writing makes them. A hole reads as zeroes.
 *
 * What Linux does differently: there is no journal, no extent tree and no block allocator (blocks are numbered in
 * order of first writing); the time of a read is charged to who reads, a write costs disk->write_ns at submission.
 */
#include <string.h>

#include <pagesim/alloc.h>
#include <pagesim/bitops.h>
#include <pagesim/buffer_head.h>
#include <pagesim/bug.h>
#include <pagesim/contents.h>
#include <pagesim/gfp.h>
#include <pagesim/machine.h>
#include <pagesim/page_lock.h>
#include <pagesim/pagemap.h>
#include <pagesim/runtime.h>
#include <pagesim/vmstat.h>
#include <pagesim/writeback.h>

#include "cache/diskfs.h"

/*
 * One page of a file on the disk. Lock: inode->i_blocks.xa_lock for its existence; contents: the page's writeback or
 * lock.
 */
struct ps_disk_page {
	u64 block;
	u64 word;
	void *bytes;  /* with contents `bytes` */
	bool written; /* until then it is room only, and reads as a hole */
};

void disk_init(struct ps_disk *disk, const struct ps_machine *machine)
{
	memset(disk, 0, sizeof(*disk));
	spin_lock_init(&disk->lock, LEAF_LOCK);
	INIT_LIST_HEAD(&disk->pending);
	disk->read_ns = machine->costs.major_fault_ns;
	disk->next_block = 1;
}

static struct ps_disk_page *disk_page(struct inode *inode, pgoff_t index)
{
	return (struct ps_disk_page *)xa_load(&inode->i_blocks, index);
}

static void disk_page_free(struct ps_disk_page *dp)
{
	if (dp)
		ps_free(dp->bytes);
	ps_free(dp);
}

/* Room for a page. Return: it, or NULL without memory. */
static struct ps_disk_page *disk_page_make(struct inode *inode, pgoff_t index)
{
	struct ps_disk *disk = &inode->files->disk;
	struct ps_disk_page *dp = disk_page(inode, index);
	int err;

	if (dp)
		return dp;
	dp = (struct ps_disk_page *)ps_zalloc(sizeof(*dp));
	if (!dp)
		return NULL;
	if (ps_contents_mode() == PS_CONTENTS_BYTES) {
		dp->bytes = ps_zalloc(PAGE_SIZE);
		if (!dp->bytes)
			goto out_free;
	}
	err = xa_insert(&inode->i_blocks, index, dp, GFP_NOFS);
	if (err == -EBUSY) {
		disk_page_free(dp);
		return disk_page(inode, index);
	}
	if (err)
		goto out_free;
	spin_lock(&disk->lock);
	dp->block = disk->next_block++;
	spin_unlock(&disk->lock);
	return dp;

out_free:
	disk_page_free(dp);
	return NULL;
}

void disk_forget(struct inode *inode, pgoff_t start, pgoff_t end)
{
	unsigned long index;
	void *entry;

	xa_for_each_range(&inode->i_blocks, index, entry, start, end)
	{
		xa_erase(&inode->i_blocks, index);
		disk_page_free((struct ps_disk_page *)entry);
	}
}

/* ---- reading ---- */

/* Takes one of the failures that were ordered. */
static bool disk_fails(struct ps_disk *disk, int *left)
{
	bool fails;

	spin_lock(&disk->lock);
	fails = *left > 0;
	*left -= fails;
	spin_unlock(&disk->lock);
	return fails;
}

static int disk_read_page(struct inode *inode, struct page *page)
{
	struct ps_disk *disk = &inode->files->disk;
	const struct ps_disk_page *dp = disk_page(inode, page->index);

	if (!dp || !dp->written) {
		clear_highpage(page);
		SetPageUptodate(page);
		unlock_page(page);
		return 0;
	}
	ps_charge(disk->read_ns, PS_TIME_WAIT);
	count_vm_events(PGPGIN, PAGE_SIZE >> 10);
	spin_lock(&disk->lock);
	disk->pages_read++;
	spin_unlock(&disk->lock);
	if (disk_fails(disk, &disk->fail_reads)) {
		SetPageError(page);
		unlock_page(page);
		return 0; /* as a device does: who waits finds the page not uptodate */
	}
	if (dp->bytes)
		memcpy(page_address(page), dp->bytes, PAGE_SIZE);
	else
		page_word_write(page, dp->word);
	SetPageMappedToDisk(page);
	SetPageUptodate(page);
	unlock_page(page);
	return 0;
}

/* ---- writing ---- */

int disk_prepare_write(struct inode *inode, struct page *page)
{
	struct buffer_head *head, *bh;

	if (!page_has_buffers(page)) {
		int err = create_empty_buffers(page, inode->i_blkbits);

		if (err)
			return err;
	}
	if (!disk_page_make(inode, page->index))
		return -ENOMEM;
	head = bh = page_buffers(page);
	do {
		if (!buffer_mapped(bh) && !test_bit(BH_Delay, &bh->b_state)) {
			set_bit(BH_New, &bh->b_state);
			set_bit(BH_Delay, &bh->b_state);
		}
		bh = bh->b_this_page;
	} while (bh != head);
	return 0;
}

void disk_commit_write(struct page *page)
{
	struct buffer_head *head = page_buffers(page), *bh = head;

	do {
		set_bit(BH_Uptodate, &bh->b_state);
		mark_buffer_dirty(bh);
		clear_bit(BH_New, &bh->b_state);
		bh = bh->b_this_page;
	} while (bh != head);
	SetPageUptodate(page);
}

/* Steps 4 and 5 of a write. */
static void end_buffer_async_write(struct ps_disk *disk, struct buffer_head *bh)
{
	struct page *page = bh->b_page;
	struct address_space *mapping = page->mapping;
	struct ps_disk_page *dp = disk_page(mapping->host, page->index);
	struct buffer_head *other;
	bool busy = false;

	count_vm_events(PGPGOUT, bh->b_size >> 10);
	if (disk_fails(disk, &disk->fail_writes)) {
		set_bit(BH_Write_EIO, &bh->b_state);
		SetPageError(page);
		mapping_set_error(mapping, -EIO);
	} else {
		if (dp->bytes)
			memcpy((char *)dp->bytes + bh->b_offset, (char *)page_address(page) + bh->b_offset, bh->b_size);
		else if (!bh->b_offset)
			dp->word = page_word_read(page);
		dp->written = true;
	}
	/* The lock makes one of several completions the last. */
	spin_lock(&disk->lock);
	clear_bit(BH_Async_Write, &bh->b_state);
	for (other = bh->b_this_page; other != bh; other = other->b_this_page)
		busy |= test_bit(BH_Async_Write, &other->b_state);
	disk->pages_written += !busy;
	spin_unlock(&disk->lock);
	if (!busy)
		end_page_writeback(page);
}

unsigned long disk_complete(struct ps_disk *disk, struct inode *inode, unsigned long max)
{
	unsigned long done = 0;

	while (!max || done < max) {
		struct buffer_head *bh, *found = NULL;

		spin_lock(&disk->lock);
		list_for_each_entry(bh, &disk->pending, b_io) {
			/* A page under writeback stays in its file. */
			if (!inode || bh->b_page->mapping->host == inode) {
				found = bh;
				list_del_init(&bh->b_io);
				disk->nr_pending--;
				break;
			}
		}
		spin_unlock(&disk->lock);
		if (!found)
			break;
		end_buffer_async_write(disk, found);
		done++;
	}
	return done;
}

unsigned long ps_disk_complete(struct ps_disk *disk, unsigned long max)
{
	return disk_complete(disk, NULL, max);
}

static void submit_bh(struct inode *inode, struct buffer_head *bh)
{
	struct ps_disk *disk = &inode->files->disk;
	bool deferred;

	set_bit(BH_Req, &bh->b_state);
	ps_charge(disk->write_ns, PS_TIME_WAIT);
	spin_lock(&disk->lock);
	deferred = disk->deferred || READ_ONCE(inode->hold_writeback);
	if (deferred) {
		list_add_tail(&bh->b_io, &disk->pending);
		disk->nr_pending++;
	}
	spin_unlock(&disk->lock);
	if (!deferred)
		end_buffer_async_write(disk, bh);
}

static int disk_writepage(struct page *page, struct writeback_control *wbc)
{
	struct inode *inode = page->mapping->host;
	struct buffer_head *head, *bh;
	struct ps_disk_page *dp = NULL;
	bool submitted = false, fresh;
	u64 block;

	if (page->index >= i_size_pages(inode)) {
		/* Truncation has set the size and is on its way here. */
		unlock_page(page);
		return 0;
	}
	fresh = !page_has_buffers(page);
	if (!fresh || !create_empty_buffers(page, inode->i_blkbits))
		dp = disk_page_make(inode, page->index);
	if (!dp) {
		redirty_page_for_writepage(wbc, page);
		unlock_page(page);
		return -ENOMEM;
	}

	head = bh = page_buffers(page);
	block = dp->block << (PAGE_SHIFT - inode->i_blkbits);
	do {
		/* Dirtied when it had no buffers: all of it is to be written. */
		if (fresh)
			set_bit(BH_Dirty, &bh->b_state);
		if (!buffer_mapped(bh)) {
			bh->b_blocknr = block + (bh->b_offset >> inode->i_blkbits);
			set_bit(BH_Mapped, &bh->b_state);
			clear_bit(BH_Delay, &bh->b_state);
		}
		if (buffer_dirty(bh)) {
			set_bit(BH_Async_Write, &bh->b_state);
			clear_bit(BH_Dirty, &bh->b_state);
		}
	} while ((bh = bh->b_this_page) != head);

	BUG_ON(PageWriteback(page));
	set_page_writeback(page);
	do {
		struct buffer_head *next = bh->b_this_page;

		if (test_bit(BH_Async_Write, &bh->b_state)) {
			submit_bh(inode, bh);
			submitted = true;
		}
		bh = next;
	} while (bh != head);
	unlock_page(page);
	if (!submitted)
		end_page_writeback(page);
	return 0;
}

const struct address_space_operations disk_aops = {
	.name = "disk",
	.has_writeback = true,
	.migrate_kind = MIGRATE_KIND_BUFFERS,
	.read_page = disk_read_page,
	.writepage = disk_writepage,
	.dirty_page = block_dirty_page,
};
