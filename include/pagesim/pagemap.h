/* SPDX-License-Identifier: MIT */
/*
 * Page cache operations: put a page into a file's memory, find it there without a lock, take it out again. Adding and
 * removing hold the page lock and xa_lock; finding holds neither: it loads the slot, takes a reference unless that is
 * zero, and loads the slot again. The steps are separate schedule points, because every race between lookup,
 * migration, split and truncation lives between two of them.
 *
 * Layer: cache
 *
 * References of a page in the cache: one per base page for the cache itself, one for private data (buffers), one per
 * mapping page table entry (or one for a PMD), and one for everybody who looks at it.
 */
#ifndef PAGESIM_PAGEMAP_H
#define PAGESIM_PAGEMAP_H

#include <pagesim/address_space.h>
#include <pagesim/page.h>
#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct inode;

/**
 * Where new page cache pages come from: placement policy is a higher layer's. As in Linux, pages of disk files follow
 * the policy of the running task, pages of shared memory that of the mapping (VMA) or of the inode. A NULL pointer, or
 * a NULL function: alloc_pages on the local node.
 */
struct ps_page_source {
	/**
	 * A page of 1 << @order for @index (aligned to it) of @mapping; @order above 0: compound. Context: may sleep.
	 * Return: referenced once, or NULL.
	 */
	struct page *(*alloc)(void *arg, struct address_space *mapping, pgoff_t index, unsigned int order, gfp_t gfp);
	void *arg;
};

/** A page from @source. Context: may sleep. Return: referenced once, or NULL. */
struct page *ps_page_source_alloc(const struct ps_page_source *source, struct address_space *mapping, pgoff_t index,
				  unsigned int order, gfp_t gfp);

/* ---- which file a page belongs to ---- */

/**
 * The file of @page (any page of a compound); of a page in the swap cache, anonymous or not, its part of that; or NULL:
 * anonymous, movable, or not in a cache. Context: stable under the page lock. Fidelity: exact, folio_mapping.
 */
struct address_space *page_mapping(struct page *page);

/** Index of @page (any page of a compound) in its file, in pages. */
pgoff_t page_to_pgoff(struct page *page);

/** The page of compound @head that holds @index of the file. */
struct page *find_subpage(struct page *head, pgoff_t index);

/* ---- put in, take out ---- */

/**
 * Puts a locked page that is in no cache to @index (aligned to the page's order). Takes one reference per base page.
 * Counts NR_FILE_PAGES. A shadow value in the way is replaced. Context: page locked; takes xa_lock; allocates tree
 * nodes. Return: 0; -EEXIST (a page is there), -ENOMEM; on failure the page is as before. Fidelity: exact,
 * __filemap_add_folio.
 */
int __add_to_page_cache_locked(struct page *page, struct address_space *mapping, pgoff_t index, gfp_t gfp);

/**
 * Locks the new page, adds it, and hands it to the LRU. Return: as above; on success the page is locked, on failure
 * unlocked. Fidelity: exact, filemap_add_folio.
 */
int add_to_page_cache_lru(struct page *page, struct address_space *mapping, pgoff_t index, gfp_t gfp);

/**
 * Takes a page out: slots, then page->mapping, then nrpages. Leaves @shadow (a value entry or NULL). Uncounts
 * NR_FILE_PAGES and its friends; a page that is still dirty loses its dirty accounting. Does not drop the cache's
 * references. Context: page and xa_lock held. Fidelity: exact, __filemap_remove_folio.
 */
void __delete_from_page_cache(struct page *page, void *shadow);

/**
 * Takes a page out and drops the cache's references. Context: page locked; takes xa_lock. Fidelity: exact,
 * filemap_remove_folio.
 */
void delete_from_page_cache(struct page *page);

/**
 * The end of a removal: a_ops->free_page, then the cache's references are dropped. Fidelity: exact,
 * filemap_free_folio.
 */
void filemap_free_page(struct address_space *mapping, struct page *page);

/**
 * Puts @newpage in the place of @old. Context: both locked; takes xa_lock. Fidelity: exact, replace_page_cache_page.
 * Does not fail.
 */
void replace_page_cache_page(struct page *old, struct page *newpage);

/**
 * Takes a page out if nobody but the caller holds it: freezes its references at the cache's + 1 first. Removal by
 * reclaim and invalidation. Context: page locked, one reference of the caller's; takes xa_lock. Return: base pages
 * removed (only the caller's reference is left), 0: busy or dirty. Works for the swap cache too. Fidelity: exact,
 * remove_mapping; leaves no shadow.
 */
long remove_mapping(struct address_space *mapping, struct page *page);

/* ---- find ---- */

#define FGP_ACCESSED 0x01 /* mark_page_accessed */
#define FGP_LOCK     0x02
#define FGP_CREAT    0x04 /* allocate and add where nothing is */
#define FGP_WRITE    0x08
#define FGP_NOWAIT   0x20  /* trylock; NULL if it fails */
#define FGP_HEAD     0x80  /* the head of a compound page instead of the page at the index */
#define FGP_ENTRY    0x100 /* return shadow values too */
#define FGP_NESTED   0x200 /* another page's lock is held, in an order the caller vouches for */

/**
 * The entry at @index: a page's head with a reference taken, a value entry, or NULL. The whole speculative protocol:
 * load the slot; take a reference unless it is zero; load the slot again, and drop the reference and start over if it
 * changed. Context: takes the RCU read lock. Fidelity: exact, mapping_get_entry.
 */
void *mapping_get_entry(struct address_space *mapping, pgoff_t index);

/**
 * Finds, and if told so creates, the page at @index. @source: used with FGP_CREAT. Context: FGP_LOCK without
 * FGP_NOWAIT and FGP_CREAT may sleep. Return: referenced page, or NULL (not there, out of memory, or not locked).
 * Fidelity: exact, __filemap_get_folio of 6.1 with the page API's subpage; a locked page is checked to be still in
 * this mapping.
 */
struct page *pagecache_get_page(struct address_space *mapping, pgoff_t index, int fgp_flags, gfp_t gfp,
				const struct ps_page_source *source);

static inline struct page *find_get_page(struct address_space *mapping, pgoff_t index)
{
	return pagecache_get_page(mapping, index, 0, 0, NULL);
}

static inline struct page *find_lock_page(struct address_space *mapping, pgoff_t index)
{
	return pagecache_get_page(mapping, index, FGP_LOCK, 0, NULL);
}

/**
 * Up to @n heads of pages at @start..@end, each with a reference. @startp moves behind the last. Context: RCU.
 * Return: how many. Fidelity: exact, filemap_get_folios.
 */
unsigned int find_get_pages_range(struct address_space *mapping, pgoff_t *startp, pgoff_t end, unsigned int n,
				  struct page **ret_pages);

/** The same with @tag. Fidelity: exact, find_get_pages_range_tag. */
unsigned int find_get_pages_range_tag(struct address_space *mapping, pgoff_t *startp, pgoff_t end, xa_mark_t tag,
				      unsigned int n, struct page **ret_pages);

/**
 * Up to @n entries at @start..@end (heads referenced, value entries as they are) with their indices. Fidelity:
 * exact, find_get_entries.
 */
unsigned int find_get_entries(struct address_space *mapping, pgoff_t start, pgoff_t end, unsigned int n,
			      void **ret_entries, pgoff_t *ret_indices);

/** True if no page is cached in @start..@end. Context: RCU. */
bool filemap_range_has_page(struct address_space *mapping, pgoff_t start, pgoff_t end);

/**
 * The page for a fault on @index: found and locked, or allocated, added and read. @ret_major: set if it was read from
 * the device; may be NULL. Context: takes invalidate_lock shared when it adds; may sleep. Return: 0 and *ret_page (the
 * page at the index) uptodate, locked and referenced; -EFAULT (beyond the end of the file: SIGBUS), -ENOMEM, -EIO.
 * Fidelity: exact, filemap_fault; no readahead.
 */
int filemap_fault(struct inode *inode, pgoff_t index, const struct ps_page_source *source, struct page **ret_page,
		  bool *ret_major);

/**
 * Uptodate, unlocked-so-far pages around a fault: the next one at *@indexp..@end that can be mapped without waiting,
 * locked and referenced. *@indexp moves behind it. Context: does not sleep. Return: the page at the index, or NULL: no
 * more. Fidelity: exact, next_uptodate_page.
 */
struct page *next_uptodate_page(struct address_space *mapping, pgoff_t *indexp, pgoff_t end);

/* ---- remove by range ---- */

/**
 * Removes every page of @start..@end (page numbers, both included), mapped or not, dirty or not, waiting for locks and
 * writeback. Context: may sleep; the caller holds invalidate_lock for writing or the inode is dead. Fidelity: exact,
 * truncate_inode_pages_range, at page granularity.
 */
void truncate_inode_pages_range(struct address_space *mapping, pgoff_t start, pgoff_t end);
#define truncate_inode_pages(mapping, start) truncate_inode_pages_range(mapping, start, (pgoff_t)-1)

/** The last one: for an inode that goes away. Sets AS_EXITING. */
void truncate_inode_pages_final(struct address_space *mapping);

/**
 * Removes the page if it is still in @mapping: unmaps it (hook), throws buffers away, uncounts dirty. Context: page
 * locked, not under writeback. Return: 0, -EIO (not in this mapping any more). Fidelity: exact, truncate_inode_folio.
 */
int truncate_inode_page(struct address_space *mapping, struct page *page);

/**
 * Removes clean, unlocked, unmapped pages of @start..@end that nobody else holds. @ret_failed: how many it had to
 * leave because of a reference; may be NULL. Context: may sleep only to schedule. Return: base pages removed.
 * Fidelity: exact, invalidate_mapping_pagevec.
 */
unsigned long invalidate_mapping_pages(struct address_space *mapping, pgoff_t start, pgoff_t end,
				       unsigned long *ret_failed);

#ifdef __cplusplus
}
#endif

#endif
