/* SPDX-License-Identifier: MIT */
/*
 * An address_space is one file's memory: which page holds which page-sized piece (i_pages), who maps it (i_mmap), and
 * a table of what this kind of file does when a page is dirtied, written, released or migrated. Higher layers embed
 * their VMAs in i_mmap and decide by migrate_kind which engine function moves a page; this layer knows neither.
 *
 * Layer: cache
 *
 * Locks, outermost first
 *	inode->i_rwsem		file size, write(2), truncate
 *	  invalidate_lock	read: adding pages by a fault; write: removing them (truncate, hole punch)
 *	    page lock		page->mapping of a page in the cache does not change while it is held
 *	      i_mmap_rwsem	i_mmap
 *		private_lock	the buffer ring of a page (page private data)
 *		  i_pages.xa_lock	slots, marks, nrpages, and the counters that go with them
 *
 * A page in the cache has mapping and index set and holds one reference per base page for the cache (a compound page
 * of 512: 512). Its page->mapping is set before the first slot is stored and cleared after the last slot is, under
 * xa_lock. A lockless lookup may therefore see a page that is just leaving; it takes a reference unless that is zero,
 * and looks at the slot again.
 */
#ifndef PAGESIM_ADDRESS_SPACE_H
#define PAGESIM_ADDRESS_SPACE_H

#include <pagesim/atomic.h>
#include <pagesim/interval_tree.h>
#include <pagesim/migrate_mode.h>
#include <pagesim/page.h>
#include <pagesim/rwsem.h>
#include <pagesim/spinlock.h>
#include <pagesim/types.h>
#include <pagesim/xarray.h>

#ifdef __cplusplus
extern "C" {
#endif

struct inode;
struct address_space;
struct writeback_control;

#define PAGECACHE_TAG_DIRTY     XA_MARK_0
#define PAGECACHE_TAG_WRITEBACK XA_MARK_1
#define PAGECACHE_TAG_TOWRITE   XA_MARK_2

/** Bits of address_space.flags; changed by set_bit and clear_bit. Fidelity: exact in meaning, numbers are our own. */
enum mapping_flags {
	AS_EIO,                 /* an asynchronous write failed */
	AS_ENOSPC,              /* no room on the device */
	AS_UNEVICTABLE,         /* reclaim leaves its pages alone (locked shared memory) */
	AS_EXITING,             /* the inode is going away: nothing more is written */
	AS_LARGE_FOLIO_SUPPORT, /* compound pages may be added */
};

/**
 * How pages of this kind of file migrate. The engine has one function per kind, named as the kernel's. Fidelity: exact
 * in the choice; the kernel has a function pointer (a_ops->migrate_folio) here, but our engines are a higher layer.
 */
enum migrate_kind {
	MIGRATE_KIND_FALLBACK, /* no function: write out, drop private data, then as PLAIN (fallback_migrate_folio) */
	MIGRATE_KIND_PLAIN,    /* migrate_page: mapping, flags, contents. shmem, swap cache */
	MIGRATE_KIND_BUFFERS,  /* buffer_migrate_page: with the buffers locked. Disk file systems */
	MIGRATE_KIND_BUFFERS_NOREFS, /* the same, refused while anybody holds a buffer. Block devices */
	MIGRATE_KIND_CUSTOM,         /* a_ops->migrate_page */
};

/** What a kind of file does. A NULL function: the default in the comment. Constant tables. */
struct address_space_operations {
	const char *name;
	bool has_writeback; /* dirty pages are tagged and counted (mapping_can_writeback) */
	enum migrate_kind migrate_kind;

	/**
	 * Brings the locked page's contents from the device; unlocks it. Return: 0, -EIO. NULL: nothing to read, the
	 * page is zeroed.
	 */
	int (*read_page)(struct inode *inode, struct page *page);
	/**
	 * Starts writing the locked page, which clear_page_dirty_for_io has cleaned; unlocks it. NULL: cannot be
	 * written.
	 */
	int (*writepage)(struct page *page, struct writeback_control *wbc);
	/** Makes the page dirty. Return: true if it was clean. NULL: only the flag (noop_dirty_page). */
	bool (*dirty_page)(struct address_space *mapping, struct page *page);
	/** Drops the private data of the locked page. Return: true if none is left. NULL: try_to_free_buffers. */
	bool (*release_page)(struct page *page, gfp_t gfp);
	/** Throws private data of the locked page away, even if dirty. NULL: block_invalidate_page. */
	void (*invalidate_page)(struct page *page);
	/** The page has left the cache and the cache's references are about to be dropped. NULL: nothing. */
	void (*free_page)(struct page *page);
	/** For MIGRATE_KIND_CUSTOM. Return: 0, -EAGAIN, -EBUSY... */
	int (*migrate_page)(struct address_space *mapping, struct page *newpage, struct page *page,
			    enum migrate_mode mode);
};

/** One file's memory. */
struct address_space {
	struct inode *host;    /* constant */
	struct xarray i_pages; /* pages and shadow values; i_pages.xa_lock */
	struct rw_semaphore invalidate_lock;
	gfp_t gfp_mask;                   /* constant */
	atomic_t i_mmap_writable;         /* shared writable mappings */
	struct interval_tree_root i_mmap; /* VMAs by page offset; i_mmap_rwsem */
	struct rw_semaphore i_mmap_rwsem;
	unsigned long nrpages;   /* base pages in i_pages; i_pages.xa_lock to write, read anywhere */
	pgoff_t writeback_index; /* where a cyclic writeback goes on; no lock, a hint */
	const struct address_space_operations *a_ops; /* constant */
	unsigned long flags;                          /* enum mapping_flags, atomic bits */
	int wb_err;                                   /* first unreported write error; atomic */
	spinlock_t private_lock;                      /* buffer rings of all pages */
	void *private_data;                           /* the file system's; constant */
};

/**
 * Ready to use, empty. Nodes of i_pages have min(64, entries of a page table level) slots, so a small machine has a
 * deep cache. Context: current->machine must be set.
 */
void address_space_init(struct address_space *mapping, struct inode *host,
			const struct address_space_operations *a_ops);

/** Frees the tree. Context: no pages left, nobody looks. A page left behind is a BUG. */
void address_space_destroy(struct address_space *mapping);

#define i_mmap_lock_write(mapping)    down_write(&(mapping)->i_mmap_rwsem)
#define i_mmap_trylock_write(mapping) down_write_trylock(&(mapping)->i_mmap_rwsem)
#define i_mmap_unlock_write(mapping)  up_write(&(mapping)->i_mmap_rwsem)
#define i_mmap_lock_read(mapping)     down_read(&(mapping)->i_mmap_rwsem)
#define i_mmap_trylock_read(mapping)  down_read_trylock(&(mapping)->i_mmap_rwsem)
#define i_mmap_unlock_read(mapping)   up_read(&(mapping)->i_mmap_rwsem)

#define filemap_invalidate_lock(mapping)           down_write(&(mapping)->invalidate_lock)
#define filemap_invalidate_unlock(mapping)         up_write(&(mapping)->invalidate_lock)
#define filemap_invalidate_lock_shared(mapping)    down_read(&(mapping)->invalidate_lock)
#define filemap_invalidate_trylock_shared(mapping) down_read_trylock(&(mapping)->invalidate_lock)
#define filemap_invalidate_unlock_shared(mapping)  up_read(&(mapping)->invalidate_lock)

static inline bool mapping_can_writeback(const struct address_space *mapping)
{
	return mapping->a_ops->has_writeback;
}

bool mapping_tagged(const struct address_space *mapping, xa_mark_t tag);
bool mapping_unevictable(const struct address_space *mapping);
void mapping_set_unevictable(struct address_space *mapping);
void mapping_clear_unevictable(struct address_space *mapping);

/** Somebody maps the file. Context: i_mmap_rwsem, or a snapshot. */
bool mapping_mapped(const struct address_space *mapping);

/**
 * Records a write error for the next fsync. @error: -EIO, -ENOSPC. Fidelity: simplified: one error, reported once
 * (no errseq).
 */
void mapping_set_error(struct address_space *mapping, int error);

/**
 * Checks one file's memory: the tree (xa_validate); every page's mapping, index and cache references; nrpages; DIRTY
 * and WRITEBACK tags against page flags; private data against references and buffer states.
 * @ret_why/@why_len: as xa_validate. Context: nobody else runs. Return: true if all holds.
 */
bool address_space_validate(struct address_space *mapping, char *ret_why, size_t why_len);

#ifdef __cplusplus
}
#endif

#endif
