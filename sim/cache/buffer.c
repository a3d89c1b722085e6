/* SPDX-License-Identifier: MIT */
/*
 * Buffer heads: making, dirtying, freeing and moving the ring of a page.
 *
 * Locking. The page lock keeps the ring from being made, freed or moved, and so does private_lock: changing it takes
 * both, looking at it takes either. Who found a buffer under private_lock alone takes b_count before he drops it;
 * freeing looks at b_count under private_lock; moving, in its strict form, does too. In its plain form (a file, not a
 * block device) moving trusts the page lock and the buffer locks.
 *
 *	find_get_block				try_to_free_buffers
 *	1 page by a lockless lookup		a page lock, private_lock
 *	2 private_lock				b every b_count zero, not dirty, not locked?
 *	3 PG_private? then b_count++		c PG_private cleared, private_lock dropped
 *	4 unlock; use the buffer		d buffers freed
 */
#include <pagesim/alloc.h>
#include <pagesim/bitops.h>
#include <pagesim/buffer_head.h>
#include <pagesim/bug.h>
#include <pagesim/page_lock.h>
#include <pagesim/page_ref.h>
#include <pagesim/pagemap.h>
#include <pagesim/wait_bit.h>
#include <pagesim/writeback.h>

/* ---- one buffer ---- */

bool buffer_uptodate(const struct buffer_head *bh)
{
	return test_bit(BH_Uptodate, &bh->b_state);
}

bool buffer_dirty(const struct buffer_head *bh)
{
	return test_bit(BH_Dirty, &bh->b_state);
}

bool buffer_locked(const struct buffer_head *bh)
{
	return test_bit(BH_Lock, &bh->b_state);
}

bool buffer_mapped(const struct buffer_head *bh)
{
	return test_bit(BH_Mapped, &bh->b_state);
}

void get_bh(struct buffer_head *bh)
{
	atomic_inc(&bh->b_count);
}

void put_bh(struct buffer_head *bh)
{
	atomic_dec(&bh->b_count);
}

void lock_buffer(struct buffer_head *bh)
{
	/* The ring's buffers are locked one on top of the other, always in ring order. */
	wait_on_bit_lock_nested(&bh->b_state, BH_Lock, BUFFER_LOCK);
}

bool trylock_buffer(struct buffer_head *bh)
{
	return bit_trylock(&bh->b_state, BH_Lock, BUFFER_LOCK);
}

void unlock_buffer(struct buffer_head *bh)
{
	bit_unlock(&bh->b_state, BH_Lock, BUFFER_LOCK);
}

void wait_on_buffer(struct buffer_head *bh)
{
	if (buffer_locked(bh))
		wait_on_bit(&bh->b_state, BH_Lock, BUFFER_LOCK);
}

/* ---- the ring ---- */

bool page_has_buffers(struct page *page)
{
	return PagePrivate(page);
}

struct buffer_head *page_buffers(struct page *page)
{
	VM_BUG_ON_PAGE(!PagePrivate(page), page);
	return (struct buffer_head *)page_private(page);
}

void attach_page_private(struct page *page, void *data)
{
	get_page(page);
	set_page_private(page, (unsigned long)data);
	SetPagePrivate(page);
}

void *detach_page_private(struct page *page)
{
	void *data = (void *)page_private(page);

	if (!PagePrivate(page))
		return NULL;
	ClearPagePrivate(page);
	set_page_private(page, 0);
	put_page(page);
	return data;
}

static void free_ring(struct buffer_head *head)
{
	struct buffer_head *bh = head;

	if (!head)
		return;
	do {
		struct buffer_head *next = bh->b_this_page;

		ps_free(bh);
		bh = next;
	} while (bh && bh != head);
}

int create_empty_buffers(struct page *page, unsigned int blkbits)
{
	struct address_space *mapping = page->mapping;
	const u32 size = 1U << blkbits;
	struct buffer_head *head = NULL, *tail = NULL;

	for (u32 offset = 0; offset < PAGE_SIZE; offset += size) {
		struct buffer_head *bh = (struct buffer_head *)ps_zalloc(sizeof(*bh));

		if (!bh) {
			free_ring(head);
			return -ENOMEM;
		}
		bh->b_page = page;
		bh->b_offset = offset;
		bh->b_size = size;
		atomic_set(&bh->b_count, 0);
		INIT_LIST_HEAD(&bh->b_io);
		if (tail)
			tail->b_this_page = bh;
		else
			head = bh;
		tail = bh;
	}
	tail->b_this_page = head;

	spin_lock(&mapping->private_lock);
	if (PageUptodate(page) || PageDirty(page)) {
		struct buffer_head *bh = head;

		do {
			if (PageDirty(page))
				set_bit(BH_Dirty, &bh->b_state);
			if (PageUptodate(page))
				set_bit(BH_Uptodate, &bh->b_state);
			bh = bh->b_this_page;
		} while (bh != head);
	}
	attach_page_private(page, head);
	spin_unlock(&mapping->private_lock);
	return 0;
}

static bool buffer_busy(const struct buffer_head *bh)
{
	return atomic_read(&bh->b_count) || (READ_ONCE(bh->b_state) & (1UL << BH_Dirty | 1UL << BH_Lock));
}

/* Takes the ring off a page if nobody uses it. Context: page locked, private_lock. */
static struct buffer_head *drop_buffers(struct page *page)
{
	struct buffer_head *head = page_buffers(page), *bh = head;

	do {
		if (buffer_busy(bh))
			return NULL;
		bh = bh->b_this_page;
	} while (bh != head);
	detach_page_private(page);
	return head;
}

bool try_to_free_buffers(struct page *page)
{
	struct address_space *mapping = page->mapping;
	struct buffer_head *ring;

	BUG_ON(!PageLocked(page));
	/* Acquire: pairs with the end of writeback, after which the device does not look at the buffers any more. */
	if (test_bit_acquire(PG_writeback, &page->flags))
		return false;
	if (!mapping) {
		ring = drop_buffers(page);
		free_ring(ring);
		return ring != NULL;
	}
	/*
	 * The lock is held over all of it, against block_dirty_page: dirty buffers go with a dirty page, and none
	 * without.
	 */
	spin_lock(&mapping->private_lock);
	ring = drop_buffers(page);
	/* All buffers are clean: what the page's flag says is stale. */
	if (ring)
		cancel_dirty_page(page);
	spin_unlock(&mapping->private_lock);
	free_ring(ring);
	return ring != NULL;
}

bool try_to_release_page(struct page *page, gfp_t gfp)
{
	struct address_space *mapping = page->mapping;

	BUG_ON(!PageLocked(page));
	if (!PagePrivate(page))
		return true;
	if (PageWriteback(page))
		return false;
	if (mapping && mapping->a_ops->release_page)
		return mapping->a_ops->release_page(page, gfp);
	return try_to_free_buffers(page);
}

void block_invalidate_page(struct page *page)
{
	struct buffer_head *head, *bh;

	BUG_ON(!PageLocked(page));
	if (!page_has_buffers(page))
		return;
	head = bh = page_buffers(page);
	do {
		lock_buffer(bh);
		clear_bit(BH_Dirty, &bh->b_state);
		clear_bit(BH_Mapped, &bh->b_state);
		clear_bit(BH_Req, &bh->b_state);
		clear_bit(BH_New, &bh->b_state);
		clear_bit(BH_Delay, &bh->b_state);
		unlock_buffer(bh);
		bh = bh->b_this_page;
	} while (bh != head);
	try_to_release_page(page, 0);
}

/* ---- dirty ---- */

bool block_dirty_page(struct address_space *mapping, struct page *page)
{
	bool newly_dirty;

	/*
	 * Buffers before the page, so that who finds a dirty page finds dirty buffers; and under the lock that
	 * freeing takes.
	 */
	spin_lock(&mapping->private_lock);
	if (page_has_buffers(page)) {
		struct buffer_head *head = page_buffers(page), *bh = head;

		do {
			set_bit(BH_Dirty, &bh->b_state);
			bh = bh->b_this_page;
		} while (bh != head);
	}
	newly_dirty = !TestSetPageDirty(page);
	spin_unlock(&mapping->private_lock);
	if (newly_dirty)
		__mark_page_dirty(page, mapping);
	return newly_dirty;
}

void mark_buffer_dirty(struct buffer_head *bh)
{
	struct page *page = bh->b_page;
	struct address_space *mapping;

	VM_WARN_ON_ONCE(!buffer_uptodate(bh));
	if (buffer_dirty(bh)) {
		smp_mb(); /* pairs with the one after the flag is cleared for writing: the data is seen by the writer */
		if (buffer_dirty(bh))
			return;
	}
	if (test_and_set_bit(BH_Dirty, &bh->b_state))
		return;
	if (TestSetPageDirty(page))
		return;
	mapping = page_mapping(page);
	if (mapping)
		__mark_page_dirty(page, mapping);
}

/* ---- finding and moving ---- */

struct buffer_head *find_get_block(struct address_space *mapping, pgoff_t index, unsigned int n)
{
	struct page *page = pagecache_get_page(mapping, index, FGP_ACCESSED, 0, NULL);
	struct buffer_head *bh = NULL;

	if (!page)
		return NULL;
	spin_lock(&mapping->private_lock);
	if (page_has_buffers(page)) {
		struct buffer_head *head = page_buffers(page);

		for (bh = head; n; n--) {
			bh = bh->b_this_page;
			if (bh == head) {
				bh = NULL;
				break;
			}
		}
		if (bh)
			get_bh(bh);
	}
	spin_unlock(&mapping->private_lock);
	put_page(page);
	return bh;
}

bool buffer_migrate_lock_buffers(struct buffer_head *head, enum migrate_mode mode)
{
	struct buffer_head *bh = head;

	if (mode != MIGRATE_ASYNC) {
		do {
			lock_buffer(bh);
			bh = bh->b_this_page;
		} while (bh != head);
		return true;
	}
	do {
		if (!trylock_buffer(bh)) {
			/* All or none: give back those before this one. */
			struct buffer_head *failed = bh;

			for (bh = head; bh != failed; bh = bh->b_this_page)
				unlock_buffer(bh);
			return false;
		}
		bh = bh->b_this_page;
	} while (bh != head);
	return true;
}

void buffer_migrate_unlock_buffers(struct buffer_head *head)
{
	struct buffer_head *bh = head;

	do {
		unlock_buffer(bh);
		bh = bh->b_this_page;
	} while (bh != head);
}

bool buffer_migrate_busy(struct buffer_head *head)
{
	struct buffer_head *bh = head;

	do {
		if (atomic_read(&bh->b_count))
			return true;
		bh = bh->b_this_page;
	} while (bh != head);
	return false;
}

void buffer_migrate_move(struct page *newpage, struct page *page)
{
	struct buffer_head *head, *bh;

	attach_page_private(newpage, detach_page_private(page));
	head = bh = page_buffers(newpage);
	do {
		WRITE_ONCE(bh->b_page, newpage);
		bh = bh->b_this_page;
	} while (bh != head);
}
