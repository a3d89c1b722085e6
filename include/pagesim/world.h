/* SPDX-License-Identifier: MIT */
/*
 * One simulated computer, complete: threads and time, counters, machine, memory, files, address spaces, engines. What a
 * test, a script and a replay begin with.
 *
 *      struct ps_world *world;
 *
 *      ps_world_new(spec, NULL, &world);
 *      task = ps_world_start(world, "A", 0);
 *      ps_task_enter(task);
 *      ... do_mmap(), ps_mmu_access(), ps_move_pages() ...
 *      ps_task_leave();
 *      ps_world_exit(world, task);
 *      ps_world_free(world);
 *
 * Layer: engines
 */
#ifndef PAGESIM_WORLD_H
#define PAGESIM_WORLD_H

#include <pagesim/contents.h>
#include <pagesim/machine.h>
#include <pagesim/runtime.h>
#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ps_stats;
struct task_struct;

/** All zero: the defaults. */
struct ps_world_settings {
	struct ps_runtime_settings runtime;
	enum ps_contents contents; /* PS_CONTENTS_NONE; scripts and tests want tags */
	const char *generation;    /* of the migrate engine; NULL: 6.1 */
};

struct ps_world {
	struct ps_runtime *rt;
	struct ps_stats *stats;
	struct ps_machine *machine;
	struct task_struct *boot; /* a kernel thread, for what nobody else does: hosted, on the first CPU */
};

/**
 * Builds a computer from a spec, which is copied.
 * Return: 0 and the world, freed by ps_world_free(); -EINVAL (impossible machine, unknown generation), -ENOMEM.
 */
int ps_world_new(const struct ps_machine_spec *spec, const struct ps_world_settings *settings,
		 struct ps_world **ret_world);
/** Frees it. Context: no task is entered; every process has exited. NULL is fine. */
void ps_world_free(struct ps_world *world);

/** A new process with an empty address space, as a hosted task on a CPU. Return: it, or NULL out of memory. */
struct task_struct *ps_world_start(struct ps_world *world, const char *name, int cpu);
/** fork by the current task. Return: 0 and the child (hosted), -ENOMEM. */
int ps_world_fork(struct ps_world *world, const char *name, struct task_struct **ret_child);
/** A thread in the current task's address space. Return: 0 and the thread (hosted), -ENOMEM. */
int ps_world_thread(struct ps_world *world, const char *name, struct task_struct **ret_thread);
/** Ends a task: gives up its address space and frees it. Context: not entered. */
void ps_world_exit(struct ps_world *world, struct task_struct *task);

#ifdef __cplusplus
}
#endif
#endif
