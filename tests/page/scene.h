/* SPDX-License-Identifier: MIT */
/*
 * A machine with memory and one hosted task in it, in one line: what every test of this layer stands on. Teardown flushes
 * what is in batches and per-CPU lists, proves that the layer's structures agree (ps_mem_check) and that no page is
 * still allocated, and fails the test if not.
 *
 * Also here: catching a BUG, to prove that a planted fault is seen.
 */
#ifndef PS_TESTS_PAGE_SCENE_H
#define PS_TESTS_PAGE_SCENE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* after the above */
#include <cmocka.h>

#include <pagesim/alloc.h>
#include <pagesim/bug.h>
#include <pagesim/lru.h>
#include <pagesim/machine.h>
#include <pagesim/mem.h>
#include <pagesim/page_alloc.h>
#include <pagesim/runtime.h>
#include <pagesim/vmstat.h>

/** What a scene is made from. All zero: one node of 64 MiB, one CPU, 9-bit tables, contents `tag`. */
struct scene_spec {
	unsigned int nr_nodes;
	/** Pages of each node; 0: 16384 (only if nr_nodes is 0). */
	unsigned long pages[8];
	/** CPUs of each node; 0: none, except for node 0 of a scene without any. */
	unsigned int cpus[8];
	u8 distance[8][8];
	unsigned int pt_bits;
	unsigned int movable_percent;
	unsigned long min_free_kbytes;
	enum ps_contents contents;
	bool no_contents;
	/** Without the lock checker, as in replay. */
	bool no_lockcheck;
	int pcp_high;
	u32 shuffle;
	/** Teardown does not look for allocated pages. */
	bool may_leak;
};

struct scene {
	struct ps_runtime *rt;
	struct task_struct *task;
	struct ps_machine *machine;
	struct ps_stats *stats;
	bool may_leak;
};

static inline int scene_open(struct scene *s, const struct scene_spec *spec)
{
	struct ps_runtime_settings settings = { .seed = 1,
						.shuffle = spec->shuffle,
						.no_lockcheck = spec->no_lockcheck };
	struct ps_mem_settings mem = { .pcp_high = spec->pcp_high };
	static struct ps_machine_spec m;
	unsigned int nid, cpu;

	memset(s, 0, sizeof(*s));
	s->may_leak = spec->may_leak;
	ps_machine_spec_init(&m);
	m.nr_nodes = spec->nr_nodes ? spec->nr_nodes : 1;
	m.pt_bits = spec->pt_bits;
	m.movable_percent = spec->movable_percent;
	m.min_free_kbytes = spec->min_free_kbytes;
	for (nid = 0; nid < m.nr_nodes; nid++) {
		m.node[nid].bytes = (spec->nr_nodes ? spec->pages[nid] : 16384) * PAGE_SIZE;
		for (cpu = 0; cpu < spec->cpus[nid]; cpu++)
			m.cpu_node[m.nr_cpus++] = (s16)nid;
		memcpy(m.distance[nid], spec->distance[nid], sizeof(spec->distance[nid]));
	}
	if (!m.nr_cpus)
		m.nr_cpus = 1;
	ps_machine_spec_fill(&m);
	mem.contents = spec->no_contents ? PS_CONTENTS_NONE : spec->contents ? spec->contents : PS_CONTENTS_TAG;

	s->rt = ps_runtime_new(&settings);
	s->stats = ps_stats_new();
	if (!s->rt || !s->stats)
		return -ENOMEM;
	s->task = ps_task_new(s->rt, "test", NULL, NULL);
	if (!s->task || ps_machine_new(&m, &s->machine))
		return -ENOMEM;
	s->task->machine = s->machine;
	s->task->stats = s->stats;
	ps_task_enter(s->task);
	return ps_mem_init(s->machine, &mem);
}

static inline void scene_check(struct scene *s)
{
	struct ps_mem_fault faults[8];
	int i, nr = ps_mem_check(s->machine, faults, 8);

	for (i = 0; i < nr && i < 8; i++)
		print_error("%s\n", faults[i].text);
	assert_int_equal(nr, 0);
}

/** Give back whatever is there; works on a half-open scene too. */
static inline void scene_free(struct scene *s)
{
	if (s->machine)
		ps_mem_destroy(s->machine);
	if (ps_current)
		ps_task_leave();
	ps_task_free(s->task);
	ps_runtime_free(s->rt);
	ps_machine_free(s->machine);
	ps_stats_free(s->stats);
}

static inline void scene_close(struct scene *s)
{
	lru_add_drain_all();
	drain_all_pages(NULL);
	scene_check(s);
	if (!s->may_leak)
		assert_int_equal(ps_mem_allocated_pages(s->machine), 0);
	scene_free(s);
}

/* The usual setup and teardown: *state is the scene. */

static inline int scene_setup_with(void **state, const struct scene_spec *spec)
{
	struct scene *s = calloc(1, sizeof(*s));

	if (!s || scene_open(s, spec)) {
		if (s)
			scene_free(s);
		free(s);
		return -1;
	}
	*state = s;
	return 0;
}

static inline int scene_teardown(void **state)
{
	struct scene *s = *state;
	struct ps_alloc_counts counts;

	scene_close(s);
	free(s);
	ps_alloc_counts(&counts);
	assert_int_equal(counts.live, 0);
	return 0;
}

/* Planted faults */

struct caught {
	jmp_buf env;
	struct ps_bug bug;
};

static inline void catch_bug(void *arg, const struct ps_bug *bug)
{
	struct caught *c = arg;

	if (bug->kind != PS_BUG)
		return;
	c->bug = *bug;
	longjmp(c->env, 1);
}

/** Expect the statement to report a BUG; what it did until then stays done. */
#define expect_bug(statement)                                                                                    \
	do {                                                                                                     \
		static struct caught caught_;                                                                    \
		struct ps_bug_handler old_ = ps_bug_set_handler((struct ps_bug_handler){ catch_bug, &caught_ }); \
		volatile bool seen_ = true;                                                                      \
                                                                                                                 \
		if (!setjmp(caught_.env)) {                                                                      \
			statement;                                                                               \
			seen_ = false;                                                                           \
		}                                                                                                \
		ps_bug_set_handler(old_);                                                                        \
		assert_true(seen_);                                                                              \
	} while (0)

static inline s64 vmstat(const char *name)
{
	int index = ps_vmstat_find(name);

	assert_true(index >= 0);
	return ps_vmstat_read(ps_current->stats, NUMA_NO_NODE, index);
}

/** Anonymous order-0 pages as a fault makes them: swapbacked, uptodate, referenced once. */
static inline struct page *new_anon_page(nid_t nid)
{
	struct page *page = __alloc_pages_node(nid, GFP_HIGHUSER_MOVABLE, 0);

	assert_non_null(page);
	SetPageSwapBacked(page);
	SetPageUptodate(page);
	return page;
}

/** A THP as a fault makes it. Not inlined: its variables must not live in a test that expects to jump. */
static __attribute__((noinline, unused)) struct page *new_thp(nid_t nid)
{
	struct page *page = __alloc_pages_node(nid, GFP_TRANSHUGE, HPAGE_PMD_ORDER);

	assert_non_null(page);
	prep_transhuge_page(page);
	SetPageSwapBacked(page);
	SetPageUptodate(page);
	return page;
}

#endif
