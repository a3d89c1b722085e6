/* SPDX-License-Identifier: MIT */
/*
 * Native build, the whole computer under real threads: programs that load and store words while their pages move between
 * nodes, lose and regain their permissions, and while other pages of the address space are unmapped, freed and mapped anew.
 *
 *   writer 0, 1   each has pages of its own and counts in each of them        CPU 0, 1
 *   mover         move_pages of all those pages, back and forth               CPU 2
 *   hinter        takes the permissions of all those pages away, as NUMA
 *                 balancing does, so that the next access faults              CPU 3
 *   mapper        maps, writes and unmaps scratch pages, tables and all       CPU 1
 *   reader        reads the scratch pages meanwhile                           CPU 0
 *
 * Frames have bytes: ThreadSanitizer sees a copy that races with a store through a translation which was flushed.
 * Buckets that must be zero: lost (a counter is not what its writer wrote), foreign (a scratch page holds neither nothing nor
 * what the mapper writes: a translation outlived its page), refused (an access failed that may not).
 */
#include <stdio.h>

#include "engines/tiers.h"

#include <pagesim/contents.h>
#include <pagesim/migrate.h>
#include <pagesim/mm.h>
#include <pagesim/mprotect.h>

#define WRITERS 2
#define PAGES   12
#define ROUNDS  2500
#define SCRATCH (BASE + (1ull << 30))
#define MAGIC   0x5c7a7c4000000000ull

struct bucket {
	u64 lost, foreign, refused;
	u64 done, seen;
};

struct thread {
	struct task_struct *task;
	struct bucket bucket;
	unsigned int number;
};

static int writers_left;

static u64 own(unsigned int writer, u64 page)
{
	return BASE + (writer * PAGES + page) * PAGE_SIZE;
}

static bool writing(void)
{
	return __atomic_load_n(&writers_left, __ATOMIC_ACQUIRE) > 0;
}

static void writer(void *arg)
{
	struct thread *t = arg;
	u64 round, i, word;

	for (round = 1; round <= ROUNDS; round++) {
		for (i = 0; i < PAGES; i++) {
			u64 addr = own(t->number, i);

			if (ps_mmu_load(addr, &word)) {
				t->bucket.refused++;
				continue;
			}
			t->bucket.lost += word != (round == 1 ? 0 : (round - 1) * 100 + i);
			t->bucket.refused += ps_mmu_store(addr, round * 100 + i) != 0;
		}
		t->bucket.done++;
	}
	__atomic_fetch_sub(&writers_left, 1, __ATOMIC_RELEASE);
}

static void mover(void *arg)
{
	struct thread *t = arg;
	struct ps_move moves[WRITERS * PAGES];
	nid_t nid = 0;
	int i;

	while (writing()) {
		nid = !nid;
		for (i = 0; i < WRITERS * PAGES; i++)
			moves[i] = (struct ps_move){ .addr = BASE + (u64)i * PAGE_SIZE, .node = nid };
		t->bucket.refused += ps_move_pages(current->mm, moves, WRITERS * PAGES, false, false) < 0;
		for (i = 0; i < WRITERS * PAGES; i++)
			t->bucket.seen += moves[i].status == nid;
		t->bucket.done++;
	}
}

static void hinter(void *arg)
{
	struct thread *t = arg;
	struct vm_area_struct *vma;

	while (writing()) {
		mmap_read_lock(current->mm);
		vma = vma_lookup(current->mm, BASE);
		if (vma)
			t->bucket.seen +=
				(u64)change_protection(vma, BASE, BASE + WRITERS * PAGES * PAGE_SIZE, MM_CP_PROT_NUMA);
		mmap_read_unlock(current->mm);
		t->bucket.done++;
		cpu_relax();
	}
}

static void mapper(void *arg)
{
	struct thread *t = arg;
	u64 n;

	for (n = 0; writing(); n++) {
		u64 i;

		if (do_mmap(current->mm, SCRATCH, 4 * PAGE_SIZE, MM_PROT_READ | MM_PROT_WRITE, 0, NULL, 0)) {
			t->bucket.refused++;
			return;
		}
		for (i = 0; i < 4; i++)
			t->bucket.refused += ps_mmu_store(SCRATCH + i * PAGE_SIZE, MAGIC + n) != 0;
		t->bucket.refused += do_munmap(current->mm, SCRATCH, 4 * PAGE_SIZE) != 0;
		t->bucket.done++;
	}
}

static void reader(void *arg)
{
	struct thread *t = arg;
	u64 i, word;

	for (i = 0; writing(); i = (i + 1) % 4) {
		int error = ps_mmu_load(SCRATCH + i * PAGE_SIZE, &word);

		if (!error) {
			t->bucket.seen++;
			t->bucket.foreign += word && word >> 32 != MAGIC >> 32;
		} else if (error != -EFAULT) {
			t->bucket.refused++;
		}
		t->bucket.done++;
	}
}

static void spawn(struct tiers *t, struct thread *thread, const char *name, ps_task_fn fn, int cpu)
{
	struct task_struct *task = ps_task_new(t->world->rt, name, fn, thread);

	assert_non_null(task);
	task->cpu = cpu;
	thread->task = task;
}

/* Expect: every counter is what its writer counted, no page is seen after its end, and all of it really happened. */
static void programs_never_see_what_is_not_theirs(void **state)
{
	static const struct tier_node nodes[] = { { 16, 2, PS_MEMORY_DRAM }, { 16, 2, PS_MEMORY_DRAM } };
	const struct ps_world_settings settings = { .contents = PS_CONTENTS_BYTES,
						    .runtime = { .seed = 3, .shuffle = 1500 } };
	struct tiers *t = tiers_open_with(nodes, 2, &settings);
	struct thread threads[WRITERS + 4];
	u64 word, i, w;

	(void)state;
	memset(threads, 0, sizeof(threads));
	t->world->machine->faults->numa_balancing = NUMA_BALANCING_NORMAL;
	map_anon(BASE, WRITERS * PAGES);
	writers_left = WRITERS;
	for (w = 0; w < WRITERS; w++) {
		threads[w].number = (unsigned int)w;
		spawn(t, &threads[w], "writer", writer, (int)w);
	}
	spawn(t, &threads[WRITERS], "mover", mover, 2);
	spawn(t, &threads[WRITERS + 1], "hinter", hinter, 3);
	spawn(t, &threads[WRITERS + 2], "mapper", mapper, 1);
	spawn(t, &threads[WRITERS + 3], "reader", reader, 0);
	ps_task_leave();
	ps_runtime_run(t->world->rt, UINT64_MAX);
	ps_task_enter(t->task);
	for (i = 0; i < ARRAY_SIZE(threads); i++) {
		const struct bucket *b = &threads[i].bucket;

		printf("  %-8s %8lu done %8lu seen; %lu lost, %lu foreign, %lu refused\n", threads[i].task->comm,
		       (unsigned long)b->done, (unsigned long)b->seen, (unsigned long)b->lost,
		       (unsigned long)b->foreign, (unsigned long)b->refused);
	}
	for (i = 0; i < ARRAY_SIZE(threads); i++) {
		assert_int_equal(threads[i].bucket.lost, 0);
		assert_int_equal(threads[i].bucket.foreign, 0);
		assert_int_equal(threads[i].bucket.refused, 0);
		assert_true(threads[i].bucket.done > 0);
	}
	assert_true(threads[WRITERS].bucket.seen > 0);
	assert_true(threads[WRITERS + 1].bucket.seen > 0);
	for (w = 0; w < WRITERS; w++)
		for (i = 0; i < PAGES; i++) {
			assert_int_equal(ps_mmu_load(own((unsigned int)w, i), &word), 0);
			assert_int_equal(word, ROUNDS * 100 + i);
		}
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		ps_task_free(threads[i].task);
	tiers_close(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(programs_never_see_what_is_not_theirs),
	};

	return cmocka_run_group_tests_name("native_mmu", tests, NULL, NULL);
}
