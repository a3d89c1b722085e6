/* SPDX-License-Identifier: MIT */
/*
 * Files on real threads: reads, writes, faults, syncs, truncations and drops of two files beside each other. Whoever
 * writes index i writes a multiple of 1000 plus i, a hole reads 0; so every word found says whether it belongs where
 * it is. Threads record, the main thread asserts. Meant for ThreadSanitizer.
 *
 * Named buckets, all to be zero:
 *	foreign		a word that belongs to another index, or to a freed frame
 *	failed		a call that had no reason to fail did
 */
#include "cache/scene.h"

#define WORKERS 4u
#define PAGES   12u

static struct inode *shared_files[2];
static unsigned long foreign, failed, done;
static unsigned int workers;

static void count(unsigned long *bucket)
{
	__atomic_fetch_add(bucket, 1, __ATOMIC_RELAXED);
}

static void check_word(u64 word, pgoff_t index)
{
	if (word && word % 1000 != index)
		count(&foreign);
}

static void fault(struct inode *inode, pgoff_t index)
{
	struct page *page;
	int err = file_fault(inode, index, SHMEM_HINT_HUGEPAGE, NULL, &page, NULL);

	if (err) {
		if (err != -EFAULT)
			count(&failed);
		return;
	}
	if (page_to_pgoff(page) != index)
		count(&foreign);
	check_word(page_word_read(page), index);
	unlock_page(compound_head(page));
	if (file_wants_mkwrite(inode) && !file_page_mkwrite(inode, page)) {
		page_word_write(page, 5000 + index);
		set_page_dirty(page);
		unlock_page(page);
	}
	put_page(page);
}

static void worker(void *arg)
{
	struct ps_rng rng;

	ps_rng_init(&rng, (u64)(uintptr_t)arg);
	for (unsigned int n = 0; n < 1500; n++) {
		struct inode *inode = shared_files[ps_rng_below(&rng, 2)];
		pgoff_t index = ps_rng_below(&rng, PAGES);
		u64 word = 0;

		switch (ps_rng_below(&rng, 8)) {
		case 0:
		case 1:
			if (file_write_page(inode, index, 1000 * ps_rng_below(&rng, 100) + index, NULL))
				count(&failed);
			break;
		case 2:
			if (file_read_page(inode, index, &word, NULL) < 0)
				count(&failed);
			check_word(word, index);
			break;
		case 3:
		case 4:
			fault(inode, index);
			break;
		case 5:
			if (file_fsync(inode))
				count(&failed);
			break;
		case 6:
			file_truncate(inode, index << PAGE_SHIFT);
			break;
		case 7:
			if (ps_rng_below(&rng, 2))
				file_fadvise_dontneed(inode, 0, (pgoff_t)-1);
			else
				file_punch_hole(inode, index, index + 3);
			break;
		}
		count(&done);
	}
	__atomic_fetch_sub(&workers, 1, __ATOMIC_RELEASE);
}

static void slow_device(void *arg)
{
	(void)arg;
	while (__atomic_load_n(&workers, __ATOMIC_ACQUIRE)) {
		ps_disk_complete(&files()->disk, 1);
		cpu_relax();
	}
	ps_disk_complete(&files()->disk, 0);
}

static void calls_beside_each_other_keep_every_invariant(void **state)
{
	(void)state;
	for (u64 seed = 1; seed <= 3; seed++) {
		const struct scene_spec spec = { .nr_nodes = 2, .pages = { 512, 256 }, .cpus = { 1, 1 }, .pt_bits = 2 };
		struct scene *s;
		void *scene = NULL;

		assert_int_equal(cache_setup_with(&scene, &spec), 0);
		s = (struct scene *)scene;
		files()->tmpfs_huge = SHMEM_HUGE_ADVISE;
		files()->disk.deferred = seed % 2;
		shared_files[0] = file("/d/s");
		shared_files[1] = file("/t/s");
		workers = WORKERS;
		foreign = failed = done = 0;
		for (u64 i = 0; i < WORKERS; i++) {
			struct task_struct *t =
				ps_task_new(s->rt, "worker", worker, (void *)(uintptr_t)(seed * 10 + i));

			t->cpu = (int)(i % 2);
		}
		ps_task_new(s->rt, "device", slow_device, NULL);
		ps_task_leave();
		ps_runtime_run(s->rt, UINT64_MAX);
		ps_task_enter(s->task);
		assert_int_equal(foreign, 0);
		assert_int_equal(failed, 0);
		assert_int_equal(done, WORKERS * 1500);
		files()->disk.deferred = false;
		iput(shared_files[0]);
		iput(shared_files[1]);
		cache_teardown(&scene);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_beside_each_other_keep_every_invariant),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
