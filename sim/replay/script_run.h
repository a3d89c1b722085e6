/* SPDX-License-Identifier: MIT */
/*
 * What a running script consists of, for the files that implement its verbs (script_verbs.h lists them).
 *
 * Names live here and nowhere below: tasks by name, regions by name and address space, files by path.
 */
#ifndef REPLAY_SCRIPT_RUN_H
#define REPLAY_SCRIPT_RUN_H

#include <pagesim/script.h>

#include <pagesim/gup.h>
#include <pagesim/mm.h>
#include <pagesim/policy.h>
#include <pagesim/trace_text.h>
#include <pagesim/vmstat.h>
#include <pagesim/world.h>

#include "replay/script_verbs.h"

struct inode;

struct script_region {
	char *name;
	u64 addr;
	u64 pages;
	u64 at; /* file offset of its first page, in pages */
};

/** The regions of one address space; shared by its threads. */
struct script_space {
	GArray *regions; /* of struct script_region */
	GArray *holds;   /* of struct script_hold: pipes and rings belong to the process, whichever thread made them */
	unsigned int users;
};

/** What `get` and `pin` hold. */
struct script_hold {
	unsigned int flags;
	u64 addr, n, step;
	struct page **pages;
	unsigned long nr;
};

struct script_actor {
	char *name;
	struct task_struct *task;
	struct script_space *space;
	bool thread;
	ps_ns_t next_tick; /* when NUMA balancing wants its turn, on the task's clock */
};

/** The guest of the transcripts has a compressed disk of this size for swap. */
#define SCRIPT_SWAP_BYTES (256ull << 20)

struct script_run {
	const struct ps_script *script;
	const struct ps_script_settings *settings;
	struct ps_world *world;
	GPtrArray *actors;            /* of struct script_actor, living ones */
	GPtrArray *slots;             /* region names in order of first use */
	GString *out;                 /* lines of the statement being executed */
	struct ps_vmstat last, since; /* counters at the last statement, at the last `kernel vmstat` */
	bool no_autodrain;
	ps_ns_t origin;                 /* virtual time at which the script began: what @TIME counts from */
	struct ps_policy *policy;       /* NUMA balancing, while it is on */
	struct ps_policy_settings numa; /* its numbers, as far as they were set */
	GError *error;                  /* set: the script ends here */
	const struct ps_statement *st;
	struct script_actor *actor; /* who executes it, NULL for the kernel */
};

/** A range of the language with its sizes known. */
struct script_span {
	const char *name;
	u64 addr;  /* of the first page */
	u64 first; /* its number in the region or file */
	u64 n;     /* pages named */
	u64 step;
	u64 at; /* file offset of the region */
};

/* ---- script.c: what is said */

/** The script ends with this error, FILE:LINE: in front; the first one counts. */
void script_fail(struct script_run *run, const char *format, ...) G_GNUC_PRINTF(2, 3);
/** Prints a return value: "  = N" or "  = -ERRNO". */
void script_print_result(struct script_run *run, long ret);
/** Prints the watched counters that differ, if any. */
void script_print_counters(struct script_run *run, const struct ps_vmstat *now, const struct ps_vmstat *before);
/** Prints pages @first to @last as a range, with @prefix in front: "r[0:16]". */
void script_append_pages(GString *out, const char *prefix, u64 first, u64 last, u64 step);

/* ---- script_names.c: who and where */

struct script_actor *script_find_actor(struct script_run *run, const char *name);
/** Is the name free for a new task? Fails the script if not. */
bool script_check_free_name(struct script_run *run, const char *name);
struct script_actor *script_add_actor(struct script_run *run, const char *name, struct task_struct *task,
				      struct script_space *space);
struct script_space *script_space_new(const struct script_space *copy);
void script_space_put(struct script_space *space);

struct script_region *script_find_region(const struct script_space *space, const char *name);
/** Names a region of the actor's space, at the address that belongs to the name. */
struct script_region *script_set_region(struct script_run *run, const char *name, u64 pages, u64 at);

/** The pages a range of a region names. Return: false, and the script fails, if there is no such region or page. */
bool script_get_span(struct script_run *run, const struct ps_range *range, struct script_span *ret);
/** The same of the statement's own range; a file there fails. */
bool script_get_range(struct script_run *run, struct script_span *ret);
/** Calls @fn for the whole range, or for each page of one with a step until one fails. */
long script_each(const struct script_span *span, long (*fn)(void *arg, u64 addr, u64 len), void *arg);

static inline u64 script_span_addr(const struct script_span *span, u64 i)
{
	return span->addr + ((i * span->step) << PAGE_SHIFT);
}

static inline struct mm_struct *script_mm(struct script_run *run)
{
	return run->actor->task->mm;
}

/* ---- script_task.c */

/** `A start`, outside any task. */
void script_start(struct script_run *run);
/** `A exit`, outside any task: of a process with all its threads. */
void script_exit(struct script_run *run, struct script_actor *actor);
/** Ends one task, and with the last of a process its holds. */
void script_end_actor(struct script_run *run, struct script_actor *actor);

/* ---- script_set.c */

/** NUMA balancing gets its turn if it is due. Context: a task is entered, no locks held; may sleep. */
void script_tick(struct script_run *run);
/** Switches it off for good. Context: no task is entered, or any. */
void script_policy_end(struct script_run *run);

/* ---- what several verbs need */

/** The word a store writes: of its value and of the page's number. Never the token of an untouched page, which is 0. */
u64 script_word(u64 value, u64 page);
/** Opens a file; what a privileged task made (mode 644) only such a task may write. Return: 0 or -errno. */
int script_open_file(struct script_run *run, const char *path, bool create, bool write, struct inode **ret);
/** Gives back everything `get` and `pin` hold. Context: a task of the process is entered. */
void script_drop_holds(struct script_space *space);
/** References that `get` and `pin` hold to a page, as check_machine() must know them. @opaque: the run. */
long script_held_refs(void *opaque, const struct page *page);

#endif
