/* SPDX-License-Identifier: MIT */
/*
 * The interpreter of the trace language: one statement after the other is executed by its task, and what it returned and
 * changed is printed in the transcript's words. What the verbs do is in the files script_verbs.h lists.
 *
 * After every statement the per-CPU LRU batches are drained and the watched counters compared with what they were, as the
 * recorder on the real kernel did.
 */
#include "replay/script_run.h"

#include <stdarg.h>

#include <pagesim/check.h>
#include <pagesim/errname.h>
#include <pagesim/inode.h>
#include <pagesim/lru.h>
#include <pagesim/reclaim.h>
#include <pagesim/swap.h>

#define SCRIPT_ERROR (g_quark_from_static_string("pagesim-script"))

/* clang-format off */
static const struct {
	long (*execute)(struct script_run *run);
	enum verb_print print;
} verbs[PS_VERBS] = {
#define VERB(verb, name, print) [PS_VERB_##verb] = { verb_##name, print },
	SCRIPT_VERBS(VERB)
#undef VERB
};
/* clang-format on */

/* ---- what is said */

void script_fail(struct script_run *run, const char *format, ...)
{
	va_list args;
	char *message;

	if (run->error)
		return;
	va_start(args, format);
	message = g_strdup_vprintf(format, args);
	va_end(args);
	run->error = g_error_new(SCRIPT_ERROR, 0, "%s:%u: %s", run->script->name, run->st->line, message);
	g_free(message);
}

void script_print_result(struct script_run *run, long ret)
{
	if (ret < 0)
		g_string_append_printf(run->out, "  = -%s\n", ps_errno_name((int)-ret));
	else
		g_string_append_printf(run->out, "  = %ld\n", ret);
}

void script_print_counters(struct script_run *run, const struct ps_vmstat *now, const struct ps_vmstat *before)
{
	struct ps_vmstat delta;
	char text[4096];

	ps_vmstat_delta(now, before, &delta);
	if (ps_vmstat_format_watched(text, sizeof(text), &delta) > 0)
		g_string_append_printf(run->out, "  vmstat:%s\n", text);
}

void script_append_pages(GString *out, const char *prefix, u64 first, u64 last, u64 step)
{
	if (first == last)
		g_string_append_printf(out, "%s[%" G_GUINT64_FORMAT "]", prefix, first);
	else if (step == 1)
		g_string_append_printf(out, "%s[%" G_GUINT64_FORMAT ":%" G_GUINT64_FORMAT "]", prefix, first, last + 1);
	else
		g_string_append_printf(out, "%s[%" G_GUINT64_FORMAT ":%" G_GUINT64_FORMAT ":%" G_GUINT64_FORMAT "]",
				       prefix, first, last + step, step);
}

/* ---- a statement */

/* @TIME: nothing is issued before its time; what other threads do until then they do. */
static void wait_for_time(struct script_run *run)
{
	ps_ns_t time = run->origin + run->st->time;

	if (run->st->has_time && current->now < time)
		ps_sleep_until(time);
}

/* The same for what is not done inside a task. */
static void wait_outside(struct script_run *run)
{
	ps_task_enter(run->actor->task);
	wait_for_time(run);
	ps_task_leave();
}

static void execute_verb(struct script_run *run, struct task_struct *task)
{
	enum ps_verb verb = run->st->verb;
	long ret;

	if (!verbs[verb].execute) {
		script_fail(run, "verb '%s' is not in this build yet", ps_verb_word(verb));
		return;
	}
	ps_task_enter(task);
	wait_for_time(run);
	run->executing = task;
	if (!run->no_autodrain && verbs[verb].print == PRINT_OWN)
		lru_add_drain_all();
	ret = verbs[verb].execute(run);
	script_tick(run);
	run->executing = NULL;
	ps_task_leave();
	if (run->error)
		return;
	if (verbs[verb].print == PRINT_RET || (verbs[verb].print == PRINT_ERROR && ret < 0))
		script_print_result(run, ret);
}

static void execute(struct script_run *run)
{
	const struct ps_statement *st = run->st;
	enum ps_subject subject = ps_verb_subject(st->verb);

	run->actor = NULL;
	if (st->racer || subject == PS_SUBJECT_SCRIPT) {
		if (st->verb != PS_VERB_MACHINE)
			script_fail(run, "'%s' is not in this build yet", st->racer ? "race" : ps_verb_word(st->verb));
		return;
	}
	if (subject == PS_SUBJECT_KERNEL) {
		execute_verb(run, run->world->boot);
		return;
	}
	if (st->verb == PS_VERB_START) {
		script_start(run);
		run->actor = run->error ? NULL : script_find_actor(run, st->subject);
		if (run->actor)
			wait_outside(run);
		return;
	}
	run->actor = script_find_actor(run, st->subject);
	if (!run->actor) {
		script_fail(run, "no task %s: expected the name of a started task or 'kernel'", st->subject);
	} else if (st->verb == PS_VERB_EXIT) {
		wait_outside(run);
		script_exit(run, run->actor);
	} else {
		execute_verb(run, run->actor->task);
	}
}

static void flush(struct script_run *run)
{
	if (run->settings->print && run->out->len)
		run->settings->print(run->settings->arg, run->out->str, run->out->len);
	g_string_truncate(run->out, 0);
}

static void settle(struct script_run *run)
{
	ps_task_enter(run->world->boot);
	if (!run->no_autodrain)
		lru_add_drain_all();
	ps_task_leave();
}

static void check(struct script_run *run)
{
	struct ps_check_settings settings = { .busy = run->no_autodrain, .extra_refs = script_held_refs, .arg = run };
	struct ps_check_report report;
	int found;

	ps_task_enter(run->world->boot);
	/* Nobody is at rest while a kswapd is half-way through its pages. */
	settings.busy |= !kswapd_asleep(run->world->machine);
	found = check_machine(run->world->machine, &settings, &report);
	ps_task_leave();
	if (found > 0)
		script_fail(run, "invariant I%d (%s) does not hold: %s%s", report.violation[0].invariant,
			    ps_invariant_text(report.violation[0].invariant), report.violation[0].text,
			    found > 1 ? " (and more)" : "");
	else if (found < 0)
		script_fail(run, "out of memory while checking");
}

/* Return: false to stop. */
static bool run_statement(struct script_run *run)
{
	struct ps_vmstat now;

	g_string_append_printf(run->out, "> %s\n", run->st->text);
	execute(run);
	if (run->error) {
		g_string_append_printf(run->out, "%s\n", run->error->message);
		return false;
	}
	settle(run);
	ps_vmstat_snapshot(run->world->stats, NUMA_NO_NODE, &now);
	if (run->st->verb != PS_VERB_KERNEL_VMSTAT)
		script_print_counters(run, &now, &run->last);
	run->last = now;
	flush(run);
	if (run->settings->after && !run->settings->after(run->settings->arg, run->world, run->st->line))
		return false;
	if (run->settings->check)
		check(run);
	if (run->error)
		g_string_append_printf(run->out, "%s\n", run->error->message);
	return !run->error;
}

bool ps_script_run(const struct ps_script *script, const struct ps_machine_spec *spec,
		   const struct ps_script_settings *settings, GError **error)
{
	static const struct ps_script_settings defaults;
	struct ps_world_settings world = { .contents = PS_CONTENTS_TAG };
	struct script_run run = { .script = script, .settings = settings ? settings : &defaults };
	int failed;
	u32 i;

	world.generation = run.settings->generation;
	world.runtime.seed = run.settings->seed;
	failed = ps_world_new(spec, &world, &run.world);
	if (failed) {
		g_set_error(error, SCRIPT_ERROR, 0, "%s: cannot build the machine: %s", script->name,
			    failed == -ENOMEM ? "out of memory" : "no such machine or generation");
		return false;
	}
	/* A script begins with the settings of the guest the transcripts were recorded on. */
	run.world->machine->files->tmpfs_huge = SHMEM_HUGE_ADVISE;
	run.world->machine->files->shmem_enabled = SHMEM_HUGE_ADVISE;
	ps_task_enter(run.world->boot);
	failed = ps_swapon(run.world->machine, SCRIPT_SWAP_BYTES);
	ps_task_leave();
	if (failed) {
		ps_world_free(run.world);
		g_set_error(error, SCRIPT_ERROR, 0, "%s: out of memory", script->name);
		return false;
	}
	run.actors = g_ptr_array_new();
	run.slots = g_ptr_array_new_with_free_func(g_free);
	run.out = g_string_new(NULL);
	run.origin = ps_runtime_now(run.world->rt);
	ps_vmstat_snapshot(run.world->stats, NUMA_NO_NODE, &run.last);
	run.since = run.last;

	for (i = 0; i < script->n; i++) {
		run.st = &script->statements[i];
		if (!run_statement(&run))
			break;
	}
	if (!run.error && i == script->n && script->error) {
		g_string_append_printf(run.out, "> %s\n%s\n", script->error_text, script->error->message);
		run.error = g_error_copy(script->error);
	}
	ps_task_enter(run.world->boot);
	script_writeback_end(&run);
	ps_task_leave();
	while (run.actors->len)
		script_end_actor(&run, g_ptr_array_index(run.actors, run.actors->len - 1));
	script_policy_end(&run);
	/* What nobody gave up is a leak now that nobody is left. */
	if (!run.error && run.settings->check && run.st) {
		settle(&run);
		check(&run);
		if (run.error)
			g_string_append_printf(run.out, "%s\n", run.error->message);
	}
	flush(&run);
	ps_world_free(run.world);
	g_ptr_array_free(run.actors, TRUE);
	g_ptr_array_free(run.slots, TRUE);
	g_string_free(run.out, TRUE);
	if (run.error) {
		g_propagate_error(error, run.error);
		return false;
	}
	return true;
}
