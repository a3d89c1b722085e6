/* SPDX-License-Identifier: MIT */
/*
 * Who waits for whom. A lock with one owner names it; a semaphore held by readers, or a bit, is found in the lists of held
 * locks (so only with the checker on). A cycle through owners is seen the moment it closes. Anything else that cannot go
 * on (a bit whose holder waits, a lost wake-up) is seen when nothing is left to run.
 */
#include <stdio.h>

#include "runtime/private.h"

#include <pagesim/alloc.h>

static int put_object(char *buf, size_t size, const struct ps_deadlock_edge *e)
{
	if (e->lc < NR_LOCK_CLASSES)
		return snprintf(buf, size, "waits for %s", ps_lock_class_name(e->lc));
	return snprintf(buf, size, e->object ? "waits for an event" : "waits to be woken");
}

static int put_site(char *buf, size_t size, const struct ps_site *at)
{
	return at ? snprintf(buf, size, " at %s:%d", at->file, at->line) : 0;
}

const char *ps_deadlock_text(const struct ps_deadlock *deadlock, char *buf, size_t size)
{
	size_t i, n;

	if (!size)
		return buf;
	n = (size_t)snprintf(buf, size, "deadlock: %zu waiting", deadlock->nr_edges);
	for (i = 0; i < deadlock->nr_edges && n < size; i++) {
		const struct ps_deadlock_edge *e = &deadlock->edges[i];

		n += (size_t)snprintf(buf + n, size - n, "\n  task %u (%s) ", e->task->id, e->task->comm);
		if (n < size)
			n += (size_t)put_object(buf + n, size - n, e);
		if (n < size)
			n += (size_t)put_site(buf + n, size - n, e->waits_at);
		if (n < size && e->holder)
			n += (size_t)snprintf(buf + n, size - n, ", held by task %u (%s)", e->holder->id,
					      e->holder->comm);
		if (n < size && e->holder)
			n += (size_t)put_site(buf + n, size - n, e->held_at);
	}
	return buf;
}

#ifndef PS_NATIVE

static const struct ps_held *held_by(const struct ps_task *task, const struct ps_waiting *w)
{
	u32 i;

	for (i = 0; i < task->nr_held; i++)
		if (task->held[i].lock == w->object && task->held[i].bit == w->bit)
			return &task->held[i];
	return NULL;
}

/* The next task after `after` (NULL: the first) that has what w waits for; ret_at, if given: where it took it. */
static struct ps_task *next_holder(struct ps_rt *rt, const struct ps_waiting *w, struct ps_task *after,
				   const struct ps_site **ret_at)
{
	struct list_head *pos;

	if (w->holder && *w->holder) {
		if (ret_at)
			*ret_at = w->held_at ? *w->held_at : NULL;
		return after ? NULL : ps_task_of(*w->holder);
	}
	if (!w->object)
		return NULL;
	for (pos = after ? after->all.next : rt->tasks.next; pos != &rt->tasks; pos = pos->next) {
		struct ps_task *task = list_entry(pos, struct ps_task, all);
		const struct ps_held *h = held_by(task, w);

		if (!h)
			continue;
		if (ret_at)
			*ret_at = h->at;
		return task;
	}
	return NULL;
}

static bool reaches(struct ps_rt *rt, struct ps_task *task, const struct ps_task *target)
{
	struct ps_task *h = NULL;

	task->mark = rt->marks;
	while ((h = next_holder(rt, &task->waiting, h, NULL))) {
		if (h == target)
			return true;
		/* Only who really waits, and for something with an owner, passes the wait on. */
		if (h->mark != rt->marks && h->waiting.holder && !h->heap_index && reaches(rt, h, target))
			return true;
	}
	return false;
}

bool ps_closes_cycle(struct ps_task *self)
{
	struct ps_rt *rt = ps_rt_of(self->t.rt);

	rt->marks++;
	return reaches(rt, self, self);
}

/* Does the task wait in a way that belongs in the report? */
static bool stuck(const struct ps_rt *rt, const struct ps_task *task)
{
	if (task->ended || task->heap_index || (task->hosted && task != rt->hosted))
		return false;
	return !task->daemon || task->waiting.lc < NR_LOCK_CLASSES;
}

void ps_report_deadlock(struct ps_rt *rt)
{
	struct ps_deadlock deadlock = { .rt = &rt->pub };
	struct ps_deadlock_edge few[4], *edges = ps_calloc(rt->nr_tasks, sizeof(*edges));
	size_t room = edges ? rt->nr_tasks : ARRAY_SIZE(few);
	struct ps_task *task;
	char text[2048];

	if (!edges)
		edges = few;
	list_for_each_entry(task, &rt->tasks, all) {
		struct ps_deadlock_edge *e = &edges[deadlock.nr_edges];
		struct ps_task *holder;

		if (!stuck(rt, task) || deadlock.nr_edges == room)
			continue;
		*e = (struct ps_deadlock_edge){ .task = &task->t,
						.object = task->waiting.object,
						.bit = task->waiting.bit,
						.lc = task->waiting.lc,
						.waits_at = task->waiting.at };
		holder = next_holder(rt, &task->waiting, NULL, &e->held_at);
		e->holder = holder ? &holder->t : NULL;
		deadlock.nr_edges++;
	}
	deadlock.edges = edges;
	/* The edges are the handler's to read; they go with the runtime, since the handler does not come back. */
	rt->deadlock_edges = edges == few ? NULL : edges;
	rt->dead = true;
	rt->hosted = NULL;
	ps_current = NULL;
	ps_quirks_use(NULL);
	if (rt->set.on_deadlock)
		rt->set.on_deadlock(rt->set.arg, &deadlock);
	ps_bug_at("deadlock", ps_deadlock_text(&deadlock, text, sizeof(text)), __FILE__, __LINE__, rt);
}

#endif
