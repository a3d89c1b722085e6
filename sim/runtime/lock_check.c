/* SPDX-License-Identifier: MIT */
/*
 * The checker of lock rules. A task's held locks are a stack, newest last; each entry also knows the highest class from
 * the bottom up to itself, so that a rightful acquisition is proven by one comparison. Only a suspicious one is searched
 * for. Bit locks have no owner: their release takes them off whoever's list they are on.
 */
#include <stdio.h>

#include "runtime/private.h"

#include <pagesim/alloc.h>

static const char *const kinds[PS_NR_LOCK_REPORTS] = {
	[PS_LOCK_OUT_OF_RANK] = "lock taken out of rank",
	[PS_LOCK_RECURSION] = "lock taken twice",
	[PS_LOCK_NOT_HELD] = "release of a lock that is not held",
	[PS_LOCK_SLEEP_IN_SPIN] = "may sleep under a spinlock",
	[PS_LOCK_SLEEP_IN_RCU] = "may sleep in an RCU read section",
	[PS_LOCK_HELD_AT_EXIT] = "task leaves or ends with a lock held",
	[PS_LOCK_RCU_UNBALANCED] = "RCU read section unbalanced",
};

static int put_site(char *buf, size_t size, const char *verb, enum lock_class lc, const struct ps_site *at)
{
	if (lc < NR_LOCK_CLASSES && at)
		return snprintf(buf, size, "; %s %s at %s:%d", verb, ps_lock_class_name(lc), at->file, at->line);
	if (lc < NR_LOCK_CLASSES)
		return snprintf(buf, size, "; %s %s", verb, ps_lock_class_name(lc));
	if (at)
		return snprintf(buf, size, "; at %s:%d", at->file, at->line);
	return 0;
}

const char *ps_lock_report_text(const struct ps_lock_report *report, char *buf, size_t size)
{
	size_t n;

	if (!size)
		return buf;
	n = (size_t)snprintf(buf, size, "%s: task %u (%s)",
			     (unsigned int)report->kind < PS_NR_LOCK_REPORTS ? kinds[report->kind] : "?",
			     report->task->id, report->task->comm);
	if (n < size)
		n += (size_t)put_site(buf + n, size - n, report->kind == PS_LOCK_NOT_HELD ? "releases" : "wants",
				      report->lc, report->at);
	if (n < size)
		put_site(buf + n, size - n, "holds", report->held, report->held_at);
	return buf;
}

void ps_lock_report(struct ps_lock_report *report)
{
	const struct ps_runtime_settings *set;
	const struct ps_site *at = report->at ? report->at : report->held_at;
	char text[512];

	if (!report->task)
		report->task = ps_current;
	set = ps_runtime_settings(report->task->rt);
	if (set->on_lock_report) {
		set->on_lock_report(set->arg, report);
		return;
	}
	ps_bug_at("lock rules", ps_lock_report_text(report, text, sizeof(text)), at ? at->file : "?", at ? at->line : 0,
		  report->lock);
}

/* One bit for each class whose holder may not sleep. */
#define X(name, sleeps, text) | ((u64) !(sleeps) << name)
static const u64 spin_classes = 0 PS_LOCK_CLASSES(X);
#undef X

static bool is_spin_class(enum lock_class lc)
{
	return (spin_classes >> lc) & 1;
}

/* The newest held lock for which the question is true; NULL if there is none. */
static struct ps_held *find_held(struct ps_task *task,
				 bool (*is)(const struct ps_held *h, const void *lock, int bit, int lc),
				 const void *lock, int bit, int lc)
{
	u32 i;

	for (i = task->nr_held; i-- > 0;)
		if (is(&task->held[i], lock, bit, lc))
			return &task->held[i];
	return NULL;
}

static bool is_this(const struct ps_held *h, const void *lock, int bit, int lc)
{
	return h->lock == lock && h->bit == bit;
}

static bool is_not_above(const struct ps_held *h, const void *lock, int bit, int lc)
{
	return h->lclass >= lc;
}

static bool is_spin(const struct ps_held *h, const void *lock, int bit, int lc)
{
	return is_spin_class((enum lock_class)h->lclass);
}

static void report(enum ps_lock_report_kind kind, const void *lock, enum lock_class lc, const struct ps_site *at,
		   const struct ps_held *held)
{
	struct ps_lock_report r = {
		.kind = kind, .task = ps_current, .lc = lc, .at = at, .held = NR_LOCK_CLASSES, .lock = lock
	};

	if (held) {
		r.held = (enum lock_class)held->lclass;
		r.held_at = held->at;
	}
	ps_lock_report(&r);
}

void ps_might_sleep_at(const struct ps_site *at)
{
	struct ps_task *self = ps_self();

	if (unlikely(self->nr_spins))
		report(PS_LOCK_SLEEP_IN_SPIN, NULL, NR_LOCK_CLASSES, at, find_held(self, is_spin, NULL, 0, 0));
	if (unlikely(self->t.rcu_depth > 0))
		report(PS_LOCK_SLEEP_IN_RCU, NULL, NR_LOCK_CLASSES, at, NULL);
}

/* Something held is not above lc in rank: what, and does it matter? */
static __attribute__((cold)) void check_rank(struct ps_task *self, const void *lock, int bit, enum lock_class lc,
					     unsigned int flags, const struct ps_site *at)
{
	struct ps_held *same = find_held(self, is_this, lock, bit, lc);
	struct ps_held *below = find_held(self, is_not_above, NULL, 0, (int)lc + !!(flags & PS_ACQ_NESTED));

	if (same && !(flags & PS_ACQ_TRY))
		report(PS_LOCK_RECURSION, lock, lc, at, same);
	else if (below && !(flags & PS_ACQ_TRY))
		report(PS_LOCK_OUT_OF_RANK, lock, lc, at, below);
}

void ps_lock_check_acquire(const void *lock, int bit, enum lock_class lc, unsigned int flags, const struct ps_site *at)
{
	struct ps_task *self = ps_self();

	if (flags & PS_ACQ_SLEEPS)
		ps_might_sleep_at(at);
	if (self->nr_held && unlikely(self->held[self->nr_held - 1].top >= lc))
		check_rank(self, lock, bit, lc, flags, at);
}

/* Room for one more. Without memory the list forgets: the checker is blind then, the model goes on. */
static bool grow(struct ps_task *self)
{
	struct ps_held *held = ps_alloc(2 * self->held_room * sizeof(*held));
	u32 i;

	if (!held)
		return false;
	for (i = 0; i < self->nr_held; i++)
		held[i] = self->held[i];
	if (self->held != self->held_inline)
		ps_free(self->held);
	self->held = held;
	self->held_room *= 2;
	return true;
}

void ps_lock_acquired(const void *lock, int bit, enum lock_class lc, unsigned int flags, const struct ps_site *at)
{
	struct ps_task *self = ps_self();
	unsigned char below = self->nr_held ? self->held[self->nr_held - 1].top : 0;

#ifdef PS_NATIVE
	/* Another thread may release it, and its list is not ours to change. */
	if (flags & PS_ACQ_BIT)
		return;
#endif
	if (unlikely(self->nr_held == self->held_room) && !grow(self))
		return;
	self->held[self->nr_held++] = (struct ps_held){ .lock = lock,
							.at = at,
							.bit = (short)bit,
							.lclass = (unsigned char)lc,
							.top = ps_max(below, (unsigned char)lc) };
	self->nr_spins += is_spin_class(lc);
}

static void forget(struct ps_task *task, struct ps_held *h)
{
	u32 i = (u32)(h - task->held);

	task->nr_spins -= is_spin_class((enum lock_class)h->lclass);
	for (task->nr_held--; i < task->nr_held; i++) {
		unsigned char below = i ? task->held[i - 1].top : 0;

		task->held[i] = task->held[i + 1];
		task->held[i].top = ps_max(below, task->held[i].lclass);
	}
}

bool ps_lock_check_release(const void *lock, int bit, enum lock_class lc, unsigned int flags, const struct ps_site *at)
{
	struct ps_task *self = ps_self();
	struct ps_held *h = self->nr_held ? &self->held[self->nr_held - 1] : NULL;

	if (unlikely(!h || h->lock != lock || h->bit != bit))
		h = find_held(self, is_this, lock, bit, 0);
	if (likely(h)) {
		forget(self, h);
		return true;
	}
	if (flags & PS_ACQ_BIT) {
#ifndef PS_NATIVE
		struct ps_task *other;

		list_for_each_entry(other, &ps_self_rt()->tasks, all) {
			h = find_held(other, is_this, lock, bit, 0);
			if (h) {
				forget(other, h);
				break;
			}
		}
#endif
		return true;
	}
	report(PS_LOCK_NOT_HELD, lock, lc, at, NULL);
	return false;
}

void ps_check_leave(struct ps_task *task, bool ends)
{
	struct ps_held *h;
	struct ps_lock_report r = { .task = &task->t, .lc = NR_LOCK_CLASSES, .held = NR_LOCK_CLASSES };

	if (!(task->t.hooks & PS_HOOK_CHECK))
		return;
	h = ends && task->nr_held ? &task->held[task->nr_held - 1] : find_held(task, is_spin, NULL, 0, 0);
	if (h) {
		r.kind = PS_LOCK_HELD_AT_EXIT;
		r.held = (enum lock_class)h->lclass;
		r.held_at = h->at;
		r.lock = h->lock;
		ps_lock_report(&r);
	}
	if (task->t.rcu_depth) {
		r = (struct ps_lock_report){
			.kind = PS_LOCK_RCU_UNBALANCED, .task = &task->t, .lc = NR_LOCK_CLASSES, .held = NR_LOCK_CLASSES
		};
		ps_lock_report(&r);
	}
}

unsigned int ps_locks_held(const struct task_struct *t)
{
	return ps_task_of(t)->nr_held;
}

bool ps_lock_is_held(const void *lock)
{
	struct ps_task *self = ps_self();
	u32 i;

	if (!ps_checked())
		return true;
	for (i = 0; i < self->nr_held; i++)
		if (self->held[i].lock == lock)
			return true;
	return false;
}
