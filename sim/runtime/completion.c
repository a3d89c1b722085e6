/* SPDX-License-Identifier: MIT */
/* Completions on wait queues: `done` counts events nobody has taken. */
#include "runtime/private.h"

#include <pagesim/completion.h>

#define FOR_EVER UINT32_MAX

void init_completion(struct completion *c)
{
	c->done = 0;
	init_waitqueue_head(&c->wait);
}

void reinit_completion(struct completion *c)
{
	c->done = 0;
}

/* Counts one event (or all there will be) and wakes; everything under the queue's lock, so that the last touch of *c is
 * the unlock: the waiter may free it as soon as it got the lock. */
static void count_and_wake(struct completion *c, bool all)
{
	struct wait_queue_entry *wait, *next;

	spin_lock(&c->wait.lock);
	if (all)
		c->done = FOR_EVER;
	else if (c->done != FOR_EVER)
		c->done++;
	list_for_each_entry_safe(wait, next, &c->wait.head, entry) {
		wait->func(wait, 0, NULL);
		if (!all)
			break;
	}
	spin_unlock(&c->wait.lock);
}

void complete(struct completion *c)
{
	count_and_wake(c, false);
}

void complete_all(struct completion *c)
{
	count_and_wake(c, true);
}

static bool take(struct completion *c)
{
	if (!c->done)
		return false;
	if (c->done != FOR_EVER)
		c->done--;
	return true;
}

void ps_wait_for_completion_at(struct completion *c, const struct ps_site *at)
{
	struct wait_queue_entry wait;
	bool got = false;

	if (ps_checked())
		ps_might_sleep_at(at);
	init_wait(&wait);
	while (!got) {
		ps_self()->waiting = (struct ps_waiting){ .object = c, .lc = NR_LOCK_CLASSES, .at = at };
		spin_lock(&c->wait.lock);
		got = take(c);
		if (got) {
			list_del_init(&wait.entry);
		} else {
			if (list_empty(&wait.entry))
				list_add_tail(&wait.entry, &c->wait.head);
			set_current_state(TASK_UNINTERRUPTIBLE);
		}
		spin_unlock(&c->wait.lock);
		if (!got)
			ps_schedule_at(at);
	}
	__set_current_state(TASK_RUNNING);
	ps_self()->waiting = PS_WAITING_NOTHING;
}

bool try_wait_for_completion(struct completion *c)
{
	bool got;

	spin_lock(&c->wait.lock);
	got = take(c);
	spin_unlock(&c->wait.lock);
	return got;
}
