/* SPDX-License-Identifier: MIT */
/*
 * Putting a computer together, layer by layer from below, and taking it apart in reverse.
 */
#include <pagesim/world.h>

#include <pagesim/address_space.h>
#include <pagesim/alloc.h>
#include <pagesim/fault.h>
#include <pagesim/inode.h>
#include <pagesim/machine.h>
#include <pagesim/mem.h>
#include <pagesim/mempolicy.h>
#include <pagesim/migrate.h>
#include <pagesim/mm.h>
#include <pagesim/mmap.h>
#include <pagesim/reclaim.h>
#include <pagesim/rmap.h>
#include <pagesim/swap.h>
#include <pagesim/task.h>
#include <pagesim/tlbflush.h>
#include <pagesim/vmstat.h>

static bool page_mapping_unevictable(struct address_space *mapping)
{
	return mapping_unevictable(mapping);
}

/* What the page layer asks of the page cache, which lies above it. */
static const struct ps_page_ops page_ops = { .mapping_unevictable = page_mapping_unevictable };

/* Everything that needs a current task. */
static int init_layers(struct ps_machine *machine, const struct ps_world_settings *settings)
{
	struct ps_mem_settings mem = { .contents = settings->contents };
	int error = ps_mem_init(machine, &mem);

	if (!error)
		ps_mem_set_page_ops(machine, &page_ops);
	if (!error)
		error = ps_swap_init(machine);
	if (!error)
		error = ps_files_init(machine);
	if (!error)
		error = ps_mms_init(machine);
	if (!error)
		error = ps_rmap_init(machine);
	if (!error)
		error = ps_faults_init(machine);
	if (!error)
		error = ps_engines_init(machine);
	if (!error) {
		machine->engines->recipe = ps_generation_find(settings->generation);
		if (!machine->engines->recipe)
			error = -EINVAL;
	}
	if (!error)
		error = ps_reclaim_init(machine);
	return error;
}

static void destroy_layers(struct ps_machine *machine)
{
	ps_reclaim_destroy(machine);
	ps_engines_destroy(machine);
	ps_faults_destroy(machine);
	if (machine->files)
		ps_files_destroy(machine);
	ps_swap_destroy(machine);
	ps_rmap_destroy(machine);
	ps_mms_destroy(machine);
	if (machine->mem)
		ps_mem_destroy(machine);
}

int ps_world_new(const struct ps_machine_spec *spec, const struct ps_world_settings *settings,
		 struct ps_world **ret_world)
{
	static const struct ps_world_settings defaults;
	struct ps_world *world = ps_zalloc(sizeof(*world));
	int error = -ENOMEM;

	if (!settings)
		settings = &defaults;
	if (!world)
		return -ENOMEM;
	world->stats = ps_stats_new();
	if (!world->stats)
		goto out_free;
	world->rt = ps_runtime_new(&settings->runtime);
	if (!world->rt)
		goto out_free;
	error = ps_machine_new(spec, &world->machine);
	if (error)
		goto out_free;
	error = -ENOMEM;
	world->boot = ps_task_new(world->rt, "boot", NULL, NULL);
	if (!world->boot)
		goto out_free;
	world->boot->machine = world->machine;
	world->boot->stats = world->stats;
	world->stats->thp_pages = 1U << world->machine->pt_bits;
	ps_task_enter(world->boot);
	error = init_layers(world->machine, settings);
	ps_task_leave();
	if (error)
		goto out_free;
	*ret_world = world;
	return 0;

out_free:
	ps_world_free(world);
	return error;
}

void ps_world_free(struct ps_world *world)
{
	if (!world)
		return;
	if (world->boot) {
		ps_task_enter(world->boot);
		destroy_layers(world->machine);
		ps_task_leave();
		ps_task_free(world->boot);
	}
	ps_machine_free(world->machine);
	ps_runtime_free(world->rt);
	ps_stats_free(world->stats);
	ps_free(world);
}

static struct task_struct *new_task(struct ps_world *world, const char *name, int cpu)
{
	struct task_struct *task = ps_task_new(world->rt, name, NULL, NULL);

	if (!task)
		return NULL;
	task->machine = world->machine;
	task->stats = world->stats;
	task->cpu = cpu;
	task->mm = NULL;
	task->mempolicy = NULL;
	task->unprivileged = false;
	return task;
}

struct task_struct *ps_world_start(struct ps_world *world, const char *name, int cpu)
{
	struct task_struct *task = new_task(world, name, cpu);

	if (!task)
		return NULL;
	ps_task_enter(task);
	task->mm = mm_alloc(world->machine);
	ps_task_leave();
	if (!task->mm) {
		ps_task_free(task);
		return NULL;
	}
	return task;
}

static void inherit(struct task_struct *task)
{
	struct task_struct *parent = current;

	task->unprivileged = parent->unprivileged;
	task->mempolicy = parent->mempolicy;
	mpol_get(task->mempolicy); /* immutable, so sharing is copying */
}

int ps_world_fork(struct ps_world *world, const char *name, struct task_struct **ret_child)
{
	struct task_struct *child = new_task(world, name, current->cpu);
	int error;

	if (!child)
		return -ENOMEM;
	error = dup_mm(current->mm, &child->mm);
	if (error) {
		ps_task_free(child);
		return error;
	}
	inherit(child);
	*ret_child = child;
	return 0;
}

int ps_world_thread(struct ps_world *world, const char *name, struct task_struct **ret_thread)
{
	struct task_struct *thread = new_task(world, name, current->cpu);

	if (!thread)
		return -ENOMEM;
	thread->mm = current->mm;
	mmget(thread->mm);
	inherit(thread);
	*ret_thread = thread;
	return 0;
}

void ps_world_exit(struct ps_world *world, struct task_struct *task)
{
	(void)world;
	ps_task_enter(task);
	if (task->mm)
		mmput(task->mm);
	task->mm = NULL;
	mpol_put(task->mempolicy);
	task->mempolicy = NULL;
	ps_task_leave();
	ps_task_free(task);
}
