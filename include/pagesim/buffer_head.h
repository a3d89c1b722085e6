/* SPDX-License-Identifier: MIT */
/*
 * Buffer heads: the disk blocks behind one page of a disk file, as a ring hung on the page's private data. A buffer
 * knows which block it is, whether that part of the page is uptodate or dirty, and who holds it (b_count) or works on
 * it (its lock bit). The ring holds one page reference. Whoever migrates the page must hold all buffer locks while it
 * moves; whoever frees them must find every b_count zero, under the file's private_lock.
 *
 * Layer: cache
 */
#ifndef PAGESIM_BUFFER_HEAD_H
#define PAGESIM_BUFFER_HEAD_H

#include <pagesim/address_space.h>
#include <pagesim/atomic.h>
#include <pagesim/list.h>
#include <pagesim/migrate_mode.h>
#include <pagesim/page.h>
#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct inode;

/** Bits of b_state, all atomic. Fidelity: exact in meaning; the kernel has more. */
enum bh_state_bits {
	BH_Uptodate,    /* holds valid data */
	BH_Dirty,       /* holds data the disk does not */
	BH_Lock,        /* somebody works on it; others sleep */
	BH_Req,         /* was once submitted */
	BH_Mapped,      /* b_blocknr is a block of the disk */
	BH_New,         /* block was just allocated, not yet written */
	BH_Async_Write, /* under page writeback */
	BH_Delay,       /* block not yet allocated on the disk */
	BH_Write_EIO,   /* the last write failed */
};

/**
 * One block. Lock: the ring (b_this_page, b_page) by the page lock and private_lock together to change, either to
 * read; flags and b_count are atomic.
 */
struct buffer_head {
	unsigned long b_state;
	struct buffer_head *b_this_page; /* next in the ring */
	struct page *b_page;
	u64 b_blocknr;         /* block on the disk, valid if BH_Mapped */
	u32 b_offset;          /* bytes from the start of the page */
	u32 b_size;            /* bytes */
	atomic_t b_count;      /* holders */
	struct list_head b_io; /* while submitted: the device's; disk->lock */
};

bool buffer_uptodate(const struct buffer_head *bh);
bool buffer_dirty(const struct buffer_head *bh);
bool buffer_locked(const struct buffer_head *bh);
bool buffer_mapped(const struct buffer_head *bh);

/** Holders. get_bh needs somebody who already holds it, private_lock, or the page lock. */
void get_bh(struct buffer_head *bh);
void put_bh(struct buffer_head *bh);

/** The lock bit. lock_buffer may sleep. unlock_buffer clears the bit, then wakes: two steps. */
void lock_buffer(struct buffer_head *bh);
bool trylock_buffer(struct buffer_head *bh);
void unlock_buffer(struct buffer_head *bh);
void wait_on_buffer(struct buffer_head *bh);

/** True if the page has buffers. */
bool page_has_buffers(struct page *page);
/** The ring's first buffer. Context: page locked or private_lock; the page has buffers. */
struct buffer_head *page_buffers(struct page *page);

/**
 * Hangs private data on the page / takes it off: one page reference and PG_private go with it. Context: page locked.
 */
void attach_page_private(struct page *page, void *data);
void *detach_page_private(struct page *page);

/**
 * A ring of PAGE_SIZE / (1 << @blkbits) buffers, all uptodate if the page is, dirty if it is. Context: page locked,
 * without buffers; allocates. Return: 0, -ENOMEM. Fidelity: exact, create_empty_buffers; the kernel's cannot fail.
 */
int create_empty_buffers(struct page *page, unsigned int blkbits);

/**
 * Frees the ring if no buffer is dirty, locked or held. Context: page locked; takes private_lock. Return: true if it
 * did. Fidelity: exact.
 */
bool try_to_free_buffers(struct page *page);

/**
 * a_ops->release_page, or try_to_free_buffers. Context: page locked. Return: true if there are no buffers left.
 * Fidelity: exact, filemap_release_folio.
 */
bool try_to_release_page(struct page *page, gfp_t gfp);

/**
 * Throws all buffers' state away (waits for their locks) and frees the ring if nobody holds it. Context: page
 * locked; may sleep. Fidelity: exact, block_invalidate_folio of the whole page.
 */
void block_invalidate_page(struct page *page);

/**
 * a_ops.dirty_page with buffers: all buffers dirty under private_lock, then the page. Context: as set_page_dirty.
 * Return: true if it was clean. Fidelity: exact, block_dirty_folio.
 */
bool block_dirty_page(struct address_space *mapping, struct page *page);

/** The buffer becomes dirty, and with it the page. Context: any holder of the buffer. Fidelity: exact. */
void mark_buffer_dirty(struct buffer_head *bh);

/**
 * The buffer of block @block in the page at @index of @mapping, if the page is cached and has buffers. The lookup of a
 * block device's user: takes private_lock only, never the page lock. Context: takes RCU, private_lock. Return: held
 * (put_bh), or NULL. Fidelity: exact, __find_get_block_slow; no per-CPU array of recent buffers.
 */
struct buffer_head *find_get_block(struct address_space *mapping, pgoff_t index, unsigned int n);

/**
 * All buffers of the ring locked, in ring order: sleeping if @mode allows, otherwise all or none. Context: page
 * locked. Return: true if all are locked. Fidelity: exact, buffer_migrate_lock_buffers: only MIGRATE_ASYNC refuses to
 * sleep.
 */
bool buffer_migrate_lock_buffers(struct buffer_head *head, enum migrate_mode mode);
void buffer_migrate_unlock_buffers(struct buffer_head *head);

/** True if anybody holds a buffer of the ring. Context: private_lock. The test of buffer_migrate_page_norefs. */
bool buffer_migrate_busy(struct buffer_head *head);

/**
 * Moves the ring from @page to @newpage: private data, its reference, every b_page. Context: both pages and all
 * buffers locked, the file's slot already moved. Fidelity: exact, the middle of __buffer_migrate_folio.
 */
void buffer_migrate_move(struct page *newpage, struct page *page);

#ifdef __cplusplus
}
#endif

#endif
