/* SPDX-License-Identifier: MIT */
/*
 * The files of a machine: a flat table of paths, one small inode each. /t/... is tmpfs-like (shmem.h: swap-backed, no
 * buffers), /d/... lives on a disk file system with buffer heads, whose disk remembers the contents of every page ever
 * written, so that an evicted page reads back. Shared anonymous memory is a tmpfs inode without a name. What read(2),
 * write(2), fsync(2), ftruncate(2) and fadvise(2) do with the page cache is here; what they do with page tables is
 * asked of the higher layer through three hooks.
 *
 * Layer: cache
 */
#ifndef PAGESIM_INODE_H
#define PAGESIM_INODE_H

#include <pagesim/address_space.h>
#include <pagesim/atomic.h>
#include <pagesim/list.h>
#include <pagesim/pagemap.h>
#include <pagesim/rcu.h>
#include <pagesim/rwsem.h>
#include <pagesim/shrinker.h>
#include <pagesim/spinlock.h>
#include <pagesim/types.h>
#include <pagesim/xarray.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ps_files;
struct ps_machine;

enum ps_file_kind {
	PS_FILE_TMPFS, /* /t/..., or without a name: shared anonymous memory */
	PS_FILE_DISK,  /* /d/..., and every other path */
};

/** A file. The cache holds no reference of it; mappings and openers do. */
struct inode {
	struct address_space *i_mapping; /* &i_data; constant */
	struct address_space i_data;
	struct rw_semaphore i_rwsem; /* size and the pages of write(2) */
	u64 i_size;                  /* bytes; i_rwsem to write, read anywhere */
	atomic_t i_count;            /* references; the name is one */
	enum ps_file_kind kind;      /* constant */
	u8 i_blkbits;                /* log2 of the block size in bytes, 9..12; constant */
	bool anon;                   /* shared anonymous memory: never had a name; constant */
	bool unprivileged;           /* made by an unprivileged task: any may write it; constant */
	bool hold_writeback;         /* writes stay under way until ps_file_writeback_end; atomic */
	u64 i_ino;                   /* constant, in order of creation */
	struct ps_files *files;      /* constant */
	struct list_head i_list;     /* files->inodes; files->lock */
	struct list_head i_hash;     /* files->names, empty without a name; files->lock */
	char *name;                  /* the path, or NULL; files->lock */
	struct list_head
		shrinklist; /* of its shmem_sb, or alone: a huge page may reach beyond i_size; shrinklist_lock */
	struct shared_policy *i_policy; /* of shared memory: the vm layer's, freed by the inode_free hook */
	struct rcu_head i_rcu;
	atomic_long_t swapped;  /* tmpfs: pages that are in swap */
	struct xarray i_blocks; /* disk: page index -> struct ps_disk_page; i_blocks.xa_lock */
};

/** What the cache asks of the layers above. A NULL hook: nobody maps anything / nothing can be split. */
struct ps_cache_hooks {
	/**
	 * Removes the page table entries of pages @start..@start + @nr - 1 (@nr 0: to the end); @even_cows: private
	 * copies too. May sleep. (unmap_mapping_pages)
	 */
	void (*unmap_mapping_pages)(struct address_space *mapping, pgoff_t start, pgoff_t nr, bool even_cows);
	/** Removes the entries that map the locked @page. May sleep. (unmap_mapping_folio) */
	void (*unmap_mapping_page)(struct page *page);
	/**
	 * Write-protects and cleans the entries that map the locked @page. Return: how many were dirty or writable.
	 * (folio_mkclean)
	 */
	int (*page_mkclean)(struct page *page);
	/**
	 * Splits the locked compound page into single pages; the caller's reference and the lock stay with @page.
	 * Return: 0, -EBUSY, -ENOMEM. (split_folio)
	 */
	int (*split_page)(struct page *page);
	/**
	 * Reclaims isolated pages, which have a reference each; what cannot go is put back. The list ends empty. May
	 * sleep. Return: base pages freed. (reclaim_pages)
	 */
	unsigned long (*reclaim_pages)(struct list_head *list);
	/** The inode goes away: free i_policy. */
	void (*inode_free)(struct inode *inode);
};

/** When tmpfs and shared memory use huge pages: the mount option huge= and the knob shmem_enabled. */
enum shmem_huge {
	SHMEM_HUGE_NEVER,
	SHMEM_HUGE_ALWAYS,
	SHMEM_HUGE_WITHIN_SIZE,
	SHMEM_HUGE_ADVISE,
	SHMEM_HUGE_DENY,  /* shmem_enabled only: never, whatever the mount says */
	SHMEM_HUGE_FORCE, /* shmem_enabled only: always */
};

/** What the files of one kind of shared memory have in common: tmpfs, and the nameless ones. */
struct shmem_sb {
	spinlock_t shrinklist_lock;
	struct list_head shrinklist; /* of inode.shrinklist */
	unsigned long shrinklist_len;
	struct shrinker shrinker; /* splits those huge pages, whose part beyond the end then goes */
};

/** The disk behind /d/. Contents live with each inode; this is the device: block numbers, requests under way, cost. */
struct ps_disk {
	spinlock_t lock;          /* everything here */
	struct list_head pending; /* writes that were submitted and not completed */
	unsigned long nr_pending;
	bool deferred;   /* completions wait for ps_disk_complete */
	int fail_writes; /* the next so many writes end with -EIO */
	int fail_reads;
	ps_ns_t read_ns; /* per page, charged to who waits; 0 = free */
	ps_ns_t write_ns;
	u64 next_block;
	u64 pages_read, pages_written;
};

/** All files of a machine: machine->files. */
struct ps_files {
	struct ps_machine *machine;
	spinlock_t lock;             /* names, list, i_list */
	struct list_head inodes;     /* in order of creation, nameless ones too */
	struct list_head names[256]; /* by path, hashed */
	u64 next_ino;
	struct ps_cache_hooks hooks; /* set once by the higher layer, before use */
	struct ps_disk disk;
	struct shmem_sb tmpfs, anon;
	enum shmem_huge tmpfs_huge;    /* mount option of /t */
	enum shmem_huge shmem_enabled; /* shared anonymous memory, and DENY and FORCE for all */
};

/** Gives the current machine an empty table of files. Return: 0, -ENOMEM, -EEXIST. */
int ps_files_init(struct ps_machine *machine);

/** Frees all files and their pages. Context: nothing maps a file, may sleep. */
void ps_files_destroy(struct ps_machine *machine);

/**
 * The file of @path, created empty if @create.
 * @path: absolute. /t/... is tmpfs; every other path is on the disk. Context: allocates. Return: 0 and a reference in
 * *ret_inode; -ENOENT (not there), -EINVAL (no such path can be), -ENOMEM.
 */
int ps_file_open(struct ps_files *files, const char *path, bool create, struct inode **ret_inode);

/** Takes the name away; the file lives until its last reference. Return: 0, -ENOENT. */
int ps_file_unlink(struct ps_files *files, const char *path);

/**
 * A nameless tmpfs file of @size bytes: shared anonymous memory. Return: 0 and a reference in *ret_inode; -ENOMEM.
 * Fidelity: exact, shmem_zero_setup.
 */
int shmem_file_setup(struct ps_files *files, u64 size, struct inode **ret_inode);

/** References. The last iput truncates and frees; may sleep. */
void ihold(struct inode *inode);
void iput(struct inode *inode);

static inline u64 i_size_read(const struct inode *inode)
{
	return READ_ONCE(inode->i_size);
}

/** Pages the file has, the last one perhaps in part. */
static inline pgoff_t i_size_pages(const struct inode *inode)
{
	return (i_size_read(inode) + PAGE_SIZE - 1) >> PAGE_SHIFT;
}

/* ---- system calls ---- */

/**
 * Page @index of the file for write(2) of the whole page: found or made, locked, referenced, buffers in place. The
 * caller stores the contents, then calls file_write_end. Context: i_rwsem held for writing. Return: 0, -ENOMEM, -EIO.
 * Fidelity: exact, write_begin and write_end of shmem and of ext4 (delayed allocation).
 */
int file_write_begin(struct inode *inode, pgoff_t index, const struct ps_page_source *source, struct page **ret_page);
/** Uptodate, dirty, i_size grown, unlocked, put. */
void file_write_end(struct inode *inode, pgoff_t index, struct page *page);

/** write(2) of one whole page that holds @word everywhere. Takes i_rwsem. Return: 0 or as file_write_begin. */
int file_write_page(struct inode *inode, pgoff_t index, u64 word, const struct ps_page_source *source);

/**
 * read(2) of one page. A hole of tmpfs reads zero without a page; a disk file's hole gets a page. @ret_word: the
 * page's word. Context: may sleep. Return: 1 read, 0 end of file, -ENOMEM, -EIO. Fidelity: exact, shmem_file_read_iter
 * and filemap_read; no readahead.
 */
int file_read_page(struct inode *inode, pgoff_t index, u64 *ret_word, const struct ps_page_source *source);

/**
 * The page for a fault at @index, by kind (filemap_fault, shmem_fault). @hint: the VMA's huge page advice, see
 * shmem.h. Return: 0 and *ret_page (the page at the index; of a compound page the right tail) uptodate, locked (the
 * head), referenced; -EFAULT (beyond the end: SIGBUS), -ENOMEM, -EIO.
 */
int file_fault(struct inode *inode, pgoff_t index, int hint, const struct ps_page_source *source,
	       struct page **ret_page, bool *ret_major);

/**
 * A read-only shared mapping of @page is about to be made writable. Disk: buffers are made and the page is dirtied.
 * Context: page referenced, unlocked; takes the page lock. Return: 0 with the page locked; -EFAULT (truncated: try the
 * fault again), -ENOMEM; unlocked. Fidelity: exact, ext4_page_mkwrite by block_page_mkwrite.
 */
int file_page_mkwrite(struct inode *inode, struct page *page);
/** True if the file wants file_page_mkwrite and clean pages write-protected. */
bool file_wants_mkwrite(const struct inode *inode);

/** fsync(2). Return: 0, -EIO. Fidelity: exact, file_write_and_wait_range; tmpfs: nothing (noop_fsync). */
int file_fsync(struct inode *inode);

/**
 * ftruncate(2) to @size bytes. Takes i_rwsem and invalidate_lock. Return: 0. Fidelity: exact at page granularity,
 * setattr of shmem and ext4, truncate_pagecache.
 */
int file_truncate(struct inode *inode, u64 size);

/**
 * fallocate(PUNCH_HOLE) and madvise(REMOVE) of pages @start..@end - 1. Return: 0, -EOPNOTSUPP. Fidelity: exact,
 * shmem_fallocate; ext4's likewise.
 */
int file_punch_hole(struct inode *inode, pgoff_t start, pgoff_t end);

/** Grows the file to at least @size bytes (mmap of a file in a script extends it). */
void file_extend(struct inode *inode, u64 size);

/**
 * posix_fadvise(DONTNEED) of @start..@end (pages, both included): writing is started, then what is clean and idle
 * goes; what is still being written stays. Of a tmpfs: nothing. Return: 0. Fidelity: generic_fadvise with a disk slower than the call.
 */
int file_fadvise_dontneed(struct inode *inode, pgoff_t start, pgoff_t end);

/**
 * /proc/sys/vm/drop_caches 1: invalidate_mapping_pages of every file. Return: base pages removed. Fidelity: exact,
 * drop_pagecache_sb.
 */
unsigned long ps_files_drop_pagecache(struct ps_files *files);

/** Brings back what any file has in swap, for swapoff. Context: may sleep. Return: 0, -ENOMEM. Fidelity: exact, shmem_unuse. */
int ps_files_unuse(struct ps_files *files, const struct ps_page_source *source);

/**
 * Starts writing all dirty pages and leaves them under writeback until ps_file_writeback_end. Return: 0, -EINVAL
 * (tmpfs).
 */
int ps_file_writeback_begin(struct inode *inode);
int ps_file_writeback_end(struct inode *inode);

/** Completes up to @max writes that are under way (0: all), oldest first. Return: how many. */
unsigned long ps_disk_complete(struct ps_disk *disk, unsigned long max);

/* ---- truth ---- */

/** What the files' pages add up to on a node, recounted. In base pages. */
struct ps_file_counts {
	long file_pages, shmem, shmem_thps, file_thps, dirty, writeback;
};

/** Recounts @nid (NUMA_NO_NODE: all). Context: nobody else runs. */
void ps_files_count(struct ps_files *files, nid_t nid, struct ps_file_counts *ret_counts);

/**
 * address_space_validate of every file, buffer rings, and the node counters against a recount. Return: true if all
 * holds.
 */
bool ps_files_validate(struct ps_files *files, char *ret_why, size_t why_len);

#ifdef __cplusplus
}
#endif

#endif
