/* SPDX-License-Identifier: MIT */
/* What the lock types share: names of classes, sums of waits, past holds, and the queue of those who wait. */
#include "runtime/private.h"

#define X(name, sleeps, text) { #name, text, sleeps },
static const struct {
	const char *name, *text;
	bool sleeps;
} classes[NR_LOCK_CLASSES] = { PS_LOCK_CLASSES(X) };
#undef X

const char *ps_lock_class_name(enum lock_class lc)
{
	return (unsigned int)lc < NR_LOCK_CLASSES ? classes[lc].name : "?";
}

const char *ps_lock_class_text(enum lock_class lc)
{
	return (unsigned int)lc < NR_LOCK_CLASSES ? classes[lc].text : "?";
}

bool ps_lock_class_sleeps(enum lock_class lc)
{
	return (unsigned int)lc < NR_LOCK_CLASSES && classes[lc].sleeps;
}

/* Relaxed natively: statistics, they order nothing. */
#define COUNT(field, n) ((void)__atomic_fetch_add(&(field), (n), __ATOMIC_RELAXED))
#define SUM(field)      __atomic_load_n(&(field), __ATOMIC_RELAXED)

void ps_count_wait(struct ps_rt *rt, enum lock_class lc, ps_ns_t ns)
{
	struct ps_lock_class_stats *s = &rt->lock_stats[lc];
	unsigned int bucket = ns ? 63u - (unsigned int)__builtin_clzll(ns) : 0;
	ps_ns_t max = SUM(s->max_ns);

	COUNT(s->waits, 1);
	COUNT(s->total_ns, ns);
	COUNT(s->hist[ps_min(bucket, PS_LOCK_WAIT_BUCKETS - 1u)], 1);
	while (ns > max &&
	       !__atomic_compare_exchange_n(&s->max_ns, &max, ns, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

void ps_lock_class_stats(const struct ps_runtime *runtime, enum lock_class lc, struct ps_lock_class_stats *ret_stats)
{
	static const struct ps_lock_class_stats none;
	const struct ps_lock_class_stats *s = &none;
	int b;

	if ((unsigned int)lc < NR_LOCK_CLASSES)
		s = &ps_rt_of(runtime)->lock_stats[lc];
	ret_stats->waits = SUM(s->waits);
	ret_stats->total_ns = SUM(s->total_ns);
	ret_stats->max_ns = SUM(s->max_ns);
	for (b = 0; b < PS_LOCK_WAIT_BUCKETS; b++)
		ret_stats->hist[b] = SUM(s->hist[b]);
}

ps_ns_t ps_holds_wait(const struct ps_holds *h, ps_ns_t at)
{
	__extension__ typedef unsigned __int128 u128;
	ps_ns_t stretch = h->end - h->first;
	ps_ns_t busy = ps_min(h->busy, stretch);

	if (at < h->first || at >= h->end)
		return 0;
	if (busy == stretch)
		return h->end - at;
	/* The chance to find it held, times what then remains on average of a hold of average length. */
	return (ps_ns_t)((u128)busy * busy / ((u128)stretch * 2 * h->count));
}

#ifndef PS_NATIVE

void ps_wait_holds(enum lock_class lc, ps_ns_t ns)
{
	if (!ns)
		return;
	ps_charge(ns, PS_TIME_WAIT);
	ps_count_wait(ps_self_rt(), lc, ns);
}

/* By arrival in virtual time; among equals, by who asked first. */
void ps_waiters_add(struct ps_waiter **queue, struct ps_waiter *waiter)
{
	while (*queue && (*queue)->arrival <= waiter->arrival)
		queue = &(*queue)->next;
	waiter->next = *queue;
	*queue = waiter;
}

void ps_wait_granted(struct ps_waiter **queue, bool shared, const struct ps_waiting *waiting)
{
	struct ps_task *self = ps_self();
	struct ps_waiter w = { .task = self, .arrival = self->t.now, .shared = shared };
	ps_ns_t ns = 0;

	ps_waiters_add(queue, &w);
	while (!w.granted)
		ns += ps_block(self, waiting);
	if (waiting->lc < NR_LOCK_CLASSES)
		ps_count_wait(ps_rt_of(self->t.rt), waiting->lc, ns);
}

/* ------------------------------------------------------------------ past holds of bit locks */

/*
 * A bit has no room for a struct ps_holds. Each task remembers the few bits it took last, and the runtime the last holds
 * that cost time; both forget the oldest. Only worth anything when somebody else could come late.
 */

void ps_bit_hold_begin(const unsigned long *word, int bit)
{
	struct ps_task *self = ps_self();

	self->bit_holds[self->next_bit_hold++ % BIT_HOLDS] =
		(struct ps_bit_hold){ .word = word, .bit = bit, .since = self->t.now };
}

void ps_bit_hold_end(const unsigned long *word, int bit)
{
	struct ps_task *self = ps_self();
	struct ps_rt *rt = ps_rt_of(self->t.rt);
	int i;

	for (i = 0; i < BIT_HOLDS; i++) {
		struct ps_bit_hold *h = &self->bit_holds[i];

		if (h->word != word || h->bit != bit)
			continue;
		if (h->since < self->t.now) {
			h->end = self->t.now;
			rt->bit_ring[rt->nr_bit_ring++ % BIT_RING] = *h;
			rt->bit_ring_end = ps_max(rt->bit_ring_end, h->end);
		}
		h->word = NULL;
	}
}

ps_ns_t ps_bit_hold_wait(const unsigned long *word, int bit, ps_ns_t at)
{
	const struct ps_rt *rt = ps_self_rt();
	u32 i;

	if (likely(at >= rt->bit_ring_end))
		return 0;
	for (i = 0; i < BIT_RING; i++) {
		const struct ps_bit_hold *h = &rt->bit_ring[i];

		if (h->word == word && h->bit == bit && h->since <= at && at < h->end)
			return h->end - at;
	}
	return 0;
}

#endif
