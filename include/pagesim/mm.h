/* SPDX-License-Identifier: MIT */
/*
 * An address space and its pieces: mm_struct and vm_area_struct. This layer only describes; what mmap, fork or a fault do
 * with the description is further up (fault layer).
 *
 *   mm_struct ──┬── page tables (pgtable.h)
 *               └── VMAs, ordered by address ──┬── anon_vma chain (rmap.h): from an anonymous page back to the VMA
 *                                              └── address_space (address_space.h): from a file page back to the VMA
 *
 * Locking: the VMA tree and every VMA field are read under mmap_lock and written under it held for writing; a VMA's range
 * and file are also stable under the anon_vma or i_mmap lock that reverse mapping holds.
 *
 * Fidelity: simplified: 6.1 keeps VMAs in a maple tree, here they are in an interval tree and a list; what the functions
 * here answer is the same. VMAs have no ops: what a file does is asked of its inode.
 *
 * Layer: vm
 */
#ifndef PAGESIM_MM_H
#define PAGESIM_MM_H

#include <pagesim/atomic.h>
#include <pagesim/interval_tree.h>
#include <pagesim/list.h>
#include <pagesim/pgtable.h>
#include <pagesim/rwsem.h>
#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct address_space;
struct anon_vma;
struct mempolicy;
struct ps_machine;

#define VM_READ         0x00000001UL
#define VM_WRITE        0x00000002UL
#define VM_EXEC         0x00000004UL
#define VM_SHARED       0x00000008UL
#define VM_MAYREAD      0x00000010UL
#define VM_MAYWRITE     0x00000020UL
#define VM_MAYEXEC      0x00000040UL
#define VM_MAYSHARE     0x00000080UL
#define VM_LOCKED       0x00002000UL
#define VM_DONTCOPY     0x00020000UL
#define VM_ACCOUNT      0x00100000UL
#define VM_SOFTDIRTY    0x08000000UL
#define VM_HUGEPAGE     0x20000000UL
#define VM_NOHUGEPAGE   0x40000000UL
#define VM_ACCESS_FLAGS (VM_READ | VM_WRITE | VM_EXEC)

/**
 * A mapping: [vm_start, vm_end) of one address space with one set of attributes. All sizes in bytes. Where nothing else is
 * said: mmap_lock, for writing to change it.
 */
struct vm_area_struct {
	/* These two, vm_pgoff and vm_mapping: to change them, the locks of the file's and the family's trees as well. */
	u64 vm_start;
	u64 vm_end;
	struct interval_tree_node vm_node; /* in mm->mm_vmas, over [vm_start, vm_end - 1] */
	struct list_head vm_link;          /* in mm->mmap, by address */
	struct mm_struct *vm_mm;           /* never changes */
	pgprot_t vm_page_prot;
	u64 vm_flags;
	pgoff_t vm_pgoff;                 /* offset in pages: in the file, or for anonymous memory the birth address */
	struct address_space *vm_mapping; /* the file's pages, NULL for anonymous memory; holds one inode reference */
	struct interval_tree_node shared; /* in vm_mapping->i_mmap, over page offsets; under i_mmap_rwsem */
	struct list_head anon_vma_chain;  /* under mmap_lock for writing and page_table_lock, see rmap.h */
	struct anon_vma *anon_vma;        /* set once under page_table_lock */
	struct mempolicy *vm_policy;      /* one reference, or NULL */
};

/** Counts of resident pages by kind, as in /proc/PID/status; units: base pages. */
enum mm_counter {
	MM_FILEPAGES,
	MM_ANONPAGES,
	MM_SWAPENTS,
	MM_SHMEMPAGES,
	NR_MM_COUNTERS,
};

struct mm_struct {
	struct page_tables pt; /* locks of its own, see pgtable.h */
	struct rw_semaphore mmap_lock;
	struct interval_tree_root mm_vmas; /* mmap_lock */
	struct list_head mmap;             /* the same VMAs, by address; mmap_lock */
	int map_count;                     /* VMAs; mmap_lock */
	atomic_long_t rss_stat[NR_MM_COUNTERS];
	atomic_t mm_users;          /* tasks that share it */
	struct list_head mmlist;    /* in the machine's list of address spaces; ps_mms.lock */
	struct ps_machine *machine; /* never changes */
	bool huge_zero; /* holds a share of the huge zero page (MMF_HUGE_ZERO_PAGE); as ps_faults.huge_zero_page */
	/* The NUMA scanner's. One thread scans at a time: who moved numa_next_scan on, before it does anything that sleeps. */
	u64 numa_scan_offset;   /* next address to be looked at */
	ps_ns_t numa_next_scan; /* virtual time of the next scan */
	u32 numa_scan_seq;      /* full passes completed */
	u32 numa_scan_period;   /* milliseconds */
};

/** Every address space of a machine, with what they share. */
struct ps_mms {
	struct list_head list; /* of mm_struct.mmlist, in order of creation; lock */
	spinlock_t lock;
	struct page_table_pool *pool; /* has a lock of its own */
	u32 next_asid;                /* lock */
	atomic_long_t nr_vmas;
};

/** Prepares the machine for address spaces; done once. Return: 0 or -ENOMEM. */
int ps_mms_init(struct ps_machine *machine);
void ps_mms_destroy(struct ps_machine *machine);

/** Makes an empty address space with one user. Return: it, or NULL out of memory. */
struct mm_struct *mm_alloc(struct ps_machine *machine);
/** Frees an address space that maps nothing any more. */
void mm_free(struct mm_struct *mm);

static inline void mmap_read_lock(struct mm_struct *mm)
{
	down_read(&mm->mmap_lock);
}
static inline void mmap_read_unlock(struct mm_struct *mm)
{
	up_read(&mm->mmap_lock);
}
static inline void mmap_write_lock(struct mm_struct *mm)
{
	down_write(&mm->mmap_lock);
}
static inline void mmap_write_unlock(struct mm_struct *mm)
{
	up_write(&mm->mmap_lock);
}
/** Held for writing before, for reading after, and nobody in between. */
static inline void mmap_write_downgrade(struct mm_struct *mm)
{
	downgrade_write(&mm->mmap_lock);
}

static inline void add_mm_counter(struct mm_struct *mm, enum mm_counter which, long delta)
{
	atomic_long_add(delta, &mm->rss_stat[which]);
}
static inline long get_mm_counter(const struct mm_struct *mm, enum mm_counter which)
{
	return atomic_long_read(&mm->rss_stat[which]);
}

static inline bool vma_is_anonymous(const struct vm_area_struct *vma)
{
	return !vma->vm_mapping;
}
static inline bool vma_is_shared(const struct vm_area_struct *vma)
{
	return (vma->vm_flags & VM_SHARED) != 0;
}
static inline u64 vma_pages(const struct vm_area_struct *vma)
{
	return (vma->vm_end - vma->vm_start) >> PAGE_SHIFT;
}
static inline pgoff_t linear_page_index(const struct vm_area_struct *vma, u64 addr)
{
	return vma->vm_pgoff + ((addr - vma->vm_start) >> PAGE_SHIFT);
}
/** Would a page that is mapped privately be copied on write here? */
static inline bool is_cow_mapping(u64 flags)
{
	return (flags & (VM_SHARED | VM_MAYWRITE)) == VM_MAYWRITE;
}

/** A VMA outside any tree. Return: it, or NULL out of memory. */
struct vm_area_struct *vm_area_alloc(struct mm_struct *mm);
/** A copy of orig outside any tree, sharing policy (one more reference) but no chain. Return: it, or NULL. */
struct vm_area_struct *vm_area_dup(const struct vm_area_struct *orig);
/** Frees a VMA that is in no tree and has no chain; drops its policy. */
void vm_area_free(struct vm_area_struct *vma);

/** First VMA that ends above addr, or NULL. Context: mmap_lock held. */
struct vm_area_struct *find_vma(struct mm_struct *mm, u64 addr);
/** The VMA that contains addr, or NULL. */
struct vm_area_struct *vma_lookup(struct mm_struct *mm, u64 addr);
/** First VMA that overlaps [start, end), or NULL. */
struct vm_area_struct *find_vma_intersection(struct mm_struct *mm, u64 start, u64 end);
/** Neighbours in address order, or NULL. */
struct vm_area_struct *vma_next(struct vm_area_struct *vma);
struct vm_area_struct *vma_prev(struct vm_area_struct *vma);
/** Puts a VMA into / takes it out of its mm's tree. Context: mmap_lock for writing. */
void vma_link_tree(struct vm_area_struct *vma);
void vma_unlink_tree(struct vm_area_struct *vma);
/** Gives vm_page_prot what vm_flags say. A shared mapping that must notice writes starts write-protected. */
void vma_set_page_prot(struct vm_area_struct *vma);
/** Does the mapping want write faults so that its file learns of dirtying? */
bool vma_wants_writenotify(const struct vm_area_struct *vma);

#define for_each_vma(mm, vma) for ((vma) = find_vma((mm), 0); (vma); (vma) = vma_next(vma))
#define for_each_vma_range(mm, vma, start, end)                                                     \
	for ((vma) = find_vma_intersection((mm), (start), (end)); (vma) && (vma)->vm_start < (end); \
	     (vma) = vma_next(vma))

#ifdef __cplusplus
}
#endif
#endif
