/* SPDX-License-Identifier: MIT */
/*
 * Who is made to forget what, and what it costs: flushes of pages, ranges and address spaces on four CPUs, and the batch that
 * puts them off.
 */
#include "fixtures/scene.h"

#include <pagesim/tlbflush.h>

static const struct scene_layer no_layers[] = { { 0 } };

static struct page_table_pool *pool;
static struct page_tables pt;
static struct task_struct *on[4]; /* a task on each CPU */

static int setup(void **state)
{
	const struct scene_settings settings = { .machine = "two-node" };
	int cpu;

	(void)state;
	if (scene_open(&settings, no_layers))
		return -1;
	assert_int_equal(scene->machine->nr_cpus, 4);
	pool = page_table_pool_new(9);
	assert_non_null(pool);
	assert_int_equal(page_tables_init(&pt, pool, 7), 0);
	for (cpu = 0; cpu < 4; cpu++)
		on[cpu] = scene_task("task", cpu);
	as(on[0]);
	return 0;
}

static int teardown(void **state)
{
	page_tables_destroy(&pt);
	page_table_pool_free(pool);
	return scene_teardown(state);
}

/* CPU `cpu` runs the address space and has pages [0, n) in its TLB. */
static void use(int cpu, struct page_tables *tables, u64 n)
{
	struct task_struct *before = ps_current;
	u64 i;

	as(on[cpu]);
	tlb_enter_mm(tables);
	for (i = 0; i < n; i++)
		ps_tlb_insert(&scene->machine->cpus[cpu].tlb, tables->asid, i, 1000 + i, 0, 0);
	as(before);
}

static u64 known(int cpu, const struct page_tables *tables)
{
	struct ps_tlb_item item;
	u32 cursor = 0;
	u64 n = 0;

	while (ps_tlb_next(&scene->machine->cpus[cpu].tlb, &cursor, &item))
		n += item.asid == tables->asid;
	return n;
}

struct counts {
	s64 remote, received, all, one;
	ps_ns_t now;
};

static struct counts take(void)
{
	struct counts c = { vmstat("nr_tlb_remote_flush"), vmstat("nr_tlb_remote_flush_received"),
			    vmstat("nr_tlb_local_flush_all"), vmstat("nr_tlb_local_flush_one"), current->now };

	return c;
}

static void expect_counts(const struct counts *before, s64 remote, s64 received, s64 all, s64 one)
{
	struct counts now = take();
	const struct ps_costs *costs = &scene->machine->costs;
	ps_ns_t ns = (ps_ns_t)all * costs->tlb_flush_all_ns + (ps_ns_t)one * costs->tlb_flush_page_ns;

	assert_int_equal(now.remote - before->remote, remote);
	assert_int_equal(now.received - before->received, received);
	assert_int_equal(now.all - before->all, all);
	assert_int_equal(now.one - before->one, one);
	if (remote)
		ns += (ps_ns_t)remote * costs->tlb_shootdown_ns +
		      (ps_ns_t)(received - remote) * costs->tlb_shootdown_cpu_ns;
	assert_int_equal(now.now - before->now, ns);
}

static void an_address_space_nobody_runs_costs_nothing(void **state)
{
	struct counts c = take();

	(void)state;
	flush_tlb_page(&pt, 0);
	flush_tlb_range(&pt, 0, 10 << PAGE_SHIFT);
	flush_tlb_mm(&pt);
	expect_counts(&c, 0, 0, 0, 0);
}

static void the_own_cpu_flushes_without_an_interrupt(void **state)
{
	struct counts c;

	(void)state;
	use(0, &pt, 8);
	c = take();
	flush_tlb_page(&pt, 3 << PAGE_SHIFT);
	expect_counts(&c, 0, 0, 0, 1);
	assert_int_equal(known(0, &pt), 7);
}

/* CPUs 0, 1 and 3 have used it, 2 has not. Expect: one shootdown, two CPUs answer, 2 is left alone. */
static void others_are_interrupted_once_each(void **state)
{
	struct counts c;

	(void)state;
	use(0, &pt, 8);
	use(1, &pt, 8);
	use(3, &pt, 8);
	c = take();
	flush_tlb_range(&pt, 2 << PAGE_SHIFT, 5 << PAGE_SHIFT);
	expect_counts(&c, 1, 2, 0, 3);
	assert_int_equal(known(0, &pt), 5);
	assert_int_equal(known(1, &pt), 5);
	assert_int_equal(known(3, &pt), 5);
	assert_int_equal(scene->machine->cpus[1].ipis, 1);
	assert_int_equal(scene->machine->cpus[2].ipis, 0);
	assert_int_equal(ps_cpu_take_ipi_ns(scene->machine, 3), scene->machine->costs.tlb_ipi_received_ns);
	assert_int_equal(ps_cpu_take_ipi_ns(scene->machine, 2), 0);
}

/* 33 pages one by one, 34 as everything. */
static void a_long_range_is_flushed_as_everything(void **state)
{
	struct counts c;

	(void)state;
	use(0, &pt, 8);
	c = take();
	flush_tlb_range(&pt, 0, (u64)PS_TLB_FLUSH_CEILING << PAGE_SHIFT);
	expect_counts(&c, 0, 0, 0, PS_TLB_FLUSH_CEILING);
	use(0, &pt, 8);
	c = take();
	flush_tlb_range(&pt, 100 << PAGE_SHIFT, (101ULL + PS_TLB_FLUSH_CEILING) << PAGE_SHIFT);
	expect_counts(&c, 0, 0, 1, 0);
	assert_int_equal(known(0, &pt), 0);
}

static void a_range_is_rounded_up_to_pages(void **state)
{
	struct counts c;

	(void)state;
	use(0, &pt, 8);
	c = take();
	flush_tlb_range(&pt, 0, PAGE_SIZE + 1);
	expect_counts(&c, 0, 0, 0, 2);
}

static void only_the_address_space_concerned_is_flushed(void **state)
{
	struct page_tables other;

	(void)state;
	assert_int_equal(page_tables_init(&other, pool, 8), 0);
	use(0, &pt, 4);
	use(0, &other, 4);
	flush_tlb_mm(&pt);
	assert_int_equal(known(0, &pt), 0);
	assert_int_equal(known(0, &other), 4);
	page_tables_destroy(&other);
}

/* A permission widened: the own CPU forgets the page, the others keep the narrower entry and fault on it later. */
static void a_spurious_fault_is_fixed_on_the_own_cpu_alone(void **state)
{
	struct counts c;

	(void)state;
	use(0, &pt, 4);
	use(1, &pt, 4);
	c = take();
	flush_tlb_fix_spurious_fault(&pt, 0);
	expect_counts(&c, 0, 0, 0, 0);
	assert_int_equal(known(0, &pt), 3);
	assert_int_equal(known(1, &pt), 4);
}

/* ---- the batch */

/* 512 entries of one address space on two CPUs. Expect: nothing until the flush, then one shootdown. */
static void a_batch_flushes_an_address_space_once(void **state)
{
	struct tlb_batch batch = { 0 };
	struct counts c;
	unsigned int i;

	(void)state;
	use(0, &pt, 8);
	use(1, &pt, 8);
	c = take();
	for (i = 0; i < 512; i++)
		tlb_batch_add(&batch, &pt, i == 77);
	expect_counts(&c, 0, 0, 0, 0);
	assert_true(batch.pending && batch.writable);
	assert_int_equal(known(1, &pt), 8);
	tlb_batch_flush(&batch);
	expect_counts(&c, 1, 1, 1, 0);
	assert_int_equal(known(0, &pt) + known(1, &pt), 0);
	assert_false(batch.pending || batch.writable);
	c = take();
	tlb_batch_flush(&batch);
	expect_counts(&c, 0, 0, 0, 0);
}

/*
 * Ten address spaces on CPU 1, one of them gone before the flush.
 * Expect: one shootdown for all of them; the batch keeps nothing of an address space that could be freed under it.
 */
static void a_batch_of_many_address_spaces_interrupts_once(void **state)
{
	struct page_tables more[10];
	struct tlb_batch batch = { 0 };
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(more); i++) {
		assert_int_equal(page_tables_init(&more[i], pool, 100 + i), 0);
		use(1, &more[i], 2);
		tlb_batch_add(&batch, &more[i], true);
	}
	assert_int_equal(vmstat("nr_tlb_remote_flush"), 0);
	page_tables_destroy(&more[3]);
	memset(&more[3], 0x5a, sizeof(more[3]));
	tlb_batch_flush(&batch);
	assert_int_equal(vmstat("nr_tlb_remote_flush"), 1);
	assert_int_equal(vmstat("nr_tlb_remote_flush_received"), 1);
	for (i = 0; i < ARRAY_SIZE(more); i++) {
		if (i == 3)
			continue;
		assert_int_equal(known(1, &more[i]), 0);
		page_tables_destroy(&more[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_address_space_nobody_runs_costs_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(the_own_cpu_flushes_without_an_interrupt, setup, teardown),
		cmocka_unit_test_setup_teardown(others_are_interrupted_once_each, setup, teardown),
		cmocka_unit_test_setup_teardown(a_long_range_is_flushed_as_everything, setup, teardown),
		cmocka_unit_test_setup_teardown(a_range_is_rounded_up_to_pages, setup, teardown),
		cmocka_unit_test_setup_teardown(only_the_address_space_concerned_is_flushed, setup, teardown),
		cmocka_unit_test_setup_teardown(a_spurious_fault_is_fixed_on_the_own_cpu_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(a_batch_flushes_an_address_space_once, setup, teardown),
		cmocka_unit_test_setup_teardown(a_batch_of_many_address_spaces_interrupts_once, setup, teardown),
	};

	return cmocka_run_group_tests_name("TLB flushes", tests, NULL, NULL);
}
