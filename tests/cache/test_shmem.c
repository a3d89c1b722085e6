/* SPDX-License-Identifier: MIT */
/*
 * shmem: what each way of asking gets, when a page is huge, and what happens when it cannot be.
 */
#include "cache/scene.h"

#define MISSING (-1000) /* 0 and no page */

/* Index 0 cached, 1 a hole, 2 fallocated and never written, 3 beyond the end (of a file of 3 pages). */
static void each_way_of_asking_gets_its_own_answer(void **state)
{
	static const struct {
		enum sgp_type sgp;
		int result[4];
		bool uptodate[4];
	} cases[] = {
		{ SGP_READ, { 0, MISSING, MISSING, -EINVAL }, { true } },
		{ SGP_NOALLOC, { 0, -ENOENT, 0, -EINVAL }, { true, false, true } },
		{ SGP_CACHE, { 0, 0, 0, -EINVAL }, { true, true, true } },
		{ SGP_WRITE, { 0, 0, 0, 0 }, { true, false, false, false } },
		{ SGP_FALLOC, { 0, 0, 0, 0 }, { true, false, true, false } },
	};

	(void)state;
	for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
		struct inode *inode;
		struct page *page;

		assert_int_equal(shmem_file_setup(files(), 3 << PAGE_SHIFT, &inode), 0);
		assert_int_equal(file_write_page(inode, 0, 9, NULL), 0);
		assert_int_equal(shmem_get_page(inode, 2, SGP_FALLOC, SHMEM_HINT_NONE, NULL, &page), 0);
		assert_false(PageUptodate(page));
		unlock_page(page);
		put_page(page);
		for (pgoff_t i = 0; i < 4; i++) {
			int err = shmem_get_page(inode, i, cases[c].sgp, SHMEM_HINT_NONE, NULL, &page);

			if (!err && !page)
				err = MISSING;
			if (err != cases[c].result[i])
				fail_msg("sgp %d index %d: %d, expected %d", cases[c].sgp, (int)i, err,
					 cases[c].result[i]);
			if (err)
				continue;
			assert_true(PageLocked(page));
			assert_int_equal(PageUptodate(page), cases[c].uptodate[i]);
			assert_true(PageSwapBacked(page));
			if (PageUptodate(page))
				assert_int_equal(page_word_read(page), i ? 0 : 9);
			unlock_page(page);
			put_page(page);
		}
		iput(inode);
		assert_int_equal(vmstat("nr_shmem"), 0);
	}
}

/*
 * As the transcripts show it (golden/tmpfs-shared): with one mapping of a page references are the cache's and that
 * one.
 */
static void a_faulted_page_has_the_cache_s_and_the_faulter_s_reference(void **state)
{
	struct inode *inode = file("/t/f");
	struct page *page;
	bool major = true;

	(void)state;
	file_extend(inode, 8 << PAGE_SHIFT);
	assert_int_equal(file_fault(inode, 8, SHMEM_HINT_NONE, NULL, &page, &major), -EFAULT);
	assert_int_equal(file_fault(inode, 3, SHMEM_HINT_NONE, NULL, &page, &major), 0);
	assert_false(major);
	lru_add_drain_all();
	assert_int_equal(page_count(page), 2);
	assert_true(PageUptodate(page) && PageLRU(page) && PageSwapBacked(page) && !PageDirty(page) &&
		    !PagePrivate(page));
	assert_int_equal(page_word_read(page), 0);
	assert_false(file_wants_mkwrite(inode));
	unlock_page(page);
	put_page(page);
	iput(inode);
}

/* golden/tmpfs-thp: ref=513 is 512 of the cache and one PMD; here the PMD's is the faulter's. */
static void a_huge_fault_gives_one_page_with_a_reference_per_small_one(void **state)
{
	const pgoff_t n = HPAGE_PMD_NR;
	struct inode *inode = file("/t/h");
	struct page *page;

	(void)state;
	files()->tmpfs_huge = SHMEM_HUGE_ADVISE;
	file_extend(inode, 2 * n << PAGE_SHIFT);
	assert_int_equal(file_fault(inode, n + 1, SHMEM_HINT_HUGEPAGE, NULL, &page, NULL), 0);
	lru_add_drain_all();
	assert_ptr_equal(page, compound_head(page) + 1);
	page = compound_head(page);
	assert_int_equal(page->index, n);
	assert_int_equal(page_count(page), n + 1);
	assert_int_equal(inode->i_mapping->nrpages, n);
	assert_int_equal(vmstat("nr_shmem"), n);
	assert_int_equal(vmstat("nr_shmem_hugepages"), 1);
	assert_int_equal(vmstat("thp_file_alloc"), 1);
	for (pgoff_t i = 0; i < n; i++)
		assert_int_equal(page_word_read(page + i), 0);
	unlock_page(page);
	put_page(page);
	/* The other half, without advice: small. */
	assert_int_equal(file_fault(inode, 1, SHMEM_HINT_NONE, NULL, &page, NULL), 0);
	assert_false(PageCompound(page));
	unlock_page(page);
	put_page(page);
	assert_int_equal(vmstat("thp_file_fallback"), 0);
	/* With advice, but something is there already: small, and no fallback is counted. */
	assert_int_equal(file_fault(inode, 0, SHMEM_HINT_HUGEPAGE, NULL, &page, NULL), 0);
	assert_false(PageCompound(page));
	unlock_page(page);
	put_page(page);
	assert_int_equal(vmstat("thp_file_fallback"), 0);
	iput(inode);
}

static void the_knobs_say_who_gets_huge_pages(void **state)
{
	const pgoff_t n = HPAGE_PMD_NR;
	static const struct {
		enum shmem_huge tmpfs, enabled;
		enum shmem_huge_hint hint;
		bool named, beyond, anon; /* expected: /t file, its part beyond the end, shared anonymous */
	} cases[] = {
		{ SHMEM_HUGE_NEVER, SHMEM_HUGE_NEVER, SHMEM_HINT_HUGEPAGE, false, false, false },
		{ SHMEM_HUGE_ALWAYS, SHMEM_HUGE_NEVER, SHMEM_HINT_NONE, true, true, false },
		{ SHMEM_HUGE_ALWAYS, SHMEM_HUGE_ALWAYS, SHMEM_HINT_NOHUGEPAGE, false, false, false },
		{ SHMEM_HUGE_WITHIN_SIZE, SHMEM_HUGE_WITHIN_SIZE, SHMEM_HINT_NONE, true, false, true },
		{ SHMEM_HUGE_WITHIN_SIZE, SHMEM_HUGE_NEVER, SHMEM_HINT_HUGEPAGE, true, true, false },
		{ SHMEM_HUGE_ADVISE, SHMEM_HUGE_ADVISE, SHMEM_HINT_NONE, false, false, false },
		{ SHMEM_HUGE_ADVISE, SHMEM_HUGE_ADVISE, SHMEM_HINT_HUGEPAGE, true, true, true },
		{ SHMEM_HUGE_ALWAYS, SHMEM_HUGE_DENY, SHMEM_HINT_HUGEPAGE, false, false, false },
		{ SHMEM_HUGE_NEVER, SHMEM_HUGE_FORCE, SHMEM_HINT_NONE, true, true, true },
		{ SHMEM_HUGE_NEVER, SHMEM_HUGE_FORCE, SHMEM_HINT_NOHUGEPAGE, false, false, false },
	};
	struct inode *named = file("/t/k"), *anon;

	(void)state;
	file_extend(named, n << PAGE_SHIFT);
	assert_int_equal(shmem_file_setup(files(), n << PAGE_SHIFT, &anon), 0);
	for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
		files()->tmpfs_huge = cases[c].tmpfs;
		files()->shmem_enabled = cases[c].enabled;
		if (shmem_is_huge(named, 0, cases[c].hint) != cases[c].named ||
		    shmem_is_huge(named, n, cases[c].hint) != cases[c].beyond ||
		    shmem_is_huge(anon, 0, cases[c].hint) != cases[c].anon)
			fail_msg("case %zu", c);
	}
	iput(named);
	iput(anon);
}

/* ---- no memory ---- */

struct refusing_source {
	int huge_left, small_left; /* how many more of each to give */
	int asked;
};

static struct page *refusing_alloc(void *arg, struct address_space *mapping, pgoff_t index, unsigned int order,
				   gfp_t gfp)
{
	struct refusing_source *source = arg;
	int *left = order ? &source->huge_left : &source->small_left;

	(void)mapping;
	source->asked++;
	assert_int_equal(index & ((1UL << order) - 1), 0);
	if ((*left)-- <= 0)
		return NULL;
	return alloc_pages(order ? gfp | __GFP_COMP : gfp, order);
}

static void without_a_huge_page_a_small_one_will_do(void **state)
{
	struct refusing_source refusing = { .huge_left = 0, .small_left = 1 };
	const struct ps_page_source source = { .alloc = refusing_alloc, .arg = &refusing };
	struct inode *inode = file("/t/h");
	struct page *page;

	(void)state;
	files()->tmpfs_huge = SHMEM_HUGE_ALWAYS;
	file_extend(inode, HPAGE_PMD_NR << PAGE_SHIFT);
	assert_int_equal(file_fault(inode, 1, SHMEM_HINT_NONE, &source, &page, NULL), 0);
	assert_false(PageCompound(page));
	assert_int_equal(vmstat("thp_file_fallback"), 1);
	assert_int_equal(vmstat("thp_file_alloc"), 0);
	unlock_page(page);
	put_page(page);
	assert_int_equal(file_fault(inode, 2, SHMEM_HINT_NONE, &source, &page, NULL), -ENOMEM);
	assert_int_equal(inode->i_mapping->nrpages, 1);
	iput(inode);
}

static void a_huge_fault_without_host_memory_changes_nothing(void **state)
{
	struct inode *inode = file("/t/h");

	(void)state;
	files()->tmpfs_huge = SHMEM_HUGE_ALWAYS;
	file_extend(inode, 1UL << 40);
	for (u64 n = 1;; n++) {
		struct page *page;
		bool unused;
		int err;

		ps_alloc_fail_nth(n);
		err = file_fault(inode, n << 20, SHMEM_HINT_NONE, NULL, &page, NULL);
		unused = ps_alloc_fail_nth(0);
		lru_add_drain_all();
		if (!err) {
			unlock_page(compound_head(page));
			put_page(page);
		} else {
			assert_int_equal(err, -ENOMEM);
		}
		assert_files_valid();
		if (unused)
			break;
	}
	iput(inode);
}

/* ---- huge against small, growing against shrinking ---- */

static struct inode *race_inode;
static unsigned int race_running;

static void faulter(void *arg)
{
	const pgoff_t n = 4 * HPAGE_PMD_NR;
	struct ps_rng rng;

	ps_rng_init(&rng, (u64)(uintptr_t)arg);
	for (unsigned int k = 0; k < 150; k++) {
		enum shmem_huge_hint hint = ps_rng_below(&rng, 2) ? SHMEM_HINT_HUGEPAGE : SHMEM_HINT_NONE;
		pgoff_t index = ps_rng_below(&rng, n);
		struct page *page;
		int err = file_fault(race_inode, index, (int)hint, NULL, &page, NULL);

		if (err == -EFAULT)
			continue;
		if (err)
			fail_msg("fault: %d", err);
		if (page_to_pgoff(page) != index || page_mapping(page) != race_inode->i_mapping)
			fail_msg("page of %llu at %llu", (unsigned long long)page_to_pgoff(page),
				 (unsigned long long)index);
		if (page_word_read(page) != 0 && page_word_read(page) != index + 1)
			fail_msg("foreign word %llx", (unsigned long long)page_word_read(page));
		page_word_write(page, index + 1);
		set_page_dirty(page);
		unlock_page(compound_head(page));
		put_page(page);
	}
	race_running--;
}

static void resizer(void *arg)
{
	const pgoff_t n = 4 * HPAGE_PMD_NR;
	struct ps_rng rng;

	ps_rng_init(&rng, (u64)(uintptr_t)arg);
	while (race_running) {
		pgoff_t at = ps_rng_below(&rng, n), start;
		struct page *page;

		file_truncate(race_inode, at << PAGE_SHIFT);
		/* A fault that came too late takes its page out again before it unlocks it. */
		start = (at + HPAGE_PMD_NR - 1) / HPAGE_PMD_NR * HPAGE_PMD_NR;
		while (find_get_pages_range(race_inode->i_mapping, &start, (pgoff_t)-2, 1, &page)) {
			lock_page(page);
			if (page->mapping)
				fail_msg("a page behind the end");
			unlock_page(page);
			put_page(page);
		}
		ps_sleep_until(ps_now() + 50);
		file_truncate(race_inode, n << PAGE_SHIFT);
		ps_sleep_until(ps_now() + 500);
	}
}

/*
 * Expect: faults, small and huge, beside truncation: the right page or SIGBUS, nothing behind the end, all counters
 * right.
 */
static void faults_and_truncation_agree(void **state)
{
	(void)state;
	for (u64 seed = 1; seed <= 10; seed++) {
		const struct scene_spec spec = {
			.nr_nodes = 1, .pages = { 512 }, .cpus = { 2 }, .pt_bits = 2, .shuffle = 10000
		};
		struct scene *s;
		void *scene = NULL;

		assert_int_equal(cache_setup_with(&scene, &spec), 0);
		s = (struct scene *)scene;
		files()->tmpfs_huge = SHMEM_HUGE_ADVISE;
		race_inode = file("/t/race");
		file_extend(race_inode, 4 * HPAGE_PMD_NR << PAGE_SHIFT);
		race_running = 3;
		for (u64 i = 0; i < race_running; i++)
			ps_task_new(s->rt, "faulter", faulter, (void *)(uintptr_t)(seed * 10 + i));
		ps_task_new(s->rt, "resizer", resizer, (void *)(uintptr_t)seed);
		ps_task_leave();
		ps_runtime_run(s->rt, UINT64_MAX);
		ps_task_enter(s->task);
		assert_int_equal(race_running, 0);
		iput(race_inode);
		cache_teardown(&scene);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_tiny(each_way_of_asking_gets_its_own_answer),
		on_tiny(a_faulted_page_has_the_cache_s_and_the_faulter_s_reference),
		on_tiny(a_huge_fault_gives_one_page_with_a_reference_per_small_one),
		on_two_nodes(a_huge_fault_gives_one_page_with_a_reference_per_small_one),
		on_tiny(the_knobs_say_who_gets_huge_pages),
		on_tiny(without_a_huge_page_a_small_one_will_do),
		on_tiny(a_huge_fault_without_host_memory_changes_nothing),
		cmocka_unit_test(faults_and_truncation_agree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
