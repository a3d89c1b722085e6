/* SPDX-License-Identifier: MIT */
/*
 * Dirty and under writeback: the life of a page's unwritten data. A page is dirty (flag, tag, two counters), is
 * cleaned for writing (flag and counters go, the tag stays), is under writeback (flag and tag, and now the dirty tag
 * goes), and is done (flag and tag go, then those who wait are woken). Flag, tag and counter are separate steps, in
 * Linux's order.
 *
 * Layer: cache
 *
 *	          set_page_dirty               clear_page_dirty_for_io
 *	 clean ────────────────────▶ dirty ─────────────────────────────▶ cleaned (tag DIRTY still set)
 *	   ▲                           ▲ ▲                                  │  │
 *	   │                           │ └── redirty_page_for_writepage ────┘  │ set_page_writeback
 *	   │                           │                                       ▼
 *	   │                           └─────── set_page_dirty (both) ──── under writeback
 *	   └───────────────────────── end_page_writeback ──────────────────────┘
 *
 * set_page_writeback sets the tag WRITEBACK and clears DIRTY (if the flag is clear) and TOWRITE.
 *
 * Where the page table of a mapping holds a dirty bit, the page may be clean while its contents are not: page_mkclean
 * (a hook, a higher layer) collects those.
 */
#ifndef PAGESIM_WRITEBACK_H
#define PAGESIM_WRITEBACK_H

#include <pagesim/address_space.h>
#include <pagesim/page.h>
#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

enum writeback_sync_modes {
	WB_SYNC_NONE, /* start writing; skip what is locked or under way */
	WB_SYNC_ALL,  /* for data integrity: wait */
};

/** What a_ops->writepage returns for a page it left locked and dirty: reclaim is to make it active. */
#define AOP_WRITEPAGE_ACTIVATE 0x80000

/** What a round of writing is to do; zero = WB_SYNC_NONE of everything. */
struct writeback_control {
	enum writeback_sync_modes sync_mode;
	pgoff_t range_start; /* pages */
	pgoff_t range_end;   /* pages, included; 0 = to the end */
	long nr_to_write;    /* stop after so many pages; 0 = no limit */
	long pages_written;  /* out */
	long pages_skipped;  /* out: redirtied */
	bool for_reclaim;    /* a page at a time, from reclaim or migration */
};

/**
 * Makes the page dirty, as its file does it. Context: the caller holds the page locked or by a mapped page table entry
 * under its lock. Return: true if it was clean. Fidelity: exact, folio_mark_dirty.
 */
bool set_page_dirty(struct page *page);

/** The same for a caller that holds a reference only. Context: takes the page lock. */
bool set_page_dirty_lock(struct page *page);

/** a_ops.dirty_page of files without tags (tmpfs): only the flag. Fidelity: exact, noop_dirty_folio. */
bool noop_dirty_page(struct address_space *mapping, struct page *page);

/** a_ops.dirty_page of files without buffers: flag, then tag and counters. Fidelity: exact, filemap_dirty_folio. */
bool filemap_dirty_page(struct address_space *mapping, struct page *page);

/**
 * The tag and the counters of a page whose flag has just been set: NR_FILE_DIRTY, NR_ZONE_WRITE_PENDING, NR_DIRTIED.
 * Nothing if it left the file meanwhile. Context: takes xa_lock. Fidelity: exact, __folio_mark_dirty.
 */
void __mark_page_dirty(struct page *page, struct address_space *mapping);

/**
 * Clears the flag before writing: first the page tables are cleaned (hook page_mkclean), what they knew is put into
 * the flag. The tag DIRTY stays until set_page_writeback. Context: page locked. Return: true if it was dirty: write
 * it. Fidelity: exact, folio_clear_dirty_for_io.
 */
bool clear_page_dirty_for_io(struct page *page);

/** The page will not be written after all. Context: page locked, clear_page_dirty_for_io returned true. */
bool redirty_page_for_writepage(struct writeback_control *wbc, struct page *page);

/** Clears the flag of a page that is thrown away. Context: page locked. Fidelity: exact, __folio_cancel_dirty. */
void cancel_dirty_page(struct page *page);

/**
 * Counters of a page that leaves the file while dirty. Context: xa_lock held. Fidelity: exact,
 * folio_account_cleaned.
 */
void account_page_cleaned(struct page *page, struct address_space *mapping);

/**
 * Begins writeback: flag, tags, NR_WRITEBACK, NR_ZONE_WRITE_PENDING. @keep_write: leave TOWRITE (part of the page is
 * still to be written). Context: page locked; takes xa_lock. Return: true if it was already under writeback. Fidelity:
 * exact, __folio_start_writeback.
 */
bool __test_set_page_writeback(struct page *page, bool keep_write);
static inline void set_page_writeback(struct page *page)
{
	__test_set_page_writeback(page, false);
}

/**
 * Ends writeback: flag and tag under xa_lock, NR_WRITTEN, then wakes whoever waits. A reference is held over the wake:
 * the page may be freed by who sees the flag clear. Context: any (the device's completion). Fidelity: exact,
 * folio_end_writeback.
 */
void end_page_writeback(struct page *page);

/** Waits until the page is not under writeback. Context: may sleep; the caller holds a reference or the lock. */
void wait_on_page_writeback(struct page *page);

/**
 * Waits where the device needs the page unchanged while it writes; ours do not, so it returns at once. Fidelity:
 * exact for such devices.
 */
void wait_for_stable_page(struct page *page);

/**
 * TOWRITE on everything that is DIRTY in @start..@end, so that a sync does not chase pages dirtied meanwhile.
 * Fidelity: exact, tag_pages_for_writeback.
 */
void tag_pages_for_writeback(struct address_space *mapping, pgoff_t start, pgoff_t end);

/**
 * Calls a_ops->writepage for the dirty pages of wbc's range, with the lock and the re-check of every page. Return: 0
 * or the first error. Fidelity: exact, write_cache_pages.
 */
int write_cache_pages(struct address_space *mapping, struct writeback_control *wbc);

/**
 * Starts writing @start..@end (pages, both included). Return: 0, -EIO, -ENOSPC. Fidelity: exact,
 * __filemap_fdatawrite_range.
 */
int filemap_fdatawrite_range(struct address_space *mapping, pgoff_t start, pgoff_t end, enum writeback_sync_modes mode);

/** Waits for writeback of @start..@end. Return: 0 or the error the device reported. */
int filemap_fdatawait_range(struct address_space *mapping, pgoff_t start, pgoff_t end);

/** Writes and waits. */
int filemap_write_and_wait_range(struct address_space *mapping, pgoff_t start, pgoff_t end);

#ifdef __cplusplus
}
#endif

#endif
