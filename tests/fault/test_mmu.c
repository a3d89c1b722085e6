/* SPDX-License-Identifier: MIT */
/*
 * Hardware against the kernel: a page walk is many reads, but a CPU answers a shootdown only when its walk is over; and what
 * both touch is a schedule point, from the top of the page tables to the counters of an address space.
 *
 *      CPU 0   walk: pgd ─ pud ─ pmd ─ pte ─ TLB
 *      CPU 1        munmap: clear ─ take the tables out ─ flush ......... give them and the page back
 *                                                           └ waits for ┘
 */
#include "fixtures/scene_fault.h"

/* A listener that notes what is touched, and once lets another task run first. */
static struct {
	struct ps_listener listener;
	struct {
		enum ps_point_kind kind;
		const void *obj;
	} heard[4096];
	unsigned int nr;
	/* Lets `other` run when `who` is about to touch `at`. */
	struct task_struct *who, *other;
	const void *at;
	bool done;                 /* other has finished */
	bool done_before_released; /* ... while who still held CPU 0's mmu_lock */
	bool met;
} ear;

static void hear(struct ps_listener *listener, enum ps_point_kind kind, const void *obj)
{
	(void)listener;
	if (ear.nr < ARRAY_SIZE(ear.heard)) {
		ear.heard[ear.nr].kind = kind;
		ear.heard[ear.nr++].obj = obj;
	}
	if (ps_current != ear.who)
		return;
	if (ear.met && kind == PS_POINT_RELEASE && obj == &scene->machine->cpus[0].mmu_lock)
		ear.done_before_released |= ear.done;
	if (kind == PS_POINT_READ && obj == ear.at && !ear.met) {
		ear.met = true;
		ps_yield_to(ear.other);
	}
}

static bool heard(enum ps_point_kind kind, const void *obj)
{
	unsigned int i;

	for (i = 0; i < ear.nr; i++)
		if (ear.heard[i].kind == kind && ear.heard[i].obj == obj)
			return true;
	return false;
}

static void listen(void)
{
	ear.listener.step = hear;
	ear.nr = 0;
	ps_runtime_listen(scene->rt, &ear.listener);
}

static void deaf(void)
{
	ps_runtime_listen(scene->rt, NULL);
}

static int setup(void **state)
{
	(void)state;
	memset(&ear, 0, sizeof(ear));
	if (scene_fault_setup("two-node"))
		return -1;
	start("A", 0);
	return 0;
}

/* The entry of a level (3: PGD) for an address; NULL where there is no table. */
static const u64 *entry_at(u64 addr, unsigned int level)
{
	const struct page_tables *pt = &current->mm->pt;
	const u64 *table = pt->pgd;
	unsigned int l;

	for (l = 3;; l--) {
		const u64 *entry = &table[(addr >> (PAGE_SHIFT + l * pt->bits)) & ((1U << pt->bits) - 1)];

		if (l == level)
			return entry;
		if (!*entry)
			return NULL;
		table = (const u64 *)(uintptr_t)(*entry & _PAGE_TABLE_MASK);
	}
}

/*
 * The first page of an empty address space is touched, and unmapped again.
 * Expect: the entries of all four levels are written at schedule points, both times, and read at some by the walk.
 */
static void every_level_is_a_schedule_point(void **state)
{
	const u64 *entry[4];
	u64 r = map(1);
	int level;

	(void)state;
	listen();
	store(r, 1);
	deaf();
	for (level = 0; level < 4; level++) {
		entry[level] = entry_at(r, (unsigned int)level);
		assert_true(heard(PS_POINT_WRITE, entry[level]));
		assert_true(heard(PS_POINT_READ, entry[level]));
	}
	listen();
	assert_int_equal(do_munmap(current->mm, r, PAGE_SIZE), 0);
	deaf();
	assert_true(heard(PS_POINT_RMW, entry[0]));
	for (level = 1; level < 4; level++)
		assert_true(heard(PS_POINT_WRITE, entry[level]));
}

/* What threads of an address space share without a lock. */
static void counters_of_an_address_space_are_schedule_points(void **state)
{
	struct mm_struct *mm = current->mm;
	u64 r = map(1);

	(void)state;
	listen();
	store(r, 1);
	mmget(mm);
	mmput(mm);
	deaf();
	assert_true(heard(PS_POINT_RMW, &mm->rss_stat[MM_ANONPAGES]));
	assert_true(heard(PS_POINT_RMW, &mm->pt.nr_ptes));
	assert_true(heard(PS_POINT_RMW, &mm->pt.nr_pmds));
	assert_true(heard(PS_POINT_RMW, &mm->pt.nr_puds));
	assert_true(heard(PS_POINT_RMW, &mm->mm_users));
}

static u64 region;

static void unmap(void *arg)
{
	(void)arg;
	assert_int_equal(do_munmap(current->mm, region, PAGE_SIZE), 0);
	ear.done = true;
}

/*
 * 1. A, on CPU 0, walks for a page whose translation its TLB has lost, and is about to read the PMD.
 * 2. B, on CPU 1, unmaps the page: clears the entry, takes the tables out, flushes.
 * 3. A reads on, in a table that is no longer in the tree.
 * Expect: B's flush does not return, and neither table nor page is given back, before A's walk is over; afterwards nobody has
 * a translation, and A's access ends in a fault.
 */
static void a_flush_waits_for_the_walk_under_way(void **state)
{
	struct task_struct *a = current, *b;
	struct ps_lock_class_stats waits;
	u64 word;

	(void)state;
	region = map_filled(1, 7);
	b = ps_task_new(scene->rt, "B", unmap, NULL);
	assert_non_null(b);
	b->cpu = 1;
	ps_tlb_flush_all(&scene->machine->cpus[0].tlb);
	ear.who = a;
	ear.other = b;
	ear.at = entry_at(region, 1);
	listen();
	assert_int_equal(try_load(region, &word), -EFAULT);
	deaf();
	ps_task_join(b);
	assert_true(ear.met);
	assert_true(ear.done);
	assert_false(ear.done_before_released);
	ps_lock_class_stats(scene->rt, MMU_LOCK, &waits);
	assert_int_equal(waits.waits, 1);
	assert_int_equal(ps_tlb_probe(&scene->machine->cpus[0].tlb, a->mm->pt.asid, region >> PAGE_SHIFT), 0);
	ps_task_free(b);
	expect_sound();
}

/* Words through ps_mmu_load and ps_mmu_store are those of ps_mmu_access, and end as it does. */
static void loads_and_stores_of_words(void **state)
{
	u64 r = map(3), word = 1;

	(void)state;
	assert_int_equal(ps_mmu_load(r, &word), 0);
	assert_int_equal(word, 0);
	assert_int_equal(ps_mmu_store(r, 5), 0);
	assert_int_equal(ps_mmu_store(r + pages(1), 6), 0);
	assert_int_equal(ps_mmu_load(r, &word), 0);
	assert_int_equal(word, 5);
	assert_int_equal(load(r + pages(1)), 6);
	assert_int_equal(do_mprotect(current->mm, r, pages(1), MM_PROT_READ), 0);
	assert_int_equal(ps_mmu_store(r, 9), -EFAULT);
	assert_int_equal(ps_mmu_load(r, &word), 0);
	assert_int_equal(word, 5);
	assert_int_equal(ps_mmu_load(r - PAGE_SIZE, &word), -EFAULT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_level_is_a_schedule_point, setup, scene_teardown),
		cmocka_unit_test_setup_teardown(counters_of_an_address_space_are_schedule_points, setup,
						scene_teardown),
		cmocka_unit_test_setup_teardown(a_flush_waits_for_the_walk_under_way, setup, scene_teardown),
		cmocka_unit_test_setup_teardown(loads_and_stores_of_words, setup, scene_teardown),
	};

	return cmocka_run_group_tests_name("mmu", tests, NULL, NULL);
}
