/* SPDX-License-Identifier: MIT */
/*
 * The PG_ bits of struct page, and the predicates and setters made from them. Every flag has a policy that says which
 * struct page of a compound page carries it:
 *
 *   PF_ANY          this very page, head or tail
 *   PF_HEAD         the head, whichever page is named
 *   PF_ONLY_HEAD    the head; naming a tail is a bug
 *   PF_NO_TAIL      read: the head; changing it through a tail is a bug
 *   PF_NO_COMPOUND  read: this page; changing it on a compound page is a bug
 *
 * PageX reads (one schedule point), SetPageX / ClearPageX change atomically, TestSetPageX / TestClearPageX change and
 * return the old value, __SetPageX / __ClearPageX change without atomicity: the caller is the only one who can see the
 * page. Bits, aliases and policies are those of Linux 6.1 (include/linux/page-flags.h).
 *
 * Layer: page
 */
#ifndef PAGESIM_PAGE_FLAGS_H
#define PAGESIM_PAGE_FLAGS_H

#include <pagesim/page.h>
#include <pagesim/bitops.h>
#include <pagesim/bug.h>

#ifdef __cplusplus
extern "C" {
#endif

enum pageflags {
	PG_locked, /* page_lock.h; a lock of class PAGE_LOCK */
	PG_referenced,
	PG_uptodate, /* contents are valid; set before the page can be found */
	PG_dirty,
	PG_lru, /* on an LRU list; who clears it owns taking the page off */
	PG_active,
	PG_workingset,
	PG_waiters, /* somebody sleeps on the page's wait queue */
	PG_error,
	PG_slab,
	PG_owner_priv_1,
	PG_arch_1,
	PG_reserved,
	PG_private, /* private_data is the file system's (buffer heads) */
	PG_private_2,
	PG_writeback,
	PG_head, /* head of a compound page */
	PG_mappedtodisk,
	PG_reclaim,    /* free as soon as writeback ends */
	PG_swapbacked, /* anonymous or shmem: goes to swap */
	PG_unevictable,
	PG_mlocked,
	PG_hwpoison,
	PG_young,
	PG_idle,
	NR_PAGEFLAGS,

	PG_readahead = PG_reclaim,
	PG_isolated = PG_reclaim, /* movable non-LRU pages: isolated for migration */
	PG_checked = PG_owner_priv_1,
	PG_swapcache = PG_owner_priv_1,      /* with PG_swapbacked: private_data is a swap entry */
	PG_anon_exclusive = PG_mappedtodisk, /* anonymous pages: belongs to one mm; per PTE, or the head's per PMD */
	PG_reported = PG_uptodate,
	PG_double_map = PG_workingset, /* in the first tail: PMDs and, since one of them was split, PTEs map the page */
};

static_assert((int)NR_PAGEFLAGS <= LAST_CPUPID_PGSHIFT, "PG_ bits end below last_cpupid");

/* Head and tail. */

/**
 * The head of the compound page that contains `page`, or `page` itself.
 * **Context:** any. Unless the caller holds a reference the answer can be stale when it is returned.
 * Fidelity: exact.
 */
static inline struct page *compound_head(const struct page *page)
{
	unsigned long head = READ_ONCE(page->compound_head);

	if (unlikely(head & 1))
		return (struct page *)(head - 1);
	return (struct page *)page;
}

static inline bool PageTail(const struct page *page)
{
	return READ_ONCE(page->compound_head) & 1;
}

static inline bool PageCompound(const struct page *page)
{
	return test_bit(PG_head, &page->flags) || PageTail(page);
}

#define PF_ANY(page, change)         (page)
#define PF_HEAD(page, change)        compound_head(page)
#define PF_ONLY_HEAD(page, change)   ps_pf_not(page, PageTail(page))
#define PF_NO_TAIL(page, change)     ps_pf_not(compound_head(page), (change) && PageTail(page))
#define PF_NO_COMPOUND(page, change) ps_pf_not(page, (change) && PageCompound(page))

/** Pass `page` on, having reported a bug if `wrong`. */
static inline struct page *ps_pf_not(const struct page *page, bool wrong)
{
	VM_BUG_ON_PAGE(wrong, page);
	return (struct page *)page;
}

#define TESTPAGEFLAG(Name, bit, policy)                             \
	static inline bool Page##Name(const struct page *page)      \
	{                                                           \
		return test_bit(PG_##bit, &policy(page, 0)->flags); \
	}
#define SETPAGEFLAG(Name, bit, policy)                      \
	static inline void SetPage##Name(struct page *page) \
	{                                                   \
		set_bit(PG_##bit, &policy(page, 1)->flags); \
	}
#define CLEARPAGEFLAG(Name, bit, policy)                      \
	static inline void ClearPage##Name(struct page *page) \
	{                                                     \
		clear_bit(PG_##bit, &policy(page, 1)->flags); \
	}
#define __SETPAGEFLAG(Name, bit, policy)                      \
	static inline void __SetPage##Name(struct page *page) \
	{                                                     \
		__set_bit(PG_##bit, &policy(page, 1)->flags); \
	}
#define __CLEARPAGEFLAG(Name, bit, policy)                      \
	static inline void __ClearPage##Name(struct page *page) \
	{                                                       \
		__clear_bit(PG_##bit, &policy(page, 1)->flags); \
	}
#define TESTSETFLAG(Name, bit, policy)                                      \
	static inline bool TestSetPage##Name(struct page *page)             \
	{                                                                   \
		return test_and_set_bit(PG_##bit, &policy(page, 1)->flags); \
	}
#define TESTCLEARFLAG(Name, bit, policy)                                      \
	static inline bool TestClearPage##Name(struct page *page)             \
	{                                                                     \
		return test_and_clear_bit(PG_##bit, &policy(page, 1)->flags); \
	}
#define PAGEFLAG(Name, bit, policy) \
	TESTPAGEFLAG(Name, bit, policy) SETPAGEFLAG(Name, bit, policy) CLEARPAGEFLAG(Name, bit, policy)
#define __PAGEFLAG(Name, bit, policy) \
	TESTPAGEFLAG(Name, bit, policy) __SETPAGEFLAG(Name, bit, policy) __CLEARPAGEFLAG(Name, bit, policy)
#define TESTSCFLAG(Name, bit, policy) TESTSETFLAG(Name, bit, policy) TESTCLEARFLAG(Name, bit, policy)

__PAGEFLAG(Locked, locked, PF_NO_TAIL)
PAGEFLAG(Waiters, waiters, PF_ONLY_HEAD)
PAGEFLAG(Error, error, PF_NO_TAIL)
TESTCLEARFLAG(Error, error, PF_NO_TAIL)
PAGEFLAG(Referenced, referenced, PF_HEAD)
TESTCLEARFLAG(Referenced, referenced, PF_HEAD)
__SETPAGEFLAG(Referenced, referenced, PF_HEAD)
PAGEFLAG(Dirty, dirty, PF_HEAD)
TESTSCFLAG(Dirty, dirty, PF_HEAD)
__CLEARPAGEFLAG(Dirty, dirty, PF_HEAD)
PAGEFLAG(LRU, lru, PF_HEAD)
TESTCLEARFLAG(LRU, lru, PF_HEAD)
__CLEARPAGEFLAG(LRU, lru, PF_HEAD)
PAGEFLAG(Active, active, PF_HEAD)
TESTCLEARFLAG(Active, active, PF_HEAD)
__CLEARPAGEFLAG(Active, active, PF_HEAD)
PAGEFLAG(Workingset, workingset, PF_HEAD)
TESTCLEARFLAG(Workingset, workingset, PF_HEAD)
__PAGEFLAG(Slab, slab, PF_NO_TAIL)
PAGEFLAG(Checked, checked, PF_NO_COMPOUND)
PAGEFLAG(Reserved, reserved, PF_NO_COMPOUND)
__SETPAGEFLAG(Reserved, reserved, PF_NO_COMPOUND)
__CLEARPAGEFLAG(Reserved, reserved, PF_NO_COMPOUND)
PAGEFLAG(SwapBacked, swapbacked, PF_NO_TAIL)
__SETPAGEFLAG(SwapBacked, swapbacked, PF_NO_TAIL)
__CLEARPAGEFLAG(SwapBacked, swapbacked, PF_NO_TAIL)
PAGEFLAG(Private, private, PF_ANY)
PAGEFLAG(Private2, private_2, PF_ANY)
TESTSCFLAG(Private2, private_2, PF_ANY)
PAGEFLAG(OwnerPriv1, owner_priv_1, PF_ANY)
TESTCLEARFLAG(OwnerPriv1, owner_priv_1, PF_ANY)
TESTPAGEFLAG(Writeback, writeback, PF_NO_TAIL)
TESTSCFLAG(Writeback, writeback, PF_NO_TAIL)
PAGEFLAG(MappedToDisk, mappedtodisk, PF_NO_TAIL)
PAGEFLAG(Reclaim, reclaim, PF_NO_TAIL)
TESTCLEARFLAG(Reclaim, reclaim, PF_NO_TAIL)
PAGEFLAG(Readahead, readahead, PF_NO_COMPOUND)
TESTCLEARFLAG(Readahead, readahead, PF_NO_COMPOUND)
PAGEFLAG(Unevictable, unevictable, PF_HEAD)
__CLEARPAGEFLAG(Unevictable, unevictable, PF_HEAD)
TESTCLEARFLAG(Unevictable, unevictable, PF_HEAD)
PAGEFLAG(Mlocked, mlocked, PF_NO_TAIL)
__CLEARPAGEFLAG(Mlocked, mlocked, PF_NO_TAIL)
TESTSCFLAG(Mlocked, mlocked, PF_NO_TAIL)
PAGEFLAG(HWPoison, hwpoison, PF_ANY)
TESTSCFLAG(HWPoison, hwpoison, PF_ANY)
PAGEFLAG(Young, young, PF_ANY)
TESTCLEARFLAG(Young, young, PF_ANY)
PAGEFLAG(Idle, idle, PF_ANY)
PAGEFLAG(Isolated, isolated, PF_ANY)
__PAGEFLAG(Head, head, PF_ANY)
CLEARPAGEFLAG(Head, head, PF_ANY)
SETPAGEFLAG(SwapCache, swapcache, PF_NO_TAIL)
CLEARPAGEFLAG(SwapCache, swapcache, PF_NO_TAIL)

/** Is the page in the swap cache? The bit means something only on a swap-backed page. */
static inline bool PageSwapCache(const struct page *page)
{
	page = compound_head(page);
	return test_bit(PG_swapbacked, &page->flags) && test_bit(PG_swapcache, &page->flags);
}

/** True: the contents are valid, and what was written before SetPageUptodate is seen after this. */
static inline bool PageUptodate(const struct page *page)
{
	bool ret = test_bit(PG_uptodate, &compound_head(page)->flags);

	if (ret)
		smp_rmb(); /* pairs with smp_wmb in SetPageUptodate */
	return ret;
}

static inline void SetPageUptodate(struct page *page)
{
	VM_BUG_ON_PAGE(PageTail(page), page);
	smp_wmb(); /* pairs with smp_rmb in PageUptodate */
	set_bit(PG_uptodate, &page->flags);
}

static inline void __SetPageUptodate(struct page *page)
{
	VM_BUG_ON_PAGE(PageTail(page), page);
	smp_wmb(); /* pairs with smp_rmb in PageUptodate */
	__set_bit(PG_uptodate, &page->flags);
}
CLEARPAGEFLAG(Uptodate, uptodate, PF_NO_TAIL)

/* What `mapping` says. */

/** Low bits of the page's own `mapping` word (not its head's). */
static inline unsigned long page_mapping_flags(const struct page *page)
{
	return (unsigned long)READ_ONCE(page->mapping) & PAGE_MAPPING_FLAGS;
}

static inline bool PageMappingFlags(const struct page *page)
{
	return page_mapping_flags(page) != 0;
}

/** Anonymous, KSM included. Stays true after the last unmapping, until the page is freed. */
static inline bool PageAnon(const struct page *page)
{
	return page_mapping_flags(compound_head(page)) & PAGE_MAPPING_ANON;
}

static inline bool PageKsm(const struct page *page)
{
	return page_mapping_flags(compound_head(page)) == PAGE_MAPPING_KSM;
}

/** A movable page that is not on an LRU (balloon, zsmalloc). Without the page lock: a hint. */
static inline bool __PageMovable(const struct page *page)
{
	return page_mapping_flags(page) == PAGE_MAPPING_MOVABLE;
}

/** `mapping` without its low bits: an anon_vma, a KSM node, or an address_space. */
static inline void *page_rmapping(const struct page *page)
{
	return (void *)((unsigned long)READ_ONCE(compound_head(page)->mapping) & ~PAGE_MAPPING_FLAGS);
}

/** The anon_vma of an anonymous page that is not KSM, else NULL. The caller keeps it alive. */
static inline struct anon_vma *page_anon_vma(const struct page *page)
{
	unsigned long mapping = (unsigned long)READ_ONCE(compound_head(page)->mapping);

	if ((mapping & PAGE_MAPPING_FLAGS) != PAGE_MAPPING_ANON)
		return (struct anon_vma *)NULL;
	return (struct anon_vma *)(mapping - PAGE_MAPPING_ANON);
}

/** Anonymous memory may be shared copy-on-write; this page is known to be mapped by one mm only. */
static inline bool PageAnonExclusive(const struct page *page)
{
	VM_BUG_ON_PAGE(!PageAnon(page), page);
	return test_bit(PG_anon_exclusive, &page->flags);
}

static inline void SetPageAnonExclusive(struct page *page)
{
	VM_BUG_ON_PAGE(!PageAnon(page) || PageKsm(page), page);
	set_bit(PG_anon_exclusive, &page->flags);
}

static inline void ClearPageAnonExclusive(struct page *page)
{
	VM_BUG_ON_PAGE(!PageAnon(page) || PageKsm(page), page);
	clear_bit(PG_anon_exclusive, &page->flags);
}

static inline void __ClearPageAnonExclusive(struct page *page)
{
	VM_BUG_ON_PAGE(!PageAnon(page), page);
	__clear_bit(PG_anon_exclusive, &page->flags);
}

/* Pages nobody maps say in page_type what they are. A set type is a cleared bit, so a mapcount of -1 is "no type". */

#define PAGE_TYPE_BASE        0xf0000000U
#define PAGE_MAPCOUNT_RESERVE (-128)
#define PG_buddy              0x00000080U
#define PG_offline            0x00000100U
#define PG_table              0x00000200U
#define PG_guard              0x00000400U

#define PAGE_TYPE_OPS(Name, type)                                                                                 \
	static inline bool Page##Name(const struct page *page)                                                    \
	{                                                                                                         \
		return (READ_ONCE(page->page_type) & (PAGE_TYPE_BASE | (type))) == PAGE_TYPE_BASE;                \
	}                                                                                                         \
	static inline void __SetPage##Name(struct page *page)                                                     \
	{                                                                                                         \
		VM_BUG_ON_PAGE((page->page_type & (PAGE_TYPE_BASE | (type))) != (PAGE_TYPE_BASE | (type)), page); \
		WRITE_ONCE(page->page_type, page->page_type & ~(type));                                           \
	}                                                                                                         \
	static inline void __ClearPage##Name(struct page *page)                                                   \
	{                                                                                                         \
		VM_BUG_ON_PAGE(!Page##Name(page), page);                                                          \
		WRITE_ONCE(page->page_type, page->page_type | (type));                                            \
	}

/** On a free list of the buddy allocator: its first page. zone->lock; without it a hint. */
PAGE_TYPE_OPS(Buddy, PG_buddy)
/** Logically offline: a ballooned frame. */
PAGE_TYPE_OPS(Offline, PG_offline)
/** Holds a page table. */
PAGE_TYPE_OPS(Table, PG_table)
PAGE_TYPE_OPS(Guard, PG_guard)

static inline bool page_has_type(const struct page *page)
{
	return (int)READ_ONCE(page->page_type) < PAGE_MAPCOUNT_RESERVE;
}

/* Groups of flags. */

#define PS_PG(bit) (1UL << PG_##bit)

/** Must be clear when the last reference goes. */
#define PAGE_FLAGS_CHECK_AT_FREE                                                                               \
	(PS_PG(lru) | PS_PG(locked) | PS_PG(private) | PS_PG(private_2) | PS_PG(writeback) | PS_PG(reserved) | \
	 PS_PG(slab) | PS_PG(active) | PS_PG(unevictable) | PS_PG(mlocked))
/** Must be clear on a page about to be handed out. */
#define PAGE_FLAGS_CHECK_AT_PREP (((1UL << NR_PAGEFLAGS) - 1) & ~PS_PG(hwpoison))
#define PAGE_FLAGS_PRIVATE       (PS_PG(private) | PS_PG(private_2))

/** Does the page carry file system data (buffers)? */
static inline bool page_has_private(const struct page *page)
{
	return (READ_ONCE(page->flags) & PAGE_FLAGS_PRIVATE) != 0;
}

/** hugetlbfs is not modelled. Fidelity: stub, always false. */
static inline bool PageHuge(const struct page *page)
{
	(void)page;
	return false;
}

static inline bool PageTransHuge(const struct page *page)
{
	VM_BUG_ON_PAGE(PageTail(page), page);
	return PageHead(page);
}

static inline bool PageTransCompound(const struct page *page)
{
	return PageCompound(page);
}

static inline bool PageTransTail(const struct page *page)
{
	return PageTail(page);
}

/** Double map of a compound page, by its head. Context: a page-table lock of one of its mappings. Fidelity: exact. */
static inline bool PageDoubleMap(const struct page *head)
{
	return test_bit(PG_double_map, &head[1].flags);
}
static inline void SetPageDoubleMap(struct page *head)
{
	set_bit(PG_double_map, &head[1].flags);
}
static inline bool TestClearPageDoubleMap(struct page *head)
{
	return test_and_clear_bit(PG_double_map, &head[1].flags);
}

#ifdef __cplusplus
}
#endif
#endif
