/* SPDX-License-Identifier: MIT */
/*
 * Bit locks and waits for bits. All waits, for the lock and for "clear", are entries at the tail of one of the runtime's
 * queues; an entry says which word and bit it means. The waker decides: an entry that waits for "clear" goes when the bit
 * is clear, one that waits for the lock when the waker could set the bit on its behalf, and then no other goes.
 *
 * On fibers there is one queue, since which strangers share a queue chosen by address would differ from run to run.
 * Natively there are many; entries are matched by word and bit in order of arrival, and strangers are passed over.
 */
#include "runtime/private.h"

#include <pagesim/wait_bit.h>

struct bit_wait {
	struct wait_queue_entry wait;
	unsigned long *word;
	int bit;
	bool exclusive;
	bool served; /* by a waker, under the queue's lock */
	/* Of a word that says whether somebody waits: which bit says so; -1: it does not. */
	int waiters;
	/* The word's owner is kept alive by what this gives back, and by nothing after that. */
	void (*drop)(void *arg);
	void *arg;
};

struct bit_key {
	unsigned long *word;
	int bit;
};

static struct ps_bit_queue *queue_of(struct ps_rt *rt, const unsigned long *word, int bit)
{
	u64 h = ((u64)(uintptr_t)word + (u64)bit) * 0x9e3779b97f4a7c15ULL;

	return &rt->bit_queues[(h >> 32) % BIT_QUEUES];
}

/* All waiters of a flagged word are in one queue, whichever bit they wait for. */
static struct ps_bit_queue *queue_of_flagged(struct ps_rt *rt, const unsigned long *word)
{
	return queue_of(rt, word, 0);
}

static int bit_wake(struct wait_queue_entry *wait, int sync, void *arg)
{
	struct bit_wait *bw = container_of(wait, struct bit_wait, wait);
	struct bit_key *key = (struct bit_key *)arg;

	if (bw->word != key->word || bw->bit != key->bit)
		return 0;
	if (bw->exclusive) {
		if (test_and_set_bit_lock((unsigned long)bw->bit, bw->word))
			return -1;
	} else if (test_bit((unsigned long)bw->bit, bw->word)) {
		return -1;
	}
	bw->served = true;
	autoremove_wake_function(wait, sync, arg);
	return 1;
}

/* Sleeps until bw's bit is clear, or (exclusive) ours. Return: ns waited by the clock of the task. */
static ps_ns_t wait_for(struct bit_wait *bw, enum lock_class lc, const struct ps_site *at)
{
	struct ps_rt *rt = ps_self_rt();
	unsigned long *word = bw->word, bit = (unsigned long)bw->bit;
	struct ps_bit_queue *bq = bw->waiters < 0 ? queue_of(rt, word, bw->bit) : queue_of_flagged(rt, word);
	wait_queue_head_t *q = &bq->q;
	void (*drop)(void *arg) = bw->drop;
	bool done = false;
	ps_ns_t since = ps_now();

	init_wait(&bw->wait);
	bw->wait.func = bit_wake;
	bw->wait.flags = bw->exclusive ? WQ_FLAG_EXCLUSIVE : 0;
	/*
	 * The count before the bit is looked at again; pairs with wake_up_bit(). Both change the count, so one comes
	 * after the other: the waker sees us counted, or we see the bit that it cleared before.
	 */
	__atomic_fetch_add(&bq->waiters, 1, __ATOMIC_SEQ_CST);
	while (!done) {
		ps_self()->waiting = (struct ps_waiting){ .object = word, .bit = bw->bit, .lc = lc, .at = at };
		spin_lock(&q->lock);
		done = bw->served;
		if (!done) {
			/*
			 * Not served yet, so whoever holds the bit is not past waking: the word is still what it was,
			 * also for a caller that has given back what kept it.
			 * `waiters` before the bit is looked at; the word's own order is what unlocking relies on.
			 */
			if (bw->waiters >= 0)
				set_bit((unsigned long)bw->waiters, word);
			done = bw->exclusive ? !test_and_set_bit_lock(bit, word) : !test_bit_acquire(bit, word);
		}
		if (!done) {
			if (list_empty(&bw->wait.entry))
				list_add_tail(&bw->wait.entry, &q->head);
			set_current_state(TASK_UNINTERRUPTIBLE);
		}
		if (done)
			list_del_init(&bw->wait.entry);
		spin_unlock(&q->lock);
		if (drop) {
			drop(bw->arg);
			drop = NULL;
		}
		if (!done)
			ps_schedule_at(at);
	}
	__set_current_state(TASK_RUNNING);
	ps_self()->waiting = PS_WAITING_NOTHING;
	__atomic_fetch_sub(&bq->waiters, 1, __ATOMIC_RELAXED);
	ps_count_wait(rt, lc, ps_now() - since);
	return ps_now() - since;
}

static ps_ns_t wait_for_bit(unsigned long *word, int bit, enum lock_class lc, bool exclusive, const struct ps_site *at)
{
	struct bit_wait bw = { .word = word, .bit = bit, .exclusive = exclusive, .waiters = -1 };

	return wait_for(&bw, lc, at);
}

void wake_up_bit(unsigned long *word, int bit)
{
	struct ps_bit_queue *bq = queue_of(ps_self_rt(), word, bit);
	struct bit_key key = { word, bit };

	ps_point(PS_POINT_WAKE, word);
#ifdef PS_NATIVE
	/* The cleared bit before the count; pairs with wait_for(). Not a fence: ThreadSanitizer knows none. */
	if (!__atomic_fetch_add(&bq->waiters, 0, __ATOMIC_SEQ_CST))
		return;
#else
	if (likely(!bq->waiters))
		return;
#endif
	ps_wake_up_key(&bq->q, 1, &key);
}

/* Was the bit held at this virtual time by a task that ran ahead? */
static void wait_past_holds(const unsigned long *word, int bit, enum lock_class lc)
{
#ifndef PS_NATIVE
	ps_wait_holds(lc, ps_bit_hold_wait(word, bit, ps_now()));
#endif
}

static void acquired(unsigned long *word, int bit, enum lock_class lc, unsigned int flags, const struct ps_site *at)
{
#ifndef PS_NATIVE
	if (ps_self_rt()->nr_tasks > 1)
		ps_bit_hold_begin(word, bit);
#endif
	if (ps_checked())
		ps_lock_acquired(word, bit, lc, flags | PS_ACQ_BIT, at);
}

int ps_bit_lock_at(unsigned long *word, int bit, enum lock_class lc, unsigned int flags, const struct ps_site *at)
{
	if (ps_checked())
		ps_lock_check_acquire(word, bit, lc, flags | PS_ACQ_SLEEPS | PS_ACQ_BIT, at);
	if (unlikely(test_and_set_bit_lock((unsigned long)bit, word)))
		wait_for_bit(word, bit, lc, true, at);
	else
		wait_past_holds(word, bit, lc);
	acquired(word, bit, lc, flags, at);
	return 0;
}

bool ps_bit_trylock_at(unsigned long *word, int bit, enum lock_class lc, const struct ps_site *at)
{
	if (test_and_set_bit_lock((unsigned long)bit, word))
		return false;
	acquired(word, bit, lc, PS_ACQ_TRY, at);
	return true;
}

void ps_bit_unlock_at(unsigned long *word, int bit, enum lock_class lc, const struct ps_site *at)
{
	BUG_ON(!(PS_LOAD_WORD(word, __ATOMIC_RELAXED) & BIT_MASK(bit)));
	if (ps_checked())
		ps_lock_check_release(word, bit, lc, PS_ACQ_BIT, at);
#ifndef PS_NATIVE
	if (ps_self_rt()->nr_tasks > 1)
		ps_bit_hold_end(word, bit);
#endif
	clear_bit_unlock((unsigned long)bit, word);
	wake_up_bit(word, bit);
}

int ps_wait_on_bit_at(unsigned long *word, int bit, enum lock_class lc, const struct ps_site *at)
{
	if (ps_checked())
		ps_might_sleep_at(at);
	if (unlikely(test_bit_acquire((unsigned long)bit, word)))
		wait_for_bit(word, bit, lc, false, at);
	else
		wait_past_holds(word, bit, lc);
	return 0;
}

/* ------------------------------------------------------------------ words that say whether somebody waits */

void ps_bit_lock_flagged_at(unsigned long *word, int bit, int waiters, enum lock_class lc, unsigned int flags,
			    const struct ps_site *at)
{
	if (ps_checked())
		ps_lock_check_acquire(word, bit, lc, flags | PS_ACQ_SLEEPS | PS_ACQ_BIT, at);
	if (unlikely(test_and_set_bit_lock((unsigned long)bit, word))) {
		struct bit_wait bw = { .word = word, .bit = bit, .exclusive = true, .waiters = waiters };

		wait_for(&bw, lc, at);
	} else {
		wait_past_holds(word, bit, lc);
	}
	acquired(word, bit, lc, flags, at);
}

void ps_bit_unlock_flagged_at(unsigned long *word, int bit, int waiters, enum lock_class lc, const struct ps_site *at)
{
	unsigned long old;

	BUG_ON(!(PS_LOAD_WORD(word, __ATOMIC_RELAXED) & BIT_MASK(bit)));
	if (ps_checked())
		ps_lock_check_release(word, bit, lc, PS_ACQ_BIT, at);
#ifndef PS_NATIVE
	if (ps_self_rt()->nr_tasks > 1)
		ps_bit_hold_end(word, bit);
#endif
	/*
	 * One step clears the bit and tells whether somebody waits, so that the word is not read again once it may be
	 * somebody else's. A waiter sets `waiters` and then looks at the bit: one of the two sees the other.
	 */
	ps_point(PS_POINT_RELEASE, word);
	old = PS_FETCH_AND(word, ~BIT_MASK(bit), __ATOMIC_RELEASE);
	if (unlikely(old & BIT_MASK(waiters)))
		wake_up_bit_flagged(word, bit, waiters);
}

void ps_wait_on_bit_flagged_at(unsigned long *word, int bit, int waiters, enum lock_class lc, void (*drop)(void *arg),
			       void *arg, const struct ps_site *at)
{
	struct bit_wait bw = { .word = word, .bit = bit, .waiters = waiters, .drop = drop, .arg = arg };

	if (!drop && ps_checked())
		ps_might_sleep_at(at);
	if (likely(!test_bit_acquire((unsigned long)bit, word))) {
		if (drop)
			drop(arg);
		wait_past_holds(word, bit, lc);
		return;
	}
	wait_for(&bw, lc, at);
}

/* Wakes, in order of arrival, who waits for the bit to be clear, up to the first who wants it: that one is given it. */
void wake_up_bit_flagged(unsigned long *word, int bit, int waiters)
{
	wait_queue_head_t *q = &queue_of_flagged(ps_self_rt(), word)->q;
	struct wait_queue_entry *wait, *next;
	bool stop = false, left = false;

	ps_point(PS_POINT_WAKE, word);
	spin_lock(&q->lock);
	list_for_each_entry_safe(wait, next, &q->head, entry) {
		struct bit_wait *bw = container_of(wait, struct bit_wait, wait);

		if (bw->word != word)
			continue;
		if (bw->exclusive && bw->bit == bit && !stop)
			stop = test_and_set_bit_lock((unsigned long)bit, word);
		if (stop || bw->bit != bit) {
			left = true;
			continue;
		}
		stop = bw->exclusive;
		bw->served = true;
		autoremove_wake_function(wait, 0, NULL);
	}
	/* Under the queue's lock, where the next waiter sets it. */
	if (!left)
		clear_bit((unsigned long)waiters, word);
	spin_unlock(&q->lock);
}
