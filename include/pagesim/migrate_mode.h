/* SPDX-License-Identifier: MIT */
/*
 * How long a migration may wait, and why it happens: two enums that the cache (buffer locks), the engines and the
 * statistics share.
 *
 * Layer: base
 */
#ifndef PAGESIM_MIGRATE_MODE_H
#define PAGESIM_MIGRATE_MODE_H

/** What a migration may block on. Fidelity: exact (6.1). */
enum migrate_mode {
	MIGRATE_ASYNC,        /* never block */
	MIGRATE_SYNC_LIGHT,   /* block on most things, not on writing a page out */
	MIGRATE_SYNC,         /* block on anything */
	MIGRATE_SYNC_NO_COPY, /* as sync, the caller copies */
};

/** Why pages move; the order is the kernel's of 6.1, tracepoints print it. */
enum migrate_reason {
	MR_COMPACTION,
	MR_MEMORY_FAILURE,
	MR_MEMORY_HOTPLUG,
	MR_SYSCALL,
	MR_MEMPOLICY_MBIND,
	MR_NUMA_MISPLACED,
	MR_CONTIG_RANGE,
	MR_LONGTERM_PIN,
	MR_DEMOTION,
	MR_TYPES,
};

#endif
