/* SPDX-License-Identifier: MIT */
/*
 * The lock order, as a list. A task may take a lock only of a class further down than every lock it holds; the checker
 * (lock.h) reports the first that does not. Trylocks are exempt because they cannot wait, and *_nested variants may
 * repeat the class on top (two page tables, parent and child anon_vma).
 *
 * The columns: name, whether its holder may sleep, what it stands for in Linux.
 *
 * Layer: runtime
 */
#ifndef PAGESIM_LOCK_CLASS_H
#define PAGESIM_LOCK_CLASS_H

#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PS_LOCK_CLASSES(X)                                                     \
	X(INODE_RWSEM, true, "inode->i_rwsem")                                 \
	X(MMAP_LOCK, true, "mm->mmap_lock")                                    \
	X(INVALIDATE_LOCK, true, "mapping->invalidate_lock")                   \
	X(SHRINKER_RWSEM, true, "shrinker_rwsem")                              \
	X(PAGE_LOCK, true, "PG_locked (lock_page)")                            \
	X(I_MMAP_RWSEM, true, "mapping->i_mmap_rwsem")                         \
	X(ANON_VMA_RWSEM, true, "anon_vma->root->rwsem")                       \
	X(BUFFER_LOCK, true, "BH_Lock (lock_buffer)")                          \
	X(DEVICE_MUTEX, true, "a driver's own mutex (balloon_lock)")           \
	X(PAGE_TABLE_LOCK, false, "mm->page_table_lock")                       \
	X(PMD_LOCK, false, "split lock of a page middle directory")            \
	X(PTE_LOCK, false, "split lock of a page table")                       \
	X(SWAP_LOCK, false, "swap_info->lock, swap cluster")                   \
	X(PRIVATE_LOCK, false, "mapping->private_lock")                        \
	X(XA_LOCK, false, "mapping->i_pages.xa_lock")                          \
	X(DEVICE_PAGES_LOCK, false, "a driver's list of pages (pages_lock)")   \
	X(LRU_BATCH_LOCK, false, "per-CPU LRU and mlock batches (local_lock)") \
	X(SPLIT_QUEUE_LOCK, false, "pgdat->deferred_split_queue")              \
	X(LRU_LOCK, false, "lruvec->lru_lock")                                 \
	X(PCP_LOCK, false, "per-CPU page lists")                               \
	X(ZONE_LOCK, false, "zone->lock")                                      \
	X(MM_LIST_LOCK, false, "mmlist_lock")                                  \
	X(WAITQUEUE_LOCK, false, "wait_queue_head.lock")                       \
	X(MMU_LOCK, false, "none: a CPU ends its page walk before an IPI")     \
	X(LEAF_LOCK, false, "locks under which nothing else is taken")

enum lock_class {
#define X(name, sleeps, text) name,
	PS_LOCK_CLASSES(X)
#undef X
		NR_LOCK_CLASSES
};

/** Return: "PAGE_LOCK"; "?" outside the enum. */
const char *ps_lock_class_name(enum lock_class lc);
/** Return: what Linux calls it: "PG_locked (lock_page)"; "?" outside the enum. */
const char *ps_lock_class_text(enum lock_class lc);
/** May a holder of this class sleep? */
bool ps_lock_class_sleeps(enum lock_class lc);

#define PS_LOCK_WAIT_BUCKETS 40

/** What a class of locks cost in waiting. Bucket b counts waits of [2^b, 2^(b+1)) ns, bucket 0 also those of 0 ns. */
struct ps_lock_class_stats {
	u64 waits; /* acquisitions that waited */
	ps_ns_t total_ns;
	ps_ns_t max_ns;
	u64 hist[PS_LOCK_WAIT_BUCKETS];
};

struct ps_runtime;

/** Reads the waits of one class since the runtime began; all zero for a class outside the enum. */
void ps_lock_class_stats(const struct ps_runtime *rt, enum lock_class lc, struct ps_lock_class_stats *ret_stats);

#ifdef __cplusplus
}
#endif

#endif
