/* SPDX-License-Identifier: MIT */
/*
 * Every number Linux would show in /proc/vmstat, under Linux's names and in the order of Linux 6.1, kept per instance
 * in a struct ps_stats that hangs off the current task. Four lists say what there is: counters of a zone, NUMA
 * allocation events of a node, counters of a node, and events of the whole machine. A counter is one line in its list:
 * the enum constant, its name, its reading and formatting all follow from that line.
 *
 * Names in this file:
 *   item    - a constant of one of the four enums (NR_FREE_PAGES, NUMA_HIT, NR_FILE_PAGES, PGMIGRATE_SUCCESS)
 *   index   - position in /proc/vmstat order over all four lists, 0 .. PS_NR_VMSTAT - 1
 *   watched - the golden transcripts of a real Linux 6.1 print changes of this counter
 *
 * Counters that mean nothing to a model without kernel objects of its own are left out (slab, bounce buffers, zsmalloc,
 * kernel stacks, CMA, hugetlb, KSM, zswap, direct map splits).
 *
 * Locking: none. The fiber build adds plainly; the native build (PS_NATIVE) adds with relaxed atomics, which order
 * nothing, as in Linux: a reader beside writers sees each counter at some recent value.
 *
 * What Linux does differently: it keeps per-CPU differences and folds them now and then; here the sum is always exact.
 *
 * Layer: stats
 */
#ifndef PAGESIM_VMSTAT_H
#define PAGESIM_VMSTAT_H

#include <pagesim/types.h>
#include <pagesim/task.h>
#include <pagesim/tracepoint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Flag of a counter: the golden transcripts watch it. */
#define PS_VMSTAT_WATCHED 1u
/** Flag of a counter: counted in base pages, shown in huge pages (divided by ps_stats.thp_pages), as Linux shows it. */
#define PS_VMSTAT_IN_THP 2u
/** Flag of a counter: nothing in this build moves it, and reports leave it out (tools/check-counters keeps this true). */
#define PS_VMSTAT_UNMOVED 4u

/* X(enum constant, name, flags), in /proc/vmstat order. */
#define PS_ZONE_STATS(X)                                   \
	X(NR_FREE_PAGES, nr_free_pages, 0)                 \
	X(NR_ZONE_INACTIVE_ANON, nr_zone_inactive_anon, 0) \
	X(NR_ZONE_ACTIVE_ANON, nr_zone_active_anon, 0)     \
	X(NR_ZONE_INACTIVE_FILE, nr_zone_inactive_file, 0) \
	X(NR_ZONE_ACTIVE_FILE, nr_zone_active_file, 0)     \
	X(NR_ZONE_UNEVICTABLE, nr_zone_unevictable, 0)     \
	X(NR_ZONE_WRITE_PENDING, nr_zone_write_pending, 0) \
	X(NR_MLOCK, nr_mlock, 0)

#define PS_NUMA_STATS(X)                           \
	X(NUMA_HIT, numa_hit, 0)                   \
	X(NUMA_MISS, numa_miss, 0)                 \
	X(NUMA_FOREIGN, numa_foreign, 0)           \
	X(NUMA_INTERLEAVE_HIT, numa_interleave, 0) \
	X(NUMA_LOCAL, numa_local, 0)               \
	X(NUMA_OTHER, numa_other, 0)

#define PS_NODE_STATS(X)                                                              \
	X(NR_INACTIVE_ANON, nr_inactive_anon, 0)                                      \
	X(NR_ACTIVE_ANON, nr_active_anon, 0)                                          \
	X(NR_INACTIVE_FILE, nr_inactive_file, 0)                                      \
	X(NR_ACTIVE_FILE, nr_active_file, 0)                                          \
	X(NR_UNEVICTABLE, nr_unevictable, 0)                                          \
	X(NR_ISOLATED_ANON, nr_isolated_anon, 0)                                      \
	X(NR_ISOLATED_FILE, nr_isolated_file, 0)                                      \
	X(WORKINGSET_NODES, workingset_nodes, PS_VMSTAT_UNMOVED)                      \
	X(WORKINGSET_REFAULT_ANON, workingset_refault_anon, PS_VMSTAT_UNMOVED)        \
	X(WORKINGSET_REFAULT_FILE, workingset_refault_file, PS_VMSTAT_UNMOVED)        \
	X(WORKINGSET_ACTIVATE_ANON, workingset_activate_anon, PS_VMSTAT_UNMOVED)      \
	X(WORKINGSET_ACTIVATE_FILE, workingset_activate_file, PS_VMSTAT_UNMOVED)      \
	X(WORKINGSET_RESTORE_ANON, workingset_restore_anon, PS_VMSTAT_UNMOVED)        \
	X(WORKINGSET_RESTORE_FILE, workingset_restore_file, PS_VMSTAT_UNMOVED)        \
	X(WORKINGSET_NODERECLAIM, workingset_nodereclaim, PS_VMSTAT_UNMOVED)          \
	X(NR_ANON_MAPPED, nr_anon_pages, 0)                                           \
	X(NR_FILE_MAPPED, nr_mapped, 0)                                               \
	X(NR_FILE_PAGES, nr_file_pages, 0)                                            \
	X(NR_FILE_DIRTY, nr_dirty, 0)                                                 \
	X(NR_WRITEBACK, nr_writeback, 0)                                              \
	X(NR_SHMEM, nr_shmem, 0)                                                      \
	X(NR_SHMEM_THPS, nr_shmem_hugepages, PS_VMSTAT_IN_THP)                        \
	X(NR_SHMEM_PMDMAPPED, nr_shmem_pmdmapped, PS_VMSTAT_IN_THP)                   \
	X(NR_FILE_THPS, nr_file_hugepages, PS_VMSTAT_IN_THP)                          \
	X(NR_FILE_PMDMAPPED, nr_file_pmdmapped, PS_VMSTAT_IN_THP | PS_VMSTAT_UNMOVED) \
	X(NR_ANON_THPS, nr_anon_transparent_hugepages, PS_VMSTAT_IN_THP)              \
	X(NR_VMSCAN_WRITE, nr_vmscan_write, 0)                                        \
	X(NR_VMSCAN_IMMEDIATE, nr_vmscan_immediate_reclaim, 0)                        \
	X(NR_DIRTIED, nr_dirtied, 0)                                                  \
	X(NR_WRITTEN, nr_written, 0)                                                  \
	X(NR_FOLL_PIN_ACQUIRED, nr_foll_pin_acquired, 0)                              \
	X(NR_FOLL_PIN_RELEASED, nr_foll_pin_released, 0)                              \
	X(NR_PAGETABLE, nr_page_table_pages, PS_VMSTAT_UNMOVED)                       \
	X(NR_SWAPCACHE, nr_swapcached, 0)                                             \
	X(PGPROMOTE_SUCCESS, pgpromote_success, PS_VMSTAT_WATCHED)                    \
	X(PGPROMOTE_CANDIDATE, pgpromote_candidate, PS_VMSTAT_WATCHED)

#define PS_VM_EVENTS(X)                                                                                     \
	X(PGPGIN, pgpgin, 0)                                                                                \
	X(PGPGOUT, pgpgout, 0)                                                                              \
	X(PSWPIN, pswpin, PS_VMSTAT_WATCHED)                                                                \
	X(PSWPOUT, pswpout, PS_VMSTAT_WATCHED)                                                              \
	X(PGALLOC_DMA, pgalloc_dma, PS_VMSTAT_UNMOVED)                                                      \
	X(PGALLOC_DMA32, pgalloc_dma32, PS_VMSTAT_UNMOVED)                                                  \
	X(PGALLOC_NORMAL, pgalloc_normal, 0)                                                                \
	X(PGALLOC_MOVABLE, pgalloc_movable, 0)                                                              \
	X(PGALLOC_DEVICE, pgalloc_device, PS_VMSTAT_UNMOVED)                                                \
	X(ALLOCSTALL_DMA, allocstall_dma, PS_VMSTAT_UNMOVED)                                                \
	X(ALLOCSTALL_DMA32, allocstall_dma32, PS_VMSTAT_UNMOVED)                                            \
	X(ALLOCSTALL_NORMAL, allocstall_normal, 0)                                                          \
	X(ALLOCSTALL_MOVABLE, allocstall_movable, 0)                                                        \
	X(ALLOCSTALL_DEVICE, allocstall_device, PS_VMSTAT_UNMOVED)                                          \
	X(PGSCAN_SKIP_DMA, pgskip_dma, PS_VMSTAT_UNMOVED)                                                   \
	X(PGSCAN_SKIP_DMA32, pgskip_dma32, PS_VMSTAT_UNMOVED)                                               \
	X(PGSCAN_SKIP_NORMAL, pgskip_normal, 0)                                                             \
	X(PGSCAN_SKIP_MOVABLE, pgskip_movable, 0)                                                           \
	X(PGSCAN_SKIP_DEVICE, pgskip_device, PS_VMSTAT_UNMOVED)                                             \
	X(PGFREE, pgfree, 0)                                                                                \
	X(PGACTIVATE, pgactivate, 0)                                                                        \
	X(PGDEACTIVATE, pgdeactivate, 0)                                                                    \
	X(PGLAZYFREE, pglazyfree, 0)                                                                        \
	X(PGFAULT, pgfault, 0)                                                                              \
	X(PGMAJFAULT, pgmajfault, 0)                                                                        \
	X(PGLAZYFREED, pglazyfreed, 0)                                                                      \
	X(PGREFILL, pgrefill, 0)                                                                            \
	X(PGREUSE, pgreuse, 0)                                                                              \
	X(PGSTEAL_KSWAPD, pgsteal_kswapd, PS_VMSTAT_WATCHED)                                                \
	X(PGSTEAL_DIRECT, pgsteal_direct, PS_VMSTAT_WATCHED)                                                \
	X(PGDEMOTE_KSWAPD, pgdemote_kswapd, PS_VMSTAT_WATCHED)                                              \
	X(PGDEMOTE_DIRECT, pgdemote_direct, PS_VMSTAT_WATCHED)                                              \
	X(PGSCAN_KSWAPD, pgscan_kswapd, 0)                                                                  \
	X(PGSCAN_DIRECT, pgscan_direct, 0)                                                                  \
	X(PGSCAN_DIRECT_THROTTLE, pgscan_direct_throttle, PS_VMSTAT_UNMOVED)                                \
	X(PGSCAN_ANON, pgscan_anon, 0)                                                                      \
	X(PGSCAN_FILE, pgscan_file, 0)                                                                      \
	X(PGSTEAL_ANON, pgsteal_anon, PS_VMSTAT_WATCHED)                                                    \
	X(PGSTEAL_FILE, pgsteal_file, PS_VMSTAT_WATCHED)                                                    \
	X(PGINODESTEAL, pginodesteal, PS_VMSTAT_UNMOVED)                                                    \
	X(SLABS_SCANNED, slabs_scanned, 0)                                                                  \
	X(KSWAPD_INODESTEAL, kswapd_inodesteal, PS_VMSTAT_UNMOVED)                                          \
	X(KSWAPD_LOW_WMARK_HIT_QUICKLY, kswapd_low_wmark_hit_quickly, 0)                                    \
	X(KSWAPD_HIGH_WMARK_HIT_QUICKLY, kswapd_high_wmark_hit_quickly, 0)                                  \
	X(PAGEOUTRUN, pageoutrun, 0)                                                                        \
	X(PGROTATED, pgrotated, 0)                                                                          \
	X(DROP_PAGECACHE, drop_pagecache, 0)                                                                \
	X(DROP_SLAB, drop_slab, 0)                                                                          \
	X(OOM_KILL, oom_kill, PS_VMSTAT_UNMOVED)                                                            \
	X(NUMA_PTE_UPDATES, numa_pte_updates, PS_VMSTAT_WATCHED)                                            \
	X(NUMA_HUGE_PTE_UPDATES, numa_huge_pte_updates, PS_VMSTAT_WATCHED)                                  \
	X(NUMA_HINT_FAULTS, numa_hint_faults, PS_VMSTAT_WATCHED)                                            \
	X(NUMA_HINT_FAULTS_LOCAL, numa_hint_faults_local, PS_VMSTAT_WATCHED)                                \
	X(NUMA_PAGE_MIGRATE, numa_pages_migrated, PS_VMSTAT_WATCHED)                                        \
	X(PGMIGRATE_SUCCESS, pgmigrate_success, PS_VMSTAT_WATCHED)                                          \
	X(PGMIGRATE_FAIL, pgmigrate_fail, PS_VMSTAT_WATCHED)                                                \
	X(THP_MIGRATION_SUCCESS, thp_migration_success, PS_VMSTAT_WATCHED)                                  \
	X(THP_MIGRATION_FAIL, thp_migration_fail, PS_VMSTAT_WATCHED)                                        \
	X(THP_MIGRATION_SPLIT, thp_migration_split, PS_VMSTAT_WATCHED)                                      \
	X(COMPACTMIGRATE_SCANNED, compact_migrate_scanned, PS_VMSTAT_WATCHED)                               \
	X(COMPACTFREE_SCANNED, compact_free_scanned, PS_VMSTAT_WATCHED)                                     \
	X(COMPACTISOLATED, compact_isolated, PS_VMSTAT_WATCHED)                                             \
	X(COMPACTSTALL, compact_stall, PS_VMSTAT_WATCHED)                                                   \
	X(COMPACTFAIL, compact_fail, PS_VMSTAT_WATCHED)                                                     \
	X(COMPACTSUCCESS, compact_success, PS_VMSTAT_WATCHED)                                               \
	X(KCOMPACTD_WAKE, compact_daemon_wake, PS_VMSTAT_WATCHED | PS_VMSTAT_UNMOVED)                       \
	X(KCOMPACTD_MIGRATE_SCANNED, compact_daemon_migrate_scanned, PS_VMSTAT_WATCHED | PS_VMSTAT_UNMOVED) \
	X(KCOMPACTD_FREE_SCANNED, compact_daemon_free_scanned, PS_VMSTAT_WATCHED | PS_VMSTAT_UNMOVED)       \
	X(UNEVICTABLE_PGCULLED, unevictable_pgs_culled, 0)                                                  \
	X(UNEVICTABLE_PGSCANNED, unevictable_pgs_scanned, PS_VMSTAT_UNMOVED)                                \
	X(UNEVICTABLE_PGRESCUED, unevictable_pgs_rescued, 0)                                                \
	X(UNEVICTABLE_PGMLOCKED, unevictable_pgs_mlocked, PS_VMSTAT_WATCHED)                                \
	X(UNEVICTABLE_PGMUNLOCKED, unevictable_pgs_munlocked, PS_VMSTAT_WATCHED)                            \
	X(UNEVICTABLE_PGCLEARED, unevictable_pgs_cleared, 0)                                                \
	X(UNEVICTABLE_PGSTRANDED, unevictable_pgs_stranded, 0)                                              \
	X(THP_FAULT_ALLOC, thp_fault_alloc, PS_VMSTAT_WATCHED)                                              \
	X(THP_FAULT_FALLBACK, thp_fault_fallback, PS_VMSTAT_WATCHED)                                        \
	X(THP_FAULT_FALLBACK_CHARGE, thp_fault_fallback_charge, PS_VMSTAT_WATCHED | PS_VMSTAT_UNMOVED)      \
	X(THP_COLLAPSE_ALLOC, thp_collapse_alloc, PS_VMSTAT_WATCHED)                                        \
	X(THP_COLLAPSE_ALLOC_FAILED, thp_collapse_alloc_failed, PS_VMSTAT_WATCHED)                          \
	X(THP_FILE_ALLOC, thp_file_alloc, PS_VMSTAT_WATCHED)                                                \
	X(THP_FILE_FALLBACK, thp_file_fallback, PS_VMSTAT_WATCHED)                                          \
	X(THP_FILE_FALLBACK_CHARGE, thp_file_fallback_charge, PS_VMSTAT_WATCHED | PS_VMSTAT_UNMOVED)        \
	X(THP_FILE_MAPPED, thp_file_mapped, PS_VMSTAT_WATCHED)                                              \
	X(THP_SPLIT_PAGE, thp_split_page, PS_VMSTAT_WATCHED)                                                \
	X(THP_SPLIT_PAGE_FAILED, thp_split_page_failed, PS_VMSTAT_WATCHED)                                  \
	X(THP_DEFERRED_SPLIT_PAGE, thp_deferred_split_page, PS_VMSTAT_WATCHED)                              \
	X(THP_SPLIT_PMD, thp_split_pmd, PS_VMSTAT_WATCHED)                                                  \
	X(THP_SCAN_EXCEED_NONE_PTE, thp_scan_exceed_none_pte, PS_VMSTAT_WATCHED)                            \
	X(THP_SCAN_EXCEED_SWAP_PTE, thp_scan_exceed_swap_pte, PS_VMSTAT_WATCHED)                            \
	X(THP_SCAN_EXCEED_SHARED_PTE, thp_scan_exceed_share_pte, PS_VMSTAT_WATCHED)                         \
	X(THP_SPLIT_PUD, thp_split_pud, PS_VMSTAT_WATCHED | PS_VMSTAT_UNMOVED)                              \
	X(THP_ZERO_PAGE_ALLOC, thp_zero_page_alloc, PS_VMSTAT_WATCHED)                                      \
	X(THP_ZERO_PAGE_ALLOC_FAILED, thp_zero_page_alloc_failed, PS_VMSTAT_WATCHED)                        \
	X(THP_SWPOUT, thp_swpout, PS_VMSTAT_WATCHED)                                                        \
	X(THP_SWPOUT_FALLBACK, thp_swpout_fallback, PS_VMSTAT_WATCHED)                                      \
	X(BALLOON_INFLATE, balloon_inflate, PS_VMSTAT_WATCHED)                                              \
	X(BALLOON_DEFLATE, balloon_deflate, PS_VMSTAT_WATCHED)                                              \
	X(BALLOON_MIGRATE, balloon_migrate, PS_VMSTAT_WATCHED)                                              \
	X(NR_TLB_REMOTE_FLUSH, nr_tlb_remote_flush, 0)                                                      \
	X(NR_TLB_REMOTE_FLUSH_RECEIVED, nr_tlb_remote_flush_received, 0)                                    \
	X(NR_TLB_LOCAL_FLUSH_ALL, nr_tlb_local_flush_all, 0)                                                \
	X(NR_TLB_LOCAL_FLUSH_ONE, nr_tlb_local_flush_one, 0)                                                \
	X(SWAP_RA, swap_ra, PS_VMSTAT_UNMOVED)                                                              \
	X(SWAP_RA_HIT, swap_ra_hit, PS_VMSTAT_UNMOVED)

#define PS_VMSTAT_ENUM(item, name, flags) item,
enum zone_stat_item { PS_ZONE_STATS(PS_VMSTAT_ENUM) NR_VM_ZONE_STAT_ITEMS };
enum numa_stat_item { PS_NUMA_STATS(PS_VMSTAT_ENUM) NR_VM_NUMA_EVENT_ITEMS };
enum node_stat_item { PS_NODE_STATS(PS_VMSTAT_ENUM) NR_VM_NODE_STAT_ITEMS, NR_LRU_BASE = NR_INACTIVE_ANON };
enum vm_event_item { PS_VM_EVENTS(PS_VMSTAT_ENUM) NR_VM_EVENT_ITEMS };
#undef PS_VMSTAT_ENUM

/* Where each list begins in /proc/vmstat order. */
#define PS_VMSTAT_ZONE_BASE  0
#define PS_VMSTAT_NUMA_BASE  (PS_VMSTAT_ZONE_BASE + (int)NR_VM_ZONE_STAT_ITEMS)
#define PS_VMSTAT_NODE_BASE  (PS_VMSTAT_NUMA_BASE + (int)NR_VM_NUMA_EVENT_ITEMS)
#define PS_VMSTAT_EVENT_BASE (PS_VMSTAT_NODE_BASE + (int)NR_VM_NODE_STAT_ITEMS)
/** Number of counters over all four lists. */
#define PS_NR_VMSTAT (PS_VMSTAT_EVENT_BASE + (int)NR_VM_EVENT_ITEMS)

/** Zones a node can have, for the counters; enum zone_type of mmzone.h fits in. */
#define PS_STATS_ZONES 5

/**
 * struct ps_stats - all counters of one simulated machine, and who listens to its tracepoints.
 * About 50 KiB, zero at first; any field may be read directly.
 */
struct ps_stats {
	u64 event[NR_VM_EVENT_ITEMS];
	s64 node[MAX_NUMNODES][NR_VM_NODE_STAT_ITEMS];
	u64 numa[MAX_NUMNODES][NR_VM_NUMA_EVENT_ITEMS];
	s64 zone[MAX_NUMNODES][PS_STATS_ZONES][NR_VM_ZONE_STAT_ITEMS];
	/** Base pages in a huge page, for counters shown in huge pages. 0 means 512. */
	u32 thp_pages;
	/** Listeners, see tracepoint.h. NULL = nobody, which costs one predictable branch. */
	struct ps_probe *probe[PS_NR_TRACEPOINTS];
};

/** struct ps_vmstat - the value of every counter at one moment, by index. */
struct ps_vmstat {
	s64 value[PS_NR_VMSTAT];
};

#ifdef PS_NATIVE
#define ps_stat_add(p, n) ((void)__atomic_fetch_add((p), (n), __ATOMIC_RELAXED))
#define ps_stat_read(p)   __atomic_load_n((p), __ATOMIC_RELAXED)
#else
#define ps_stat_add(p, n) ((void)(*(p) += (n)))
#define ps_stat_read(p)   (*(p))
#endif

/**
 * count_vm_events - an event happened @n times.
 * Context: any, with a current task. Return: nothing. Fidelity: exact (count_vm_events).
 */
static inline void count_vm_events(enum vm_event_item item, long n)
{
	ps_stat_add(&ps_current->stats->event[item], (u64)n);
}

static inline void count_vm_event(enum vm_event_item item)
{
	count_vm_events(item, 1);
}

/* Linux has a variant for callers with preemption off; here both are the same. */
#define __count_vm_event(item)     count_vm_event(item)
#define __count_vm_events(item, n) count_vm_events((item), (n))

/**
 * Events that exist once per zone: __count_zid_vm_events(PGALLOC, ZONE_MOVABLE, 1) counts PGALLOC_MOVABLE. The user
 * has included the header that says which zones there are (mmzone.h).
 */
#define __count_zid_vm_events(item, zid, n) \
	count_vm_events((enum vm_event_item)((int)item##_NORMAL - (int)ZONE_NORMAL + (int)(zid)), (n))

/**
 * __mod_node_page_state - a counter of node @nid changes by @delta.
 * Context: any, with a current task. Return: nothing.
 * Fidelity: exact sum (__mod_node_page_state), by node number instead of struct pglist_data.
 */
static inline void __mod_node_page_state(nid_t nid, enum node_stat_item item, long delta)
{
	ps_stat_add(&ps_current->stats->node[nid][item], (s64)delta);
}

#define mod_node_page_state(nid, item, delta) __mod_node_page_state((nid), (item), (delta))
#define __inc_node_page_state(nid, item)      __mod_node_page_state((nid), (item), 1)
#define __dec_node_page_state(nid, item)      __mod_node_page_state((nid), (item), -1)

/** node_page_state - value of a counter of node @nid, never below 0. Context: any. Fidelity: exact. */
static inline unsigned long node_page_state(nid_t nid, enum node_stat_item item)
{
	s64 v = ps_stat_read(&ps_current->stats->node[nid][item]);

	return v < 0 ? 0 : (unsigned long)v;
}

/** __mod_zone_counter - a counter of zone number @zid (enum zone_type) of node @nid changes by @delta. */
static inline void __mod_zone_counter(nid_t nid, int zid, enum zone_stat_item item, long delta)
{
	ps_stat_add(&ps_current->stats->zone[nid][zid][item], (s64)delta);
}

/** zone_counter - value of a counter of zone @zid of node @nid, never below 0. */
static inline unsigned long zone_counter(nid_t nid, int zid, enum zone_stat_item item)
{
	s64 v = ps_stat_read(&ps_current->stats->zone[nid][zid][item]);

	return v < 0 ? 0 : (unsigned long)v;
}

/** count_numa_events - a NUMA allocation event happened @n times on node @nid. Fidelity: exact (__count_numa_events). */
static inline void count_numa_events(nid_t nid, enum numa_stat_item item, long n)
{
	ps_stat_add(&ps_current->stats->numa[nid][item], (u64)n);
}

/** ps_stats_new - fresh counters, all zero. Return: NULL without memory. Context: may allocate. */
struct ps_stats *ps_stats_new(void);
/** ps_stats_free - gives them back; NULL is fine. Nobody may listen any more. */
void ps_stats_free(struct ps_stats *stats);

/** ps_vmstat_name - name of counter @index as /proc/vmstat prints it. Return: NULL when there is no such index. */
const char *ps_vmstat_name(int index);
/** ps_vmstat_flags - PS_VMSTAT_* of counter @index, 0 when there is no such index. */
unsigned ps_vmstat_flags(int index);
/** ps_vmstat_find - index of the counter called @name. Return: -ENOENT when there is none. */
int ps_vmstat_find(const char *name);

/**
 * ps_vmstat_read - one counter as /proc/vmstat shows it.
 * @nid: a node, or NUMA_NO_NODE for the sum over all. An event of the whole machine has no value per node: 0.
 * Return: the value; 0 when there is no such index.
 */
s64 ps_vmstat_read(const struct ps_stats *stats, nid_t nid, int index);
/** ps_vmstat_snapshot - all counters at once into @ret; @nid as above. */
void ps_vmstat_snapshot(const struct ps_stats *stats, nid_t nid, struct ps_vmstat *ret);
/** ps_vmstat_delta - @ret = @now - @before, counter by counter. @ret may be one of the two. */
void ps_vmstat_delta(const struct ps_vmstat *now, const struct ps_vmstat *before, struct ps_vmstat *ret);

/**
 * ps_vmstat_format - "name value", one counter as a line of /proc/vmstat without the newline.
 * Return: as snprintf; -ENOENT when there is no such index.
 */
int ps_vmstat_format(char *buf, size_t size, int index, s64 value);
/**
 * ps_vmstat_format_watched - " pgfault+3 pgfree-1": every watched counter that is not zero in @delta, in order, each
 * with a blank before it, as the transcripts print them. Return: as snprintf; 0 = nothing changed.
 */
int ps_vmstat_format_watched(char *buf, size_t size, const struct ps_vmstat *delta);

#ifdef __cplusplus
}
#endif

#endif
