/* SPDX-License-Identifier: MIT */
/*
 * shmem: memory that is a file. Pages of tmpfs files and of shared anonymous mappings live in the page cache, are
 * swap-backed, have no buffers and no tags, and may be huge: one compound page, aligned, as one multi-index entry of
 * the cache.
 *
 * Layer: cache
 */
#ifndef PAGESIM_SHMEM_H
#define PAGESIM_SHMEM_H

#include <pagesim/inode.h>
#include <pagesim/pagemap.h>
#include <pagesim/swap_cache.h>
#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What the caller wants where nothing is. Fidelity: exact. */
enum sgp_type {
	SGP_READ,    /* NULL for a hole: do not exceed i_size, do not allocate */
	SGP_NOALLOC, /* as READ, but a hole is an error; another page's lock may be held */
	SGP_CACHE,   /* allocate, zeroed; not beyond i_size */
	SGP_WRITE,   /* allocate; may exceed i_size; the caller fills it */
	SGP_FALLOC,  /* as WRITE, page stays not uptodate */
};

/** The mapping's huge page advice. */
enum shmem_huge_hint {
	SHMEM_HINT_NONE,       /* no VMA, or no advice */
	SHMEM_HINT_HUGEPAGE,   /* VM_HUGEPAGE */
	SHMEM_HINT_NOHUGEPAGE, /* VM_NOHUGEPAGE, or the process has huge pages disabled */
};

/** True if a page at @index would be tried huge. Fidelity: exact, shmem_is_huge. */
bool shmem_is_huge(const struct inode *inode, pgoff_t index, enum shmem_huge_hint hint);

/**
 * The page at @index: found, or allocated (huge if shmem_is_huge says so and the aligned range is empty, else small),
 * zeroed unless SGP_WRITE or SGP_FALLOC, added and put on the LRU. Context: may sleep. Return: 0 and *ret_page (the
 * page at the index; NULL for a hole with SGP_READ) locked (the head) and referenced; -EINVAL (beyond the end),
 * -ENOENT (hole with SGP_NOALLOC), -ENOMEM. What is in swap is brought back, whatever @sgp. Counts THP_FILE_ALLOC,
 * THP_FILE_FALLBACK. Fidelity: exact, shmem_get_folio.
 */
int shmem_get_page(struct inode *inode, pgoff_t index, enum sgp_type sgp, enum shmem_huge_hint hint,
		   const struct ps_page_source *source, struct page **ret_page);

/**
 * Adds the locked new page; @expected: the value entry that must be there, or NULL. Takes the cache's references;
 * counts NR_FILE_PAGES, NR_SHMEM, NR_SHMEM_THPS, THP_FILE_ALLOC. Context: page locked; takes xa_lock. Return: 0,
 * -EEXIST, -ENOMEM. Fidelity: exact, shmem_add_to_page_cache.
 */
int shmem_add_to_page_cache(struct page *page, struct address_space *mapping, pgoff_t index, void *expected, gfp_t gfp);

/** Registers the shrinker of huge pages that reach beyond the end of their file. Context: setup. */
void shmem_sb_init(struct shmem_sb *sb, const char *name);
void shmem_sb_destroy(struct shmem_sb *sb);
/** The inode goes away: nothing of it is left to shrink. */
void shmem_forget_shrinkable(struct inode *inode);
/**
 * Takes the swap entry @value out of the index and frees its slot. Context: takes xa_lock. Return: false if it is not there
 * any more. Fidelity: exact.
 */
bool shmem_free_swap(struct inode *inode, pgoff_t index, void *value);
/** How many pages of @start..@end - 1 are in swap. Fidelity: exact. */
u64 shmem_partial_swap_usage(struct address_space *mapping, pgoff_t start, pgoff_t end);
/** Brings everything back that is in swap, for swapoff. Context: may sleep. Return: 0, -ENOMEM. Fidelity: exact. */
int shmem_unuse(struct inode *inode, const struct ps_page_source *source);
/** Reads what of @start..@end - 1 is in swap into the swap cache. Fidelity: exact, force_shm_swapin_readahead. */
void shmem_swapin_readahead(struct inode *inode, pgoff_t start, pgoff_t end, swap_alloc_t alloc, void *arg);

/** True for pages of this kind of file. */
bool shmem_mapping(const struct address_space *mapping);

/** True if the inode is shared anonymous memory: no name ever. */
bool shmem_is_anon(const struct inode *inode);

/** What tmpfs and shared anonymous memory do. */
extern const struct address_space_operations shmem_aops;

#ifdef __cplusplus
}
#endif

#endif
