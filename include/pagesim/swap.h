/* SPDX-License-Identifier: MIT */
/*
 * The swap area: a device of page-sized slots, how often each slot is used, which slots are free, and what is in them.
 * There is one area, of type 0, as the golden guest has it: a synchronous device (zram), whose reads and writes are over
 * when they return.
 *
 * The word of a slot in the map:
 *
 *   0                      free
 *   n                      n page table entries refer to it (SWAP_MAP_SHMEM: a page cache entry of shared memory does)
 *   SWAP_HAS_CACHE | n     and it is in the swap cache (swap_cache.h), or about to enter, or one fault reads it past the cache
 *   SWAP_MAP_BAD           not a slot: the header
 *
 *             get_swap_page                 swap_duplicate (unmapping)          put_swap_page
 *     0 ─────────────────────▶ HAS_CACHE ─────────────────────▶ HAS_CACHE | n ────────────────────▶ n
 *     ▲                          │                                 ▲    (reclaimed)                 │
 *     │      put_swap_page       │                                 └────────────────────────────────┘
 *     ├──────────────────────────┘                                          swapcache_prepare (faulted)
 *     └───────────────── swap_free of the last, when it is not cached
 *
 * Slots are given out by clusters of a huge page's size. Each CPU fills a cluster of its own; a huge page takes a whole
 * free one, so that it can be written in one piece.
 *
 * Locking: ps_swap.lock (SWAP_LOCK) for map, clusters and counts; nests inside a page-table lock. What a slot holds
 * belongs to who has the page of the slot locked.
 *
 * What Linux does differently (Fidelity: simplified): one lock instead of one per cluster; no per-CPU caches of slots in
 * front of the map, so slots freed are free at once; counts are wide enough to need no continuation pages; cached slots
 * are not scavenged when no free one is found; contents take none of the machine's memory (zram keeps them compressed in it).
 *
 * Layer: cache
 */
#ifndef PAGESIM_SWAP_H
#define PAGESIM_SWAP_H

#include <pagesim/address_space.h>
#include <pagesim/completion.h>
#include <pagesim/list.h>
#include <pagesim/swp_entry.h>
#include <pagesim/types.h>
#include <pagesim/xarray.h>

#ifdef __cplusplus
extern "C" {
#endif

struct page;
struct ps_machine;
struct swap_cluster;

#define SWAP_HAS_CACHE 0x80000000u
#define SWAP_MAP_SHMEM 0x40000000u
#define SWAP_MAP_BAD   0x3fffffffu
#define SWAP_MAP_MAX   0x3ffffffeu

/** Slots per address_space of the swap cache. Fidelity: exact, SWAP_ADDRESS_SPACE_PAGES. */
#define SWAP_ADDRESS_SPACE_SHIFT 14

/** The swap area of a machine: machine->swap. */
struct ps_swap {
	struct ps_machine *machine; /* constant */
	spinlock_t lock;
	bool on;      /* slots are given out; lock */
	u64 nr_slots; /* with the header; constant while there is a map */
	u64 nr_free;  /* lock; read anywhere */
	u32 *map;     /* NULL: no area; lock */
	u64 *data;    /* what each slot holds: a word, or with contents `bytes` the address of a page */
	/* Clusters; lock. */
	struct swap_cluster *clusters;
	struct list_head free_clusters;
	u64 *next; /* per CPU: the slot to try next in its cluster, 0: it has none */
	/* The swap cache; constant while there is a map. */
	struct address_space *spaces;
	unsigned int nr_spaces;
	/* Faults and lookups under way in the area: swapoff waits for them. */
	atomic_t users;
	struct completion unused;
	/* The device. */
	bool deferred;           /* writes stay under way until ps_swap_complete; atomic */
	struct list_head writes; /* under way; lock */
	ps_ns_t read_ns;         /* charged to who reads; the machine's major-fault at first */
	ps_ns_t write_ns;        /* charged to who writes; 0 at first */
	u64 pages_read, pages_written;
};

/** Makes machine->swap, switched off. Context: a current task. Return: 0 or -ENOMEM. */
int ps_swap_init(struct ps_machine *machine);
/** Frees it. Context: every process has exited and every file is gone. A machine without one is fine. */
void ps_swap_destroy(struct ps_machine *machine);

/**
 * swapon(2) with an empty area of `bytes` (the first page is the header).
 * Return: 0; -EBUSY (it is on), -EINVAL (no room for a slot), -ENODEV (no machine->swap), -ENOMEM.
 */
int ps_swapon(struct ps_machine *machine, u64 bytes);
/** Stops giving out slots: the first step of swapoff. Return: 0, -EINVAL (it is off). */
int ps_swap_stop(struct ps_machine *machine);
/** Undoes ps_swap_stop: not everything could be brought back. */
void ps_swap_resume(struct ps_machine *machine);
/** The last step: waits until nobody works in the area, then frees it. Context: no slot is used; may sleep. */
void ps_swap_remove(struct ps_machine *machine);

/** Slots in all, and free ones; 0 while swap is off. Fidelity: exact, total_swap_pages and get_nr_swap_pages(). */
u64 total_swap_pages(void);
u64 get_nr_swap_pages(void);
/** Is more than half of swap used? Then slots of pages in memory are given up early. Fidelity: exact. */
bool vm_swap_full(void);

/**
 * Keeps the area from going away. Return: false: the entry belongs to no area (any more).
 * Fidelity: exact, get_swap_device() and put_swap_device().
 */
bool get_swap_device(swp_entry_t entry);
void put_swap_device(void);

/**
 * A free slot for a small page, a free cluster for a huge one; the map says SWAP_HAS_CACHE for each.
 * Return: the (first) entry; 0 in .val: there is none. Fidelity: exact, folio_alloc_swap().
 */
swp_entry_t get_swap_page(struct page *page);
/** The page leaves the swap cache, or never entered: SWAP_HAS_CACHE goes. Fidelity: exact, put_swap_folio(). */
void put_swap_page(struct page *page, swp_entry_t entry);
/** One more page table entry refers to the slot. Return: 0; -ENOENT (it is free), -EINVAL (bad entry). Fidelity: exact. */
int swap_duplicate(swp_entry_t entry);
/** Shared memory refers to it. Context: SWAP_HAS_CACHE, no other user. Fidelity: exact. */
void swap_shmem_alloc(swp_entry_t entry);
/**
 * Claims a used slot for the swap cache, or for one reader past it. Return: 0; -EEXIST (somebody has it), -ENOENT (free),
 * -EINVAL. Fidelity: exact.
 */
int swapcache_prepare(swp_entry_t entry);
/** The claim of a reader past the cache ends. Fidelity: exact, swapcache_clear(). */
void swapcache_clear(swp_entry_t entry);
/** A user of the slot is gone. Fidelity: exact. */
void swap_free(swp_entry_t entry);
/** The same; and if only the swap cache uses it, and its page is not mapped, that gives it up. Return: false: bad entry. */
bool free_swap_and_cache(swp_entry_t entry);
/** Users of the slot, the cache not counted. Fidelity: exact, swp_swapcount(). */
unsigned int swp_swapcount(swp_entry_t entry);
/** Has the page (or any slot of the huge page) users besides the swap cache? Fidelity: exact, folio_swapped(). */
bool page_swapped(struct page *page);
/** The slots of a huge page become slots of small ones. Fidelity: exact. */
void split_swap_cluster(swp_entry_t entry);
/** The next slot that is used by anything, after `offset`; 0: no more. For swapoff and checks. */
u64 swap_next_used(const struct ps_swap *swap, u64 offset);

/* ---- the device */

/**
 * Writes a page of the swap cache, which clear_page_dirty_for_io has cleaned, to its slot; unlocks it. A page whose slots
 * nobody uses any more is not written but made dirty, and leaves the cache. Counts PSWPOUT, THP_SWPOUT.
 * Return: 0. An error leaves the page dirty. Fidelity: exact, swap_writepage() on a synchronous device.
 */
struct writeback_control;
int swap_writepage(struct page *page, struct writeback_control *wbc);
/** Fills a locked page from the slot in its private_data, and unlocks it. Counts PSWPIN. Fidelity: exact, swap_readpage(). */
void swap_readpage(struct page *page);
/** Completes up to @max writes that are under way (0: all), oldest first. Return: how many. */
unsigned long ps_swap_complete(struct ps_swap *swap, unsigned long max);

/* ---- shared memory keeps entries in its page cache */

static inline void *swp_to_radix_entry(swp_entry_t entry)
{
	return xa_mk_value(entry.val);
}
static inline swp_entry_t radix_to_swp_entry(const void *value)
{
	swp_entry_t entry = { xa_to_value(value) };
	return entry;
}

/* ---- truth */

/** What a slot's users add up to. Context: nobody else runs. Return: true if the map, the clusters and the cache agree. */
bool ps_swap_validate(struct ps_swap *swap, char *ret_why, size_t why_len);

#ifdef __cplusplus
}
#endif
#endif
