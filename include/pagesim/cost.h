/* SPDX-License-Identifier: MIT */
/*
 * What the model's actions cost in simulated time. One list names every cost with its default, its unit and what it
 * pays for; the struct, the key-file reader and the display follow from the list. Whoever performs an action charges
 * the named field (ps_charge); nothing else in the model knows a number.
 *
 * Defaults answer to a calibration: the two-socket Xeon of the 2019 exchange-pages mail (Zi Yan, "[RFC PATCH
 * 00/25] Accelerate page migration", 2019-04-03), table "migrate_pages() / migrate_page_copy()":
 *
 *     single 4 KiB page    13.13 us, of which copying  2.96 us
 *     512 x 4 KiB           4.80 us per page, copying  2.07 us per page
 *     single 2 MiB THP    878.6  us, of which copying 845.3 us
 *
 * With T = t_call + n (t_alloc + t_unmap + t_flush/batch + t_remap + t_page + t_free) + copying these fix
 *
 *     t_call           7.44 us   (10.17 - 2.73)
 *     per base page    2.73 us   = alloc_page + unmap_pte + tlb_flush_page + remap_pte + 2 lru + free_page + migrate_page
 *     per huge page   25.86 us   = the same with alloc_huge, unmap_pmd, remap_pmd and migrate_huge (33.3 - 7.44)
 *     copying         2.481 GB/s, 416 ns more for each base page, 890 ns more for the first of a call
 *
 * How the parts per page divide over their terms is an assumption; the mail gives sums. lru_drain_all is the 62.47 us of
 * a lone 4 KiB page through move_pages() (Zi Yan, 2017-03-09) less the 13 us above, roughly. Other costs are assumptions
 * of the usual magnitude on such a machine.
 *
 * Fidelity: simplified. Costs do not depend on load, cache state or interference; contention is that of the simulated
 * locks, not of the memory bus.
 *
 * Layer: machine
 */
#ifndef PAGESIM_COST_H
#define PAGESIM_COST_H

#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* C(field, key in a machine file, default in ns, what it pays for) */
#define PS_COSTS(C)                                                                                      \
	/* An access. */                                                                                 \
	C(tlb_l2_hit_ns, "tlb-l2-hit", 3, "second-level TLB hit")                                        \
	C(walk_step_ns, "walk-step", 5, "page walk, per level read")                                     \
	C(cache_ns, "cache", 2, "further access of a folded run, served by the CPU cache")               \
	/* Entering the kernel. */                                                                       \
	C(syscall_ns, "syscall", 150, "system call entry and exit")                                      \
	C(fault_ns, "fault", 600, "minor fault, entry to exit, without its work")                        \
	C(hint_fault_ns, "hint-fault", 900, "NUMA hint fault, entry to exit, without migrating")         \
	C(major_fault_ns, "major-fault", 100000, "reading a page from disk or swap")                     \
	/* Frames. */                                                                                    \
	C(alloc_page_ns, "alloc-page", 250, "allocating a base page")                                    \
	C(alloc_huge_ns, "alloc-huge", 2500, "allocating a huge page")                                   \
	C(free_page_ns, "free-page", 120, "freeing a page of any order")                                 \
	C(lru_ns, "lru", 40, "one LRU operation: add, remove, move, isolate")                            \
	C(lru_drain_all_ns, "lru-drain-all", 45000, "draining the LRU batches of all CPUs and waiting")  \
	/* Page tables. */                                                                               \
	C(map_pte_ns, "map-pte", 60, "setting one entry and its mapcount")                               \
	C(unmap_pte_ns, "unmap-pte", 480, "unmapping one small page into a migration entry")             \
	C(unmap_pmd_ns, "unmap-pmd", 4000, "unmapping one huge page into a migration entry")             \
	C(remap_pte_ns, "remap-pte", 420, "restoring one small page from its migration entry")           \
	C(remap_pmd_ns, "remap-pmd", 4000, "restoring one huge page from its migration entry")           \
	C(scan_pte_ns, "scan-pte", 12, "looking at one entry in a scan")                                 \
	C(rmap_step_ns, "rmap-step", 40, "one VMA visited in a reverse mapping walk")                    \
	/* TLB shootdowns. */                                                                            \
	C(tlb_flush_page_ns, "tlb-flush-page", 100, "flushing one page from the own TLB")                \
	C(tlb_flush_all_ns, "tlb-flush-all", 300, "flushing the own TLB")                                \
	C(tlb_shootdown_ns, "tlb-shootdown", 700, "remote shootdown: sending the first IPI and waiting") \
	C(tlb_shootdown_cpu_ns, "tlb-shootdown-cpu", 120, "remote shootdown: each further CPU")          \
	C(tlb_ipi_received_ns, "tlb-ipi-received", 400, "what the interrupted CPU loses")                \
	/* Migration. */                                                                                 \
	C(migrate_call_ns, "migrate-call", 7440, "fixed part of one migrate_pages call")                 \
	C(migrate_page_ns, "migrate-page", 1280, "base page: locking, mapping move, flags, put back")    \
	C(migrate_huge_ns, "migrate-huge", 15060, "the same of a huge page, its tails included")         \
	C(copy_first_ns, "copy-first", 890, "copying: the first base page of a call (cold)")             \
	C(copy_page_ns, "copy-page", 416, "copying: each base page copied on its own")                   \
	C(split_huge_ns, "split-huge", 25000, "splitting a huge page")                                   \
	/* Reclaim, threads. */                                                                          \
	C(reclaim_page_ns, "reclaim-page", 300, "one page considered for reclaim or demotion")           \
	C(kswapd_wake_ns, "kswapd-wake", 2000, "waking a kernel thread until it runs")                   \
	C(context_switch_ns, "context-switch", 1500, "switching threads")                                \
	C(lock_handoff_ns, "lock-handoff", 100, "passing a contended lock on")

/**
 * struct ps_costs - every cost, and the two rates of one core.
 * @copy_rate: bytes/s one core copies page after page when memory does not hold it back.
 * @zero_rate: bytes/s one core clears.
 */
struct ps_costs {
#define PS_COST_FIELD(field, key, def, what) u32 field;
	PS_COSTS(PS_COST_FIELD)
#undef PS_COST_FIELD
	u64 copy_rate;
	u64 zero_rate;
};

/* Source: 2 MiB THP, 1 thread, migrate_page_copy() of the mail above: 2.481 GB/s. */
#define PS_COPY_RATE_DEFAULT 2481000000ull
/* Assumption: clearing writes only, so about twice as fast as copying. */
#define PS_ZERO_RATE_DEFAULT 5000000000ull

/** ps_costs_default - the defaults of the list. */
void ps_costs_default(struct ps_costs *ret);

/** ps_rate_ns - time to move @bytes at @rate bytes/s, rounded to nearest. @rate > 0, @bytes < 2^34. */
static inline ps_ns_t ps_rate_ns(u64 bytes, u64 rate)
{
	return (bytes * 1000000000ull + rate / 2) / rate;
}

/** struct ps_cost_info - one line of the list, for showing and reading. @offset into struct ps_costs, a u32. */
struct ps_cost_info {
	const char *key;
	const char *what;
	size_t offset;
	u32 default_ns;
};

/** ps_cost_info - line @i of the list. Return: NULL after the last. */
const struct ps_cost_info *ps_cost_info(unsigned i);

#ifdef __cplusplus
}
#endif

#endif
