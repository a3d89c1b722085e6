/* SPDX-License-Identifier: MIT */
/*
 * Native build: one thread translates, others flush the same TLB and count the same events. Every word must be whole and
 * of the page asked for, every count must arrive. ThreadSanitizer watches.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <pthread.h>
#include <cmocka.h>

#include <pagesim/machine.h>
#include <pagesim/rng.h>
#include <pagesim/vmstat.h>

#define ROUNDS   200000
#define FLUSHERS 3
#define PAGES    256

struct scene {
	struct ps_tlb tlb;
	struct ps_stats *stats;
	/* Outcomes that must stay zero; written by the translator only. */
	u64 torn, foreign;
	u64 hits;
};

static pfn_t pfn_of(u64 vpn)
{
	return vpn * 7919 + 13;
}

static void *translate(void *arg)
{
	struct scene *s = (struct scene *)arg;
	static __thread struct task_struct task;
	struct ps_rng rng;

	memset(&task, 0, sizeof(task));
	task.stats = s->stats;
	ps_current = &task;
	ps_rng_init(&rng, 1);
	for (int i = 0; i < ROUNDS; i++) {
		u64 vpn = ps_rng_below(&rng, PAGES), word = ps_tlb_lookup(&s->tlb, 1, vpn);

		if (!word) {
			ps_tlb_insert(&s->tlb, 1, vpn, pfn_of(vpn), (nid_t)(vpn % 64), PS_TLB_WRITE);
		} else {
			s->hits++;
			s->torn += !(word & PS_TLB_VALID) || !(word & PS_TLB_WRITE);
			s->foreign +=
				ps_tlb_pfn(&s->tlb, word, vpn) != pfn_of(vpn) || ps_tlb_nid(word) != (nid_t)(vpn % 64);
		}
		count_vm_event(PGFAULT);
		__mod_node_page_state(0, NR_FILE_PAGES, 1);
	}
	return NULL;
}

static void *flush(void *arg)
{
	struct scene *s = (struct scene *)arg;
	static __thread struct task_struct task;
	struct ps_rng rng;

	memset(&task, 0, sizeof(task));
	task.stats = s->stats;
	ps_current = &task;
	ps_rng_init(&rng, 2);
	for (int i = 0; i < ROUNDS / 10; i++) {
		u64 vpn = ps_rng_below(&rng, PAGES);

		if (i % 100)
			ps_tlb_flush_range(&s->tlb, 1, vpn, 1 + ps_rng_below(&rng, 8));
		else
			ps_tlb_flush_asid(&s->tlb, 1);
		count_vm_event(PGFAULT);
		__mod_node_page_state(0, NR_FILE_PAGES, -1);
	}
	return NULL;
}

/* Expect no torn and no foreign word, some hits, and every count. */
static void flushes_from_other_threads_never_tear_a_translation(void **state)
{
	struct scene s;
	pthread_t translator, flusher[FLUSHERS];

	(void)state;
	memset(&s, 0, sizeof(s));
	assert_int_equal(ps_tlb_init(&s.tlb, NULL, 9), 0);
	s.stats = ps_stats_new();
	assert_non_null(s.stats);
	assert_int_equal(pthread_create(&translator, NULL, translate, &s), 0);
	for (int i = 0; i < FLUSHERS; i++)
		assert_int_equal(pthread_create(&flusher[i], NULL, flush, &s), 0);
	for (int i = 0; i < FLUSHERS; i++)
		pthread_join(flusher[i], NULL);
	pthread_join(translator, NULL);
	assert_int_equal(s.torn, 0);
	assert_int_equal(s.foreign, 0);
	assert_true(s.hits > 0);
	assert_int_equal(s.stats->event[PGFAULT], ROUNDS + FLUSHERS * (ROUNDS / 10));
	assert_int_equal(s.stats->node[0][NR_FILE_PAGES], ROUNDS - FLUSHERS * (ROUNDS / 10));
	ps_tlb_destroy(&s.tlb);
	ps_stats_free(s.stats);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flushes_from_other_threads_never_tear_a_translation),
	};

	return cmocka_run_group_tests_name("native_tlb", tests, NULL, NULL);
}
