/* SPDX-License-Identifier: MIT */
/*
 * RCU and reference counts on real threads: readers follow a published pointer while an updater replaces and frees what
 * it points at. Under ThreadSanitizer neither the reads nor the frees may be a race; under AddressSanitizer none is late.
 */
#include "runtime/scene.h"

#include <pagesim/atomic.h>
#include <pagesim/rcu.h>

#define READERS 3
#define UPDATES 3000
#define POISON  0xdeadbeefULL

struct config {
	struct rcu_head rcu;
	u64 pair[2];
};

static struct config *published;
static bool over;

static void free_config(struct rcu_head *head)
{
	struct config *c = container_of(head, struct config, rcu);

	c->pair[0] = c->pair[1] = POISON;
	ps_free(c);
}

struct reader {
	u64 torn, poisoned, back, reads;
};

static void reads(void *arg)
{
	struct reader *r = arg;
	u64 last = 0;
	int i;

	do {
		const struct config *c;

		rcu_read_lock();
		rcu_read_lock();
		c = rcu_dereference(published);
		r->torn += c->pair[0] != c->pair[1];
		r->poisoned += c->pair[0] == POISON;
		for (i = 0; i < (r->reads % 4 ? 0 : 5); i++)
			cpu_relax(); /* long enough for the updater to come by */
		rcu_read_unlock();
		r->back += c->pair[0] < last;
		last = c->pair[0];
		rcu_read_unlock();
		r->reads++;
	} while (!READ_ONCE(over)); /* a late starter reads once at least */
}

static void updates(void *arg)
{
	u64 i;

	for (i = 1; i <= UPDATES; i++) {
		struct config *old = published, *c = ps_alloc(sizeof(*c));

		c->pair[0] = c->pair[1] = i;
		rcu_assign_pointer(published, c);
		if (i % 16) {
			call_rcu(&old->rcu, free_config);
		} else {
			synchronize_rcu();
			free_config(&old->rcu);
		}
		if (i % 4 == 0)
			cpu_relax(); /* readers in the middle of a section must see some of these */
	}
	rcu_barrier();
	WRITE_ONCE(over, true);
}

static void readers_see_whole_and_living_objects(void **state)
{
	struct reader r[READERS] = { 0 };
	int i;

	scene_begin(NULL);
	published = ps_zalloc(sizeof(*published));
	over = false;
	for (i = 0; i < READERS; i++)
		scene_task("reader", reads, &r[i]);
	scene_task("updater", updates, NULL);
	scene_run();
	for (i = 0; i < READERS; i++) {
		assert_true(r[i].reads > 0);
		assert_int_equal(r[i].torn, 0);
		assert_int_equal(r[i].poisoned, 0);
		assert_int_equal(r[i].back, 0);
	}
	assert_int_equal(published->pair[0], UPDATES);
	ps_free(published);
	scene_end();
}

/* ------------------------------------------------------------------ a count that must not rise from zero */

struct counted {
	struct rcu_head rcu;
	atomic_t refs;
	u64 alive;
};

static struct counted *slot;
static atomic_t freed;

static void free_counted(struct rcu_head *head)
{
	struct counted *c = container_of(head, struct counted, rcu);

	c->alive = 0;
	ps_free(c);
}

static void drop(struct counted *c)
{
	if (!atomic_dec_and_test(&c->refs))
		return;
	atomic_inc(&freed);
	call_rcu(&c->rcu, free_counted);
}

/* Looks up as the page cache does: get unless zero, then check that it is still the one in the slot. */
static void looks_up(void *arg)
{
	u64 *wrong = arg, looked = 0;

	while (!READ_ONCE(over)) {
		struct counted *c;

		rcu_read_lock();
		c = rcu_dereference(slot);
		if (!atomic_inc_not_zero(&c->refs))
			c = NULL;
		rcu_read_unlock();
		if (!c)
			continue;
		if (++looked % 4 == 0)
			cpu_relax();
		*wrong += READ_ONCE(c->alive) != 1;
		drop(c);
	}
}

static void replaces(void *arg)
{
	int i;

	for (i = 0; i < UPDATES; i++) {
		struct counted *c = ps_zalloc(sizeof(*c)), *old;

		c->refs.counter = 1;
		c->alive = 1;
		old = xchg(&slot, c);
		drop(old);
	}
	WRITE_ONCE(over, true);
}

static void looks_up_then_flushes(void *arg)
{
	looks_up(arg);
	rcu_barrier();
}

static void a_reference_is_never_taken_on_the_dead(void **state)
{
	u64 wrong[READERS] = { 0 };
	struct task_struct *t;
	int i;

	scene_begin(NULL);
	slot = ps_zalloc(sizeof(*slot));
	slot->refs.counter = 1;
	slot->alive = 1;
	freed.counter = 0;
	over = false;
	for (i = 0; i < READERS; i++)
		scene_task("reader", looks_up_then_flushes, &wrong[i]);
	scene_task("replacer", replaces, NULL);
	scene_run();
	for (i = 0; i < READERS; i++)
		assert_int_equal(wrong[i], 0);
	assert_int_equal(slot->refs.counter, 1);
	t = scene_task("t", NULL, NULL);
	ps_task_enter(t);
	assert_int_equal(atomic_read(&freed), UPDATES);
	drop(slot);
	rcu_barrier();
	ps_task_leave();
	scene_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(readers_see_whole_and_living_objects),
		cmocka_unit_test(a_reference_is_never_taken_on_the_dead),
	};

	return cmocka_run_group_tests_name("native rcu", tests, NULL, NULL);
}
