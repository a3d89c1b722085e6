/* SPDX-License-Identifier: MIT */
/* Wait queues, the same for both drivers: their locks and schedule() are what differs. */
#include "runtime/private.h"

void init_waitqueue_head(wait_queue_head_t *q)
{
	spin_lock_init(&q->lock, WAITQUEUE_LOCK);
	INIT_LIST_HEAD(&q->head);
}

void init_wait(struct wait_queue_entry *wait)
{
	wait->flags = 0;
	wait->task = ps_current;
	wait->func = autoremove_wake_function;
	INIT_LIST_HEAD(&wait->entry);
}

/* The entry leaves the queue before its task may run: from then on its memory is the task's. */
int autoremove_wake_function(struct wait_queue_entry *wait, int sync, void *key)
{
	list_del_init(&wait->entry);
	return wake_up_process(wait->task);
}

void ps_prepare_to_wait_at(wait_queue_head_t *q, struct wait_queue_entry *wait, int state, bool exclusive,
			   const struct ps_site *at)
{
	ps_self()->waiting = (struct ps_waiting){ .object = q, .lc = NR_LOCK_CLASSES, .at = at };
	spin_lock(&q->lock);
	wait->flags = exclusive ? WQ_FLAG_EXCLUSIVE : 0;
	if (list_empty(&wait->entry)) {
		if (exclusive)
			list_add_tail(&wait->entry, &q->head);
		else
			list_add(&wait->entry, &q->head);
	}
	set_current_state(state);
	spin_unlock(&q->lock);
}

void finish_wait(wait_queue_head_t *q, struct wait_queue_entry *wait)
{
	__set_current_state(TASK_RUNNING);
	ps_self()->waiting = PS_WAITING_NOTHING;
	/* Under the lock even when the entry looks gone: a waker may still be about to touch its task. */
	spin_lock(&q->lock);
	list_del_init(&wait->entry);
	spin_unlock(&q->lock);
}

int ps_wake_up_key(wait_queue_head_t *q, int nr_exclusive, void *key)
{
	struct wait_queue_entry *wait, *next;
	int woken = 0;

	spin_lock(&q->lock);
	list_for_each_entry_safe(wait, next, &q->head, entry) {
		unsigned int flags = wait->flags;
		int ret = wait->func(wait, 0, key);

		if (ret < 0)
			break;
		woken += ret;
		if (ret && (flags & WQ_FLAG_EXCLUSIVE) && !--nr_exclusive)
			break;
	}
	spin_unlock(&q->lock);
	return woken;
}

bool waitqueue_active(wait_queue_head_t *q)
{
	ps_point(PS_POINT_READ, q);
#ifdef PS_NATIVE
	return __atomic_load_n(&q->head.next, __ATOMIC_RELAXED) != &q->head;
#else
	return !list_empty(&q->head);
#endif
}
