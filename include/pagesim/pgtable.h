/* SPDX-License-Identifier: MIT */
/*
 * Page table entries and the four-level tables that hold them.
 *
 * An entry is 64 bits in one of four shapes, told apart by the low bits alone:
 *
 *   none        0
 *   present     PRESENT or PROT_NONE set; PFN in bits 12..51; flag bits as on x86
 *   table       (upper levels) TABLE set; the host address of the next table in the remaining bits
 *   swap-like   anything else: a swap entry (swp_entry.h), i.e. a swap slot or a page under migration, and bits of the mapping
 *
 * Upper levels hold tables; the third level (PMD) may hold a leaf that maps a huge page. A level has 1 << bits entries, so a
 * huge page has 1 << bits base pages: 512 on the usual machine, 4 on `tiny`. Each table has a descriptor with its own lock
 * (the split page-table locks): the lock of a table of PTEs is its PTE lock, that of a table of PMDs its PMD lock.
 *
 * Names: pte_* and pmd_* take and return values; ptep/pmdp are pointers into a table. `struct page_tables` is the part of an
 * mm_struct that the hardware walks.
 *
 * Reading an entry outside its lock is legal only through ptep_get / pmdp_get, and what was read must be checked again under
 * the lock. Writing needs the lock of the table.
 *
 * Hardware reads the tables without any lock and sets accessed and dirty bits in leaves (mmu.c). A table that is taken out
 * of the tree is therefore given back only after a flush of the TLBs: a flush waits for the walks that are under way.
 *
 * Fidelity of the entry operations (pte_*, pmd_*, swp_*): exact in which bits exist and what sets or clears them; simplified
 * in where they lie (the layout of swap-like entries is our own). Tables: simplified, they take no simulated frames.
 *
 * Layer: pagetable
 */
#ifndef PAGESIM_PGTABLE_H
#define PAGESIM_PGTABLE_H

#include <pagesim/atomic.h>
#include <pagesim/list.h>
#include <pagesim/machine.h>
#include <pagesim/sched_point.h>
#include <pagesim/spinlock.h>
#include <pagesim/swp_entry.h>
#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct page;

typedef struct {
	u64 val;
} pte_t;
typedef struct {
	u64 val;
} pmd_t;

/* ---- bits of a present entry */
#define _PAGE_PRESENT    (1ULL << 0)
#define _PAGE_RW         (1ULL << 1)
#define _PAGE_USER       (1ULL << 2)
#define _PAGE_ACCESSED   (1ULL << 5)
#define _PAGE_DIRTY      (1ULL << 6)
#define _PAGE_PSE        (1ULL << 7)
#define _PAGE_PROTNONE   (1ULL << 8)
#define _PAGE_SPECIAL    (1ULL << 9) /* the zero page: mapped, but not counted */
#define _PAGE_TABLE      (1ULL << 10)
#define _PAGE_SOFT_DIRTY (1ULL << 11)
#define _PAGE_PFN_MASK   0x000ffffffffff000ULL
#define _PAGE_TABLE_MASK 0xfffffffffffff000ULL

/* ---- bits of the mapping in a swap-like entry (swp_entry.h); it is never PRESENT, PROTNONE or TABLE */
#define _SWP_SOFT_DIRTY (1ULL << 1)
#define _SWP_EXCLUSIVE  (1ULL << 2)
#define _SWP_YOUNG      (1ULL << 62)
#define _SWP_DIRTY      (1ULL << 63)

/** Page protection of a mapping: the bits a new entry starts with. */
typedef u64 pgprot_t;
#define PAGE_NONE     (_PAGE_PROTNONE | _PAGE_ACCESSED)
#define PAGE_READONLY (_PAGE_PRESENT | _PAGE_USER | _PAGE_ACCESSED)
#define PAGE_SHARED   (_PAGE_PRESENT | _PAGE_USER | _PAGE_ACCESSED | _PAGE_RW)

/*
 * The same operations exist for PTEs and for PMD leaves. PS_ENTRY_OPS writes both sets, so that no rule can hold for one
 * size of page and be forgotten for the other.
 */
#define PS_ENTRY_OPS(p)                                                                                               \
	static inline p##_t __##p(u64 v)                                                                              \
	{                                                                                                             \
		p##_t e = { v };                                                                                      \
		return e;                                                                                             \
	}                                                                                                             \
	static inline bool p##_none(p##_t e)                                                                          \
	{                                                                                                             \
		return e.val == 0;                                                                                    \
	}                                                                                                             \
	static inline bool p##_same(p##_t a, p##_t b)                                                                 \
	{                                                                                                             \
		return a.val == b.val;                                                                                \
	}                                                                                                             \
	static inline bool p##_present(p##_t e)                                                                       \
	{                                                                                                             \
		return (e.val & (_PAGE_PRESENT | _PAGE_PROTNONE)) != 0;                                               \
	}                                                                                                             \
	static inline bool p##_protnone(p##_t e)                                                                      \
	{                                                                                                             \
		return (e.val & (_PAGE_PRESENT | _PAGE_PROTNONE)) == _PAGE_PROTNONE;                                  \
	}                                                                                                             \
	static inline bool p##_write(p##_t e)                                                                         \
	{                                                                                                             \
		return (e.val & _PAGE_RW) != 0;                                                                       \
	}                                                                                                             \
	static inline bool p##_dirty(p##_t e)                                                                         \
	{                                                                                                             \
		return (e.val & _PAGE_DIRTY) != 0;                                                                    \
	}                                                                                                             \
	static inline bool p##_young(p##_t e)                                                                         \
	{                                                                                                             \
		return (e.val & _PAGE_ACCESSED) != 0;                                                                 \
	}                                                                                                             \
	static inline bool p##_soft_dirty(p##_t e)                                                                    \
	{                                                                                                             \
		return (e.val & _PAGE_SOFT_DIRTY) != 0;                                                               \
	}                                                                                                             \
	static inline bool p##_special(p##_t e)                                                                       \
	{                                                                                                             \
		return (e.val & _PAGE_SPECIAL) != 0;                                                                  \
	}                                                                                                             \
	static inline pfn_t p##_pfn(p##_t e)                                                                          \
	{                                                                                                             \
		return (e.val & _PAGE_PFN_MASK) >> PAGE_SHIFT;                                                        \
	}                                                                                                             \
	static inline p##_t p##_mkwrite(p##_t e)                                                                      \
	{                                                                                                             \
		return __##p(e.val | _PAGE_RW);                                                                       \
	}                                                                                                             \
	static inline p##_t p##_wrprotect(p##_t e)                                                                    \
	{                                                                                                             \
		return __##p(e.val & ~_PAGE_RW);                                                                      \
	}                                                                                                             \
	/* x86 makes an entry soft-dirty whenever software makes it dirty. */                                         \
	static inline p##_t p##_mkdirty(p##_t e)                                                                      \
	{                                                                                                             \
		return __##p(e.val | _PAGE_DIRTY | _PAGE_SOFT_DIRTY);                                                 \
	}                                                                                                             \
	static inline p##_t p##_mkclean(p##_t e)                                                                      \
	{                                                                                                             \
		return __##p(e.val & ~_PAGE_DIRTY);                                                                   \
	}                                                                                                             \
	static inline p##_t p##_mkyoung(p##_t e)                                                                      \
	{                                                                                                             \
		return __##p(e.val | _PAGE_ACCESSED);                                                                 \
	}                                                                                                             \
	static inline p##_t p##_mkold(p##_t e)                                                                        \
	{                                                                                                             \
		return __##p(e.val & ~_PAGE_ACCESSED);                                                                \
	}                                                                                                             \
	static inline p##_t p##_mksoft_dirty(p##_t e)                                                                 \
	{                                                                                                             \
		return __##p(e.val | _PAGE_SOFT_DIRTY);                                                               \
	}                                                                                                             \
	static inline p##_t p##_clear_soft_dirty(p##_t e)                                                             \
	{                                                                                                             \
		return __##p(e.val & ~_PAGE_SOFT_DIRTY);                                                              \
	}                                                                                                             \
	static inline p##_t p##_mkspecial(p##_t e)                                                                    \
	{                                                                                                             \
		return __##p(e.val | _PAGE_SPECIAL);                                                                  \
	}                                                                                                             \
	/* Changes protection, keeps PFN, accessed, dirty, soft-dirty, special and size. */                           \
	static inline p##_t p##_modify(p##_t e, pgprot_t prot)                                                        \
	{                                                                                                             \
		const u64 keep =                                                                                      \
			_PAGE_PFN_MASK | _PAGE_ACCESSED | _PAGE_DIRTY | _PAGE_SOFT_DIRTY | _PAGE_SPECIAL | _PAGE_PSE; \
		return __##p((e.val & keep) | (prot & ~_PAGE_ACCESSED) | (e.val & _PAGE_ACCESSED));                   \
	}                                                                                                             \
	static inline bool is_swap_##p(p##_t e)                                                                       \
	{                                                                                                             \
		return !p##_none(e) && !p##_present(e) && !(e.val & _PAGE_TABLE);                                     \
	}                                                                                                             \
	static inline swp_entry_t p##_to_swp_entry(p##_t e)                                                           \
	{                                                                                                             \
		swp_entry_t s = { e.val &                                                                             \
				  ((_SWP_TYPE_MASK << _SWP_TYPE_SHIFT) | (_SWP_OFFSET_MASK << _SWP_OFFSET_SHIFT)) };  \
		return s;                                                                                             \
	}                                                                                                             \
	static inline p##_t swp_entry_to_##p(swp_entry_t s)                                                           \
	{                                                                                                             \
		return __##p(s.val);                                                                                  \
	}                                                                                                             \
	static inline bool is_##p##_migration_entry(p##_t e)                                                          \
	{                                                                                                             \
		return is_swap_##p(e) && is_migration_entry(p##_to_swp_entry(e));                                     \
	}                                                                                                             \
	static inline bool p##_swp_soft_dirty(p##_t e)                                                                \
	{                                                                                                             \
		return (e.val & _SWP_SOFT_DIRTY) != 0;                                                                \
	}                                                                                                             \
	static inline p##_t p##_swp_mksoft_dirty(p##_t e)                                                             \
	{                                                                                                             \
		return __##p(e.val | _SWP_SOFT_DIRTY);                                                                \
	}                                                                                                             \
	static inline p##_t p##_swp_clear_soft_dirty(p##_t e)                                                         \
	{                                                                                                             \
		return __##p(e.val & ~_SWP_SOFT_DIRTY);                                                               \
	}                                                                                                             \
	static inline bool p##_swp_exclusive(p##_t e)                                                                 \
	{                                                                                                             \
		return (e.val & _SWP_EXCLUSIVE) != 0;                                                                 \
	}                                                                                                             \
	static inline p##_t p##_swp_mkexclusive(p##_t e)                                                              \
	{                                                                                                             \
		return __##p(e.val | _SWP_EXCLUSIVE);                                                                 \
	}                                                                                                             \
	static inline p##_t p##_swp_clear_exclusive(p##_t e)                                                          \
	{                                                                                                             \
		return __##p(e.val & ~_SWP_EXCLUSIVE);                                                                \
	}                                                                                                             \
	/* Young and dirty of the mapping ride in a migration entry's top bits. */                                    \
	static inline bool p##_migration_young(p##_t e)                                                               \
	{                                                                                                             \
		return (e.val & _SWP_YOUNG) != 0;                                                                     \
	}                                                                                                             \
	static inline bool p##_migration_dirty(p##_t e)                                                               \
	{                                                                                                             \
		return (e.val & _SWP_DIRTY) != 0;                                                                     \
	}

PS_ENTRY_OPS(pte)
PS_ENTRY_OPS(pmd)
#undef PS_ENTRY_OPS

static inline pte_t pfn_pte(pfn_t pfn, pgprot_t prot)
{
	return __pte((pfn << PAGE_SHIFT) | prot);
}
static inline pmd_t pfn_pmd_huge(pfn_t pfn, pgprot_t prot)
{
	return __pmd((pfn << PAGE_SHIFT) | prot | _PAGE_PSE);
}
/** Does this PMD map a huge page (present leaf)? */
static inline bool pmd_trans_huge(pmd_t e)
{
	return (e.val & (_PAGE_PSE | _PAGE_TABLE)) == _PAGE_PSE && pmd_present(e);
}
/** Does this PMD point to a table of PTEs? */
static inline bool pmd_table(pmd_t e)
{
	return (e.val & _PAGE_TABLE) != 0;
}
/** A leaf of any kind: a huge page, or a migration entry of one. */
static inline bool pmd_leaf_or_swap(pmd_t e)
{
	return !pmd_none(e) && !pmd_table(e);
}

/* ---- the tables */

struct page_table_pool;

/**
 * The hardware's view of one address space.
 * Shapes: `bits` index bits per level, four levels; addresses below 1 << (12 + 4 * bits).
 */
struct page_tables {
	u64 *pgd;                     /* set once; its entries under page_table_lock, see pmd_alloc() */
	struct page_table_pool *pool; /* set once */
	spinlock_t page_table_lock;   /* for the upper levels, and for PMD tables when they are made */
	u32 asid;                     /* tags TLB entries; unique among the machine's address spaces */
	u8 bits;                      /* index bits a level */
	struct ps_cpumask cpumask;    /* CPUs that may hold translations of this address space; atomic bits */
	atomic_long_t nr_ptes;        /* tables of PTEs, those deposited behind huge PMDs included */
	atomic_long_t nr_pmds;
	atomic_long_t nr_puds;
};

static inline unsigned int pmd_shift(const struct page_tables *pt)
{
	return PAGE_SHIFT + pt->bits;
}
/** Bytes that one PMD maps. */
static inline u64 pmd_size(const struct page_tables *pt)
{
	return 1ULL << pmd_shift(pt);
}
static inline u64 pmd_mask(const struct page_tables *pt)
{
	return ~(pmd_size(pt) - 1);
}
/** Base pages of a huge page of this address space. */
static inline unsigned int hpage_pmd_nr(const struct page_tables *pt)
{
	return 1U << pt->bits;
}
/** One past the highest address. */
static inline u64 task_size(const struct page_tables *pt)
{
	return 1ULL << (PAGE_SHIFT + 4 * pt->bits);
}
static inline unsigned int pte_index(const struct page_tables *pt, u64 addr)
{
	return (unsigned int)((addr >> PAGE_SHIFT) & ((1U << pt->bits) - 1));
}

/**
 * Makes the pool that the tables of one machine come from.
 * Return: the pool (owned by the caller, page_table_pool_free), or NULL out of memory.
 */
struct page_table_pool *page_table_pool_new(unsigned int bits);
void page_table_pool_free(struct page_table_pool *pool);
/** Tables handed out and not yet given back, and the host bytes the pool holds. */
long page_table_pool_live(const struct page_table_pool *pool);
size_t page_table_pool_bytes(const struct page_table_pool *pool);

/**
 * Makes an empty address space's tables in the caller's storage.
 * Context: a current task; may allocate. Return: 0 or -ENOMEM. Fidelity: simplified (mm_alloc_pgd): no kernel half.
 */
int page_tables_init(struct page_tables *pt, struct page_table_pool *pool, u32 asid);
/** Frees every table. Context: no entry maps anything any more, and nobody runs here. Fidelity: exact (pgd_free and below). */
void page_tables_destroy(struct page_tables *pt);

/**
 * Reads an entry as it is now; one schedule point. Without its lock it may be another a moment later.
 * Fidelity: exact (ptep_get_lockless, pmd_read_atomic).
 */
static inline pte_t ptep_get(const pte_t *ptep)
{
	ps_point(PS_POINT_READ, ptep);
	return __pte(__atomic_load_n(&ptep->val, __ATOMIC_RELAXED));
}
static inline pmd_t pmdp_get(const pmd_t *pmdp)
{
	ps_point(PS_POINT_READ, pmdp);
	return __pmd(__atomic_load_n(&pmdp->val, __ATOMIC_ACQUIRE));
}
/** Writes an entry. Context: the lock of its table is held. Fidelity: exact. */
static inline void set_pte_at(pte_t *ptep, pte_t pte)
{
	ps_point(PS_POINT_WRITE, ptep);
	__atomic_store_n(&ptep->val, pte.val, __ATOMIC_RELEASE); /* pairs with the walk of hardware (mmu.c) */
}
static inline void set_pmd_at(pmd_t *pmdp, pmd_t pmd)
{
	ps_point(PS_POINT_WRITE, pmdp);
	__atomic_store_n(&pmdp->val, pmd.val, __ATOMIC_RELEASE);
}
/**
 * Takes an entry out in one atomic step, so that a racing A/D update is never lost. Context: the lock of its table.
 * Return: what was there. Fidelity: exact.
 */
static inline pte_t ptep_get_and_clear(pte_t *ptep)
{
	ps_point(PS_POINT_RMW, ptep);
	return __pte(__atomic_exchange_n(&ptep->val, 0, __ATOMIC_ACQ_REL));
}
static inline pmd_t pmdp_get_and_clear(pmd_t *pmdp)
{
	ps_point(PS_POINT_RMW, pmdp);
	return __pmd(__atomic_exchange_n(&pmdp->val, 0, __ATOMIC_ACQ_REL));
}

/**
 * Changes of live entries that hardware may be setting accessed and dirty bits in meanwhile: each is one atomic step, so that
 * none is lost. Context: the lock of the table is held. Fidelity: exact (the x86 versions of these names).
 */
static inline void ps_entry_and(u64 *entry, u64 mask)
{
	ps_point(PS_POINT_RMW, entry);
	__atomic_fetch_and(entry, mask, __ATOMIC_ACQ_REL);
}
static inline void ps_entry_or(u64 *entry, u64 bits)
{
	ps_point(PS_POINT_RMW, entry);
	__atomic_fetch_or(entry, bits, __ATOMIC_ACQ_REL);
}
static inline void ptep_set_wrprotect(pte_t *ptep)
{
	ps_entry_and(&ptep->val, ~_PAGE_RW);
}
static inline void pmdp_set_wrprotect(pmd_t *pmdp)
{
	ps_entry_and(&pmdp->val, ~_PAGE_RW);
}
/** Return: whether the accessed bit was set. */
static inline bool ptep_test_and_clear_young(pte_t *ptep)
{
	ps_point(PS_POINT_RMW, ptep);
	return __atomic_fetch_and(&ptep->val, ~_PAGE_ACCESSED, __ATOMIC_ACQ_REL) & _PAGE_ACCESSED;
}
static inline bool pmdp_test_and_clear_young(pmd_t *pmdp)
{
	ps_point(PS_POINT_RMW, pmdp);
	return __atomic_fetch_and(&pmdp->val, ~_PAGE_ACCESSED, __ATOMIC_ACQ_REL) & _PAGE_ACCESSED;
}
/** Adds rights and bits to a present entry, as a fault does that finds it too narrow: what `entry` has, the table's gets. */
static inline void ptep_set_access_flags(pte_t *ptep, pte_t entry)
{
	ps_entry_or(&ptep->val, entry.val & (_PAGE_RW | _PAGE_ACCESSED | _PAGE_DIRTY | _PAGE_SOFT_DIRTY));
}
static inline void pmdp_set_access_flags(pmd_t *pmdp, pmd_t entry)
{
	ps_entry_or(&pmdp->val, entry.val & (_PAGE_RW | _PAGE_ACCESSED | _PAGE_DIRTY | _PAGE_SOFT_DIRTY));
}
/**
 * Makes a huge entry useless to hardware without making it none: a walker that takes no lock must not take the memory for
 * unmapped. Return: what was there, accessed and dirty bits complete. The caller flushes the TLBs and then sets what comes next.
 */
static inline pmd_t pmdp_invalidate(pmd_t *pmdp)
{
	u64 old;

	ps_point(PS_POINT_RMW, pmdp);
	old = __atomic_load_n(&pmdp->val, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&pmdp->val, &old, (old & ~_PAGE_PRESENT) | _PAGE_PROTNONE, false,
					    __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		;
	return __pmd(old);
}

/** The table of PTEs a PMD points to. Context: pmd_table(pmd). */
static inline pte_t *pmd_pte_table(pmd_t pmd)
{
	return (pte_t *)(uintptr_t)(pmd.val & _PAGE_TABLE_MASK);
}

/**
 * Finds the PMD that covers addr, whatever it holds. Each level read is a schedule point.
 * Context: the tables stay: mmap_lock, a lock of reverse mapping over a VMA there, or the CPU's mmu_lock.
 * Return: pointer into a PMD table, or NULL where no such table exists. Fidelity: exact (pgd_offset to pmd_offset; mm_find_pmd
 * without its test of what the entry holds).
 */
pmd_t *pmd_find(const struct page_tables *pt, u64 addr);
/** What pmd_find() does, as one step without a schedule point. Context: nobody else runs until the caller lets them. */
static inline pmd_t *__pmd_find(const struct page_tables *pt, u64 addr)
{
	const unsigned int last = (1U << pt->bits) - 1;
	u64 entry;

	if (unlikely(addr >= task_size(pt)))
		return NULL;
	entry = pt->pgd[(addr >> (PAGE_SHIFT + 3 * pt->bits)) & last];
	if (unlikely(!entry))
		return NULL;
	entry = ((const u64 *)(uintptr_t)(entry & _PAGE_TABLE_MASK))[(addr >> (PAGE_SHIFT + 2 * pt->bits)) & last];
	if (unlikely(!entry))
		return NULL;
	return (pmd_t *)(uintptr_t)(entry & _PAGE_TABLE_MASK) + ((addr >> (PAGE_SHIFT + pt->bits)) & last);
}
/**
 * The same, making the tables on the way: allocated first, hung in under page_table_lock if still nobody else has.
 * Context: mmap_lock; takes page_table_lock; may allocate. Return: NULL out of memory. Fidelity: exact (p4d_alloc, pud_alloc,
 * pmd_alloc), save that a table takes no frame.
 */
pmd_t *pmd_alloc(struct page_tables *pt, u64 addr);
/**
 * Walks to the next PMD table entry that is not none in [*addr, end). Fidelity: exact (the loops over pgd_none_or_clear_bad
 * and below, with pmd_addr_end).
 * On return *addr is the first address covered by that entry that lies in the range. Skips absent upper levels in one step.
 * Return: the entry, or NULL when the range is exhausted.
 */
pmd_t *pmd_next(const struct page_tables *pt, u64 *addr, u64 end);
/** End of the part of [addr, end) that the PMD covering addr maps. */
static inline u64 pmd_addr_end(const struct page_tables *pt, u64 addr, u64 end)
{
	u64 boundary = (addr + pmd_size(pt)) & pmd_mask(pt);

	return boundary - 1 < end - 1 ? boundary : end;
}

/** The lock of the table that holds this PMD. Fidelity: exact (pmd_lockptr, split locks). */
spinlock_t *pmd_lockptr(const struct page_tables *pt, const pmd_t *pmdp);
static inline spinlock_t *pmd_lock(const struct page_tables *pt, const pmd_t *pmdp)
{
	spinlock_t *ptl = pmd_lockptr(pt, pmdp);

	spin_lock(ptl);
	return ptl;
}
/** The lock of the table of PTEs that this PMD points to. Fidelity: exact (pte_lockptr, split locks). */
spinlock_t *pte_lockptr(const struct page_tables *pt, pmd_t pmd);
/** The PTE of addr in the table of *pmdp, unlocked. */
static inline pte_t *pte_offset_map(const struct page_tables *pt, pmd_t pmd, u64 addr)
{
	return pmd_pte_table(pmd) + pte_index(pt, addr);
}
/** The PTE of addr with its table locked. Context: pmd_table(*pmdp) held stable by the caller. Fidelity: exact. */
pte_t *pte_offset_map_lock(const struct page_tables *pt, pmd_t *pmdp, u64 addr, spinlock_t **ptlp);
static inline void pte_unmap_unlock(pte_t *ptep, spinlock_t *ptl)
{
	(void)ptep;
	spin_unlock(ptl);
}

/**
 * Gives *pmdp a table of PTEs if it has nothing.
 * Context: mmap_lock; takes the PMD lock; may allocate.
 * Return: 0 when *pmdp now holds something (a table, or a leaf put there meanwhile), -ENOMEM. Fidelity: exact.
 */
int pte_alloc(struct page_tables *pt, pmd_t *pmdp);
/** A table of PTEs nobody points to yet, all none. Return: NULL out of memory. Fidelity: simplified, takes no frame. */
pte_t *pte_alloc_one(struct page_tables *pt);
/** Gives back such a table, or one that hardware has never seen (a deposit). NULL is fine. Fidelity: simplified as above. */
void pte_free(struct page_tables *pt, pte_t *table);
/** Points an empty PMD to a table. Context: the PMD lock is held. Fidelity: exact. */
void pmd_populate(struct page_tables *pt, pmd_t *pmdp, pte_t *table);
/**
 * Counts tables hung in or taken out by others than pte_alloc (deposit and withdraw). Fidelity: simplified: by kind, where
 * 6.1 counts bytes of all in one (pgtables_bytes).
 */
void mm_inc_nr_ptes(struct page_tables *pt);
void mm_dec_nr_ptes(struct page_tables *pt);

/**
 * A huge PMD keeps one unused table of PTEs in store, so that splitting it can never fail for want of memory.
 * Context: the PMD lock is held for both. Fidelity: exact, save for the order in which deposits come back.
 */
void pgtable_trans_huge_deposit(struct page_tables *pt, pmd_t *pmdp, pte_t *table);
pte_t *pgtable_trans_huge_withdraw(struct page_tables *pt, pmd_t *pmdp);
/** Tables deposited with the table that *pmdp lies in. For checks. */
unsigned long pgtable_trans_huge_deposits(const pmd_t *pmdp);

/**
 * Tables taken out of a tree and not yet given back: hardware may be reading them. All zero: none.
 * @start, @end: what to flush, as Linux notes it: the first page that each table covered; start >= end: nothing.
 */
struct pgtables_taken {
	void *first;
	u64 start, end;
};

/**
 * Takes the tables that [start, end), which maps nothing any more, has left behind out of the tree: those that lie wholly in
 * [floor, ceiling), the end of the mapping below and the begin of the one above. Only what [start, end) touches is looked
 * at: a table exists where there is or was a mapping. Adds them to *taken.
 * Context: mmap lock, for reading if nothing can be mapped in [floor, ceiling) meanwhile; the VMAs of the range are out of mm
 * and reverse mapping, so nobody walks or populates there. Fidelity: exact (free_pgd_range, up to pte_free_tlb).
 */
void pgtables_take(struct page_tables *pt, u64 start, u64 end, u64 floor, u64 ceiling, struct pgtables_taken *taken);
/**
 * Gives back what was taken, and empties it. Context: *taken's range has been flushed since. Fidelity: simplified
 * (tlb_table_flush): 6.1 on x86 also waits for an RCU grace period, for walkers that take no lock and get no interrupt;
 * there are none here.
 */
void pgtables_give_back(struct page_tables *pt, struct pgtables_taken *taken);
/** All three steps, the flush included. Context: as pgtables_take(). Fidelity: simplified (a flush of its own). */
void free_pgd_range(struct page_tables *pt, u64 start, u64 end, u64 floor, u64 ceiling);
/** The same of all tables that lie wholly in [start, end), which maps nothing. */
void free_pgtables(struct page_tables *pt, u64 start, u64 end);

#ifdef __cplusplus
}
#endif
#endif
