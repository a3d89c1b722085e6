/* SPDX-License-Identifier: MIT */
/* A simulated computer with one process, for benchmarks that drive the model directly. */
#ifndef PS_TESTS_BENCH_SCENE_H
#define PS_TESTS_BENCH_SCENE_H

#include <pagesim/fault.h>
#include <pagesim/machine_file.h>
#include <pagesim/migrate.h>
#include <pagesim/mm.h>
#include <pagesim/mmap.h>
#include <pagesim/vmstat.h>
#include <pagesim/world.h>

#include "bench.h"

#define SCENE_ADDR 0x100000000000ULL

struct scene {
	struct ps_world *world;
	struct task_struct *task;
};

static inline struct scene scene_open(const char *machine)
{
	/* As replay does: the lock checker is for tests. */
	struct ps_world_settings settings = { .runtime = { .no_lockcheck = true } };
	GError *error = NULL;
	struct ps_machine_spec *spec = ps_machine_spec_load(machine, NULL, &error);
	struct scene s;

	if (!spec)
		bench_die("%s", error->message);
	if (ps_world_new(spec, &settings, &s.world))
		bench_die("cannot build %s", machine);
	s.task = ps_world_start(s.world, "bench", 0);
	if (!s.task)
		bench_die("cannot start a process");
	ps_machine_spec_free(spec);
	ps_task_enter(s.task);
	return s;
}

static inline void scene_map(u64 pages)
{
	if (do_mmap(ps_current->mm, SCENE_ADDR, pages << PAGE_SHIFT, MM_PROT_READ | MM_PROT_WRITE, 0, NULL, 0))
		bench_die("cannot map %llu pages", (unsigned long long)pages);
}

static inline void scene_touch(u64 pages, u64 step)
{
	for (u64 i = 0; i < pages; i += step)
		if (ps_mmu_access(SCENE_ADDR + (i << PAGE_SHIFT), true, NULL))
			bench_die("cannot touch page %llu", (unsigned long long)i);
}

static inline void scene_close(struct scene *s)
{
	ps_task_leave();
	ps_world_exit(s->world, s->task);
	ps_world_free(s->world);
}

#endif
