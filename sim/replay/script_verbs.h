/* SPDX-License-Identifier: MIT */
/*
 * Every verb a script can use, with the function that executes it: verb_NAME(), which returns what the system call returns.
 * Adding one is a line here (and its words in PS_VERB_LIST, <pagesim/trace_text.h>, if the language has none yet) and the
 * function, in the file of its idea:
 *
 *   script_task.c    tasks          script_hold.c     get and pin
 *   script_map.c     address space  script_file.c     files
 *   script_touch.c   accesses       script_look.c     show, smaps
 *   script_place.c   nodes, split   script_kernel.c   the kernel's words
 *                                   script_set.c      its settings
 *                                   script_writeback.c  a disk that needs for ever
 *
 * A verb of the language that has no line is not in this build and says so.
 */
#ifndef REPLAY_SCRIPT_VERBS_H
#define REPLAY_SCRIPT_VERBS_H

/** What is printed of a verb's return value. */
enum verb_print {
	PRINT_RET,   /* it, always */
	PRINT_ERROR, /* only if it failed */
	PRINT_OWN,   /* the verb prints what it prints; the per-CPU batches are drained before it looks */
};

/* V(verb of the language, function without verb_, what is printed) */
/* clang-format off */
#define SCRIPT_VERBS(V) \
	V(FORK, fork, PRINT_ERROR) \
	V(THREAD, thread, PRINT_ERROR) \
	V(CPU, cpu, PRINT_ERROR) \
	V(UNPRIVILEGED, unprivileged, PRINT_ERROR) \
	V(MMAP, mmap, PRINT_RET) \
	V(RESERVE, reserve, PRINT_ERROR) \
	V(MUNMAP, munmap, PRINT_RET) \
	V(MPROTECT, mprotect, PRINT_RET) \
	V(MREMAP, mremap, PRINT_RET) \
	V(MADVISE, madvise, PRINT_RET) \
	V(MLOCK, mlock, PRINT_RET) \
	V(MUNLOCK, munlock, PRINT_RET) \
	V(CLEAR_REFS, clear_refs, PRINT_ERROR) \
	V(LOAD, load, PRINT_OWN) \
	V(STORE, store, PRINT_OWN) \
	V(CHECK, check, PRINT_OWN) \
	V(MEMPOLICY, mempolicy, PRINT_RET) \
	V(MBIND, mbind, PRINT_RET) \
	V(MOVE_PAGES, move_pages, PRINT_OWN) \
	V(EXCHANGE, exchange, PRINT_OWN) \
	V(STATUS, status, PRINT_OWN) \
	V(MIGRATE_PAGES, migrate_pages, PRINT_RET) \
	V(SPLIT, split, PRINT_RET) \
	V(GET, get, PRINT_RET) \
	V(PUT, put, PRINT_RET) \
	V(PIN, pin, PRINT_RET) \
	V(UNPIN, unpin, PRINT_RET) \
	V(PREAD, pread, PRINT_RET) \
	V(PWRITE, pwrite, PRINT_RET) \
	V(FSYNC, fsync, PRINT_RET) \
	V(TRUNCATE, truncate, PRINT_RET) \
	V(FADVISE, fadvise, PRINT_RET) \
	V(SHOW, show, PRINT_OWN) \
	V(SMAPS, smaps, PRINT_OWN) \
	V(KERNEL_BALLOON, kernel_balloon, PRINT_ERROR) \
	V(KERNEL_COMPACT, kernel_compact, PRINT_ERROR) \
	V(KERNEL_DRAIN, kernel_drain, PRINT_ERROR) \
	V(KERNEL_DROP_CACHES, kernel_drop_caches, PRINT_ERROR) \
	V(KERNEL_SWAP, kernel_swap, PRINT_ERROR) \
	V(KERNEL_NODES, kernel_nodes, PRINT_OWN) \
	V(KERNEL_VMSTAT, kernel_vmstat, PRINT_OWN) \
	V(KERNEL_RECLAIM, kernel_reclaim, PRINT_ERROR) \
	V(KERNEL_WRITEBACK, kernel_writeback, PRINT_ERROR) \
	V(KERNEL_SET, kernel_set, PRINT_ERROR)

struct script_run;

#define VERB(verb, name, print) long verb_##name(struct script_run *run);
SCRIPT_VERBS(VERB)
#undef VERB
/* clang-format on */

#endif
