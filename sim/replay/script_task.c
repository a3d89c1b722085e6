/* SPDX-License-Identifier: MIT */
/*
 * The words about a task itself: fork, thread, cpu, unprivileged. start and exit make and unmake the very task that would
 * execute them, so script.c calls them outside any.
 */
#include "replay/script_run.h"

#include <string.h>

long verb_fork(struct script_run *run)
{
	struct task_struct *task;
	long error;

	if (!script_check_free_name(run, run->st->name))
		return 0;
	error = ps_world_fork(run->world, run->st->name, &task);
	if (error)
		return error;
	script_add_actor(run, run->st->name, task, script_space_new(run->actor->space));
	return 0;
}

long verb_thread(struct script_run *run)
{
	struct task_struct *task;
	long error;

	if (!script_check_free_name(run, run->st->name))
		return 0;
	error = ps_world_thread(run->world, run->st->name, &task);
	if (error)
		return error;
	run->actor->space->users++;
	script_add_actor(run, run->st->name, task, run->actor->space)->thread = true;
	return 0;
}

long verb_cpu(struct script_run *run)
{
	if (run->st->number >= run->world->machine->nr_cpus)
		return -EINVAL;
	run->actor->task->cpu = (int)run->st->number;
	return 0;
}

/* The whole process drops them: the C library does so for every thread. */
long verb_unprivileged(struct script_run *run)
{
	guint i;

	for (i = 0; i < run->actors->len; i++) {
		struct script_actor *other = g_ptr_array_index(run->actors, i);

		if (other->space == run->actor->space)
			other->task->unprivileged = true;
	}
	return 0;
}

void script_start(struct script_run *run)
{
	const char *name = run->st->subject;
	struct task_struct *task;

	if (!script_check_free_name(run, name))
		return;
	if (run->st->number >= run->world->machine->nr_cpus) {
		script_fail(run, "no CPU %" G_GUINT64_FORMAT ": the machine has CPUs 0 to %u", run->st->number,
			    run->world->machine->nr_cpus - 1);
		return;
	}
	task = ps_world_start(run->world, name, (int)run->st->number);
	if (!task)
		script_fail(run, "out of memory");
	else
		script_add_actor(run, name, task, script_space_new(NULL));
}

void script_end_actor(struct script_run *run, struct script_actor *actor)
{
	ps_task_enter(actor->task);
	if (!actor->thread)
		script_drop_holds(actor->space);
	ps_policy_task_exit(run->policy, actor->task);
	ps_task_leave();
	ps_world_exit(run->world, actor->task);
	script_space_put(actor->space);
	g_free(actor->name);
	g_ptr_array_remove(run->actors, actor);
	g_free(actor);
}

void script_exit(struct script_run *run, struct script_actor *actor)
{
	struct script_space *space = actor->space;
	bool whole = !actor->thread;
	guint i;

	script_end_actor(run, actor);
	/* When a process ends, so do its threads. */
	for (i = run->actors->len; whole && i-- > 0;) {
		struct script_actor *other = g_ptr_array_index(run->actors, i);

		if (other->space == space)
			script_end_actor(run, other);
	}
}
