/* SPDX-License-Identifier: MIT */
/*
 * Reverse mapping: from a page to every page-table entry that maps it.
 *
 *   anonymous page   page->mapping = anon_vma | 1, page->index = address it was born at / PAGE_SIZE
 *
 *        page ──> anon_vma <── avc ──> VMA of the owner
 *                         <── avc ──> VMA of a child
 *
 *     An anon_vma collects the VMAs in which its pages may be mapped; an anon_vma_chain (avc) is one such membership. fork
 *     gives the child an anon_vma of its own for its new pages and chains the child's VMA to all of the parent's.
 *
 *   file page        page->mapping = address_space, whose i_mmap holds the VMAs by file offset
 *
 * A walk visits VMAs, and in each the entry at the address the page's offset gives. It holds the anon_vma's root lock, or
 * i_mmap_rwsem, for reading; entries are read under their table's lock.
 *
 * Lock order: page lock > i_mmap_rwsem > anon_vma root rwsem > page-table locks (lock_class.h).
 *
 * An anon_vma lives while a VMA is chained to it or somebody holds a reference (refcount). Its memory is type-stable under RCU:
 * page_get_anon_vma() may find one that is dead or belongs to others by now, takes a reference unless the count is zero,
 * and looks again whether the page is still mapped.
 *
 * Fidelity: each function says its own. Mapcounts are kept as 6.2 does (page_mapcount.h): the values read are 6.1's.
 *
 * Layer: rmap
 */
#ifndef PAGESIM_RMAP_H
#define PAGESIM_RMAP_H

#include <pagesim/interval_tree.h>
#include <pagesim/mm.h>
#include <pagesim/page.h>
#include <pagesim/rwsem.h>
#include <pagesim/tlbflush.h>
#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct anon_vma {
	struct anon_vma *root;      /* oldest of the family; its rwsem locks all of it; set before others can find it */
	struct rw_semaphore rwsem;  /* used in the root only */
	atomic_t refcount;          /* raised without a lock only if it is not 0, under RCU */
	unsigned long num_children; /* children + 1 for a root (it is its own parent); root->rwsem */
	unsigned long num_active_vmas;     /* VMAs whose anon_vma this is; root->rwsem */
	struct anon_vma *parent;           /* as root */
	struct interval_tree_root rb_root; /* of avc.rb, over page offsets; root->rwsem */
};

/** One VMA's membership in one anon_vma. */
struct anon_vma_chain {
	struct vm_area_struct *vma;   /* never changes while linked */
	struct anon_vma *anon_vma;    /* the same */
	struct list_head same_vma;    /* in vma->anon_vma_chain; mmap_lock and page_table_lock */
	struct interval_tree_node rb; /* in anon_vma->rb_root; root->rwsem */
};

/** How a mapping is added. */
#define RMAP_NONE      0u
#define RMAP_EXCLUSIVE 1u /* this mapping is the only one, and stays so until fork shares it */
#define RMAP_COMPOUND  2u /* the mapping is a PMD */

/** Prepares the machine for reverse mapping; done once. Return: 0 or -ENOMEM. */
int ps_rmap_init(struct ps_machine *machine);
void ps_rmap_destroy(struct ps_machine *machine);

/* ---- anon_vma life */

/**
 * Gives the VMA an anon_vma, sharing a neighbour's if that would let the two VMAs merge later.
 * Context: mmap_lock held; may allocate. Return: 0 or -ENOMEM. Fidelity: exact.
 */
int anon_vma_prepare(struct vm_area_struct *vma);
/** Chains dst to everything src is chained to (split, mremap, fork). Return: 0 or -ENOMEM with dst's chain empty. Fidelity: exact. */
int anon_vma_clone(struct vm_area_struct *dst, struct vm_area_struct *src);
/** fork: clone, then an anon_vma of the child's own unless an ancestor's can be taken over. Return: 0 or -ENOMEM. Fidelity: exact. */
int anon_vma_fork(struct vm_area_struct *vma, struct vm_area_struct *pvma);
/** Takes the VMA out of all its chains and frees anon_vmas that nobody needs. Context: the VMA is out of the tree. Fidelity: exact. */
void unlink_anon_vmas(struct vm_area_struct *vma);
/** Keeps an anon_vma alive; the holder must already be sure that it lives. */
static inline void get_anon_vma(struct anon_vma *anon_vma)
{
	atomic_inc(&anon_vma->refcount);
}
void put_anon_vma(struct anon_vma *anon_vma);
static inline void anon_vma_lock_write(struct anon_vma *anon_vma)
{
	down_write(&anon_vma->root->rwsem);
}
static inline void anon_vma_unlock_write(struct anon_vma *anon_vma)
{
	up_write(&anon_vma->root->rwsem);
}
static inline void anon_vma_lock_read(struct anon_vma *anon_vma)
{
	down_read(&anon_vma->root->rwsem);
}
static inline void anon_vma_unlock_read(struct anon_vma *anon_vma)
{
	up_read(&anon_vma->root->rwsem);
}
/**
 * The page's anon_vma with a reference, without any lock held before.
 * Return: NULL if the page is not anonymous, is not mapped, or its anon_vma is going away. Fidelity: exact.
 */
struct anon_vma *page_get_anon_vma(struct page *page);
/** Before and after a VMA's range or offset changes: takes its chain out of the interval trees, puts it back. */
void anon_vma_interval_tree_pre_update_vma(struct vm_area_struct *vma);
void anon_vma_interval_tree_post_update_vma(struct vm_area_struct *vma);
/** Anon_vmas, and chains, alive on this machine: for leak checks. */
long ps_anon_vmas_live(void);
long ps_anon_vma_chains_live(void);

/* ---- mapping and unmapping one page; Context of all: the page-table lock of the entry is held. Fidelity: exact in flags,
 * exclusivity and what is queued for splitting; counts and vmstat as 6.2, which are 6.1's sums */

/** A page that nobody else can know of yet gets its first mapping. Sets PG_swapbacked and AnonExclusive. */
void page_add_new_anon_rmap(struct page *page, struct vm_area_struct *vma, u64 addr, bool compound);
/** One more mapping of an anonymous page, or the first one again (migration, swap). */
void page_add_anon_rmap(struct page *page, struct vm_area_struct *vma, u64 addr, unsigned int flags);
void page_add_file_rmap(struct page *page, struct vm_area_struct *vma, bool compound);
/** One mapping less. May queue a huge page that is mapped only in part for splitting; may munlock the page. */
void page_remove_rmap(struct page *page, struct vm_area_struct *vma, bool compound);
/**
 * fork maps an anonymous page a second time.
 * Return: 0; -EBUSY if the page may be pinned and so must stay exclusive: copy it instead.
 */
int page_try_dup_anon_rmap(struct page *page, bool compound);
/**
 * Makes an exclusive page shareable before it is unmapped. Context: the entry is cleared and flushed.
 * Return: 0; -EBUSY if the page may be pinned: put the entry back.
 */
int page_try_share_anon_rmap(struct page *page);
/** The page belongs to this VMA alone after a write fault reused it: move it from the root to this anon_vma. */
void page_move_anon_rmap(struct page *page, struct vm_area_struct *vma);

/* ---- walking */

/** Address of the page in the VMA, or U64_MAX if the VMA does not cover it. */
u64 vma_address(struct page *page, struct vm_area_struct *vma);

/** Visits the entries of one page (or compound page) in one VMA. Zero it, set page, vma, address; then call the walk. */
struct page_vma_mapped_walk {
	pfn_t pfn;             /* first frame of what is looked for */
	unsigned int nr_pages; /* frames */
	pgoff_t pgoff;         /* file or anon offset of pfn */
	struct vm_area_struct *vma;
	u64 address; /* in: where pfn would be; out: the entry found */
	pmd_t *pmd;
	pte_t *pte;      /* NULL: the PMD itself maps the page */
	spinlock_t *ptl; /* held while an entry is returned */
	unsigned int flags;
};
#define PVMW_SYNC      1u /* take the lock even if the entry looks empty: wait for a racing unmap to finish */
#define PVMW_MIGRATION 2u /* look for migration entries of the page, not for present ones */

/**
 * Finds the next entry.
 * Return: true with ptl held and address, pmd, pte set; false at the end, nothing held.
 */
bool page_vma_mapped_walk(struct page_vma_mapped_walk *walk);
/** Ends a walk before page_vma_mapped_walk returned false. */
void page_vma_mapped_walk_done(struct page_vma_mapped_walk *walk);
void page_vma_mapped_walk_init(struct page_vma_mapped_walk *walk, struct page *page, struct vm_area_struct *vma,
			       u64 address, unsigned int flags);

/** What a walk over all VMAs does with each. */
struct rmap_walk_control {
	void *arg;
	/** Return: false stops the walk. */
	bool (*rmap_one)(struct page *page, struct vm_area_struct *vma, u64 addr, void *arg);
	/** Return: nonzero stops the walk early. May be NULL. */
	int (*done)(struct page *page);
};
/** Visits every VMA that may map the page. Context: page locked; takes the anon_vma root or i_mmap_rwsem; may sleep. */
void rmap_walk(struct page *page, struct rmap_walk_control *control);
/** The same with that lock held by the caller. */
void rmap_walk_locked(struct page *page, struct rmap_walk_control *control);

/* ---- unmapping into migration entries and back */

enum ttu_flags {
	TTU_SPLIT_HUGE_PMD = 0x4, /* a huge PMD becomes PTEs first */
	TTU_IGNORE_MLOCK = 0x8,   /* unmap from mlocked VMAs too: it comes back at once */
	TTU_SYNC = 0x10,          /* wait for racing zaps, so that mapcount is exact */
	TTU_BATCH_FLUSH = 0x40,   /* put the TLB flush off into the batch */
	TTU_RMAP_LOCKED = 0x80,   /* the caller holds the rmap lock */
};

/**
 * Replaces every entry that maps the page by a migration entry.
 * @batch: where flushes are collected with TTU_BATCH_FLUSH, else NULL.
 * Context: page locked. Success is !page_mapped(page) afterwards; entries that could not be replaced (page pinned) stay.
 * Fidelity: exact; try_to_migrate(). Tracepoint: set_migration_pte.
 */
void try_to_migrate(struct page *page, unsigned int flags, struct tlb_batch *batch);
/**
 * Unmaps a page everywhere, so that it can be reclaimed. A file page leaves nothing: it is faulted in again from the cache. An
 * anonymous one in the swap cache leaves swap entries, with the exclusive and soft-dirty bits of the mapping; a lazily
 * freed one leaves nothing, unless it was written or is held: then it is swap-backed again.
 * Context: page locked; an anonymous one is in the swap cache or not swap-backed. Success is !page_mapped(page)
 * afterwards: an entry stays where the page may be pinned or the VMA is mlocked. Fidelity: exact; try_to_unmap().
 */
void try_to_unmap(struct page *page, unsigned int flags);
/**
 * Turns every migration entry for `old` into a mapping of `new_page` (which may be `old`: undo).
 * Context: both locked. @locked: the caller holds the rmap lock.
 * Fidelity: exact; remove_migration_ptes(). Tracepoint: remove_migration_pte.
 */
void remove_migration_ptes(struct page *old, struct page *new_page, bool locked);
/** Sleeps until the migration entry at addr is gone. Takes no page reference. */
void migration_entry_wait(struct mm_struct *mm, pmd_t *pmd, u64 addr);
void pmd_migration_entry_wait(struct mm_struct *mm, pmd_t *pmd);
/** The page a migration entry stands for. Context: the entry's lock, or the page's. */
static inline struct page *pfn_swap_entry_to_page(swp_entry_t entry)
{
	return pfn_to_page(swp_offset(entry));
}

/* ---- other walks */

/**
 * How many mappings used the page since the last call; clears the accessed bits.
 * @ret_flags: OR of the vm_flags of the VMAs that did.
 * Context: page locked or its rmap otherwise stable.
 */
int page_referenced(struct page *page, u64 *ret_flags);
/** Write-protects and cleans every shared mapping of a file page. Return: entries changed. Context: page locked. */
int page_mkclean(struct page *page);

/* ---- huge PMDs */

/**
 * Turns the huge PMD at addr into a table of PTEs, whatever kind of leaf it is. Counts THP_SPLIT_PMD.
 * @freeze: into migration entries right away; needs @page, which is locked.
 * @page: a compound page: only if the leaf maps it (a walk from a page may come to a place where another one is mapped by
 * now). NULL: whatever is mapped.
 */
void __split_huge_pmd(struct vm_area_struct *vma, pmd_t *pmd, u64 addr, bool freeze, struct page *page);
/** The same when the PMD is a leaf; a no-op on tables. */
void split_huge_pmd(struct vm_area_struct *vma, pmd_t *pmd, u64 addr);
/** Splits the PMD that covers addr if it is huge. */
void split_huge_pmd_address(struct vm_area_struct *vma, u64 addr, bool freeze, struct page *page);
/** A VMA boundary moves to [start, end): a huge PMD across either of them is split. */
void vma_adjust_trans_huge(struct vm_area_struct *vma, u64 start, u64 end);
/**
 * Locks the PMD if it is a leaf (present or migration). The plain one does not go near the lock when it sees no leaf; the
 * other one does, and so has waited for whoever was taking the leaf away.
 * Return: the lock, or NULL with nothing held. Fidelity: exact.
 */
spinlock_t *pmd_trans_huge_lock(struct vm_area_struct *vma, pmd_t *pmd);
spinlock_t *__pmd_trans_huge_lock(struct vm_area_struct *vma, pmd_t *pmd);
/** Is this entry the zero page, small or huge? */
bool is_zero_pte(pte_t pte);
bool is_huge_zero_pmd(pmd_t pmd);

#ifdef __cplusplus
}
#endif
#endif
