/* SPDX-License-Identifier: MIT */
/*
 * Whose time a shootdown is: the initiator's, charged as the work it is part of, and every interrupted CPU's, charged to
 * whoever runs a program there. Everything but flushing is free here, so that a class of time is its flushes.
 *
 *      CPU 0, 1 --- node 0 (dram)     the address space is known to both CPUs
 *               --- node 1 (cxl)
 */
#include "engines/tiers.h"

#include <pagesim/migrate.h>
#include <pagesim/mm.h>
#include <pagesim/mprotect.h>
#include <pagesim/tlbflush.h>

#define PAGE_NS 10
#define ALL_NS  30
#define IPI_NS  700
#define LOST_NS 400

#define PAGES 4

static struct tiers *open_scene(void)
{
	static const struct tier_node nodes[] = { { 16, 2, PS_MEMORY_DRAM }, { 16, 0, PS_MEMORY_CXL } };
	struct tiers *t = tiers_open(nodes, 2);
	struct ps_costs *costs = &t->world->machine->costs;
	u64 copy_rate = costs->copy_rate, zero_rate = costs->zero_rate;

	memset(costs, 0, sizeof(*costs));
	costs->copy_rate = copy_rate;
	costs->zero_rate = zero_rate;
	costs->tlb_flush_page_ns = PAGE_NS;
	costs->tlb_flush_all_ns = ALL_NS;
	costs->tlb_shootdown_ns = IPI_NS;
	costs->tlb_ipi_received_ns = LOST_NS;
	map_anon(BASE, PAGES);
	assert_int_equal(fill(BASE, PAGES), PAGES);
	lru_add_drain_all();
	current->cpu = 1;
	tlb_enter_mm(&current->mm->pt);
	current->cpu = 0;
	return t;
}

static void unmap(void)
{
	assert_int_equal(do_munmap(current->mm, BASE, PAGES * PAGE_SIZE), 0);
}

static void protect(void)
{
	assert_int_equal(do_mprotect(current->mm, BASE, PAGES * PAGE_SIZE, MM_PROT_READ), 0);
}

/* The copied page replaces one that other CPUs may know. The child's exit is a call of its own. */
static void copy_on_write(void)
{
	struct mm_struct *child;

	assert_int_equal(dup_mm(current->mm, &child), 0);
	memset(current->time, 0, sizeof(current->time));
	assert_int_equal(store(BASE, 1), 0);
	mmput(child);
}

static void move(void)
{
	struct ps_move moves[PAGES];
	int i;

	for (i = 0; i < PAGES; i++)
		moves[i] = (struct ps_move){ .addr = BASE + (u64)i * PAGE_SIZE, .node = 1 };
	assert_int_equal(ps_move_pages(current->mm, moves, PAGES, false, false), 0);
	assert_int_equal(node_of(BASE), 1);
}

/* With a second user: what one task alone uses on its own node is of no interest to the scanner. */
static void scan(void)
{
	this_machine()->faults->numa_balancing = NUMA_BALANCING_NORMAL;
	mmget(current->mm);
	mmap_read_lock(current->mm);
	assert_true(change_protection(vma_lookup(current->mm, BASE), BASE, BASE + PAGES * PAGE_SIZE, MM_CP_PROT_NUMA) >
		    0);
	mmap_read_unlock(current->mm);
	mmput(current->mm);
}

/* Demotion: what is a migration elsewhere is reclaim here, for the task that waits for the memory. */
static void reclaim(void)
{
	unsigned long reclaimed = 0;
	int i;

	this_machine()->reclaim->demotion_enabled = true;
	for (i = 0; i < 8 && !reclaimed; i++)
		reclaimed = ps_reclaim_node(0, PAGES);
	assert_true(reclaimed > 0);
	assert_int_equal(node_of(BASE), 1);
}

/*
 * Each kind of work that flushes. Expect its flushes in its own class and in no other: nothing else costs anything, but
 * bytes that are copied.
 */
static void a_flush_is_charged_to_the_work_it_is_part_of(void **state)
{
	static const struct {
		const char *name;
		void (*work)(void);
		enum ps_time_class tc;
	} cases[] = {
		{ "munmap", unmap, PS_TIME_SYSCALL },
		{ "mprotect", protect, PS_TIME_SYSCALL },
		{ "copy on write", copy_on_write, PS_TIME_FAULT },
		{ "move_pages", move, PS_TIME_MIGRATE },
		{ "numa scan", scan, PS_TIME_SCAN },
		{ "reclaim", reclaim, PS_TIME_RECLAIM },
	};
	unsigned int i;
	int c;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct tiers *t = open_scene();
		u64 received = delta(t, "nr_tlb_remote_flush_received");

		memset(current->time, 0, sizeof(current->time));
		cases[i].work();
		received = delta(t, "nr_tlb_remote_flush_received") - received;
		if (!received || current->time[cases[i].tc] < IPI_NS)
			fail_msg("%s: %lu interrupts, %lu ns", cases[i].name, (unsigned long)received,
				 (unsigned long)current->time[cases[i].tc]);
		for (c = 0; c < PS_NR_TIME_CLASSES; c++)
			if (c != (int)cases[i].tc && c != PS_TIME_COPY && current->time[c] &&
			    !(c == PS_TIME_SYSCALL && cases[i].work == copy_on_write))
				fail_msg("%s: %lu ns of %s", cases[i].name, (unsigned long)current->time[c],
					 ps_time_class_name((enum ps_time_class)c));
		/* Whatever it was, the task is at nothing in particular again. */
		assert_int_equal(current->work, PS_TIME_SYSCALL);
		tiers_close(t);
	}
}

/*
 *   CPU 0  A  munmap ── flush ──┐
 *   CPU 1  B  ──────────────────┴─> interrupted ── its next walk
 *
 * Expect: A has paid for sending, B for answering, as much as was sent, once; and B's clock says so.
 */
static void the_interrupted_task_pays_for_answering(void **state)
{
	struct tiers *t = open_scene();
	struct task_struct *b;
	struct ps_access access;
	ps_ns_t before;
	int i;

	(void)state;
	map_anon(BASE + PAGES * PAGE_SIZE, 1);
	unmap();
	b = ps_task_new(t->world->rt, "B", NULL, NULL);
	assert_non_null(b);
	b->cpu = 1;
	b->mm = current->mm;
	assert_int_equal(current->time[PS_TIME_INTERRUPT], 0);
	ps_task_leave();

	ps_task_enter(b);
	before = b->now;
	for (i = 0; i < 2; i++) {
		assert_int_equal(ps_mmu_access(BASE + PAGES * PAGE_SIZE, true, &access), 0);
		assert_int_equal(b->time[PS_TIME_INTERRUPT], LOST_NS);
	}
	/* Its own fault copies nothing, but zeroes a page. */
	assert_int_equal(b->now - before, LOST_NS + b->time[PS_TIME_COPY]);
	ps_task_leave();

	ps_task_enter(t->task);
	ps_task_free(b);
	tiers_close(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_flush_is_charged_to_the_work_it_is_part_of),
		cmocka_unit_test(the_interrupted_task_pays_for_answering),
	};

	return cmocka_run_group_tests_name("work", tests, NULL, NULL);
}
