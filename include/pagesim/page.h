/* SPDX-License-Identifier: MIT */
/*
 * One struct page per page frame of the simulated machine: 64 bytes, in a reserved array (machine->mem_map) that the
 * host backs only where a zone has been carved. An all-zero struct page is a frame that was never allocated; everything
 * below its zone's frontier is initialised. This header holds the structure, its place in the array, what is packed
 * into the flags word above the PG_ bits (node, zone, last accessing CPU and pid), and the words read from `mapping`.
 * Flags are in page_flags.h, the count in page_ref.h, mapcounts in page_mapcount.h, compound pages in compound.h.
 *
 * Which view of words 1 to 5 is valid:
 *   view             while
 *   lru / mapping    the page is allocated and is not a tail; lru.next/prev belong to whoever isolated it
 *   buddy            PageBuddy: on a free list of its zone, private_data = order            (zone->lock)
 *   pcp              free, on a per-CPU list, index = migratetype it was freed with          (pcp->lock)
 *   tail             PageTail: compound_head has bit 0 set; `mapping` holds TAIL_MAPPING, except in tails 1 and 2
 *   first tail       order, mapcount and pincount of the whole compound page
 *   second tail      deferred_list
 * lru.next of a page that is not a tail never has bit 0 set, so compound_head may be read of any page at any time.
 *
 * flags word:  | node 63:58 | zone 57:56 | last_cpupid 55:35 | PG_ bits |
 *
 * Layer: page
 */
#ifndef PAGESIM_PAGE_H
#define PAGESIM_PAGE_H

#include <pagesim/types.h>
#include <pagesim/list.h>
#include <pagesim/atomic.h>
#include <pagesim/machine.h>
#include <pagesim/task.h>

#ifdef __cplusplus
extern "C" {
#endif

struct address_space;
struct anon_vma;

struct page {
	/** PG_ bits (atomic bit operations) below node, zone and last_cpupid. */
	unsigned long flags;
	__extension__ union {
		__extension__ struct {
			__extension__ union {
				/** LRU list (lruvec->lru_lock, PG_lru says it is there), or the isolator's own list. */
				struct list_head lru;
				/** Free list of a zone (zone->lock). */
				struct list_head buddy_list;
				/** Per-CPU free list (pcp->lock). */
				struct list_head pcp_list;
				/** Unevictable pages are on no list: how many mlocked VMAs map the page (lru_lock). */
				__extension__ struct {
					void *mlock_filler;
					unsigned int mlock_count;
				};
			};
			/** Owner of the page, low bits PAGE_MAPPING_*. Page lock, or the only reference. */
			struct address_space *mapping;
			/** Place in the owner, in pages. Page lock. Free pages: migratetype (pcp or zone lock). */
			pgoff_t index;
			/** Swap entry, buffer heads, or the order of a free page: PG_private/PG_swapcache/PageBuddy say. */
			unsigned long private_data;
		};
		__extension__ struct {
			/** Tail pages: address of the head + 1. Written before the head's refcount is not 0. */
			unsigned long compound_head;
			/** First tail only; set while nobody else has the page. */
			unsigned char compound_dtor;
			unsigned char compound_order;
			/** First tail: PMD mappings - 1. PTE or PMD lock of the mapper, or the rmap's. */
			atomic_t compound_mapcount;
			/** First tail: pins of the whole page. */
			atomic_t compound_pincount;
			unsigned int compound_nr;
			/** First tail: small pages that PTEs map, + COMPOUND_MAPPED while PMDs do. Relaxed atomic. */
			int nr_pages_mapped;
		};
		__extension__ struct {
			unsigned long second_tail_pad[2];
			/** Second tail: pgdat->deferred_split_queue.split_queue (its lock). */
			struct list_head deferred_list;
		};
	};
	__extension__ union {
		/** Mappings by a PTE - 1. Changed under the page table lock of the mapping. */
		atomic_t _mapcount;
		/** What a page that nobody maps is used for, inverted bits: PageBuddy, PageOffline, PageTable. */
		unsigned int page_type;
	};
	/** References. Of the head for a compound page; tails stay 0. 0: free, or frozen by its owner. */
	atomic_t _refcount;
	/** The frame's content: a token (contents `tag`) or the address of its bytes (contents `bytes`). */
	u64 contents;
};

static_assert(sizeof(struct page) == 64, "struct page is one cache line");
static_assert(sizeof(unsigned long) == 8, "64-bit hosts only");

/*
 * Read and write a word that others write or read at the same time where no order of steps depends on the answer: the
 * part of the flags that never changes, a counter somebody looks at as a hint. No schedule point.
 */
#ifdef PS_NATIVE
#define ps_glance(x)  __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define ps_show(x, v) __atomic_store_n(&(x), (v), __ATOMIC_RELAXED)
#else
#define ps_glance(x)  (x)
#define ps_show(x, v) ((void)((x) = (v)))
#endif

/* The mem_map. */

/** First struct page of the running task's machine. */
static inline struct page *ps_mem_map(void)
{
	return ps_current->machine->mem_map;
}

static inline struct page *pfn_to_page(pfn_t pfn)
{
	return ps_mem_map() + pfn;
}

static inline pfn_t page_to_pfn(const struct page *page)
{
	return (pfn_t)(page - ps_mem_map());
}

#define nth_page(page, n) ((page) + (n))

/* The flags word above the PG_ bits. */

#define NODES_SHIFT       6
#define ZONES_SHIFT       2
#define LAST_PID_BITS     8
#define LAST_CPU_BITS     13
#define LAST_CPUPID_WIDTH (LAST_PID_BITS + LAST_CPU_BITS)

#define NODES_PGSHIFT       (64 - NODES_SHIFT)
#define ZONES_PGSHIFT       (NODES_PGSHIFT - ZONES_SHIFT)
#define LAST_CPUPID_PGSHIFT (ZONES_PGSHIFT - LAST_CPUPID_WIDTH)

#define NODES_MASK       ((1UL << NODES_SHIFT) - 1)
#define ZONES_MASK       ((1UL << ZONES_SHIFT) - 1)
#define LAST_CPUPID_MASK ((1UL << LAST_CPUPID_WIDTH) - 1)

static_assert(MAX_NUMNODES <= (1 << NODES_SHIFT), "a node number fits the flags word");

/** Node of the frame. Constant for the life of the machine. */
static inline nid_t page_to_nid(const struct page *page)
{
	return (nid_t)(ps_glance(page->flags) >> NODES_PGSHIFT);
}

/** Zone index (enum zone_type) of the frame. Constant for the life of the machine. */
static inline int page_zonenum(const struct page *page)
{
	return (int)((ps_glance(page->flags) >> ZONES_PGSHIFT) & ZONES_MASK);
}

/* Who touched the page last, as NUMA balancing sees it (mode 2 keeps a time there instead). */

#define LAST_PID_MASK ((1 << LAST_PID_BITS) - 1)
#define LAST_CPU_MASK ((1 << LAST_CPU_BITS) - 1)

static inline int cpu_pid_to_cpupid(int cpu, int pid)
{
	return ((cpu & LAST_CPU_MASK) << LAST_PID_BITS) | (pid & LAST_PID_MASK);
}

static inline int cpupid_to_pid(int cpupid)
{
	return cpupid & LAST_PID_MASK;
}

static inline int cpupid_to_cpu(int cpupid)
{
	return (cpupid >> LAST_PID_BITS) & LAST_CPU_MASK;
}

static inline bool cpupid_pid_unset(int cpupid)
{
	return cpupid_to_pid(cpupid) == LAST_PID_MASK;
}

static inline bool cpupid_cpu_unset(int cpupid)
{
	return cpupid_to_cpu(cpupid) == LAST_CPU_MASK;
}

static inline int page_cpupid_last(struct page *page)
{
	return (int)((READ_ONCE(page->flags) >> LAST_CPUPID_PGSHIFT) & LAST_CPUPID_MASK);
}

/**
 * Store who accesses the page now.
 * Return: what was stored before.
 * Fidelity: exact (page_cpupid_xchg_last).
 */
int page_cpupid_xchg_last(struct page *page, int cpupid);

/** Forget the last accessor; the page is not shared. */
static inline void page_cpupid_reset_last(struct page *page)
{
	page->flags |= LAST_CPUPID_MASK << LAST_CPUPID_PGSHIFT;
}

/**
 * Tiering mode of NUMA balancing: store an access time in the same field.
 * @time: milliseconds, kept modulo 2^LAST_CPUPID_WIDTH.
 * Return: the time stored before.
 */
static inline int xchg_page_access_time(struct page *page, int time)
{
	return page_cpupid_xchg_last(page, time);
}

/* The words of `mapping` and `private_data`. */

#define PAGE_MAPPING_ANON    0x1UL
#define PAGE_MAPPING_MOVABLE 0x2UL
#define PAGE_MAPPING_KSM     (PAGE_MAPPING_ANON | PAGE_MAPPING_MOVABLE)
#define PAGE_MAPPING_FLAGS   (PAGE_MAPPING_ANON | PAGE_MAPPING_MOVABLE)

/** What `mapping` of a tail page holds: an address nobody may follow. */
#define TAIL_MAPPING ((struct address_space *)0xdead000000000400UL)

static inline unsigned long page_private(const struct page *page)
{
	return page->private_data;
}

static inline void set_page_private(struct page *page, unsigned long value)
{
	page->private_data = value;
}

#ifdef __cplusplus
}
#endif
#endif
