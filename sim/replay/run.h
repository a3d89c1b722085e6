/* SPDX-License-Identifier: MIT */
/*
 * What one bulk replay consists of, for the files that implement it:
 *
 *   replay.c   setting up, time
 *   access.c   records: the hot path
 *   event.c    events: what a program asks of its kernel
 *   count.c    what has been counted: intervals, the report
 *
 * Invariant between batches: no task is entered. Within a batch the task it belongs to is, and `deadline` is the earliest
 * virtual time at which anything but the task itself has to happen.
 */
#ifndef PS_REPLAY_RUN_H
#define PS_REPLAY_RUN_H

#include <pagesim/replay.h>

#include <pagesim/machine.h>
#include <pagesim/runtime.h>
#include <pagesim/vmstat.h>
#include <pagesim/world.h>

#include "base/grow.h"

struct inode;

/** What the threads of one address space share beside it. Bytes. */
struct replay_space {
	u64 heap_start;
	u64 heap_end;
	unsigned users;
};

/** A task of the trace; task NULL: not there yet, or gone. */
struct replay_task {
	struct task_struct *task;
	struct replay_space *space;
	ps_ns_t next_tick; /* when the policy wants its turn, on the task's clock */
	bool gone;
	bool policy_told; /* that it ends */
};

/* Walks remembered for prefetching, by region of a PMD; power of two. */
#define WALK_HINTS 4096

/** A recorded path and the simulated file it became, with a reference. */
struct replay_file {
	struct replay_file *next;
	struct inode *inode;
	char name[];
};
#define REPLAY_FILES 64u

struct ps_replay {
	struct ps_world *world;
	struct ps_machine *machine;
	struct ps_replay_settings set;
	struct ps_policy *policy;
	GString *policy_text; /* as given */

	struct ps_grow tasks;                    /* of struct replay_task, by number in the trace */
	struct replay_file *files[REPLAY_FILES]; /* by recorded path, hashed; linked */
	u64 host_failures;                       /* requests for host memory refused before this replay began */
	struct task_struct *last;                /* who ran last; may be gone, never followed */
	ps_ns_t last_now;                        /* and where it stopped */
	u32 *cpu_task;                           /* by CPU: trace's number of who ran there last, plus 1 */
	unsigned placed;                         /* tasks given a CPU so far */

	ps_ns_t origin;      /* virtual time of the first batch */
	ps_ns_t deadline;    /* see above */
	u32 entered;         /* number of the task that is entered */
	ps_ns_t policy_next; /* its next_tick */
	ps_ns_t row_end;     /* of the interval that is open; UINT64_MAX: none */
	u32 instruction_ps;
	enum ps_trace_clock clock;

	/* Memory accesses by node of the CPU, node of the memory, write. */
	u64 (*count)[MAX_NUMNODES][2];
	u64 records, reads, writes, fetches;
	u64 events[PS_EVENT_KINDS];
	u64 processes, threads;
	u64 auto_mapped, refused, ignored;
	struct ps_report_time program; /* of tasks that are gone */
	u64 peak[MAX_NUMNODES];
	u64 peak_total;

	u64 *rows;
	size_t nr_rows, room_rows;
	u64 *row_base; /* totals where the open interval began */

	char *trace, *source, *command;
	bool ended;
	GError *failed; /* the first error: every later call says it again */
	u64 trace_time; /* of the batch being replayed */

	/* What the hot path reads of the CPU node it runs on: ns of an access, [node][write]. */
	u32 cost[MAX_NUMNODES][2];
	nid_t cost_nid;              /* whose figures these are; NUMA_NO_NODE: nobody's */
	const u64 *hint[WALK_HINTS]; /* tables of PTEs, perhaps no longer: only ever prefetched from */
};

static inline struct replay_task *replay_task_at(const struct ps_replay *r, size_t number)
{
	return (struct replay_task *)r->tasks.data + number;
}

/** Records the first error, with the position in the trace. Return: false. */
bool replay_fail(struct ps_replay *r, enum ps_replay_error code, const char *format, ...) G_GNUC_PRINTF(3, 4);

/** What a failed call of the model means to a replay that cannot go on. Return: false. */
bool replay_fail_errno(struct ps_replay *r, int error, const char *what);

/** Enters a task of the trace; time does not go back. Return: it, or NULL with the error recorded. */
struct replay_task *replay_enter(struct ps_replay *r, u32 number);
/** Leaves the entered task. */
void replay_leave(struct ps_replay *r);
/** Things other than the task are due: lets them happen, and computes the next deadline. Context: a task is entered. */
bool replay_due(struct ps_replay *r);
void replay_set_deadline(struct ps_replay *r);
/** Notes how much memory is resident if it was never more. Context: before memory is given back. */
void replay_note_peak(struct ps_replay *r);

/** Totals so far, in the columns of a row. */
void replay_totals(struct ps_replay *r, u64 *values);
/** Ends the open interval at @end, counted from the origin. */
bool replay_close_row(struct ps_replay *r, ps_ns_t end);

/** Replays the records of a batch in the entered task. */
bool replay_accesses(struct ps_replay *r, const struct ps_trace_batch *batch);
/** Maps one page the trace never mapped. Return: 0 or as do_mmap(). */
int replay_auto_map(struct ps_replay *r, u64 addr);

/** Begins a process; a task the trace never introduced is one. Context: no task is entered. Return: false with the error. */
bool replay_start_task(struct ps_replay *r, u32 number, const char *command);
/** Replays an event. Context: no task is entered. */
bool replay_event(struct ps_replay *r, const struct ps_event *event);
/** The policy hears of a task's end, once. */
void replay_policy_exit(struct ps_replay *r, struct replay_task *task);
/** Ends a task. Context: it is not entered. */
void replay_end_task(struct ps_replay *r, struct replay_task *task);

#endif
