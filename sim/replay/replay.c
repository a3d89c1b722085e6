/* SPDX-License-Identifier: MIT */
/*
 * Bulk replay: setting up the computer, one line of virtual time for all tasks of the trace. Records are in access.c, events
 * in event.c, what is counted in count.c.
 *
 * Locking: none of its own. Everything runs on the host's stack, as the hosted task that is entered, and the model's fibers
 * (kernel threads) run only inside calls into the model.
 */
#include "replay/run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <pagesim/alloc.h>
#include <pagesim/check.h>
#include <pagesim/fault.h>
#include <pagesim/inode.h>
#include <pagesim/lru.h>
#include <pagesim/migrate.h>
#include <pagesim/mm.h>
#include <pagesim/policy.h>

/* Batches between two looks at the clock of the host. */
#define PROGRESS_BATCHES 64

/* Where a deadlock ends a batch: the handler must not return. */
struct replay_exit {
	jmp_buf env;
	char text[1024];
};

G_DEFINE_QUARK(pagesim - replay, ps_replay_error)

int ps_replay_placement_from_word(const char *word)
{
	static const char *const words[] = { "first-node", "spread", "cpu0" };

	for (unsigned i = 0; i < G_N_ELEMENTS(words); i++)
		if (!strcmp(word, words[i]))
			return (int)i;
	return -ENOENT;
}

/* ---- errors */

static u64 accesses(const struct ps_replay *r)
{
	return r->reads + r->writes + r->fetches;
}

bool replay_fail(struct ps_replay *r, enum ps_replay_error code, const char *format, ...)
{
	va_list args;
	char *message;

	if (r->failed)
		return false;
	va_start(args, format);
	message = g_strdup_vprintf(format, args);
	va_end(args);
	r->failed = g_error_new(PS_REPLAY_ERROR, (int)code,
				"%s: after %" G_GUINT64_FORMAT " accesses (trace time %" G_GUINT64_FORMAT " %s): %s",
				r->trace ? r->trace : "trace", accesses(r), r->trace_time,
				ps_trace_clock_word(r->clock), message);
	g_free(message);
	return false;
}

bool replay_fail_errno(struct ps_replay *r, int error, const char *what)
{
	struct ps_alloc_counts counts;
	GString *nodes;

	if (error != -ENOMEM)
		return replay_fail(r, PS_REPLAY_ERROR_TRACE, "%s: %s", what, g_strerror(-error));
	ps_alloc_counts(&counts);
	if (counts.failed > r->host_failures)
		return replay_fail(r, PS_REPLAY_ERROR_MEMORY, "%s: out of host memory", what);
	nodes = g_string_new(NULL);
	for (unsigned nid = 0; nid < r->machine->nr_nodes; nid++) {
		u64 pages = r->machine->nodes[nid].present_pages;

		if (pages)
			g_string_append_printf(
				nodes, "%snode %u: %" G_GINT64_FORMAT " of %" G_GUINT64_FORMAT " pages free",
				nodes->len ? ", " : "", nid,
				ps_vmstat_read(r->world->stats, (nid_t)nid, PS_VMSTAT_ZONE_BASE + NR_FREE_PAGES),
				pages);
	}
	replay_fail(r, PS_REPLAY_ERROR_MEMORY, "%s: out of simulated memory (%s)", what, nodes->str);
	g_string_free(nodes, TRUE);
	return false;
}

/* ---- at rest */

/* Is somebody inside the model: a kernel thread that was left in the middle of something? */
static bool busy(const struct ps_replay *r)
{
	struct task_struct *one[1];

	return ps_runnable(r->world->rt, one, 1) > 0;
}

/* Context: a task is entered. @at_rest: nothing is half done. */
static bool check(struct ps_replay *r, bool at_rest)
{
	struct ps_check_settings settings = { .busy = !at_rest };
	struct ps_check_report *report;
	int found;

	if (!r->set.check)
		return true;
	report = (struct ps_check_report *)ps_zalloc(sizeof(*report));
	found = report ? check_machine(r->machine, &settings, report) : -ENOMEM;
	if (found < 0)
		replay_fail(r, PS_REPLAY_ERROR_MEMORY, "out of host memory while checking");
	else if (found)
		replay_fail(r, PS_REPLAY_ERROR_CHECK, "invariant I%d (%s) does not hold: %s%s",
			    report->violation[0].invariant, ps_invariant_text(report->violation[0].invariant),
			    report->violation[0].text, found > 1 ? " (and more)" : "");
	ps_free(report);
	return !found;
}

/* The trace is over: what lies in per-CPU batches goes where it belongs, and then everything must agree. */
static void settle(struct ps_replay *r)
{
	ps_task_enter(r->world->boot);
	lru_add_drain_all();
	check(r, !busy(r));
	ps_task_leave();
}

/* ---- time */

void replay_set_deadline(struct ps_replay *r)
{
	ps_ns_t own = ps_min(r->policy_next, r->row_end);

	r->deadline = ps_min(r->world->rt->horizon, own);
}

bool replay_due(struct ps_replay *r)
{
	struct task_struct *task = current;

	cond_resched();
	ps_take_ipis();
	if (unlikely(task->now >= r->policy_next)) {
		r->policy_next = ps_policy_tick(r->policy);
		replay_task_at(r, r->entered)->next_tick = r->policy_next;
	}
	if (unlikely(task->now >= r->row_end)) {
		ps_ns_t past = task->now - r->origin;

		r->last_now = task->now;
		past -= past % r->set.interval_ns;
		r->row_end = r->origin + past + r->set.interval_ns;
		if (!replay_close_row(r, past) || !check(r, false))
			return false;
	}
	replay_set_deadline(r);
	return true;
}

/* A trace with a clock in nanoseconds happens when it happened. */
static void pace(struct ps_replay *r, u64 time)
{
	if (r->clock == PS_CLOCK_NS && current->now < r->origin + time)
		ps_sleep_until(r->origin + time);
}

struct replay_task *replay_enter(struct ps_replay *r, u32 number)
{
	struct replay_task *t;
	struct task_struct *task;

	if (number >= r->tasks.n || (!replay_task_at(r, number)->task && !replay_task_at(r, number)->gone)) {
		/* What only lists accesses introduces nobody. */
		if (!replay_start_task(r, number, "unknown"))
			return NULL;
	}
	t = replay_task_at(r, number);
	if (!t->task) {
		replay_fail(r, PS_REPLAY_ERROR_TRACE, "task %u does something after its end", number);
		return NULL;
	}
	task = t->task;
	ps_task_enter(task);
	if (task != r->last && task->now < r->last_now)
		ps_sleep_until(r->last_now);
	if (unlikely(r->cpu_task[task->cpu] != number + 1)) {
		if (r->cpu_task[task->cpu])
			ps_charge(r->machine->costs.context_switch_ns, PS_TIME_SYSCALL);
		r->cpu_task[task->cpu] = number + 1;
	}
	r->entered = number;
	r->policy_next = t->next_tick;
	pace(r, r->trace_time);
	ps_take_ipis();
	return t;
}

void replay_leave(struct ps_replay *r)
{
	r->last = current;
	ps_task_leave();
	r->last_now = r->last->now;
}

/* ---- running */

static bool run_batch(struct ps_replay *r, const struct ps_trace_batch *batch)
{
	bool ok;

	r->trace_time = batch->time;
	if (batch->event) {
		r->trace_time = batch->event->time;
		if (batch->event->kind < PS_EVENT_KINDS)
			r->events[batch->event->kind]++;
		return replay_event(r, batch->event);
	}
	if (!replay_enter(r, batch->task))
		return false;
	ok = replay_accesses(r, batch);
	replay_leave(r);
	return ok;
}

static void on_deadlock(void *arg, const struct ps_deadlock *deadlock)
{
	struct replay_exit *out = *(struct replay_exit **)arg;

	ps_deadlock_text(deadlock, out->text, sizeof(out->text));
	longjmp(out->env, 1);
}

/* The runtime's handler gets the address of this slot: which batch is running changes, the settings do not. */
struct stuck_slot {
	struct replay_exit *out;
};

struct replay_own {
	struct ps_replay r;
	struct stuck_slot slot;
	bool stuck;
};

static struct replay_own *own(struct ps_replay *r)
{
	return (struct replay_own *)r;
}

bool ps_replay_batch(struct ps_replay *r, const struct ps_trace_batch *batch, GError **error)
{
	struct replay_exit out;

	if (!r->failed) {
		own(r)->slot.out = &out;
		if (!setjmp(out.env)) {
			run_batch(r, batch);
		} else {
			own(r)->stuck = true;
			replay_fail(r, PS_REPLAY_ERROR_STUCK, "nobody can run any more: %s", out.text);
		}
	}
	if (!r->failed)
		return true;
	g_propagate_error(error, g_error_copy(r->failed));
	return false;
}

static void describe(struct ps_replay *r, struct ps_trace_reader *reader)
{
	const struct ps_trace_info *info = ps_trace_reader_info(reader);

	if (r->trace)
		return;
	r->trace = g_strdup(ps_trace_reader_name(reader));
	r->source = g_strdup(info->source);
	r->command = g_strdup(info->command);
	r->clock = info->clock;
}

bool ps_replay_run(struct ps_replay *r, struct ps_trace_reader *reader, GError **error)
{
	struct ps_trace_batch batch;
	GError *failed = NULL;
	u64 batches = 0;

	describe(r, reader);
	while (!r->failed) {
		enum ps_trace_next next = ps_trace_reader_next(reader, &batch, &failed);
		u64 position, size;

		if (next == PS_TRACE_FAILED) {
			r->failed = g_error_copy(failed);
			g_propagate_error(error, failed);
			return false;
		}
		if (next == PS_TRACE_END)
			break;
		if (!ps_replay_batch(r, &batch, error))
			return false;
		if (!r->set.progress || ++batches % PROGRESS_BATCHES)
			continue;
		position = ps_trace_reader_position(reader, &size);
		if (!r->set.progress(r->set.arg, accesses(r), position, size))
			replay_fail(r, PS_REPLAY_ERROR_ARGUMENT, "stopped");
	}
	r->ended = !r->failed;
	if (r->ended)
		settle(r);
	if (!r->failed)
		return true;
	g_propagate_error(error, g_error_copy(r->failed));
	return false;
}

/* ---- setting up */

static bool build(struct replay_own *o, const struct ps_machine_spec *spec, GError **error)
{
	struct ps_replay *r = &o->r;
	struct ps_world_settings world = { .contents = r->set.contents, .generation = r->set.generation };
	struct ps_policy_settings policy;
	char why[512] = "";
	int failed;

	if (ps_machine_spec_check(spec, why, sizeof(why))) {
		g_set_error(error, PS_REPLAY_ERROR, PS_REPLAY_ERROR_MACHINE, "machine %s cannot be: %s", spec->name,
			    why);
		return false;
	}
	if (!ps_generation_find(r->set.generation)) {
		GString *known = g_string_new(NULL);
		const struct migrate_recipe *recipe;

		for (unsigned i = 0; (recipe = ps_generation_at(i)); i++)
			g_string_append_printf(known, "%s%s", i ? ", " : "", recipe->name);
		g_set_error(error, PS_REPLAY_ERROR, PS_REPLAY_ERROR_GENERATION,
			    "unknown generation '%s': expected one of %s", r->set.generation, known->str);
		g_string_free(known, TRUE);
		return false;
	}
	if (!ps_policy_parse(r->policy_text->str, &policy, error))
		return false;
	world.runtime.seed = r->set.seed;
	world.runtime.no_lockcheck = !r->set.check;
	world.runtime.on_deadlock = on_deadlock;
	world.runtime.arg = &o->slot;
	failed = ps_world_new(spec, &world, &r->world);
	if (failed) {
		g_set_error(error, PS_REPLAY_ERROR, PS_REPLAY_ERROR_MACHINE, "cannot build machine %s: %s", spec->name,
			    failed == -ENOMEM ? "out of host memory" : "no such machine");
		return false;
	}
	r->machine = r->world->machine;
	failed = ps_policy_attach(r->world, &policy, &r->policy);
	if (failed) {
		g_set_error(error, PS_REPLAY_ERROR, PS_REPLAY_ERROR_POLICY, "policy %s: %s", r->policy_text->str,
			    failed == -ENOMEM ? "out of host memory" : g_strerror(-failed));
		return false;
	}
	/* Files are warm: finding what nobody wrote yet costs nothing. The disk charges for what it gives back. */
	r->machine->costs.major_fault_ns = 0;
	return true;
}

struct ps_replay *ps_replay_new(const struct ps_machine_spec *spec, const struct ps_replay_settings *settings,
				GError **error)
{
	static const struct ps_replay_settings defaults;
	struct replay_own *o = (struct replay_own *)ps_zalloc(sizeof(*o));
	struct ps_replay *r = o ? &o->r : NULL;
	struct ps_alloc_counts counts;

	if (!o) {
		g_set_error(error, PS_REPLAY_ERROR, PS_REPLAY_ERROR_MEMORY, "out of host memory");
		return NULL;
	}
	ps_alloc_counts(&counts);
	r->host_failures = counts.failed;
	r->set = settings ? *settings : defaults;
	r->policy_text = g_string_new(r->set.policy ? r->set.policy : "none");
	r->instruction_ps = r->set.instruction_ps == PS_INSTRUCTION_PS_NONE ? 0
			    : r->set.instruction_ps                         ? r->set.instruction_ps
									    : PS_INSTRUCTION_PS_DEFAULT;
	r->clock = PS_CLOCK_ACCESSES;
	r->cost_nid = NUMA_NO_NODE;
	r->policy_next = UINT64_MAX;
	r->row_end = UINT64_MAX;
	if (!build(o, spec, error))
		goto out_free;
	r->count = (u64(*)[MAX_NUMNODES][2])ps_calloc(r->machine->nr_nodes, sizeof(*r->count));
	r->cpu_task = (u32 *)ps_calloc(r->machine->nr_cpus, sizeof(*r->cpu_task));
	r->row_base = (u64 *)ps_calloc(ps_report_nr_columns(r->machine->nr_nodes), sizeof(u64));
	if (!r->count || !r->cpu_task || !r->row_base) {
		g_set_error(error, PS_REPLAY_ERROR, PS_REPLAY_ERROR_MEMORY, "out of host memory");
		goto out_free;
	}
	r->origin = r->last_now = ps_runtime_now(r->world->rt);
	if (r->set.interval_ns) {
		replay_totals(r, r->row_base);
		r->row_end = r->origin + r->set.interval_ns;
	}
	return r;

out_free:
	ps_replay_free(r);
	return NULL;
}

struct ps_world *ps_replay_world(struct ps_replay *r)
{
	return r->world;
}

struct task_struct *ps_replay_task(struct ps_replay *r, u32 task)
{
	return task < r->tasks.n ? replay_task_at(r, task)->task : NULL;
}

static void close_files(struct ps_replay *r)
{
	ps_task_enter(r->world->boot);
	for (unsigned i = 0; i < REPLAY_FILES; i++) {
		while (r->files[i]) {
			struct replay_file *next = r->files[i]->next;

			iput(r->files[i]->inode);
			ps_free(r->files[i]);
			r->files[i] = next;
		}
	}
	ps_task_leave();
}

void ps_replay_free(struct ps_replay *r)
{
	if (!r)
		return;
	if (r->world && own(r)->stuck) {
		/* Tasks hold locks they will never give back: only the threads can be ended, the rest is left to the host. */
		ps_runtime_free(r->world->rt);
	} else if (r->world) {
		for (guint i = 0; i < r->tasks.n; i++)
			replay_end_task(r, replay_task_at(r, i));
		close_files(r);
		ps_policy_detach(r->policy);
		ps_world_free(r->world);
	}
	ps_grow_free(&r->tasks);
	g_string_free(r->policy_text, TRUE);
	g_free(r->trace);
	g_free(r->source);
	g_free(r->command);
	g_clear_error(&r->failed);
	ps_free(r->count);
	ps_free(r->cpu_task);
	ps_free(r->rows);
	ps_free(r->row_base);
	ps_free(r);
}
