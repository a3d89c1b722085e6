/* SPDX-License-Identifier: MIT */
/*
 * `kernel writeback FILE begin|end`: between the two a disk needs for ever, so that what other words do to a page under writeback
 * can be told step by step. Begin writes the file's dirty pages; they, and whatever is written later, stay under writeback until
 * end.
 *
 * A script does one thing at a time: a statement that waits for such a page would wait for ever, since nobody is left to say
 * `end`. The disk finds that out, as a fiber that looks now and then, and the script ends with an error that tells so: the fiber
 * ends all writeback, the statement gets its page and goes on, and everything is given back as after any other error.
 */
#include "replay/script_run.h"

#include <pagesim/inode.h>
#include <pagesim/runtime.h>
#include <pagesim/trace_text.h>

/* How often the disk looks, in virtual time. No other wait of a statement is as long. */
#define LOOK_NS 1000000000ULL

static void end_all(struct script_run *run)
{
	guint i;

	for (i = 0; run->writing && i < run->writing->len; i++)
		ps_file_writeback_end((struct inode *)g_ptr_array_index(run->writing, i));
}

/*
 * Who executes a statement, sleeps, and has come no further since the last look, sleeps for ever.
 * Context: a fiber, while the statement's task waits or has run ahead.
 */
static bool stuck(const struct task_struct *task, const struct task_struct *seen, ps_ns_t seen_at)
{
	return task && task == seen && task->now == seen_at && task->state != TASK_RUNNING;
}

static void disk(void *arg)
{
	struct script_run *run = arg;
	const struct task_struct *seen = NULL;
	ps_ns_t seen_at = 0;

	for (;;) {
		ps_sleep_until(current->now + LOOK_NS);
		if (run->writing && run->writing->len && stuck(run->executing, seen, seen_at)) {
			script_fail(run,
				    "'%s' waits for ever: a page is under writeback until 'kernel writeback FILE end', "
				    "which nobody can say now",
				    run->st->text);
			end_all(run);
		}
		seen = run->executing;
		seen_at = seen ? seen->now : 0;
	}
}

static long begin(struct script_run *run, struct inode *inode)
{
	struct task_struct *task;
	long ret;

	if (!run->writing) {
		task = ps_task_new(run->world->rt, "disk", disk, run);
		if (!task)
			return -ENOMEM;
		ps_task_set_daemon(task, true);
		run->writing = g_ptr_array_new();
	}
	ret = ps_file_writeback_begin(inode);
	if (ret)
		return ret;
	if (g_ptr_array_find(run->writing, inode, NULL))
		return 0;
	ihold(inode);
	g_ptr_array_add(run->writing, inode);
	return 0;
}

static long end(struct script_run *run, struct inode *inode)
{
	if (!run->writing || !g_ptr_array_remove(run->writing, inode))
		return -EINVAL;
	iput(inode);
	return ps_file_writeback_end(inode);
}

long verb_kernel_writeback(struct script_run *run)
{
	struct inode *inode;
	long ret;

	if (!run->st->range.whole) {
		script_fail(run, "expected a whole file, found pages of %s", run->st->range.name);
		return 0;
	}
	ret = script_open_file(run, run->st->range.name, false, false, &inode);
	if (ret)
		return ret;
	ret = run->st->on ? begin(run, inode) : end(run, inode);
	iput(inode);
	return ret;
}

void script_writeback_end(struct script_run *run)
{
	if (!run->writing)
		return;
	end_all(run);
	while (run->writing->len)
		iput((struct inode *)g_ptr_array_remove_index_fast(run->writing, 0));
	g_ptr_array_free(run->writing, TRUE);
	run->writing = NULL;
}
