/* SPDX-License-Identifier: MIT */
/*
 * Bulk replay: a trace goes in, a simulated computer does what the recorded programs did, and a report comes out. Every
 * record and event is executed by the hosted task it belongs to, in the trace's order.
 *
 *    reader ── batch ──┬─ accesses ─> simulated TLB ── hit ──> latency, counters      (no lock, no call)
 *                      │                            └─ miss ─> walk, fault            (ps_mmu_walk)
 *                      └─ event ────> do_mmap, fork, read(2)...
 *                 between any two accesses, when it is due: kernel threads, policy tick, end of an interval
 *
 * What it costs:
 *   record     one memory access: latency of the CPU's node to the page's node, as a read or a write by the record's first
 *              access; each further access of the record costs costs.cache_ns; a second-level TLB hit, a walk, a fault cost
 *              what the model charges
 *   between    with an instruction clock, instructions executed cost instruction_ps each
 *   switch     a task that takes over a CPU from another one pays costs.context_switch_ns
 *   system call   costs.syscall_ns; read(2) and write(2) also copy through the page cache into the caller's buffer
 *
 * Time. The recorders this project has run one thread at a time, and so does replay: virtual time is one line, a task goes
 * on no earlier than where the previous one stopped (the gap counts as idle). Kernel threads run beside it, on clocks of
 * their own. A trace with a nanosecond clock is not replayed faster than recorded: a batch waits for its time.
 *
 * Files. A recorded path /P becomes /d/P on the simulated disk, as long as what is mapped, read or written of it. Files
 * are warm: what the trace did not write itself is found without a wait. What it wrote and reclaim evicted is read back at
 * costs.major_fault_ns a page.
 *
 * What a trace may do that a program could not:
 *   use a task it never introduced   a process with an empty address space begins there
 *   touch a page nobody mapped   it is mapped there and then, as private anonymous memory, and counted (auto_mapped_pages)
 *   touch what its mapping forbids (or beyond the end of a file)   not replayed, counted (refused_accesses)
 *   run out of simulated memory   an error: replay ends there; all before it counts
 *
 * Layer: replay
 */
#ifndef PAGESIM_REPLAY_H
#define PAGESIM_REPLAY_H

#include <glib.h>
#include <pagesim/contents.h>
#include <pagesim/machine.h>
#include <pagesim/report.h>
#include <pagesim/trace_file.h>
#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ps_world;
struct ps_replay;

#define PS_REPLAY_ERROR (ps_replay_error_quark())
GQuark ps_replay_error_quark(void);

enum ps_replay_error {
	PS_REPLAY_ERROR_MACHINE,    /* cannot be built */
	PS_REPLAY_ERROR_GENERATION, /* no such generation */
	PS_REPLAY_ERROR_POLICY,     /* could not be put to work; bad words are PS_POLICY_ERROR */
	PS_REPLAY_ERROR_ARGUMENT,   /* a setting that cannot be */
	PS_REPLAY_ERROR_MEMORY,     /* simulated memory is used up, or the host's is */
	PS_REPLAY_ERROR_TRACE,      /* says what cannot be: a task that has ended, a page beyond the address space */
	PS_REPLAY_ERROR_SCRIPT,     /* statements of the language, which ps_script_run() executes */
	PS_REPLAY_ERROR_STUCK,      /* nobody can ever run again */
	PS_REPLAY_ERROR_CHECK,      /* an invariant does not hold */
};

/** Where tasks run. A task gets its CPU when it appears and stays there. */
enum ps_replay_placement {
	PS_PLACE_FIRST_NODE, /* in turn on the CPUs of the first node that has CPUs */
	PS_PLACE_SPREAD,     /* in turn on all nodes, and in turn on the CPUs of each */
	PS_PLACE_CPU0,       /* all on one CPU */
};

/** The placement called @word ("first-node", "spread", "cpu0"), or -ENOENT. */
int ps_replay_placement_from_word(const char *word);

#define PS_INSTRUCTION_PS_DEFAULT 250
#define PS_INSTRUCTION_PS_NONE    0xffffffffu

/** All zero: the defaults. */
struct ps_replay_settings {
	const char *policy;     /* as ps_policy_parse() reads it: name,parameter=number...; NULL: none */
	const char *generation; /* of the migrate engine; NULL: 6.1 */
	enum ps_contents contents;
	u64 seed;
	ps_ns_t interval_ns; /* virtual time of a row; 0: no rows */
	enum ps_replay_placement placement;
	u32 instruction_ps; /* ps of CPU time per instruction between accesses; 0: PS_INSTRUCTION_PS_DEFAULT (4 a ns, an
			       assumption: two a cycle at 2 GHz); PS_INSTRUCTION_PS_NONE: none */
	bool check;         /* all invariants at the end, and at the end of every interval */
	/** Hears of progress now and then; false stops the run (an error). NULL: nobody. */
	bool (*progress)(void *arg, u64 accesses, u64 position, u64 size);
	void *arg;
};

/**
 * Builds a simulated computer for one trace.
 * Return: the replay, freed by ps_replay_free(); NULL with @error set (PS_REPLAY_ERROR or PS_POLICY_ERROR).
 */
struct ps_replay *ps_replay_new(const struct ps_machine_spec *spec, const struct ps_replay_settings *settings,
				GError **error);

/**
 * Replays what the reader still has.
 * Return: true; false with @error set (the reader's or PS_REPLAY_ERROR; says where in the trace). What came before counts.
 */
bool ps_replay_run(struct ps_replay *replay, struct ps_trace_reader *reader, GError **error);

/** Replays one batch; what ps_replay_run() does for each. Return: as there, and further calls fail likewise. */
bool ps_replay_batch(struct ps_replay *replay, const struct ps_trace_batch *batch, GError **error);

/** Fills in the report of everything so far. @report: initialised; what it held is dropped. May be called at any time. */
void ps_replay_report(struct ps_replay *replay, struct ps_report *report);

/** The simulated computer, to look at. Not entered by any task between calls. */
struct ps_world *ps_replay_world(struct ps_replay *replay);
/** The task of number @task in the trace, or NULL. */
struct task_struct *ps_replay_task(struct ps_replay *replay, u32 task);

/** Ends all tasks and frees the computer. NULL is fine. */
void ps_replay_free(struct ps_replay *replay);

#ifdef __cplusplus
}
#endif
#endif
