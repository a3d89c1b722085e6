/* SPDX-License-Identifier: MIT */
/*
 * The tasks of a script. Each is a process (or thread) of its own that does nothing but what it is told: it makes system
 * calls and touches memory. The script's player looks on from outside, so that looking never disturbs what is looked at.
 *
 * A task and the player meet at a *desk* in shared memory. The player lays down a piece of work and turns the desk to the
 * task; the task does it, lays down its answer and turns the desk back. There is no descriptor in it that a fork could
 * inherit and a third process keep open, so a task that ends is always noticed: the player watches the process itself
 * (a pidfd) while it waits.
 *
 *	player   work -> desk, turn = TASK, wake ......... wait (turn, or the process has ended)
 *	task     wait (turn) ... do it ... answer -> desk, turn = PLAYER, wake
 *
 * Everything a task needs is in place before it is born (stacks of threads, the heap, desks): the only memory that
 * comes to be while it runs is the script's.
 */
#ifndef GUEST_WORK_H
#define GUEST_WORK_H

#include <pagesim/types.h>

#define MAX_DESKS   256
#define MAX_PATH    1024
#define NODE_WORDS  64 /* node masks of 4096 bits, more than any kernel has nodes: it is the kernel that refuses */
#define MAX_PAGES   (1u << 18) /* pages one move_pages or status may name */
#define MAX_THREADS 32         /* of one process */

enum work_kind {
	WORK_FORK,   /* desk: of the new task */
	WORK_THREAD, /* desk */
	WORK_EXIT,
	WORK_CPU, /* number */
	WORK_UNPRIVILEGED,
	WORK_MMAP, /* range, prot, flags, path ("" = none), number = offset in pages */
	WORK_MUNMAP,
	WORK_MPROTECT, /* prot */
	WORK_MREMAP,   /* to */
	WORK_MADVISE,  /* number = advice */
	WORK_MLOCK,
	WORK_MUNLOCK,
	WORK_MEMPOLICY, /* number = mode, nodes */
	WORK_MBIND,     /* number = mode, nodes, flags */
	WORK_LOAD,
	WORK_STORE, /* value */
	WORK_CHECK, /* value */
	WORK_PREAD, /* path, first, pages, step */
	WORK_PWRITE,
	WORK_FSYNC,
	WORK_TRUNCATE, /* number = pages */
	WORK_FADVISE,
	WORK_GET,
	WORK_PUT,
	WORK_PIN,
	WORK_UNPIN,
	WORK_MOVE_PAGES,    /* pages = how many are in the arrays, flags; number 0: only ask where they are */
	WORK_MIGRATE_PAGES, /* nodes, to_nodes */
	WORK_KINDS,
};

struct work {
	enum work_kind kind;
	unsigned int desk;
	u64 addr, pages, step; /* the range: @pages pages, each @step behind the one before, from @addr on */
	u64 first;             /* number of the first page: in its region or file */
	u64 to;
	u64 number, value;
	int prot, flags;
	bool is_thread; /* exit */
	unsigned long nodes[NODE_WORDS], to_nodes[NODE_WORDS];
	char path[MAX_PATH];
};

struct answer {
	long ret;     /* or -errno */
	bool faulted; /* load, store, check: at the fault_index-th page of the range, with fault_signal */
	u64 fault_index;
	int fault_signal;
};

enum turn {
	TURN_NOBODY, /* not in use, or the task is still being born */
	TURN_PLAYER,
	TURN_TASK,
};

struct desk {
	u32 turn; /* enum turn; a futex. Written with release, read with acquire: whoever has the turn owns the rest */
	struct work work;
	struct answer answer;
};

/** struct office - what player and tasks share. The arrays are move_pages' own arguments; whoever moves, owns them. */
struct office {
	struct desk desk[MAX_DESKS];
	void *page[MAX_PAGES];
	int node[MAX_PAGES];
	int status[MAX_PAGES];
};

/** office - shared with all tasks; set once, before the first. */
extern struct office *office;

/** work_at() - be the task of this desk. Context: a fresh process. Does not return. */
void work_at(unsigned int desk) __attribute__((noreturn));

/**
 * work_ask() - have a piece of work done: office->desk[@desk].work, which the caller filled in.
 * @pidfd: of the task's process.
 * Return: 0, the answer is in the desk; -ESRCH when the process ended before it answered.
 */
int work_ask(unsigned int desk, int pidfd);

/**
 * work_end() - end a task. Of a process: until it is gone, its memory given back. Of a thread: until it does nothing more.
 * @pidfd: of the task's process.
 */
void work_end(unsigned int desk, int pidfd, bool thread);

#endif
