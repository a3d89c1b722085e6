/* SPDX-License-Identifier: MIT */
/*
 * Files and their system calls: the states the recorded transcripts show, contents that survive eviction, a random walk
 * over all calls against a model, and the same calls beside each other.
 */
#include "cache/scene.h"

#include <pagesim/buffer_head.h>

/* ---- names and lives ---- */

static void a_path_names_one_file(void **state)
{
	struct inode *a = file("/d/a"), *again = file("/d/a"), *t = file("/t/a"), *none = NULL;

	(void)state;
	assert_ptr_equal(a, again);
	assert_ptr_not_equal(a, t);
	assert_int_equal(a->kind, PS_FILE_DISK);
	assert_int_equal(t->kind, PS_FILE_TMPFS);
	assert_int_equal(ps_file_open(files(), "/d/b", false, &none), -ENOENT);
	assert_int_equal(ps_file_open(files(), "d/b", true, &none), -EINVAL);
	assert_int_equal(ps_file_open(files(), "/d/", true, &none), -EINVAL);
	assert_int_equal(ps_file_open(files(), "", true, &none), -EINVAL);
	assert_null(none);
	iput(again);
	iput(a);
	iput(t);
	assert_int_equal(ps_file_open(files(), "/d/a", false, &again), 0);
	assert_ptr_equal(again, a);
	iput(again);
}

static void an_unlinked_file_lives_while_it_is_used(void **state)
{
	struct inode *inode = file("/d/a"), *other;
	u64 word;

	(void)state;
	assert_int_equal(file_write_page(inode, 0, 7, NULL), 0);
	assert_int_equal(ps_file_unlink(files(), "/d/a"), 0);
	assert_int_equal(ps_file_unlink(files(), "/d/a"), -ENOENT);
	assert_int_equal(file_read_page(inode, 0, &word, NULL), 1);
	assert_int_equal(word, 7);
	other = file("/d/a");
	assert_ptr_not_equal(other, inode);
	assert_int_equal(i_size_read(other), 0);
	iput(other);
	assert_int_equal(vmstat("nr_file_pages"), 1);
	iput(inode);
	assert_int_equal(vmstat("nr_file_pages"), 0);
}

static void a_file_without_memory_is_not_made(void **state)
{
	(void)state;
	for (u64 n = 1;; n++) {
		struct inode *inode = NULL;
		bool unused;
		int err;

		ps_alloc_fail_nth(n);
		err = ps_file_open(files(), "/d/a", true, &inode);
		unused = ps_alloc_fail_nth(0);
		assert_int_equal(err, unused ? 0 : -ENOMEM);
		if (unused) {
			iput(inode);
			break;
		}
		assert_null(inode);
		assert_int_equal(ps_file_open(files(), "/d/a", false, &inode), -ENOENT);
	}
}

/* ---- what the transcripts show ---- */

enum { UPTODATE = 1, DIRTY = 2, LRU = 4, SWAPBACKED = 8, PRIVATE = 16 };

static unsigned int page_flags(struct page *page)
{
	return (PageUptodate(page) ? UPTODATE : 0) | (PageDirty(page) ? DIRTY : 0) | (PageLRU(page) ? LRU : 0) |
	       (PageSwapBacked(page) ? SWAPBACKED : 0) | (PagePrivate(page) ? PRIVATE : 0);
}

/* Faults a page in (@write: as a shared store does) and compares references, the faulter's included, and flags. */
static void expect_fault(struct inode *inode, pgoff_t index, bool write, int ref, unsigned int flags)
{
	struct page *page;

	assert_int_equal(file_fault(inode, index, SHMEM_HINT_NONE, NULL, &page, NULL), 0);
	if (write) {
		if (file_wants_mkwrite(inode)) {
			unlock_page(page);
			assert_int_equal(file_page_mkwrite(inode, page), 0);
		}
		set_page_dirty(page);
	}
	unlock_page(page);
	lru_add_drain_all();
	if (page_count(page) != ref || page_flags(page) != flags)
		fail_msg("%s[%d]: ref=%d flags=%x, expected ref=%d flags=%x", inode->name, (int)index, page_count(page),
			 page_flags(page), ref, flags);
	put_page(page);
}

/* Each line with the transcript it comes from; ref there is with one mapping, which is our fault's reference. */
static void references_and_flags_are_those_of_the_transcripts(void **state)
{
	struct inode *d = file("/d/g"), *t = file("/t/f"), *hole = file("/d/h");

	(void)state;
	for (pgoff_t i = 0; i < 16; i++) {
		assert_int_equal(file_write_page(d, i, 2, NULL), 0);
		assert_int_equal(file_write_page(t, i, 1, NULL), 0);
	}
	assert_int_equal(file_fsync(d), 0);
	/* golden/unmapped-cache: written by pwrite, synced, loaded: the buffers of the write stay. */
	expect_fault(d, 0, false, 3, UPTODATE | LRU | PRIVATE);
	expect_fault(t, 0, false, 2, UPTODATE | DIRTY | LRU | SWAPBACKED);
	/* golden/ext4-file: then stored to. */
	expect_fault(d, 4, true, 3, UPTODATE | DIRTY | LRU | PRIVATE);
	/* random/0085: a hole of a disk file that was only read has no buffers. */
	file_extend(hole, 4 << PAGE_SHIFT);
	expect_fault(hole, 1, false, 2, UPTODATE | LRU);
	expect_fault(hole, 1, true, 3, UPTODATE | DIRTY | LRU | PRIVATE);
	/* Read back from the disk: read without buffers as well. */
	assert_int_equal(file_fadvise_dontneed(d, 0, 3), 0);
	expect_fault(d, 0, false, 2, UPTODATE | LRU);
	/* golden/shared-anon: stored, and only loaded. */
	file_extend(t, 32 << PAGE_SHIFT);
	expect_fault(t, 20, true, 2, UPTODATE | DIRTY | LRU | SWAPBACKED);
	expect_fault(t, 21, false, 2, UPTODATE | LRU | SWAPBACKED);
	iput(d);
	iput(t);
	iput(hole);
}

/* ---- contents ---- */

static void what_was_written_is_read_back_after_eviction(void **state)
{
	struct inode *inode = file("/d/a");
	u64 word;

	(void)state;
	for (pgoff_t i = 0; i < 20; i++)
		assert_int_equal(file_write_page(inode, i, 1000 + i, NULL), 0);
	/* What fadvise itself begins to write stays for this time. */
	assert_int_equal(file_fadvise_dontneed(inode, 0, (pgoff_t)-1), 0);
	assert_int_equal(inode->i_mapping->nrpages, 20);
	assert_int_equal(file_fadvise_dontneed(inode, 0, (pgoff_t)-1), 0);
	assert_int_equal(inode->i_mapping->nrpages, 0);
	for (pgoff_t i = 0; i < 20; i++) {
		assert_int_equal(file_read_page(inode, i, &word, NULL), 1);
		assert_int_equal(word, 1000 + i);
	}
	assert_int_equal(file_read_page(inode, 20, &word, NULL), 0);
	assert_int_equal(files()->disk.pages_read, 20);
	assert_int_equal(files()->disk.pages_written, 20);
	/* Cut off and grown again: what was behind the end is zero. */
	assert_int_equal(file_truncate(inode, 5 << PAGE_SHIFT), 0);
	file_extend(inode, 10 << PAGE_SHIFT);
	assert_int_equal(file_read_page(inode, 4, &word, NULL), 1);
	assert_int_equal(word, 1004);
	assert_int_equal(file_read_page(inode, 5, &word, NULL), 1);
	assert_int_equal(word, 0);
	iput(inode);
}

static int bytes_setup(void **state)
{
	const struct scene_spec spec = {
		.nr_nodes = 1, .pages = { 256 }, .cpus = { 1 }, .pt_bits = 2, .contents = PS_CONTENTS_BYTES
	};

	return cache_setup_with(state, &spec);
}

/* Contents `bytes`, blocks of 512 bytes. Expect: every byte comes back. */
static void bytes_survive_eviction_too(void **state)
{
	struct inode *inode = file("/d/a");
	struct page *page;

	(void)state;
	inode->i_blkbits = 9;
	assert_int_equal(file_write_begin(inode, 3, NULL, &page), 0);
	for (unsigned int i = 0; i < PAGE_SIZE; i++)
		((unsigned char *)page_address(page))[i] = (unsigned char)(i * 7 + i / 256);
	file_write_end(inode, 3, page);
	assert_int_equal(file_fsync(inode), 0);
	assert_int_equal(file_fadvise_dontneed(inode, 0, 10), 0);
	assert_int_equal(inode->i_mapping->nrpages, 0);
	assert_int_equal(filemap_fault(inode, 3, NULL, &page, NULL), 0);
	for (unsigned int i = 0; i < PAGE_SIZE; i++)
		assert_int_equal(((unsigned char *)page_address(page))[i], (unsigned char)(i * 7 + i / 256));
	unlock_page(page);
	put_page(page);
	iput(inode);
}

/* Clean and unmapped goes; dirty, and whatever tmpfs was written, stays. */
static void dropping_caches_loses_nothing(void **state)
{
	struct inode *d = file("/d/a"), *t = file("/t/a");
	u64 word;

	(void)state;
	for (pgoff_t i = 0; i < 6; i++) {
		assert_int_equal(file_write_page(d, i, i, NULL), 0);
		assert_int_equal(file_write_page(t, i, i, NULL), 0);
		if (i == 3)
			assert_int_equal(file_fsync(d), 0);
	}
	assert_int_equal(ps_files_drop_pagecache(files()), 4);
	assert_int_equal(vmstat("drop_pagecache"), 1);
	assert_int_equal(d->i_mapping->nrpages, 2);
	assert_int_equal(t->i_mapping->nrpages, 6);
	for (pgoff_t i = 0; i < 6; i++) {
		assert_int_equal(file_read_page(d, i, &word, NULL), 1);
		assert_int_equal(word, i);
	}
	iput(d);
	iput(t);
}

/* ---- hooks ---- */

static struct {
	pgoff_t start, nr;
	bool even_cows;
	unsigned long pages_cached; /* when it was called */
} unmapped[8];
static unsigned int nr_unmapped;

static void note_unmap(struct address_space *mapping, pgoff_t start, pgoff_t nr, bool even_cows)
{
	assert_true(nr_unmapped < ARRAY_SIZE(unmapped));
	unmapped[nr_unmapped].start = start;
	unmapped[nr_unmapped].nr = nr;
	unmapped[nr_unmapped].even_cows = even_cows;
	unmapped[nr_unmapped++].pages_cached = mapping->nrpages;
}

/*
 * Expect: truncation unmaps before and after it removes, private copies too; a hole only before, and spares the
 * copies.
 */
static void page_tables_are_told_in_order(void **state)
{
	static const char *const paths[] = { "/d/a", "/t/a" };

	(void)state;
	files()->hooks.unmap_mapping_pages = note_unmap;
	for (size_t p = 0; p < ARRAY_SIZE(paths); p++) {
		struct inode *inode = file(paths[p]);

		for (pgoff_t i = 0; i < 10; i++)
			assert_int_equal(file_write_page(inode, i, i, NULL), 0);
		nr_unmapped = 0;
		assert_int_equal(file_truncate(inode, 6 << PAGE_SHIFT), 0);
		assert_int_equal(nr_unmapped, 2);
		for (unsigned int i = 0; i < 2; i++) {
			assert_int_equal(unmapped[i].start, 6);
			assert_int_equal(unmapped[i].nr, 0);
			assert_true(unmapped[i].even_cows);
			assert_int_equal(unmapped[i].pages_cached, i ? 6 : 10);
		}
		nr_unmapped = 0;
		assert_int_equal(file_punch_hole(inode, 2, 4), 0);
		assert_int_equal(nr_unmapped, 1);
		assert_int_equal(unmapped[0].start, 2);
		assert_int_equal(unmapped[0].nr, 2);
		assert_false(unmapped[0].even_cows);
		assert_int_equal(inode->i_mapping->nrpages, 4);
		assert_int_equal(i_size_pages(inode), 6);
		iput(inode);
	}
}

static void a_write_fault_on_a_truncated_page_is_refused(void **state)
{
	struct inode *inode = file("/d/a");
	struct page *page;

	(void)state;
	file_extend(inode, 4 << PAGE_SHIFT);
	assert_int_equal(file_fault(inode, 2, 0, NULL, &page, NULL), 0);
	unlock_page(page);
	file_truncate(inode, 2 << PAGE_SHIFT);
	assert_int_equal(file_page_mkwrite(inode, page), -EFAULT);
	assert_false(PageLocked(page));
	put_page(page);
	iput(inode);
}

/* ---- placement ---- */

static struct page *node_1(void *arg, struct address_space *mapping, pgoff_t index, unsigned int order, gfp_t gfp)
{
	(*(int *)arg)++;
	(void)mapping;
	(void)index;
	return alloc_pages_node(1, order ? gfp | __GFP_COMP : gfp, order);
}

static void pages_come_from_where_the_caller_says(void **state)
{
	static const char *const paths[] = { "/d/a", "/t/a" };
	int asked = 0;
	const struct ps_page_source source = { .alloc = node_1, .arg = &asked };
	u64 word;

	(void)state;
	for (size_t p = 0; p < ARRAY_SIZE(paths); p++) {
		struct inode *inode = file(paths[p]);
		struct page *page;

		asked = 0;
		file_extend(inode, 8 << PAGE_SHIFT);
		assert_int_equal(file_write_page(inode, 0, 1, &source), 0);
		assert_int_equal(file_fault(inode, 1, 0, &source, &page, NULL), 0);
		unlock_page(page);
		put_page(page);
		assert_int_equal(file_read_page(inode, 2, &word, &source), 1);
		/* A hole of tmpfs is read without a page. */
		assert_int_equal(asked, inode->kind == PS_FILE_DISK ? 3 : 2);
		for (pgoff_t i = 0; i < (pgoff_t)asked; i++) {
			page = find_get_page(inode->i_mapping, i);
			assert_int_equal(page_to_nid(page), 1);
			put_page(page);
		}
		iput(inode);
	}
}

/* ---- all calls, at random ---- */

#define MODEL_PAGES 40u

struct file_model {
	u64 word[MODEL_PAGES];
	pgoff_t size;
};

static void model_cut(struct file_model *m, pgoff_t start, pgoff_t end)
{
	for (pgoff_t i = start; i < end && i < MODEL_PAGES; i++)
		m->word[i] = 0;
}

static void random_file_op(struct inode *inode, struct file_model *m, struct ps_rng *rng)
{
	pgoff_t index = ps_rng_below(rng, MODEL_PAGES), end = index + 1 + ps_rng_below(rng, MODEL_PAGES - index);
	u64 word = ps_rng_next(rng), got;
	struct page *page;
	int err;

	switch (ps_rng_below(rng, 12)) {
	case 0:
	case 1:
		assert_int_equal(file_write_page(inode, index, word, NULL), 0);
		m->word[index] = word;
		m->size = ps_max(m->size, index + 1);
		break;
	case 2:
	case 3:
		err = file_read_page(inode, index, &got, NULL);
		assert_int_equal(err, index < m->size);
		if (err)
			assert_int_equal(got, m->word[index]);
		break;
	case 4:
	case 5:
	case 6: {
		bool write = ps_rng_below(rng, 2);
		int hint = ps_rng_below(rng, 2) ? SHMEM_HINT_HUGEPAGE : SHMEM_HINT_NONE;

		err = file_fault(inode, index, hint, NULL, &page, NULL);
		assert_int_equal(err, index < m->size ? 0 : -EFAULT);
		if (err)
			break;
		assert_int_equal(page_to_pgoff(page), index);
		assert_int_equal(page_word_read(page), m->word[index]);
		if (write) {
			if (file_wants_mkwrite(inode)) {
				unlock_page(page);
				assert_int_equal(file_page_mkwrite(inode, page), 0);
			}
			page_word_write(page, word);
			set_page_dirty(page);
			m->word[index] = word;
		}
		unlock_page(compound_head(page));
		put_page(page);
		break;
	}
	case 7:
		assert_int_equal(file_fsync(inode), 0);
		break;
	case 8:
		assert_int_equal(file_truncate(inode, index << PAGE_SHIFT), 0);
		model_cut(m, index, MODEL_PAGES);
		m->size = index;
		break;
	case 9:
		assert_int_equal(file_punch_hole(inode, index, end), 0);
		model_cut(m, index, end);
		break;
	case 10:
		assert_int_equal(file_fadvise_dontneed(inode, index, end), 0);
		break;
	case 11:
		if (ps_rng_below(rng, 2))
			ps_files_drop_pagecache(files());
		else
			file_extend(inode, m->size << PAGE_SHIFT);
		break;
	}
}

static void random_files(unsigned int seeds, unsigned int steps)
{
	for (u64 seed = 1; seed <= seeds; seed++) {
		struct inode *inodes[3] = { file("/d/x"), file("/t/x"), file("/d/y") };
		struct file_model models[3] = { { { 0 }, 0 } };
		struct ps_rng rng;

		files()->tmpfs_huge = SHMEM_HUGE_ADVISE;
		inodes[2]->i_blkbits = 10;
		ps_rng_init(&rng, seed);
		for (unsigned int step = 0; step < steps; step++) {
			unsigned int f = (unsigned int)ps_rng_below(&rng, 3);
			char why[200] = "";

			random_file_op(inodes[f], &models[f], &rng);
			if (!ps_files_validate(files(), why, sizeof(why)))
				fail_msg("seed %llu step %u: %s", (unsigned long long)seed, step, why);
			assert_int_equal(i_size_pages(inodes[f]), models[f].size);
		}
		for (unsigned int f = 0; f < 3; f++) {
			for (pgoff_t i = 0; i < models[f].size; i++) {
				u64 word;

				assert_int_equal(file_read_page(inodes[f], i, &word, NULL), 1);
				assert_int_equal(word, models[f].word[i]);
			}
			assert_int_equal(ps_file_unlink(files(), inodes[f]->name), 0);
			iput(inodes[f]);
		}
		assert_int_equal(vmstat("nr_file_pages"), 0);
	}
}

static void random_calls_agree_with_the_model(void **state)
{
	(void)state;
	random_files(30, 300);
}

/* Expect: for every host allocation that fails, each call succeeds or reports -ENOMEM, and all invariants hold. */
static void calls_without_host_memory_report_it(void **state)
{
	(void)state;
	for (u64 n = 1;; n++) {
		struct inode *d = file("/d/n"), *t = file("/t/n");
		struct page *page;
		int err[6];
		bool unused;
		u64 word;

		files()->tmpfs_huge = SHMEM_HUGE_ALWAYS;
		ps_alloc_fail_nth(n);
		err[0] = file_write_page(d, 70, 1, NULL);
		err[1] = file_write_page(t, 70, 1, NULL);
		file_extend(d, 200 << PAGE_SHIFT);
		err[2] = file_fault(d, 100, 0, NULL, &page, NULL);
		if (!err[2]) {
			unlock_page(page);
			err[3] = file_page_mkwrite(d, page);
			if (!err[3])
				unlock_page(page);
			put_page(page);
		} else {
			err[3] = 0;
		}
		err[4] = file_fsync(d);
		err[5] = file_read_page(d, 5, &word, NULL);
		unused = ps_alloc_fail_nth(0);
		for (unsigned int i = 0; i < 6; i++) {
			if (err[i] < 0 && err[i] != -ENOMEM)
				fail_msg("allocation %llu: call %u: %d", (unsigned long long)n, i, err[i]);
		}
		assert_files_valid();
		ps_file_unlink(files(), "/d/n");
		ps_file_unlink(files(), "/t/n");
		iput(d);
		iput(t);
		assert_int_equal(vmstat("nr_file_pages"), 0);
		if (unused)
			break;
	}
}

/* ---- all calls, beside each other ---- */

static struct inode *shared_files[2];
static unsigned int workers;

static void worker(void *arg)
{
	struct ps_rng rng;

	ps_rng_init(&rng, (u64)(uintptr_t)arg);
	for (unsigned int n = 0; n < 120; n++) {
		struct inode *inode = shared_files[ps_rng_below(&rng, 2)];
		pgoff_t index = ps_rng_below(&rng, 12);
		struct page *page;
		u64 word;
		int err;

		/* Whoever writes index i writes a multiple of 1000 plus i; a hole reads 0. */
		switch (ps_rng_below(&rng, 8)) {
		case 0:
		case 1:
			if (file_write_page(inode, index, 1000 * ps_rng_below(&rng, 100) + index, NULL))
				fail_msg("write failed");
			break;
		case 2:
			err = file_read_page(inode, index, &word, NULL);
			if (err < 0 || (err && word && word % 1000 != index))
				fail_msg("read %d: %llu at %llu", err, (unsigned long long)word,
					 (unsigned long long)index);
			break;
		case 3:
		case 4:
			err = file_fault(inode, index, SHMEM_HINT_HUGEPAGE, NULL, &page, NULL);
			if (err == -EFAULT)
				break;
			if (err)
				fail_msg("fault %d", err);
			word = page_word_read(page);
			if (page_to_pgoff(page) != index || (word && word % 1000 != index))
				fail_msg("fault found %llu at %llu", (unsigned long long)word,
					 (unsigned long long)index);
			unlock_page(compound_head(page));
			if (file_wants_mkwrite(inode) && !file_page_mkwrite(inode, page)) {
				page_word_write(page, 5000 + index);
				set_page_dirty(page);
				unlock_page(page);
			}
			put_page(page);
			break;
		case 5:
			if (file_fsync(inode))
				fail_msg("fsync failed");
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
	}
	workers--;
}

static void slow_device(void *arg)
{
	(void)arg;
	while (workers) {
		ps_disk_complete(&files()->disk, 1);
		ps_sleep_until(ps_now() + 700);
	}
	ps_disk_complete(&files()->disk, 0);
}

static void calls_beside_each_other_keep_every_invariant(void **state)
{
	(void)state;
	for (u64 seed = 1; seed <= 16; seed++) {
		const struct scene_spec spec = {
			.nr_nodes = 2, .pages = { 512, 256 }, .cpus = { 1, 1 }, .pt_bits = 2, .shuffle = 9000
		};
		struct scene *s;
		void *scene = NULL;

		assert_int_equal(cache_setup_with(&scene, &spec), 0);
		s = (struct scene *)scene;
		files()->tmpfs_huge = SHMEM_HUGE_ADVISE;
		files()->disk.deferred = seed % 2;
		shared_files[0] = file("/d/s");
		shared_files[1] = file("/t/s");
		shared_files[0]->i_blkbits = seed % 3 ? 12 : 10;
		workers = 4;
		for (u64 i = 0; i < workers; i++) {
			struct task_struct *t =
				ps_task_new(s->rt, "worker", worker, (void *)(uintptr_t)(seed * 10 + i));

			t->cpu = (int)(i % 2);
		}
		ps_task_new(s->rt, "device", slow_device, NULL);
		ps_task_leave();
		ps_runtime_run(s->rt, UINT64_MAX);
		ps_task_enter(s->task);
		assert_int_equal(workers, 0);
		files()->disk.deferred = false;
		iput(shared_files[0]);
		iput(shared_files[1]);
		cache_teardown(&scene);
	}
}

/* ---- the validator can fail ---- */

static void the_validator_sees_planted_faults(void **state)
{
	static const char *const rule[] = {
		"page of another mapping",      "page says index", "references",    "dirty without the tag",
		"PG_writeback and its tag",     "nrpages is",      "NR_FILE_PAGES", "NR_FILE_DIRTY",
		"dirty buffer on a clean page", "tagged in"
	};
	char why[200];

	(void)state;
	for (size_t plant = 0; plant < ARRAY_SIZE(rule); plant++) {
		struct inode *inode = file("/d/v"), *t = file("/t/v");
		struct page *page, *tpage;

		assert_int_equal(file_write_page(inode, 3, 1, NULL), 0);
		assert_int_equal(file_write_page(t, 3, 1, NULL), 0);
		assert_int_equal(file_fsync(inode), 0);
		lru_add_drain_all();
		page = find_get_page(inode->i_mapping, 3);
		put_page(page);
		tpage = find_get_page(t->i_mapping, 3);
		put_page(tpage);
		assert_files_valid();
		for (int undo = 0; undo < 2; undo++) {
			switch (plant) {
			case 0:
				page->mapping = undo ? inode->i_mapping : t->i_mapping;
				break;
			case 1:
				page->index = undo ? 3 : 4;
				break;
			case 2:
				page_ref_add(page, undo ? 1 : -1);
				break;
			case 3:
				if (undo)
					ClearPageDirty(page);
				else
					SetPageDirty(page);
				break;
			case 4:
				if (undo)
					TestClearPageWriteback(page);
				else
					TestSetPageWriteback(page);
				break;
			case 5:
				inode->i_mapping->nrpages += undo ? -1UL : 1;
				break;
			case 6:
				__mod_node_page_state(1, NR_FILE_PAGES, undo ? -1 : 1);
				break;
			case 7:
				__mod_node_page_state(0, NR_FILE_DIRTY, undo ? 1 : -1);
				break;
			case 8:
				if (undo)
					clear_bit(BH_Dirty, &page_buffers(page)->b_state);
				else
					set_bit(BH_Dirty, &page_buffers(page)->b_state);
				break;
			case 9:
				if (undo)
					xa_clear_mark(&t->i_mapping->i_pages, 3, PAGECACHE_TAG_DIRTY);
				else
					xa_set_mark(&t->i_mapping->i_pages, 3, PAGECACHE_TAG_DIRTY);
				break;
			}
			if (undo) {
				assert_files_valid();
			} else {
				assert_false(ps_files_validate(files(), why, sizeof(why)));
				if (!strstr(why, rule[plant]))
					fail_msg("expected %s, got: %s", rule[plant], why);
			}
		}
		ps_file_unlink(files(), "/d/v");
		ps_file_unlink(files(), "/t/v");
		iput(inode);
		iput(t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_tiny(a_path_names_one_file),
		on_tiny(an_unlinked_file_lives_while_it_is_used),
		on_tiny(a_file_without_memory_is_not_made),
		on_two_nodes(references_and_flags_are_those_of_the_transcripts),
		on_tiny(what_was_written_is_read_back_after_eviction),
		cmocka_unit_test_setup_teardown(bytes_survive_eviction_too, bytes_setup, cache_teardown),
		on_tiny(dropping_caches_loses_nothing),
		on_tiny(page_tables_are_told_in_order),
		on_tiny(a_write_fault_on_a_truncated_page_is_refused),
		on_two_nodes(pages_come_from_where_the_caller_says),
		on_tiny(random_calls_agree_with_the_model),
		on_tiny(calls_without_host_memory_report_it),
		cmocka_unit_test(calls_beside_each_other_keep_every_invariant),
		on_two_nodes(the_validator_sees_planted_faults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
